//! Any JSON text, looked at byte by byte: is it what `JSON.stringify` makes of what it says? Whatever cannot be decided
//! here, such as numbers as keys beyond what arrays have, counts as no.

use std::cmp::Ordering;

use super::number;

/// Deeper texts are left to JavaScript.
const DEEPEST: usize = 64;
/// So few keys are compared each with each.
const FEW_KEYS: usize = 8;
/// Not every V8 treats it as any other key.
const PROTOTYPE: &[u8] = b"__proto__";

/// Whether the text is an object or an array in the form of `JSON.stringify`.
pub fn is_canonical(text: &[u8]) -> bool {
    if !matches!(text.first(), Some(b'{' | b'[')) || std::str::from_utf8(text).is_err() {
        return false;
    }
    let mut scanner = Scanner {
        text,
        at: 0,
        keys: Vec::new(),
        printed: Vec::new(),
    };
    scanner.value(0).is_some() && scanner.at == text.len()
}

/// Goes through a text of valid UTF-8. Its steps return nothing where the text has another form.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// The keys so far of the objects that are open, but for numbers.
    keys: Vec<&'a [u8]>,
    printed: Vec<u8>,
}

impl<'a> Scanner<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.text.get(self.at)? {
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' => self.string().map(|_| ()),
            b't' => self.fixed(b"true"),
            b'f' => self.fixed(b"false"),
            b'n' => self.fixed(b"null"),
            _ => self.number(),
        }
    }

    fn fixed(&mut self, expected: &[u8]) -> Option<()> {
        let found = self.text.get(self.at..)?.starts_with(expected);
        self.at += expected.len();
        found.then_some(())
    }

    /// Takes the byte if it comes next.
    fn takes(&mut self, byte: u8) -> bool {
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        if depth > DEEPEST {
            return None;
        }
        if self.takes(b']') {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if !self.takes(b',') {
                return self.takes(b']').then_some(());
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        if depth > DEEPEST {
            return None;
        }
        if self.takes(b'}') {
            return Some(());
        }
        let first = self.keys.len();
        let mut order = Order::default();
        let mut number: Option<&[u8]> = None;
        loop {
            let key = self.string()?;
            if is_whole_number(key) {
                // V8 puts array indices first, ascending, and leaves longer numbers where they are. In this order both
                // stay.
                let ascending = number.is_none_or(|before| by_size(before, key).is_lt());
                if self.keys.len() > first || !ascending {
                    return None;
                }
                number = Some(key);
            } else {
                if let Some(before) = self.keys.get(first..)?.last() {
                    order.add(before.cmp(&key));
                }
                if key == PROTOTYPE {
                    return None;
                }
                self.keys.push(key);
            }
            self.fixed(b":")?;
            self.value(depth)?;
            if !self.takes(b',') {
                break;
            }
        }
        let keys = self.keys.get_mut(first..)?;
        let unique = order.is_strict() || are_unique(keys);
        self.keys.truncate(first);
        (self.takes(b'}') && unique).then_some(())
    }

    /// The characters between the quotes, as they are written. Every character has one canonical form, so two strings
    /// are the same if their texts are.
    fn string(&mut self) -> Option<&'a [u8]> {
        if !self.takes(b'"') {
            return None;
        }
        let start = self.at;
        loop {
            self.at += plain_characters(self.text.get(self.at..)?);
            match self.text.get(self.at)? {
                b'"' => break,
                b'\\' => self.escape()?,
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        let string = self.text.get(start..self.at)?;
        self.at += 1;
        Some(string)
    }

    fn escape(&mut self) -> Option<()> {
        match self.text.get(self.at + 1)? {
            b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => match self.unit(self.at)? {
                8 | 9 | 10 | 12 | 13 => return None,
                0..0x20 | 0xdc00..=0xdfff => self.at += 6,
                // With a lower one it would be a character, and written as such.
                0xd800..=0xdbff => {
                    self.at += 6;
                    let lower = self.unit(self.at);
                    if lower.is_some_and(|lower| (0xdc00..=0xdfff).contains(&lower)) {
                        return None;
                    }
                }
                _ => return None,
            },
            _ => return None,
        }
        Some(())
    }

    /// The code unit of an escape `\uxxxx` in lower case.
    fn unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| {
            let digit = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            Some(unit << 4 | u32::from(digit))
        })
    }

    fn number(&mut self) -> Option<()> {
        let length = number::canonical(self.text.get(self.at..)?, &mut self.printed)?;
        self.at += length;
        Some(())
    }
}

/// How many bytes at the beginning surely end no string and begin no escape.
fn plain_characters(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, _) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below = |bytes: u64, limit: u64| bytes.wrapping_sub(ONES * limit) & !bytes & HIGH;
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        // A borrow can make bytes after the first one look special, never before it.
        let special = quote | backslash | below(word, 0x20);
        if special != 0 {
            return at * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8
}

/// Whether a key is written as a whole number is: `0`, `17`, and not `007`.
fn is_whole_number(key: &[u8]) -> bool {
    match key {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn by_size(left: &[u8], right: &[u8]) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// What is seen of the order of keys as they come. Those that all ascend or all descend are unique.
#[derive(Default)]
struct Order {
    seen: [bool; 3],
}

impl Order {
    fn add(&mut self, step: Ordering) {
        self.seen[(step as i8 + 1) as usize] = true;
    }

    fn is_strict(&self) -> bool {
        matches!(self.seen, [_, false, false] | [false, false, _])
    }
}

fn are_unique(keys: &mut [&[u8]]) -> bool {
    if keys.len() <= FEW_KEYS {
        return (1..keys.len()).all(|at| !keys[..at].contains(&keys[at]));
    }
    keys.sort_unstable();
    keys.windows(2).all(|pair| pair[0] != pair[1])
}
