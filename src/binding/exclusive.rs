//! Names that one store has at a time among all processes that use the database.

use napi_derive::napi;

use super::call;
use super::store::NativeStore;
use crate::store::NameAnswer;

/// What a try to take a name came to.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct TakenName {
    /// The number of the hold; 0 when somebody has the name.
    pub hold: f64,
    /// The process that has it, where that can be known.
    pub held_by: Option<u32>,
}

#[napi]
impl NativeStore {
    /// One try to take a name.
    #[napi]
    pub fn take_name(&self, name: String) -> napi::Result<TakenName> {
        call(|| {
            Ok(match self.handle.take_name(&name)? {
                NameAnswer::Taken(number) => TakenName {
                    hold: number as f64,
                    held_by: None,
                },
                NameAnswer::HeldBy(process) => TakenName {
                    hold: 0.0,
                    held_by: process,
                },
            })
        })
    }

    /// Gives a name back; whether somebody has asked for it meanwhile.
    #[napi]
    pub fn give_back(&self, hold: f64) -> bool {
        self.handle.give_back(hold as u64)
    }
}
