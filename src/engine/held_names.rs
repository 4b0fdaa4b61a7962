//! The exclusive names of a database that nobody but this process can use.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{NameHold, Taking};

/// Names that are held, each with whether somebody has asked for it.
type Names = HashMap<String, bool>;

#[derive(Default)]
pub struct HeldNames(Arc<Mutex<Names>>);

impl HeldNames {
    pub fn take(&self, name: &str) -> Taking {
        match lock(&self.0).entry(name.to_owned()) {
            Entry::Occupied(mut held) => {
                held.insert(true);
                Taking::Held {
                    by: Some(std::process::id()),
                }
            }
            Entry::Vacant(free) => {
                free.insert(false);
                Taking::Taken(Box::new(Hold {
                    names: Some(self.0.clone()),
                    name: name.to_owned(),
                }))
            }
        }
    }
}

fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Hold {
    /// `None` once the name was given back.
    names: Option<Arc<Mutex<Names>>>,
    name: String,
}

impl Hold {
    fn release(&mut self) -> bool {
        let names = self.names.take();
        names.is_some_and(|names| lock(&names).remove(&self.name) == Some(true))
    }
}

impl NameHold for Hold {
    fn give_back(mut self: Box<Self>) -> bool {
        self.release()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}
