//! Candles as the bytes that `JSON.stringify` gives for the array of their objects.

use crate::candle::{CLUSTERS, CandleSink, CandleView};
use crate::json_text::{is_canonical_object, push_value};
use crate::number_text::{LONGEST, push_number, write_number};

/// What stands before each cell, by column, with its length.
const LABELS: [([u8; LABEL], usize); CLUSTERS] = [
    label(b"{\"time\":"),
    label(b",\"open\":"),
    label(b",\"high\":"),
    label(b",\"low\":"),
    label(b",\"close\":"),
    label(b",\"volume\":"),
    label(b",\"buyVolume\":"),
    label(b",\"sellVolume\":"),
    label(b",\"delta\":"),
    label(b",\"tradeCount\":"),
];
/// Labels are copied as so many bytes, which is one move.
const LABEL: usize = 16;
/// Longer than all labels and numbers of a candle.
const ROW_BYTES: usize = CLUSTERS * (LABEL + LONGEST) + LABEL;

const fn label(text: &[u8]) -> ([u8; LABEL], usize) {
    let mut label = [0; LABEL];
    let mut at = 0;
    while at < text.len() {
        label[at] = text[at];
        at += 1;
    }
    (label, text.len())
}

/// Takes candles and makes an array of them, between a prefix that is there already and what is to come after it.
#[derive(Debug, Default)]
pub struct JsonRows {
    pub bytes: Vec<u8>,
    pub count: usize,
    /// Time of the first candle.
    pub oldest: Option<f64>,
    /// A footprint is there that JavaScript would read and write anew as something else, so that these bytes are not
    /// what it makes; or the first candle has a time that is no number. Only JavaScript can tell then.
    pub needs_javascript: bool,
}

impl JsonRows {
    /// Begins an array after `prefix`, in empty memory.
    pub fn after(prefix: &[u8], memory: Vec<u8>) -> Self {
        let mut bytes = memory;
        bytes.extend_from_slice(prefix);
        bytes.push(b'[');
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// Ends the array.
    pub fn end(&mut self) {
        self.bytes.push(b']');
    }
}

impl CandleSink for JsonRows {
    fn candle(&mut self, candle: CandleView<'_>) {
        let bytes = &mut self.bytes;
        if self.count == 0 {
            self.oldest = Some(candle.numbers[0]);
            self.needs_javascript = candle.odd.iter().any(|(column, _)| *column == 0);
        } else {
            bytes.push(b',');
        }
        self.count += 1;
        if candle.odd.is_empty() {
            // All in one place and copied once: a write to the vector for each part would take as long as the digits.
            let mut row = [0; ROW_BYTES];
            let mut at = 0;
            for (label, value) in LABELS.iter().zip(candle.numbers) {
                row[at..at + LABEL].copy_from_slice(&label.0);
                at += label.1;
                if let Some(place) = row[at..].first_chunk_mut() {
                    at += write_number(place, *value);
                }
            }
            bytes.extend_from_slice(&row[..at]);
        } else {
            for (column, label) in LABELS.iter().enumerate() {
                bytes.extend_from_slice(&label.0[..label.1]);
                match candle.odd.iter().find(|(odd, _)| *odd == column) {
                    None => push_number(bytes, candle.numbers[column]),
                    Some((_, value)) => push_value(bytes, value),
                }
            }
        }
        bytes.extend_from_slice(b",\"clusters\":");
        match candle.clusters {
            Some(text) if !text.is_empty() => {
                let is_canonical = candle.is_canonical;
                self.needs_javascript |=
                    !is_canonical.unwrap_or_else(|| is_canonical_object(text.as_bytes()));
                bytes.extend_from_slice(text.as_bytes());
            }
            _ => bytes.extend_from_slice(b"{}"),
        }
        bytes.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn json(candles: &[CandleView<'_>]) -> JsonRows {
        let mut rows = JsonRows::after(b"<", Vec::new());
        for candle in candles {
            rows.candle(*candle);
        }
        rows.end();
        rows
    }

    fn text(rows: &JsonRows) -> &str {
        std::str::from_utf8(&rows.bytes).unwrap_or_default()
    }

    const NUMBERS: [f64; CLUSTERS] = [1e12, 1.5, 2.0, -0.0, 1e-7, 0.1, 3.0, 4.0, -1.0, 9.0];
    const PLAIN: CandleView<'_> = CandleView {
        numbers: &NUMBERS,
        clusters: None,
        is_canonical: None,
        odd: &[],
    };

    #[test]
    fn no_candles_are_an_empty_array() {
        assert_eq!(text(&json(&[])), "<[]");
        assert_eq!(json(&[]).oldest, None);
    }

    #[test]
    fn candles_look_as_json_stringify_makes_them() {
        let with_clusters = CandleView {
            clusters: Some(r#"{"1.5":{"bid":1,"ask":2}}"#),
            ..PLAIN
        };
        let rows = json(&[PLAIN, with_clusters]);
        let candle = r#"{"time":1000000000000,"open":1.5,"high":2,"low":0,"close":1e-7,"volume":0.1,"buyVolume":3,"sellVolume":4,"delta":-1,"tradeCount":9,"clusters":"#;
        assert_eq!(
            text(&rows),
            format!(r#"<[{candle}{{}}}},{candle}{{"1.5":{{"bid":1,"ask":2}}}}}}]"#)
        );
        assert!(!rows.needs_javascript);
        assert_eq!(rows.oldest, Some(1e12));
    }

    #[test]
    fn cells_of_other_programs_are_written_as_what_javascript_reads() {
        let odd = [
            (0, Value::Text("1\"2".into())),
            (1, Value::Null),
            (9, Value::Blob(vec![1, 2])),
        ];
        let rows = json(&[CandleView { odd: &odd, ..PLAIN }]);
        let text = text(&rows);
        assert!(
            text.starts_with(r#"<[{"time":"1\"2","open":null,"high":2,"#),
            "{text}"
        );
        assert!(
            text.contains(r#""tradeCount":{"type":"Buffer","data":[1,2]},"clusters":{}"#),
            "{text}"
        );
        assert!(rows.needs_javascript, "its time is no number");
    }

    #[test]
    fn a_footprint_that_javascript_would_write_otherwise_is_left_to_it() {
        for clusters in ["{ }", "null", "7", "{\"b\":1.0}", "{"] {
            let rows = json(&[CandleView {
                clusters: Some(clusters),
                ..PLAIN
            }]);
            assert!(rows.needs_javascript, "{clusters}");
        }
        let empty = CandleView {
            clusters: Some(""),
            ..PLAIN
        };
        assert!(!json(&[empty]).needs_javascript);
    }
}
