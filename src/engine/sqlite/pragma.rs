//! A PRAGMA of the caller's own: what it may undo on a connection is done again, and it is noted whether what the caller reads
//! depends on it.

use super::session::Session;
use super::statement::without_comments;
use crate::engine::Ran;
use crate::error::{Code, Result, StoreError};
use crate::rows::{RowSink, SqlText};
use crate::value::Value;

/// Pragmas that change nothing of what a statement reads, so that reading stays the matter of connections without them.
const HARMLESS: [&str; 30] = [
    "analysis_limit",
    "application_id",
    "auto_vacuum",
    "busy_timeout",
    "cache_size",
    "cache_spill",
    "checkpoint_fullfsync",
    "defer_foreign_keys",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "fullfsync",
    "incremental_vacuum",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "journal_mode",
    "journal_size_limit",
    "max_page_count",
    "mmap_size",
    "optimize",
    "page_size",
    "quick_check",
    "synchronous",
    "table_info",
    "table_list",
    "table_xinfo",
    "temp_store",
    "threads",
];

/// The same, where the names have more in common.
const HARMLESS_BEGINS: [&str; 5] = ["wal_", "user_", "schema_v", "soft_heap", "hard_heap"];

/// `PRAGMA [schema.]name [= value | (value)]`: the name in lower case, and the value.
fn parts(sql: &str) -> Option<(String, Option<&str>)> {
    let rest = without_comments(sql);
    let rest = rest
        .get(.."pragma".len())
        .filter(|word| word.eq_ignore_ascii_case("pragma"))
        .and(rest.get("pragma".len()..))?;
    let rest = without_comments(rest);
    let end = rest.find(['=', '(', ';']).unwrap_or(rest.len());
    let (name, value) = rest.split_at(end);
    let name = name.rsplit('.').next().unwrap_or(name);
    let name = name.trim().trim_matches(['"', '`', '[', ']', '\'']);
    let value = value.trim_matches(|letter: char| {
        letter.is_ascii_whitespace() || matches!(letter, '=' | '(' | ')' | ';')
    });
    Some((
        name.to_ascii_lowercase(),
        (!value.is_empty()).then_some(value),
    ))
}

/// Pragmas that tell of the file, whatever value they are given.
const TELLS: [&str; 10] = [
    "collation_list",
    "compile_options",
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Pragmas that tell of the file if they are given no value.
const TELLS_BARE: [&str; 8] = [
    "application_id",
    "encoding",
    "freelist_count",
    "integrity_check",
    "page_count",
    "quick_check",
    "schema_version",
    "user_version",
];

/// Whether a statement is a PRAGMA that only reads the file, as any connection would.
pub fn only_reads(sql: &str) -> bool {
    parts(sql).is_some_and(|(name, value)| {
        TELLS.contains(&name.as_str()) || value.is_none() && TELLS_BARE.contains(&name.as_str())
    })
}

/// Refuses what would take the file from the store's own reading connections.
fn check_shared(name: &str, value: Option<&str>) -> Result<()> {
    let is_value = |wanted: &str| {
        value.is_some_and(|value| value.trim_matches(['"', '\'']).eq_ignore_ascii_case(wanted))
    };
    let refused = match name {
        "locking_mode" if is_value("exclusive") => "would lock the store's own readers out",
        _ => return Ok(()),
    };
    let mut error = StoreError::new(
        Code::InvalidArgument,
        format!("PRAGMA {name} = {}: {refused}", value.unwrap_or_default()),
    )
    .not_written();
    error.sqlite_code = Some("SQLITE_MISUSE".to_owned());
    Err(error)
}

/// Whether a statement changes how the connection reads.
fn changes_reading(name: &str) -> bool {
    !HARMLESS.contains(&name) && !HARMLESS_BEGINS.iter().any(|begin| name.starts_with(begin))
}

/// Runs a PRAGMA, ATTACH, DETACH or VACUUM by `run`.
pub fn run(
    session: &mut Session,
    text: &SqlText,
    sink: &mut dyn RowSink,
    run: &mut dyn FnMut(&mut Session, &mut dyn RowSink) -> Result<Ran>,
) -> Result<Ran> {
    let pragma = parts(&text.sql);
    // SQLite's own waiting would keep the others of the line from their turn: how long is the store's matter.
    if let Some((name, value)) = &pragma
        && name == "busy_timeout"
    {
        if let Some(value) = value {
            let milliseconds: f64 = value.parse().unwrap_or(0.0);
            session.busy_timeout_ms = Some(milliseconds.clamp(0.0, 2_147_483_647.0));
            session.is_timeout_new = true;
        }
        let milliseconds = session
            .busy_timeout_ms
            .unwrap_or(session.default_timeout_ms);
        sink.columns(0, &|| vec!["timeout".to_owned()]);
        sink.row(&vec![Value::Integer(milliseconds as i64)]);
        return Ok(session.nothing_changed());
    }
    if let Some((name, value)) = &pragma
        && !session.is_alone
    {
        check_shared(name, *value)?;
    }
    let ran = run(session, sink)?;
    session.after_pragma()?;
    if let Some((name, Some(_))) = pragma
        && changes_reading(&name)
    {
        session.has_pragmas = true;
    }
    Ok(ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pragma_is_taken_apart_however_it_is_written() {
        let found = |sql| parts(sql).map(|(name, value)| (name, value.map(str::to_owned)));
        let of =
            |name: &str, value: Option<&str>| Some((name.to_owned(), value.map(str::to_owned)));
        assert_eq!(found("PRAGMA user_version"), of("user_version", None));
        assert_eq!(
            found("-- x\n pragma main.Cache_Size = -2000 ;"),
            of("cache_size", Some("-2000"))
        );
        assert_eq!(
            found("PRAGMA table_info('a b')"),
            of("table_info", Some("'a b'"))
        );
        assert_eq!(found("VACUUM"), None);
    }

    #[test]
    fn a_pragma_that_only_tells_of_the_file_is_a_read() {
        for sql in [
            "PRAGMA table_info(t)",
            "pragma main.user_version;",
            "PRAGMA quick_check",
        ] {
            assert!(only_reads(sql), "{sql}");
        }
        for sql in [
            "PRAGMA user_version = 1",
            "PRAGMA cache_size",
            "PRAGMA data_version",
            "VACUUM",
        ] {
            assert!(!only_reads(sql), "{sql}");
        }
    }

    #[test]
    fn only_what_changes_reading_binds_the_caller_to_the_session() {
        for name in [
            "journal_mode",
            "wal_checkpoint",
            "user_version",
            "foreign_keys",
        ] {
            assert!(!changes_reading(name), "{name}");
        }
        for name in [
            "case_sensitive_like",
            "reverse_unordered_selects",
            "writable_schema",
        ] {
            assert!(changes_reading(name), "{name}");
        }
    }
}
