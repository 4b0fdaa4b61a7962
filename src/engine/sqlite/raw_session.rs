//! What the raw handle does on a connection beyond writing.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::ffi;

use super::backup::{self, Backup};
use super::failure::store_error;
use super::prepared::{Known, OF_SESSION};
use super::session::Session;
use super::statement;
use crate::engine::{ColumnOrigin, Description, Progress, Ran, RawSession, ReadSession};
use crate::error::{Code, Result, StoreError};
use crate::rows::{Cell, RowSink, SqlText};

impl Session {
    /// What a statement that changes nothing says.
    pub(super) fn nothing_changed(&self) -> Ran {
        Ran {
            changes: 0,
            last_insert_rowid: self.connection.last_insert_rowid(),
        }
    }

    /// Sees whether a statement has made or removed temporary objects or attached databases.
    pub(super) fn note_objects(&mut self, sql: &str) {
        let removes = statement::without_comments(sql).starts_with(['d', 'D']);
        if self.has_objects.is_some() || !removes {
            self.has_objects = Some(self.look_for_objects());
        }
    }

    /// Sees to it that statements are prepared against the newest schema: on its own SQLite looks for another one only when a
    /// statement runs, and the caller may have changed it on the writing session.
    fn see_schema(&mut self) -> Result<()> {
        if self.is_alone || self.in_transaction() {
            return Ok(());
        }
        let now = self.commit_state();
        if now.is_some() && now == self.schema_seen {
            return Ok(());
        }
        self.connection
            .prepare_cached("SELECT 1 FROM sqlite_schema LIMIT 1")
            .and_then(|mut first| first.exists([]))
            .map_err(|error| store_error("cannot look at the schema", &error))?;
        self.schema_seen = now;
        Ok(())
    }

    /// Whether a view may tell something of the session that reads it: then any statement may.
    fn has_views_of_session(&mut self) -> bool {
        let version = self
            .connection
            .prepare_cached("PRAGMA schema_version")
            .and_then(|mut version| version.query_row([], |row| row.get::<_, i64>(0)));
        let Ok(version) = version else { return true };
        if let Some((of, has_views)) = self.views
            && of == version
        {
            return has_views;
        }
        let words = OF_SESSION
            .map(|word| format!("sql LIKE '%{word}%'"))
            .join(" OR ");
        let found = self
            .connection
            .prepare_cached(&format!(
                "SELECT 1 FROM main.sqlite_schema WHERE type = 'view' AND ({words})"
            ))
            .and_then(|mut views| views.exists([]))
            .unwrap_or(true);
        self.views = Some((version, found));
        found
    }

    /// What was taken back may have been a temporary object, or its removal.
    pub(super) fn note_rollback(&mut self) {
        if self.has_objects.is_some() {
            self.has_objects = Some(self.look_for_objects());
        }
    }

    fn look_for_objects(&self) -> bool {
        // SAFETY: the connection is open; the name is only compared with null. 0 is main, 1 temp.
        let is_attached = unsafe { !ffi::sqlite3_db_name(self.connection.handle(), 2).is_null() };
        let temporary = self
            .connection
            .prepare_cached("SELECT 1 FROM sqlite_temp_schema LIMIT 1")
            .and_then(|mut first| first.exists([]));
        is_attached || temporary.unwrap_or(true)
    }

    /// A pragma may have ended what the connection was set up with.
    pub(super) fn after_pragma(&mut self) -> Result<()> {
        let told = |error: rusqlite::Error| store_error("cannot set the connection up", &error);
        self.connection
            .busy_timeout(std::time::Duration::ZERO)
            .map_err(told)?;
        if self.watches_log {
            self.watch_log().map_err(told)?;
        }
        Ok(())
    }
}

impl RawSession for Session {
    fn describe(&mut self, text: &SqlText) -> Result<Description> {
        self.see_schema()?;
        let known = self.prepared.get(&self.connection, text)?;
        let mut about = known.describe(&text.sql);
        about.is_of_session = about.is_of_session || self.has_views_of_session();
        Ok(about)
    }

