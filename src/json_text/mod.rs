//! JSON as JavaScript's `JSON.stringify` writes it: texts that are already so are told, so that nobody has to read and
//! write them again, and values are written so. It builds no values of a text.

mod footprint;
mod general;
mod masks;
mod number;
#[cfg(test)]
mod tests;

use crate::number_text::push_number;
use crate::value::Value;

/// Longer texts are left to JavaScript, whose strings and objects have limits of their own.
const LONGEST: usize = 1 << 26;

/// Whether `JSON.stringify(JSON.parse(text))` is the text itself, and an object or an array. No where it is not sure.
pub fn is_canonical_object(text: &[u8]) -> bool {
    text.len() <= LONGEST && (footprint::is_canonical(text) || general::is_canonical(text))
}

/// Adds a string as `JSON.stringify` writes it.
pub fn push_string(text: &mut Vec<u8>, value: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    text.push(b'"');
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        let (plain, special) = rest.split_at(at);
        text.extend_from_slice(plain);
        match special[0] {
            byte @ (b'"' | b'\\') => text.extend_from_slice(&[b'\\', byte]),
            0x08 => text.extend_from_slice(b"\\b"),
            b'\t' => text.extend_from_slice(b"\\t"),
            b'\n' => text.extend_from_slice(b"\\n"),
            0x0c => text.extend_from_slice(b"\\f"),
            b'\r' => text.extend_from_slice(b"\\r"),
            byte => {
                text.extend_from_slice(b"\\u00");
                text.push(HEX[usize::from(byte >> 4)]);
                text.push(HEX[usize::from(byte & 15)]);
            }
        }
        rest = &special[1..];
    }
    text.extend_from_slice(rest);
    text.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Adds a cell of a row as `JSON.stringify` writes what JavaScript is given for it: a number for an integer, however
/// large, and a Buffer for a blob.
pub fn push_value(text: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => text.extend_from_slice(b"null"),
        Value::Integer(value) => push_number(text, *value as f64),
        Value::Real(value) => push_number(text, *value),
        Value::Text(value) => push_string(text, value),
        Value::Blob(bytes) => push_buffer(text, bytes),
    }
}

fn push_buffer(text: &mut Vec<u8>, bytes: &[u8]) {
    text.extend_from_slice(b"{\"type\":\"Buffer\",\"data\":[");
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        push_number(text, f64::from(*byte));
    }
    text.extend_from_slice(b"]}");
}
