//! Footprints as they come from JS: packed doubles where every level is plain, ready text where one is not (see
//! `lib/footprint.js`). What is stored is the text that `JSON.stringify` gives for the caller's object.

use crate::error::{Code, Result, StoreError};
use crate::number_text::push_number;

/// What stands before each field of a level.
const FIELDS: [&[u8]; 4] = [
    b"{\"bid\":",
    b",\"ask\":",
    b",\"delta\":",
    b",\"imbalance\":",
];
/// A usual level is packed into 32 bytes and makes 40 to 45 characters.
const MORE_TEXT: usize = 2;

/// The texts of packed footprints, separated by line feeds (JSON text holds none).
pub fn texts(packed: &[u8]) -> Result<String> {
    let mut text = Vec::with_capacity(packed.len() * MORE_TEXT);
    let mut packed = Packed(packed);
    while !packed.0.is_empty() {
        if !text.is_empty() {
            text.push(b'\n');
        }
        push_footprint(&mut text, &mut packed).ok_or_else(misshapen)?;
    }
    String::from_utf8(text).map_err(|_| misshapen())
}

fn push_footprint(text: &mut Vec<u8>, packed: &mut Packed<'_>) -> Option<()> {
    let levels = packed.number()?;
    if levels < 0.0 {
        text.extend_from_slice(packed.characters(-levels)?);
        return Some(());
    }
    let fields = FIELDS.get(..packed.number()? as usize)?;
    for level in 0..levels as usize {
        text.extend_from_slice(if level == 0 { b"{\"" } else { b",\"" });
        let length = packed.number()?;
        let (numbers, rest) = packed.0.split_at_checked(fields.len() * 8)?;
        packed.0 = rest;
        text.extend_from_slice(packed.characters(length)?);
        text.extend_from_slice(b"\":");
        let mut numbers = Packed(numbers);
        for field in fields {
            text.extend_from_slice(field);
            match numbers.number()? {
                f64::INFINITY => text.extend_from_slice(b"true"),
                f64::NEG_INFINITY => text.extend_from_slice(b"false"),
                number => push_number(text, number),
            }
        }
        text.push(b'}');
    }
    text.push(b'}');
    Some(())
}

fn misshapen() -> StoreError {
    StoreError::new(Code::InvalidArgument, "the packed footprints are misshapen").not_written()
}

/// What is left to be read.
struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    fn number(&mut self) -> Option<f64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(f64::from_ne_bytes(*number))
    }

    /// Characters, which are padded to whole doubles.
    fn characters(&mut self, count: f64) -> Option<&'a [u8]> {
        let count = count as usize;
        let (padded, rest) = self
            .0
            .split_at_checked(count.checked_next_multiple_of(8)?)?;
        self.0 = rest;
        padded.get(..count)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[derive(Default)]
    struct Given(Vec<u8>);

    impl Given {
        fn numbers(mut self, numbers: &[f64]) -> Self {
            self.0
                .extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
            self
        }

        fn characters(mut self, characters: &[u8]) -> Self {
            self.0.extend_from_slice(characters);
            self.0.resize(self.0.len().next_multiple_of(8), 0xff);
            self
        }
    }

    fn two_levels() -> Given {
        Given::default()
            .numbers(&[2.0, 2.0, 5.0, 1.0, -0.0])
            .characters(b"100.5")
            .numbers(&[8.0, 0.25, 1e21])
            .characters(b"64123.45")
    }

    #[test]
    fn levels_become_the_text_that_json_has_for_them() {
        assert_eq!(
            texts(&two_levels().0).unwrap(),
            r#"{"100.5":{"bid":1,"ask":0},"64123.45":{"bid":0.25,"ask":1e+21}}"#
        );
    }

    #[test]
    fn ready_texts_stay_as_they_are_between_packed_ones() {
        let ready = r#"{"é":1}"#;
        let given = two_levels()
            .numbers(&[-(ready.len() as f64)])
            .characters(ready.as_bytes())
            .numbers(&[2.0, 4.0, 1.0, 1.0, 2.0, -3.0, 0.5])
            .characters(b"7")
            .numbers(&[0.0, 0.0, 0.0, 0.0, f64::INFINITY]);
        let texts = texts(&given.0).unwrap();
        let lines: Vec<_> = texts.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], ready);
        assert_eq!(
            lines[2],
            r#"{"7":{"bid":1,"ask":2,"delta":-3,"imbalance":0.5},"":{"bid":0,"ask":0,"delta":0,"imbalance":true}}"#
        );
    }

    #[test]
    fn nothing_packed_is_no_text() {
        assert_eq!(texts(&[]).unwrap(), "");
    }

    #[test]
    fn what_is_misshapen_is_refused() {
        let whole = two_levels().0;
        for length in 1..whole.len() {
            assert!(texts(&whole[..length]).is_err(), "{length} bytes");
        }
        for numbers in [
            [f64::INFINITY, 2.0],
            [1.0, 5.0],
            [1.0, f64::NAN],
            [f64::NEG_INFINITY, 0.0],
            [-100.0, 0.0],
        ] {
            assert!(texts(&Given::default().numbers(&numbers).0).is_err());
        }
        assert!(
            texts(&Given::default().numbers(&[-2.0]).characters(b"\xff\xff").0).is_err(),
            "no UTF-8"
        );
    }
}
