//! A property: whatever callers do, in whatever order, the file holds what a plain map would hold. Random sequences of
//! queued and synchronous writes, raw SQL, leases, locks of other connections, time-outs, withdrawals and closings are
//! done to a store on a real file (`driver`) and then to a plain map, in the order of their commits (`plain`).
//!
//! What is checked: every call is settled once; a write that failed is absent, and it failed for a reason; a newer
//! write is never undone by an older one; and each result says what the write has done.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be unwrapped has failed the property"
)]

mod driver;
mod plain;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::queue::Priority;

/// Series by number: two in one table and one in another.
const SERIES: [(u32, &str); 3] = [(15, "X:A"), (15, "X:B"), (60, "X:A")];
/// Times are below this, so that writes meet.
const TIMES: i64 = 6;
const HANDLES: usize = 3;

/// The close of a candle.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Close {
    /// As some other write may have it: storing it may change nothing.
    Common(u8),
    /// As no other write has it.
    Own,
    /// A trigger refuses it, and the statement alone is undone.
    Refused,
    /// A trigger refuses it, and the whole transaction is undone.
    Ruinous,
}

/// Times from the first up to and without the second.
type Span = (i64, i64);

#[derive(Debug, Clone)]
enum Write {
    Upsert(usize, Vec<(i64, Close)>),
    Delete(usize, Span),
    Raw(Vec<Raw>),
}

/// A statement of the caller's own.
#[derive(Debug, Clone)]
enum Raw {
    Update(usize, Span, u8),
    Delete(usize, Span),
    /// Fails where the candle is there already.
    Insert(usize, i64, u8),
    /// The same, and it takes the transaction with it.
    InsertOrRollback(usize, i64, u8),
}

#[derive(Debug, Clone)]
struct Enqueue {
    handle: usize,
    priority: Priority,
    timeout_ms: Option<u8>,
    write: Write,
}

#[derive(Debug, Clone)]
enum Step {
    Enqueue(Enqueue),
    /// A write that does not wait long, and is waited for.
    Impatient(Enqueue),
    /// Takes back one of the last queued writes.
    Withdraw(usize),
    /// A write on the caller's thread, joining its lease.
    Now(usize, Write),
    Savepoint(bool),
    RollbackTo(bool),
    Release(bool),
    Flush,
    /// Everything else happens while another connection has the lock, and changes something.
    Locked(Vec<Step>, Raw),
    /// A transaction of a handle's caller, begun by SAVEPOINT or by BEGIN.
    Lease(usize, bool, Vec<Step>, End),
    Reopen(usize, bool),
    ReopenAll(bool),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Commit,
    Rollback,
    Abandon,
}

fn close() -> impl Strategy<Value = Close> {
    prop_oneof![
        6 => (0..3_u8).prop_map(Close::Common),
        18 => Just(Close::Own),
        1 => Just(Close::Refused),
        1 => Just(Close::Ruinous),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    (0..TIMES, 1..=TIMES).prop_map(|(from, length)| (from, from + length))
}

fn series() -> impl Strategy<Value = usize> {
    // Most writes meet in one series.
    prop_oneof![4 => Just(0_usize), 1 => 1..SERIES.len()]
}

fn raw() -> impl Strategy<Value = Raw> {
    prop_oneof![
        (series(), span(), 0..3_u8).prop_map(|(of, span, close)| Raw::Update(of, span, close)),
        (series(), span()).prop_map(|(of, span)| Raw::Delete(of, span)),
        (series(), 0..TIMES, 0..3_u8).prop_map(|(of, time, close)| Raw::Insert(of, time, close)),
        (series(), 0..TIMES, 0..3_u8)
            .prop_map(|(of, time, close)| Raw::InsertOrRollback(of, time, close)),
    ]
}

fn upsert() -> impl Strategy<Value = Write> {
    (series(), vec((0..TIMES, close()), 0..4)).prop_map(|(of, rows)| Write::Upsert(of, rows))
}

fn delete() -> impl Strategy<Value = Write> {
    (series(), span()).prop_map(|(of, span)| Write::Delete(of, span))
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        6 => upsert(),
        1 => delete(),
        2 => vec(raw(), 1..3).prop_map(Write::Raw),
    ]
}

