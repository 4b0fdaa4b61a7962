//! Statements of the caller's own: what kind each is, how it is run, and how one outside a transaction gets the
//! write lock first, so that SQLite never has to answer "database is locked" in the middle of it.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};

use super::failure::{commit_error, store_error};
use super::pragma;
use super::raw::RawStatement;
use super::session::Session;
use crate::engine::{Committed, LockWait, Ran, ReadSession, StatementKind, Step, WriteSession};
use crate::error::{Code, Failure, Result, StoreError};
use crate::rows::{Cell, NoRows, RowSink, SqlText};
use crate::value::{Statement, StatementResult, Value};

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(value) => ValueRef::Integer(*value),
            Value::Real(value) => ValueRef::Real(*value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A cell as a value of its own.
pub fn owned(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

pub(super) fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::new(Code::InvalidSql, message).not_written()
}

/// The part of a text that is left after white space and comments at its start.
pub(super) fn without_comments(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        // SQLite takes a vertical tab for white space after other white space.
        rest = rest.trim_start_matches(|letter: char| {
            letter.is_ascii_whitespace() || matches!(letter, ';' | '\u{b}' | '\u{feff}')
        });
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else {
            return rest;
        };
    }
}

/// What a statement is by its first word. Reading or writing is told by SQLite itself, not here.
pub(super) fn control_kind(sql: &str) -> Option<StatementKind> {
    let word: String = without_comments(sql)
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect();
    match word.to_ascii_uppercase().as_str() {
        "BEGIN" | "SAVEPOINT" => Some(StatementKind::Begins),
        "COMMIT" | "END" | "ROLLBACK" | "RELEASE" => Some(StatementKind::Controls),
        "PRAGMA" | "ATTACH" | "DETACH" | "VACUUM" => Some(StatementKind::Unwrapped),
        _ => None,
    }
}

/// Refuses what must not run inside a group of the queue: transaction control, PRAGMA, ATTACH, VACUUM, and more
/// or less than one statement.
pub fn check_queued(connection: &Connection, sql: &str) -> Result<()> {
    if control_kind(sql).is_some() {
        return Err(invalid(format!(
            "the queue runs each write inside its own transaction and refuses transaction control, PRAGMA, ATTACH, DETACH and VACUUM: {sql:?}"
        )));
    }
    one_statement(connection, sql)
}

pub(super) fn one_statement(connection: &Connection, sql: &str) -> Result<()> {
    if sql.contains('\0') {
        return Err(invalid("a statement must not contain a NUL character"));
    }
    if without_comments(sql).is_empty() {
        return Err(invalid("the text contains no statement"));
    }
    let length = first_statement(connection, sql)?;
    if without_comments(&sql[length..]).is_empty() {
        return Ok(());
    }
    Err(invalid(
        "the text contains more than one statement; use exec() or enqueueTransaction()",
    ))
}

/// Runs one statement in whatever state the connection is.
pub fn run(
    connection: &Connection,
    given: &Statement,
    most_rows: Option<usize>,
) -> Result<StatementResult> {
    let told = |error| store_error("the statement failed", &error).not_written();
    let before = connection.total_changes();
    let mut statement = connection.prepare_cached(&given.sql).map_err(told)?;
    bind(&mut statement, given)?;
    let mut columns = Vec::new();
    let mut rows = Vec::new();
    if statement.column_count() == 0 {
        statement.raw_execute().map_err(told)?;
    } else {
        let mut found = statement.raw_query();
        // A statement that writes is run to its end, or its later rows would not be written.
        while let Some(row) = found.next().map_err(told)? {
            if columns.is_empty() {
                // Asked for now: the first step prepares a statement anew whose tables have changed.
                columns = row.as_ref().column_names().map(str::to_owned).collect();
            }
            if most_rows.is_none_or(|most| rows.len() < most) {
                let cells: rusqlite::Result<Vec<Value>> = (0..columns.len())
                    .map(|place| row.get_ref(place).map(owned))
                    .collect();
                rows.push(cells.map_err(told)?);
            } else if row.as_ref().readonly() {
                break;
            }
        }
        drop(found);
        if columns.is_empty() {
            columns = statement.column_names().map(str::to_owned).collect();
        }
    }
    Ok(StatementResult {
        columns,
        rows,
        changes: changes_since(connection, before),
        last_insert_rowid: connection.last_insert_rowid(),
    })
}