    fn origins(&mut self, text: &SqlText) -> Result<Vec<ColumnOrigin>> {
        self.see_schema()?;
        let known = self.prepared.get(&self.connection, text)?;
        Ok(known.statement.origins())
    }

    fn expanded(&mut self, text: &SqlText, params: &[Cell<'_>]) -> Result<String> {
        // One that stands on a row is left alone.
        if self.prepared.open(text).is_some() {
            return Known::prepare(&self.connection, &text.sql)?.expanded(params);
        }
        self.prepared.get(&self.connection, text)?.expanded(params)
    }

    fn begin_rows(&mut self, text: &SqlText, params: &[Cell<'_>]) -> Result<()> {
        self.prepared.get(&self.connection, text)?.begin(params)
    }

    fn first_rows(
        &mut self,
        text: &SqlText,
        params: &[Cell<'_>],
        most: usize,
        sink: &mut dyn RowSink,
    ) -> Result<()> {
        let known = self.prepared.get(&self.connection, text)?;
        known.run(params, most, sink)
    }

    fn keep_snapshot(&mut self) -> bool {
        self.keep_fresh()
    }

    fn let_go(&mut self) {
        self.let_go_now();
    }

    fn fetch(&mut self, text: &SqlText, most: usize, sink: &mut dyn RowSink) -> Result<bool> {
        match self.prepared.open(text) {
            Some(known) => known.fetch(most, sink),
            None => {
                let mut ended = StoreError::new(
                    Code::SqlError,
                    "the statement has ended: its transaction was rolled back or its connection closed",
                );
                ended.sqlite_code = Some("SQLITE_ABORT".to_owned());
                Err(ended)
            }
        }
    }

    fn leave(&mut self, text: &SqlText) {
        if let Some(known) = self.prepared.open(text) {
            known.leave();
        }
    }

    fn forget(&mut self, text: &SqlText) {
        self.prepared.forget(text);
    }

    fn leave_all(&mut self) {
        self.prepared.leave_all();
    }

    fn run_plain(
        &mut self,
        text: &SqlText,
        params: &[Cell<'_>],
        sink: &mut dyn RowSink,
    ) -> Result<Ran> {
        statement::run_plain(self, text, params, sink)
    }

    fn run_script(&mut self, script: &str) -> Result<()> {
        statement::run_script(self, script)
    }

    fn first_statement<'t>(&mut self, text: &'t str) -> Result<Option<(&'t str, &'t str)>> {
        statement::first_of(&self.connection, text)
    }

    fn last_insert_rowid(&self) -> i64 {
        self.connection.last_insert_rowid()
    }

    fn has_own_state(&mut self) -> bool {
        self.has_pragmas || self.has_objects == Some(true)
    }

    fn take_busy_timeout_ms(&mut self) -> Option<f64> {
        std::mem::take(&mut self.is_timeout_new)
            .then_some(self.busy_timeout_ms)
            .flatten()
    }

    fn has_attached(&self) -> bool {
        self.has_objects == Some(true)
    }

    fn serialize(&mut self, schema: &str) -> Result<Vec<u8>> {
        backup::serialize(&self.connection, schema)
    }

    fn begin_backup(&mut self, number: u64, schema: &str, target: &Path) -> Result<()> {
        let backup = Backup::begin(&self.connection, schema, target)?;
        self.backups.insert(number, backup);
        Ok(())
    }

    fn step_backup(&mut self, number: u64, pages: i32) -> Result<Progress> {
        match self.backups.get_mut(&number) {
            Some(backup) => backup.step(pages),
            None => Err(StoreError::closed()),
        }
    }

    fn end_backup(&mut self, number: u64) {
        self.backups.remove(&number);
    }

    fn set_defensive(&mut self, defensive: bool) -> Result<()> {
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, defensive)
            .map(|_| ())
            .map_err(|error| store_error("cannot change the safety of the connection", &error))
    }
}
