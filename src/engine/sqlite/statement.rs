//! Statements of the caller's own: what kind each is, how it is run, and how one outside a transaction gets the
//! write lock first, so that SQLite never has to answer "database is locked" in the middle of it.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};

use super::failure::{commit_error, store_error};
use super::session::Session;
use crate::engine::{Description, LockWait, ReadSession, StatementKind, Step, WriteSession};
use crate::error::{Code, Result, StoreError};
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

fn kind(sql: &str, statement: &rusqlite::Statement<'_>) -> StatementKind {
    control_kind(sql).unwrap_or(if statement.readonly() {
        StatementKind::Reads
    } else {
        StatementKind::Writes
    })
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

pub fn describe(connection: &Connection, sql: &str) -> Result<Description> {
    one_statement(connection, sql)?;
    let statement = connection
        .prepare_cached(sql)
        .map_err(|error| store_error("cannot prepare the statement", &error).not_written())?;
    Ok(Description {
        reader: statement.column_count() > 0,
        read_only: kind(sql, &statement) == StatementKind::Reads,
    })
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
        // SQLite keeps the number of an earlier statement after one that changes no rows.
        changes: if connection.total_changes() == before {
            0
        } else {
            connection.changes()
        },
        last_insert_rowid: connection.last_insert_rowid(),
    })
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
    // What hooks do not see: REPLACE's deletions, DELETE without WHERE, DROP, statements undone half-way; and the
    // same in triggers, which is told by changes that are not the statement's own.
    let before = session.connection.total_changes();
    let result = run(&session.connection, given, most_rows);
    let triggered = match &result {
        Ok(result) => session.connection.total_changes() - before != result.changes,
        Err(_) => true,
    };
    if triggered || given.sql.to_ascii_lowercase().contains("candles_") {
        session.set_uncounted();
    }
    result
}

/// Runs one statement of the raw handle: outside a transaction a write gets the lock first and is committed.
pub fn execute(
    session: &mut Session,
    given: &Statement,
    most_rows: Option<usize>,
    wait: &mut LockWait<'_>,
    steps: &mut Vec<Step>,
) -> Result<StatementResult> {
    one_statement(&session.connection, &given.sql)?;
    let told = |error| store_error("cannot prepare the statement", &error).not_written();
    let kind = match control_kind(&given.sql) {
        Some(kind) => kind,
        None => kind(
            &given.sql,
            &*session
                .connection
                .prepare_cached(&given.sql)
                .map_err(told)?,
        ),
    };
    let outside = !session.in_transaction();
    match kind {
        StatementKind::Writes if outside => {
            wait.begin(session)?;
            let result = run_counted(session, given, most_rows).and_then(|result| {
                steps.push(Step::Committed(session.commit()?));
                Ok(result)
            });
            if result.is_err() {
                session.rollback();
            }
            result
        }
        StatementKind::Begins if outside => {
            // Any BEGIN takes the write lock now; the statement itself is only checked.
            session
                .connection
                .prepare_cached(&given.sql)
                .map_err(told)?;
            wait.begin(session)?;
            if let Some(name) = savepoint_name(&given.sql, "SAVEPOINT") {
                if let Err(error) = run(&session.connection, given, most_rows) {
                    session.rollback();
                    return Err(error);
                }
                session.savepoints = Some(vec![name]);
            }
            Ok(StatementResult::default())
        }
        StatementKind::Controls => run_control(session, given, outside, steps),
        StatementKind::Unwrapped => {
            session.forget_wal_index();
            let mut result = StatementResult::default();
            wait.step(&mut || {
                result = run(&session.connection, given, most_rows)?;
                Ok(())
            })?;
            Ok(result)
        }
        StatementKind::Reads => run(&session.connection, given, most_rows),
        StatementKind::Begins => {
            let result = run(&session.connection, given, most_rows)?;
            if let Some(name) = savepoint_name(&given.sql, "SAVEPOINT") {
                session
                    .savepoints
                    .iter_mut()
                    .for_each(|open| open.push(name.clone()));
                steps.push(Step::Savepoint(name));
            }
            Ok(result)
        }
        StatementKind::Writes => {
            let result = run_counted(session, given, most_rows);
            // OR ROLLBACK and RAISE(ROLLBACK) end the transaction.
            if !session.in_transaction() {
                session.rollback();
                steps.push(Step::RolledBack);
            }
            result
        }
    }
}

/// Whether a statement is a ROLLBACK of any kind.
pub fn rolls_back(sql: &str) -> bool {
    let word: String = without_comments(sql)
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect();
    word.eq_ignore_ascii_case("ROLLBACK")
}

/// The name in `SAVEPOINT name`, `RELEASE [SAVEPOINT] name` or `ROLLBACK [TRANSACTION] TO [SAVEPOINT] name`,
/// lower-case and without quotes.
fn savepoint_name(sql: &str, word: &str) -> Option<String> {
    let mut words = without_comments(sql)
        .split(|letter: char| letter.is_ascii_whitespace() || letter == ';')
        .filter(|found| !found.is_empty());
    if !words.next()?.eq_ignore_ascii_case(word) {
        return None;
    }
    let mut to = !word.eq_ignore_ascii_case("ROLLBACK");
    let mut noise = |found: &str| {
        let known = ["TRANSACTION", "TO", "SAVEPOINT"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(found));
        to |= found.eq_ignore_ascii_case("TO");
        known
    };
    let name = words.find(|found| !noise(found));
    let name = name.filter(|_| to)?;
    Some(
        name.trim_matches(['"', '\'', '`', '[', ']'])
            .to_ascii_lowercase(),
    )
}

fn run_control(
    session: &mut Session,
    given: &Statement,
    outside: bool,
    steps: &mut Vec<Step>,
) -> Result<StatementResult> {
    let rolls_back = rolls_back(&given.sql);
    let control = |session: &mut Session, sql: &str| {
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
    control(session, &given.sql)?;
    if let Some(name) = savepoint_name(&given.sql, "ROLLBACK") {
        // Rows undone were counted when they were written.
        session.set_uncounted();
        if let Some(open) = &mut session.savepoints {
            let place = open.iter().rposition(|known| *known == name).unwrap_or(0);
            open.truncate(place + 1);
        }
        steps.push(Step::RolledBackTo(name));
    }
    if let Some(name) = savepoint_name(&given.sql, "RELEASE") {
        if let Some(open) = &mut session.savepoints {
            open.truncate(open.iter().rposition(|known| *known == name).unwrap_or(0));
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
    Ok(StatementResult::default())
}

/// Runs a script statement by statement, each prepared after the one before has run.
pub fn execute_script(
    session: &mut Session,
    script: &str,
    wait: &mut LockWait<'_>,
    steps: &mut Vec<Step>,
) -> Result<()> {
    let mut rest = script;
    loop {
        rest = without_comments(rest);
        if rest.is_empty() {
            return Ok(());
        }
        let length = first_statement(&session.connection, rest)?;
        let statement = Statement {
            sql: rest[..length].to_owned(),
            params: Default::default(),
        };
        execute(session, &statement, Some(0), wait, steps)?;
        rest = &rest[length..];
    }
}

/// Runs the statements of a script on a connection that only reads.
pub fn query_script(connection: &Connection, script: &str) -> Result<()> {
    let mut rest = without_comments(script);
    while !rest.is_empty() {
        let length = first_statement(connection, rest)?;
        let statement = Statement {
            sql: rest[..length].to_owned(),
            params: Default::default(),
        };
        run(connection, &statement, Some(0))?;
        rest = without_comments(&rest[length..]);
    }
    Ok(())
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
            Some("a")
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