/// What the last statement changed itself, by what the total was before it.
fn changes_since(connection: &Connection, before: u64) -> u64 {
    // SQLite keeps the number of an earlier statement after one that changes no rows.
    if connection.total_changes() == before {
        0
    } else {
        connection.changes()
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, given: &Statement) -> Result<()> {
    let told = |error| store_error("cannot bind the parameters", &error).not_written();
    let argument =
        |message: String| Err(StoreError::new(Code::InvalidArgument, message).not_written());
    let count = statement.parameter_count();
    let mut taken = vec![false; count];
    for (name, value) in &given.params.named {
        for sign in [':', '@', '$'] {
            if let Some(place) = statement
                .parameter_index(&format!("{sign}{name}"))
                .map_err(told)?
            {
                statement.raw_bind_parameter(place, value).map_err(told)?;
                taken[place - 1] = true;
            }
        }
    }
    let mut positional = given.params.positional.iter();
    for place in 1..=count {
        let named = statement
            .parameter_name(place)
            .is_some_and(|name| !name.starts_with('?'));
        if named {
            if !taken[place - 1] {
                return argument(format!(
                    "missing named parameter {:?}",
                    statement.parameter_name(place).unwrap_or_default()
                ));
            }
            continue;
        }
        let Some(value) = positional.next() else {
            return argument(format!(
                "too few parameters: the statement takes {count}, got {}",
                given.params.positional.len()
            ));
        };
        statement.raw_bind_parameter(place, value).map_err(told)?;
    }
    let spare = positional.count();
    if spare > 0 {
        return argument(format!(
            "too many parameters: the statement takes {count}, got {spare} more"
        ));
    }
    Ok(())
}

/// Runs a statement that may touch candle tables behind the counts' back.
pub fn run_counted(
    session: &mut Session,
    given: &Statement,
    most_rows: Option<usize>,
) -> Result<StatementResult> {
    let names_candles = names_candles(&given.sql);
    counted(
        session,
        names_candles,
        |result: &StatementResult| result.changes,
        |session| run(&session.connection, given, most_rows),
    )
}

/// Whether a text may touch candle tables by name.
pub fn names_candles(sql: &str) -> bool {
    sql.to_ascii_lowercase().contains("candles_")
}

/// Runs something, and sees whether it may have touched candle tables without the counts knowing.
fn counted<T>(
    session: &mut Session,
    names_candles: bool,
    changes: impl FnOnce(&T) -> u64,
    run: impl FnOnce(&mut Session) -> Result<T>,
) -> Result<T> {
    // What hooks do not see: REPLACE's deletions, DELETE without WHERE, DROP, statements undone half-way; and the
    // same in triggers, which is told by changes that are not the statement's own.
    let before = session.connection.total_changes();
    let result = run(session);
    let triggered = match &result {
        Ok(done) => session.connection.total_changes() - before != changes(done),
        Err(_) => true,
    };
    if triggered || names_candles {
        session.set_uncounted();
    }
    result
}

/// Runs a prepared statement, and tells what it changed.
fn run_known(
    session: &mut Session,
    text: &SqlText,
    params: &[Cell<'_>],
    sink: &mut dyn RowSink,
) -> Result<Ran> {
    let before = session.connection.total_changes();
    let known = session.prepared.get(&session.connection, text)?;
    known.run(params, usize::MAX, sink)?;
    if known.changes_objects {
        session.note_objects(&text.sql);
    }
    Ok(Ran {
        changes: changes_since(&session.connection, before),
        last_insert_rowid: session.connection.last_insert_rowid(),
    })
}

/// Runs one statement of the raw handle: outside a transaction a write gets the lock first and is committed.
pub fn execute(
    session: &mut Session,
    text: &SqlText,
    params: &[Cell<'_>],
    sink: &mut dyn RowSink,
    wait: &mut LockWait<'_>,
    steps: &mut Vec<Step>,
) -> Result<Ran> {
    if session.is_alone {
        prepare(session, text, wait)?;
    }
    let known = session.prepared.get(&session.connection, text)?;
    let (kind, names_candles) = (known.kind, known.names_candles);
    let gives_rows = known.statement.column_count() > 0;
    let outside = !session.in_transaction();
    let mut write = |session: &mut Session| {
        counted(
            session,
            names_candles,
            |ran: &Ran| ran.changes,
            |session| run_known(session, text, params, sink),
        )
    };
    match kind {
        // Nothing else has to know of it, and SQLite takes back what it did when a lock is in the way.
        StatementKind::Writes if outside && session.is_alone && !gives_rows => {
            let mut ran = Ran::default();
            wait.step(&mut || {
                ran = run_known(session, text, params, sink)?;
                Ok(())
            })?;
            Ok(ran)
        }
        StatementKind::Writes if outside => {
            wait.begin(session)?;
            let result = write(session);
            let result = result.and_then(|ran| {
                steps.push(Step::Committed(commit(session, wait)?));
                Ok(ran)
            });
            if result.is_err() {
                session.rollback();
            }
            result
        }
        // Nobody else may even read, where there is a rollback journal.
        StatementKind::Begins if outside && session.is_alone && is_exclusive(&text.sql) => {
            wait.step(&mut || run_known(session, text, params, sink).map(|_| ()))?;
            Ok(session.nothing_changed())
        }
        StatementKind::Begins if outside => {
            // Any BEGIN takes the write lock now; the statement itself was only checked.
            wait.begin(session)?;
            if let Some(name) = savepoint_name(&text.sql, "SAVEPOINT") {
                if let Err(error) = run_known(session, text, params, sink) {
                    session.rollback();
                    return Err(error);
                }
                session.savepoints = Some(vec![name]);
            }
            Ok(session.nothing_changed())
        }
        StatementKind::Controls => {
            run_control(session, &text.sql, outside, wait, steps)?;
            Ok(session.nothing_changed())
        }
        StatementKind::Unwrapped => {
            session.forget_wal_index();
            pragma::run(session, text, sink, &mut |session, sink| {
                let mut ran = Ran::default();
                wait.step(&mut || {
                    ran = run_known(session, text, params, sink)?;
                    Ok(())
                })?;
                Ok(ran)
            })
        }
        StatementKind::Reads => run_known(session, text, params, sink),
        StatementKind::Begins => {
            let ran = run_known(session, text, params, sink)?;
            if let Some(name) = savepoint_name(&text.sql, "SAVEPOINT") {
                session
                    .savepoints
                    .iter_mut()
                    .for_each(|open| open.push(name.clone()));
                steps.push(Step::Savepoint(name));
            }
            Ok(ran)
        }
        StatementKind::Writes => {
            let result = write(session);
            // OR ROLLBACK and RAISE(ROLLBACK) end the transaction.
            if !session.in_transaction() {
                session.rollback();
                steps.push(Step::RolledBack);
            }
            result
        }
    }
}

/// Commits; with a rollback journal a reader of another program's may be in the way for a moment.
fn commit(session: &mut Session, wait: &mut LockWait<'_>) -> Result<Committed> {
    waiting(wait, || session.commit())
}

fn is_exclusive(sql: &str) -> bool {
    let mut words = without_comments(sql).split_ascii_whitespace().skip(1);
    words
        .next()
        .is_some_and(|word| word.trim_end_matches(';').eq_ignore_ascii_case("EXCLUSIVE"))
}

/// Whether a statement is a ROLLBACK of any kind.
pub fn rolls_back(sql: &str) -> bool {
    let word: String = without_comments(sql)
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect();
    word.eq_ignore_ascii_case("ROLLBACK")
}

/// The first words of a text as SQLite reads them: bare ones in lower case, quoted ones as they are, without their quotes
/// (https://www.sqlite.org/lang_keywords.html).
struct Words<'t>(&'t str);

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let rest = without_comments(self.0);
        let first = rest.chars().next()?;
        let closing = match first {
            '"' | '\'' | '`' => Some(first),
            '[' => Some(']'),
            _ => None,
        };
        let Some(closing) = closing else {
            let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
            let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end.max(first.len_utf8()));
            self.0 = behind;
            return Some(word.to_ascii_lowercase());
        };
        let mut word = String::new();
        let mut letters = rest.char_indices().skip(1).peekable();
        while let Some((place, letter)) = letters.next() {
            if letter != closing {
                word.push(letter);
                continue;
            }
            // A quote within quotes is written twice.
            if closing != ']' && letters.next_if(|(_, next)| *next == closing).is_some() {
                word.push(letter);
                continue;
            }
            self.0 = &rest[place + letter.len_utf8()..];
            return Some(word);
        }
        self.0 = "";
        Some(word)
    }
}