fn enqueue(timeout_ms: impl Strategy<Value = Option<u8>>) -> impl Strategy<Value = Enqueue> {
    let priority = prop_oneof![
        2 => Just(Priority::Live),
        2 => Just(Priority::Backfill),
        1 => Just(Priority::Maintenance),
    ];
    (0..HANDLES, priority, timeout_ms, write()).prop_map(|(handle, priority, timeout_ms, write)| {
        Enqueue {
            handle,
            priority,
            timeout_ms,
            write,
        }
    })
}

/// What can be done while something else holds the lock, and at any other time.
fn queued() -> impl Strategy<Value = Step> {
    let perhaps = prop_oneof![8 => Just(None), 1 => (0..3_u8).prop_map(Some)];
    prop_oneof![
        12 => enqueue(perhaps).prop_map(Step::Enqueue),
        1 => enqueue(Just(Some(1))).prop_map(Step::Impatient),
        1 => (0..6_usize).prop_map(Step::Withdraw),
    ]
}

fn leased() -> impl Strategy<Value = Step> {
    // Mostly savepoints of one name, which then stand inside each other.
    let other = || proptest::bool::weighted(0.25);
    prop_oneof![
        4 => queued(),
        5 => write().prop_map(|write| Step::Now(0, write)),
        3 => other().prop_map(Step::Savepoint),
        2 => other().prop_map(Step::RollbackTo),
        1 => other().prop_map(Step::Release),
    ]
}

fn lease() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        6 => Just(End::Commit),
        1 => Just(End::Rollback),
        1 => Just(End::Abandon),
    ];
    (0..HANDLES, any::<bool>(), vec(leased(), 0..12), end)
        .prop_map(|(handle, savepoint, steps, end)| Step::Lease(handle, savepoint, steps, end))
}

fn now() -> impl Strategy<Value = Step> {
    let write = prop_oneof![4 => upsert(), 1 => delete()];
    (0..HANDLES, write).prop_map(|(handle, write)| Step::Now(handle, write))
}

fn step() -> impl Strategy<Value = Step> {
    let locked = prop_oneof![16 => queued(), 1 => now()];
    prop_oneof![
        16 => queued(),
        4 => now(),
        5 => lease(),
        3 => (vec(locked, 0..6), raw()).prop_map(|(steps, raw)| Step::Locked(steps, raw)),
        2 => Just(Step::Flush),
        1 => (0..HANDLES, any::<bool>()).prop_map(|(handle, drain)| Step::Reopen(handle, drain)),
        1 => any::<bool>().prop_map(Step::ReopenAll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_file_holds_what_a_plain_map_would(
        steps in vec(step(), 1..24),
        // With no budget each group is one write.
        budget_ms in prop_oneof![3 => Just(20.0), 1 => Just(0.0)],
    ) {
        driver::run(&steps, budget_ms);
    }
}

fn queued_as(priority: Priority, write: Write) -> Step {
    Step::Enqueue(Enqueue {
        handle: 0,
        priority,
        timeout_ms: None,
        write,
    })
}

#[test]
fn a_savepoint_that_was_undone_overtakes_nothing_after_one_of_its_name_was_released() {
    let upsert = || Write::Upsert(0, vec![(1, Close::Own)]);
    let steps = vec![
        queued_as(Priority::Live, upsert()),
        Step::Savepoint(false),
        Step::Now(0, upsert()),
        Step::Savepoint(false),
        Step::Release(false),
        Step::RollbackTo(false),
    ];
    driver::run(&[Step::Lease(0, false, steps, End::Commit)], 20.0);
}

#[test]
fn an_older_deletion_spares_nothing_that_a_newer_one_has_deleted() {
    let upsert = Write::Upsert(0, vec![(1, Close::Own)]);
    // Committed in the order 4, 1, 3, 2: the third finds its candle deleted and leaves nothing for the second to spare.
    let steps = vec![
        queued_as(Priority::Backfill, Write::Raw(vec![Raw::Insert(0, 1, 0)])),
        queued_as(Priority::Maintenance, Write::Delete(0, (1, 2))),
        queued_as(Priority::Backfill, upsert),
        queued_as(Priority::Live, Write::Delete(0, (1, 2))),
    ];
    for budget_ms in [20.0, 0.0] {
        driver::run(
            &[Step::Locked(steps.clone(), Raw::Delete(1, (0, 1)))],
            budget_ms,
        );
    }
}
