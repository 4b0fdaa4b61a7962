//! Names that one handle has at a time among all that use the database.

use std::collections::HashMap;

use super::Handle;
use crate::engine::{NameHold, Taking};
use crate::error::Result;
use crate::writer::lock;

/// What a handle has, by number.
#[derive(Default)]
pub(super) struct Holds {
    last: u64,
    held: HashMap<u64, Box<dyn NameHold>>,
}

impl Holds {
    pub fn give_all_back(&mut self) {
        self.held.clear();
    }
}

/// What a try to take a name came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameAnswer {
    /// Taken: the number of the hold, from 1 on.
    Taken(u64),
    /// Somebody has it, this handle maybe: the process, where that can be known.
    HeldBy(Option<u32>),
}

impl Handle {
    /// One try to take a name. It is held until it is given back or the handle has closed, when all that was accepted from it
    /// is written, or given up at the deadline.
    pub fn take_name(&self, name: &str) -> Result<NameAnswer> {
        // Held from the look at `closed` on, so that a handle that closes at this moment leaves no name taken.
        let mut holds = lock(&self.holds);
        self.check_open()?;
        Ok(match self.store.engine.take_name(name)? {
            Taking::Taken(hold) => {
                holds.last += 1;
                let number = holds.last;
                holds.held.insert(number, hold);
                NameAnswer::Taken(number)
            }
            Taking::Held { by } => NameAnswer::HeldBy(by),
        })
    }

    /// Gives a name back; whether somebody has asked for it meanwhile. A number that stands for nothing any more is left alone.
    pub fn give_back(&self, number: u64) -> bool {
        let hold = lock(&self.holds).held.remove(&number);
        hold.is_some_and(|hold| hold.give_back())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::{Fake, Point};
    use crate::error::Code;
    use crate::store::tests::another_handle;
    use crate::store::{EnqueueOptions, Handle, Store};
    use crate::testing::{FRAME, SYMBOL, options, packed, rows, wait_for};
    use std::sync::Arc;
    use std::thread;

    fn two_handles() -> (Arc<Fake>, Handle, Handle) {
        let options = options();
        let fake = Fake::new(&options.timeframes);
        let store = Store::on(fake.clone(), &options);
        (fake, another_handle(&store).0, another_handle(&store).0)
    }

    fn held() -> NameAnswer {
        NameAnswer::HeldBy(Some(std::process::id()))
    }

    #[test]
    fn handles_on_one_store_exclude_each_other_and_a_handle_itself() -> Result<()> {
        let (_fake, one, other) = two_handles();
        assert_eq!(one.take_name("a")?, NameAnswer::Taken(1));
        assert_eq!(one.take_name("a")?, held());
        assert_eq!(other.take_name("a")?, held());
        assert_eq!(one.take_name("b")?, NameAnswer::Taken(2));
        assert!(one.give_back(1));
        assert!(!one.give_back(2));
        assert_eq!(other.take_name("a")?, NameAnswer::Taken(1));
        Ok(())
    }

    #[test]
    fn a_number_gives_back_once_and_only_what_it_stands_for() -> Result<()> {
        let (_fake, one, other) = two_handles();
        assert_eq!(one.take_name("a")?, NameAnswer::Taken(1));
        assert!(!one.give_back(0) && !one.give_back(2) && !other.give_back(1));
        assert_eq!(other.take_name("a")?, held());
        assert!(one.give_back(1));
        assert_eq!(other.take_name("a")?, NameAnswer::Taken(1));
        assert!(!one.give_back(1));
        assert_eq!(one.take_name("a")?, held());
        Ok(())
    }

    #[test]
    fn a_handle_that_closes_or_is_dropped_gives_its_names_back_and_gets_no_more() -> Result<()> {
        let (_fake, one, other) = two_handles();
        one.take_name("a")?;
        one.take_name("b")?;
        one.close(1_000.0);
        assert_eq!(
            one.take_name("c").map_err(|error| error.code),
            Err(Code::Closed)
        );
        assert!(!one.give_back(1));
        assert_eq!(other.take_name("a")?, NameAnswer::Taken(1));
        let store = other.store.clone();
        let (third, _told) = another_handle(&store);
        drop(other);
        assert_eq!(third.take_name("a")?, NameAnswer::Taken(1));
        Ok(())
    }

    #[test]
    fn what_was_accepted_from_the_holder_is_written_before_its_name_is_free() -> Result<()> {
        let (fake, one, other) = two_handles();
        one.take_name("a")?;
        one.listen(true)?;
        let gate = fake.stop_at(Point::Commit);
        one.enqueue_upsert(
            FRAME.0,
            SYMBOL,
            rows(&packed(&[(1, 7.0)])),
            EnqueueOptions {
                id: 1,
                priority: crate::queue::Priority::Live,
                timeout_ms: None,
                job: 0,
            },
        )?;
        gate.wait();
        thread::scope(|scope| {
            let closing = scope.spawn(|| one.close(20_000.0));
            wait_for("the handle closes", || lock(&one.watch).is_none());
            let answer = other.take_name("a");
            gate.open();
            assert_eq!(answer?, held());
            assert!(closing.join().is_ok());
            assert_eq!(other.take_name("a")?, NameAnswer::Taken(1));
            assert_eq!(fake.close_of(FRAME, SYMBOL, 1), Some(7.0));
            Ok(())
        })
    }
}