/// The name in `SAVEPOINT name`, `RELEASE [SAVEPOINT] name` or `ROLLBACK [TRANSACTION] TO [SAVEPOINT] name`, in lower case
/// and without quotes.
fn savepoint_name(sql: &str, statement: &str) -> Option<String> {
    let mut words = Words(sql).peekable();
    if !words.next()?.eq_ignore_ascii_case(statement) {
        return None;
    }
    if statement == "ROLLBACK" {
        words.next_if(|word| word == "transaction");
        words.next_if(|word| word == "to")?;
    }
    let mut name = words.next()?;
    // A savepoint may be called savepoint.
    if statement != "SAVEPOINT"
        && name == "savepoint"
        && let Some(next) = words.next()
    {
        name = next;
    }
    Some(name.to_ascii_lowercase())
}

fn run_control(
    session: &mut Session,
    sql: &str,
    outside: bool,
    wait: &mut LockWait<'_>,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let rolls_back = rolls_back(sql);
    let mut control = |session: &mut Session, sql: &str| {
        let run = || {
            let ran = session
                .connection
                .prepare_cached(sql)
                .and_then(|mut control| control.execute([]));
            match ran {
                Ok(_) => Ok(()),
                Err(error) if rolls_back => Err(store_error("cannot roll back", &error)),
                Err(error) => Err(commit_error(&error)),
            }
        };
        // Nobody has to be waited for to take everything back.
        if rolls_back {
            run()
        } else {
            waiting(wait, run)
        }
    };
    if rolls_back && savepoint_name(sql, "ROLLBACK").is_none() {
        session.prepared.leave_all();
    }
    control(session, sql)?;
    if let Some(name) = savepoint_name(sql, "ROLLBACK") {
        // Rows undone were counted when they were written.
        session.set_uncounted();
        if let Some(open) = &mut session.savepoints
            && let Some(place) = open.iter().rposition(|known| *known == name)
        {
            open.truncate(place + 1);
        }
        session.note_rollback();
        steps.push(Step::RolledBackTo(name));
    }
    if let Some(name) = savepoint_name(sql, "RELEASE") {
        if let Some(open) = &mut session.savepoints {
            if let Some(place) = open.iter().rposition(|known| *known == name) {
                open.truncate(place);
            }
            // The savepoint that began the transaction: SQLite would have committed without our BEGIN around it.
            if open.is_empty() {
                control(session, "COMMIT")?;
            }
        }
        steps.push(Step::Released(name));
    }
    if !outside && !session.in_transaction() {
        if rolls_back {
            session.rollback();
            steps.push(Step::RolledBack);
        } else {
            let committed = session.committed();
            steps.push(Step::Committed(committed));
        }
    }
    Ok(())
}

