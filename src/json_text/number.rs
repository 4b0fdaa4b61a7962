//! Whether a number is written as `JSON.stringify` writes the double that it is read as.

use crate::number_text::push_number;

/// Any two decimals of so many digits are read as different doubles, so none has a shorter form.
const SURE_DIGITS: usize = 15;
/// As long as a number can be: `-0.0000012345678901234567`.
const LONGEST: usize = 25;
/// From here on JavaScript writes an exponent.
const TOO_SMALL: &[u8] = b"0.000000";

/// The length of the number that the text begins with, if it is canonical. `printed` is only room to work in.
pub fn canonical(text: &[u8], printed: &mut Vec<u8>) -> Option<usize> {
    let length = text
        .iter()
        .take(LONGEST + 1)
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
        .count();
    let number = text.get(..length)?;
    (is_short(number) || is_printed(number, printed)).then_some(length)
}

/// Whether it is a decimal that nobody would write otherwise.
fn is_short(number: &[u8]) -> bool {
    let unsigned = number.strip_prefix(b"-").unwrap_or(number);
    let whole = digits(unsigned);
    let plain = match unsigned.get(..whole) {
        Some([] | [b'0', _, ..]) | None => false,
        Some([b'0']) => number != b"-0",
        Some(_) => true,
    };
    let rest = unsigned.get(whole..).unwrap_or_default();
    let decimals = match rest {
        [] => 0,
        [b'.', decimals @ .., b'1'..=b'9'] if digits(decimals) == decimals.len() => rest.len() - 1,
        _ => return false,
    };
    plain && whole + decimals <= SURE_DIGITS && !unsigned.starts_with(TOO_SMALL)
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Whether it is what comes out when the double is written. The standard library reads forms that JSON has not, such as
/// `+1` and `1.`, but none of them comes out.
fn is_printed(number: &[u8], printed: &mut Vec<u8>) -> bool {
    let read = std::str::from_utf8(number).ok().map(str::parse::<f64>);
    let Some(Ok(value)) = read else { return false };
    printed.clear();
    push_number(printed, value);
    printed == number
}
