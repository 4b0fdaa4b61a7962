//! Footprints, `{"64123.45":{"bid":0.25,"ask":1.5},"64123.5":{"bid":3,"ask":0}}`, also with `"delta"` and `"imbalance"`
//! behind: nearly all the JSON that is stored. A level is looked at as one window of bytes. What does not look so is
//! not judged here.

use std::ops::RangeInclusive;

use super::masks::{self, Masks, WINDOW};
use super::number;

/// How long prices and plain numbers are: a double has any decimal of so many characters.
const LENGTHS: RangeInclusive<usize> = 1..=15;
/// For room.
const SHORT_LEVEL: usize = 32;
const BID: &[u8; 9] = b"\":{\"bid\":";
const ASK: &[u8; 7] = b",\"ask\":";
const DELTA: &[u8; 9] = b",\"delta\":";
const IMBALANCE: &[u8; 13] = b",\"imbalance\":";

/// Whether the text is a canonical footprint.
pub fn is_canonical(text: &[u8]) -> bool {
    let mut outermost = Outermost::default();
    match levels(text, &mut outermost) {
        None => false,
        Some(Found::Canonical) => true,
        Some(Found::Unordered) => {
            let mut all = All(Vec::with_capacity(text.len() / SHORT_LEVEL));
            levels(text, &mut all) == Some(Found::Canonical) && all.are_unique()
        }
    }
}

#[derive(PartialEq)]
enum Found {
    Canonical,
    /// A price may be one of those before: all of them must be compared.
    Unordered,
}

/// How prices with decimals are known to be unique.
trait Prices {
    /// Adds a price; false if it may be one of those before.
    fn add(&mut self, price: Price) -> bool;
    fn is_empty(&self) -> bool;
}

/// Prices that ascend, descend or spread from where they began, each lower or higher than all before it.
struct Outermost {
    low: Price,
    high: Price,
}

impl Default for Outermost {
    fn default() -> Self {
        Self {
            low: Price(u64::MAX),
            high: Price(0),
        }
    }
}

impl Prices for Outermost {
    #[inline(always)]
    fn add(&mut self, price: Price) -> bool {
        let outside = (price < self.low) | (price > self.high);
        self.low = self.low.min(price);
        self.high = self.high.max(price);
        outside
    }

    fn is_empty(&self) -> bool {
        self.high == Price(0)
    }
}

/// Prices in any order.
struct All(Vec<Price>);

impl All {
    fn are_unique(&mut self) -> bool {
        self.0.sort_unstable();
        self.0.windows(2).all(|pair| pair[0] != pair[1])
    }
}