/// The first statement of a text, without the white space before it, and what is behind it.
pub fn first_of<'t>(connection: &Connection, text: &'t str) -> Result<Option<(&'t str, &'t str)>> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|letter: char| {
            letter.is_ascii_whitespace() || matches!(letter, ';' | '\u{b}' | '\u{feff}')
        });
        let (statement, length) = RawStatement::prepare_first(connection, rest)
            .map_err(|error| store_error("cannot prepare the statement", &error).not_written())?;
        let (first, behind) = rest.split_at(length);
        if statement.is_some() {
            return Ok(Some((first, behind)));
        }
        // Comments are no statement, but something may follow; SQLite reads no further than a NUL.
        if behind.is_empty() || length == 0 {
            return Ok(None);
        }
        rest = behind;
    }
}

/// Runs a script statement by statement, each prepared after the one before has run.
pub fn execute_script(
    session: &mut Session,
    script: &str,
    wait: &mut LockWait<'_>,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let mut rest = script;
    while let Some((sql, after)) = waiting(wait, || first_of(&session.connection, rest))? {
        let text = SqlText::new(sql);
        prepare(session, &text, wait)?;
        let params = no_params(session, &text)?;
        let ran = execute(session, &text, &params, &mut NoRows, wait, steps);
        session.prepared.forget(&text);
        ran?;
        rest = after;
    }
    Ok(())
}

