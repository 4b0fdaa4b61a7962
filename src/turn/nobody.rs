//! No line: a platform on which it has not been built. Opening it always fails.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Room, Urgency};

/// A line that cannot be opened, so nothing is ever asked of it.
pub enum Turn {}

impl Turn {
    pub fn is_there(_database: &Path) -> bool {
        false
    }

    pub fn open(_database: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn comes_within(&mut self, _time: Duration, _urgency: Urgency) -> bool {
        match *self {}
    }

    pub fn pause(&self, _time: Duration) {
        match *self {}
    }

    pub fn begun(&mut self) {
        match *self {}
    }

    pub fn leave(&mut self) {
        match *self {}
    }

    pub fn is_copying(&self) -> bool {
        match *self {}
    }

    pub fn begin_copying(&self) -> bool {
        match *self {}
    }

    pub fn end_copying(&self) {
        match *self {}
    }

    pub fn database(&self) -> &Path {
        match *self {}
    }

    pub fn room(&self) -> &Room {
        match *self {}
    }

    pub fn is_member(&self, _pid: u32) -> bool {
        match *self {}
    }
}