impl Prices for All {
    #[inline(always)]
    fn add(&mut self, price: Price) -> bool {
        self.0.push(price);
        true
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The characters of a price as four bits each, ordered by size: before them stands the length of the whole part.
#[derive(Clone, Copy, PartialEq, PartialOrd, Eq, Ord)]
struct Price(u64);

impl Price {
    /// `length` is one of `LENGTHS`.
    #[inline(always)]
    fn new(characters: &[u8; 16], length: usize, whole: usize) -> Self {
        let packed = masks::nibbles(characters);
        let others = (16 - length) * 4;
        Self(packed >> others << others >> 4 | (whole as u64) << 60)
    }
}

/// Where the parts of a level are, counted from the quote before its price.
struct Level {
    price_end: usize,
    /// The first dot of the price, or its end.
    whole_end: usize,
    ask_end: usize,
}

/// Goes through all levels; nothing if one looks different.
#[inline(always)]
fn levels(text: &[u8], prices: &mut impl Prices) -> Option<Found> {
    let mut printed = Vec::new();
    let mut index = Price(0);
    if !text.starts_with(b"{\"") {
        return None;
    }
    let mut at = 1;
    loop {
        let rest = text.get(at..)?;
        let level = match rest.first_chunk() {
            Some(window) => usual(window),
            None => usual(&padded(rest)),
        };
        let level = match level {
            Some(level) => level,
            None => careful(rest, &mut printed)?,
        };
        let characters = rest.get(1..17)?.first_chunk()?;
        let price = Price::new(characters, level.price_end - 1, level.whole_end - 1);
        if level.whole_end < level.price_end {
            if !prices.add(price) {
                return Some(Found::Unordered);
            }
        } else {
            // V8 puts whole numbers first, ascending.
            if !prices.is_empty() || price <= index || needless_zero(rest, level.price_end) {
                return None;
            }
            index = price;
        }
        let mut end = level.ask_end;
        if rest.get(end) != Some(&b'}') {
            end = more(rest, end, &mut printed)?;
        }
        if after(rest, end, b"},\"").is_some() {
            at += end + 2;
        } else {
            return (rest.get(end..)? == b"}}").then_some(Found::Canonical);
        }
    }
}

fn needless_zero(rest: &[u8], price_end: usize) -> bool {
    rest[1] == b'0' && price_end > 2
}

fn padded(rest: &[u8]) -> [u8; WINDOW] {
    let mut window = [0; WINDOW];
    window[..rest.len()].copy_from_slice(rest);
    window
}

/// A level with short plain numbers whose first three are in the window.
#[inline(always)]
fn usual(window: &[u8; WINDOW]) -> Option<Level> {
    let masks = masks::of_window(window);
    let others = !masks.numbers();
    let price_end = next(others, 1);
    let bid = price_end + BID.len();
    let bid_end = next(others, bid);
    let ask = bid_end + ASK.len();
    let ask_end = next(others, ask);
    // Each is behind the one before, so all are in the window if the last is.
    if ask_end >= WINDOW {
        return None;
    }
    let values = below(ask_end) & !below(price_end);
    let shaped = window.get(price_end..bid)? == BID
        && window.get(bid_end..ask)? == ASK
        && LENGTHS.contains(&(price_end - 1))
        && LENGTHS.contains(&(bid_end - bid))
        && LENGTHS.contains(&(ask_end - ask))
        && masks.doubts() & values == 0;
    shaped.then_some(Level {
        price_end,
        whole_end: (masks.dots.trailing_zeros() as usize).min(price_end),
        ask_end,
    })
}

/// The first set bit from `at` on, or at least 64 if there is none or `at` is beyond.
#[inline(always)]
fn next(bits: u64, at: usize) -> usize {
    at + bits.wrapping_shr(at as u32).trailing_zeros() as usize
}

/// The bits below one that is in the window.
#[inline(always)]
fn below(bit: usize) -> u64 {
    (1 << bit) - 1
}

/// Any other level: one with long numbers, or with exponents.
#[cold]
#[inline(never)]
fn careful(rest: &[u8], printed: &mut Vec<u8>) -> Option<Level> {
    let price = rest.get(1..)?;
    let price_end = 1 + price
        .iter()
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'.'))
        .count();
    if !LENGTHS.contains(&(price_end - 1)) {
        return None;
    }
    let whole = price.iter().take_while(|byte| **byte != b'.').count();
    let bid_end = after(rest, price_end, BID).and_then(|at| number_end(rest, at, printed))?;
    let ask_end = after(rest, bid_end, ASK).and_then(|at| number_end(rest, at, printed))?;
    Some(Level {
        price_end,
        whole_end: (whole + 1).min(price_end),
        ask_end,
    })
}

/// What may stand behind bid and ask. Returns its end.
#[inline(never)]
fn more(rest: &[u8], end: usize, printed: &mut Vec<u8>) -> Option<usize> {
    let mut end = end;
    if let Some(at) = after(rest, end, DELTA) {
        end = number_end(rest, at, printed)?;
    }
    if let Some(at) = after(rest, end, IMBALANCE) {
        end = match rest.get(at)? {
            b't' => after(rest, at, b"true")?,
            b'f' => after(rest, at, b"false")?,
            _ => number_end(rest, at, printed)?,
        };
    }
    Some(end)
}

/// Where the text goes on, if it is `expected` there.
#[inline(always)]
fn after<const LENGTH: usize>(text: &[u8], at: usize, expected: &[u8; LENGTH]) -> Option<usize> {
    let found = text.get(at..)?.first_chunk::<LENGTH>()?;
    (found == expected).then_some(at + LENGTH)
}

/// The end of the canonical number that begins there.
#[inline(always)]
fn number_end(text: &[u8], at: usize, printed: &mut Vec<u8>) -> Option<usize> {
    let rest = text.get(at..)?;
    let negative = usize::from(*rest.first()? == b'-');
    let length = match rest.get(negative..)?.first_chunk() {
        Some(characters) => short_number(&masks::of_16(characters), negative),
        None => None,
    };
    let length = match length {
        Some(length) => length,
        None => number::canonical(rest, printed)?,
    };
    Some(at + length)
}

/// The length with the sign.
#[inline(always)]
fn short_number(masks: &Masks, negative: usize) -> Option<usize> {
    let length = next(!masks.numbers(), 0);
    let minus_zero = (negative == 1) & (length == 1) & (masks.zeros & 1 == 1);
    let sure = LENGTHS.contains(&length) && masks.doubts() & below(length) == 0 && !minus_zero;
    sure.then_some(length + negative)
}