/// Runs the statements of a script as they are.
pub fn run_script(session: &mut Session, script: &str) -> Result<()> {
    let mut rest = script;
    while let Some((sql, after)) = first_of(&session.connection, rest)? {
        let text = SqlText::new(sql);
        let params = no_params(session, &text)?;
        let ran = run_plain(session, &text, &params, &mut NoRows);
        session.prepared.forget(&text);
        ran?;
        rest = after;
    }
    Ok(())
}

/// Prepares a statement where it is not yet.
fn prepare(session: &mut Session, text: &SqlText, wait: &mut LockWait<'_>) -> Result<()> {
    waiting(wait, || {
        session.prepared.get(&session.connection, text).map(|_| ())
    })
}

/// Does something that reads the schema: who opens or closes the file at that moment may be in the way.
fn waiting<T>(wait: &mut LockWait<'_>, mut run: impl FnMut() -> Result<T>) -> Result<T> {
    let mut done = match run() {
        Err(error) if error.failure == Failure::Transient => None,
        done => return done,
    };
    wait.step(&mut || {
        done = Some(run()?);
        Ok(())
    })?;
    done.ok_or_else(|| invalid("nothing was done"))
}

/// In a script every parameter is NULL.
fn no_params(session: &mut Session, text: &SqlText) -> Result<Vec<Cell<'static>>> {
    let known = session.prepared.get(&session.connection, text)?;
    Ok(vec![Cell::Null; known.parameters])
}

/// Runs a statement as it is.
pub fn run_plain(
    session: &mut Session,
    text: &SqlText,
    params: &[Cell<'_>],
    sink: &mut dyn RowSink,
) -> Result<Ran> {
    if rolls_back(&text.sql) && savepoint_name(&text.sql, "ROLLBACK").is_none() {
        // What stands on a row would keep the transaction's snapshot.
        session.prepared.leave_all();
    }
    run_known(session, text, params, sink)
}

/// The length of the first statement in a text, as SQLite's own parser sees it.
fn first_statement(connection: &Connection, text: &str) -> Result<usize> {
    let told =
        |error: rusqlite::Error| store_error("cannot prepare the statement", &error).not_written();
    let Some(mut end) = text.find(';') else {
        return Ok(text.len());
    };
    // Each semicolon is tried in turn: one inside a string, a comment or a trigger does not complete a statement.
    loop {
        let candidate = &text[..=end];
        let Ok(c_text) = std::ffi::CString::new(candidate) else {
            return Err(invalid("a statement must not contain a NUL character"));
        };
        // SAFETY: the text is a NUL-terminated string that outlives the call, which only reads it.
        if unsafe { rusqlite::ffi::sqlite3_complete(c_text.as_ptr()) } != 0 {
            return Ok(candidate.len());
        }
        match text[end + 1..].find(';') {
            Some(next) => end += 1 + next,
            None => {
                // The last statement lacks its semicolon, or the text is wrong: the parser decides.
                connection.prepare(text).map_err(told)?;
                return Ok(text.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_control_is_known_behind_comments_and_in_any_case() {
        for sql in [
            "begin",
            " BEGIN IMMEDIATE",
            " \u{b}BEGIN",
            "-- x\nSavepoint a",
            "/* b */ BEGIN;",
        ] {
            assert_eq!(control_kind(sql), Some(StatementKind::Begins), "{sql}");
        }
        assert_eq!(control_kind("ROLLBACK TO a"), Some(StatementKind::Controls));
        assert_eq!(control_kind("vacuum"), Some(StatementKind::Unwrapped));
        assert_eq!(control_kind("BEGINNING"), None);
        assert_eq!(control_kind("INSERT INTO t VALUES ('BEGIN')"), None);
    }

    #[test]
    fn savepoints_are_known_by_name() {
        assert_eq!(
            savepoint_name("SAVEPOINT `A b`;", "SAVEPOINT").as_deref(),
            Some("a b")
        );
        assert_eq!(
            savepoint_name("savepoint \"Xy\"", "SAVEPOINT").as_deref(),
            Some("xy")
        );
        for sql in [
            "ROLLBACK TO xy",
            "rollback transaction to savepoint [XY];",
            "/* a */ ROLLBACK TO SAVEPOINT 'xy'",
        ] {
            assert_eq!(
                savepoint_name(sql, "ROLLBACK").as_deref(),
                Some("xy"),
                "{sql}"
            );
        }
        for sql in [
            "savepoint /*x*/ \"A \"\"b;\" -- c",
            "SAVEPOINT[a \"b;]",
            "savepoint`a \"b;`;",
        ] {
            assert_eq!(
                savepoint_name(sql, "SAVEPOINT").as_deref(),
                Some("a \"b;"),
                "{sql}"
            );
        }
        assert_eq!(
            savepoint_name("rollback/**/to/**/a;", "ROLLBACK").as_deref(),
            Some("a")
        );
        assert_eq!(
            savepoint_name("release savepoint savepoint", "RELEASE").as_deref(),
            Some("savepoint")
        );
        assert_eq!(savepoint_name("RELEASE a", "RELEASE").as_deref(), Some("a"));
        assert_eq!(
            savepoint_name("release savepoint A", "RELEASE").as_deref(),
            Some("a")
        );
        assert_eq!(savepoint_name("ROLLBACK", "ROLLBACK"), None);
        assert_eq!(savepoint_name("ROLLBACK TRANSACTION", "ROLLBACK"), None);
    }

    #[test]
    fn a_script_is_cut_where_sqlite_ends_its_statements() {
        let connection = Connection::open_in_memory();
        let Ok(connection) = connection else {
            return assert!(connection.is_ok());
        };
        let cut =
            |text: &str| first_statement(&connection, text).map(|length| text[..length].to_owned());
        assert_eq!(
            cut("SELECT ';'; SELECT 2").ok().as_deref(),
            Some("SELECT ';';")
        );
        assert_eq!(
            cut("SELECT 1 /* ; */; x").ok().as_deref(),
            Some("SELECT 1 /* ; */;")
        );
        assert_eq!(cut("SELECT 1").ok().as_deref(), Some("SELECT 1"));
    }

    #[test]
    fn the_queue_refuses_control_and_several_statements() {
        let connection = Connection::open_in_memory();
        let Ok(connection) = connection else {
            return assert!(connection.is_ok());
        };
        for sql in [
            "COMMIT",
            "PRAGMA user_version = 1",
            "SELECT 1; SELECT 2",
            "",
            " ; ",
            "-- nothing",
        ] {
            assert!(
                check_queued(&connection, sql).is_err_and(|error| error.code == Code::InvalidSql),
                "{sql:?}"
            );
        }
        assert!(check_queued(&connection, "SELECT ';'; -- one").is_ok());
    }
}
