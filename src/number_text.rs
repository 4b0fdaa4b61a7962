//! Numbers as JavaScript writes them: the fewest digits that read back as the same double, an exponent from 1e21 on
//! and below 1e-6.

/// Adds a number as `JSON.stringify` writes it.
pub fn push_number(text: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        return text.extend_from_slice(b"null");
    }
    let size = value.abs();
    // Most prices and volumes have at most eight decimals. Both numbers of the division are exact, so the quotient is
    // the double nearest to this decimal; and no two decimals of up to 15 digits are nearest to the same double, so
    // there is no shorter one.
    if size < 1e7 {
        let scaled = (size * 1e8 + 0.5) as u64;
        if scaled as f64 / 1e8 == size && (scaled >= 100 || scaled == 0) {
            return push_decimal(text, value < 0.0, scaled);
        }
    }
    push_any(text, value);
}

/// Adds `scaled / 1e8`.
fn push_decimal(text: &mut Vec<u8>, negative: bool, scaled: u64) {
    const ONE: u64 = 100_000_000;
    let mut buffer = [b'0'; 24];
    let mut start = 12;
    let mut whole = (scaled / ONE) as u32;
    let mut decimals = (scaled % ONE) as u32;
    loop {
        start -= 1;
        buffer[start] = b'0' + (whole % 10) as u8;
        whole /= 10;
        if whole == 0 {
            break;
        }
    }
    if negative {
        start -= 1;
        buffer[start] = b'-';
    }
    let mut end = 12;
    if decimals > 0 {
        buffer[12] = b'.';
        end = 21;
        while decimals.is_multiple_of(10) {
            decimals /= 10;
            end -= 1;
        }
        for place in buffer[13..end].iter_mut().rev() {
            *place = b'0' + (decimals % 10) as u8;
            decimals /= 10;
        }
    }
    text.extend_from_slice(&buffer[start..end]);
}

/// Adds any finite number.
fn push_any(text: &mut Vec<u8>, value: f64) {
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(value);
    let (mantissa, exponent) = match shortest.split_once('e') {
        // Plain text, where JavaScript writes it so, too, but for `.0`.
        None => {
            let plain = shortest.strip_suffix(".0").unwrap_or(shortest);
            return text.extend_from_slice(plain.as_bytes());
        }
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
    };
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if unsigned.len() < mantissa.len() {
        text.push(b'-');
    }
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = || whole.bytes().chain(decimals.bytes());
    let count = whole.len() + decimals.len();
    match exponent {
        0..21 => {
            let zeros = (exponent as usize + 1).saturating_sub(count);
            text.extend(digits());
            text.extend(std::iter::repeat_n(b'0', zeros));
        }
        -6..0 => {
            text.extend_from_slice(b"0.");
            text.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
            text.extend(digits());
        }
        _ => {
            text.extend_from_slice(whole.as_bytes());
            if !decimals.is_empty() {
                text.push(b'.');
                text.extend_from_slice(decimals.as_bytes());
            }
            text.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            text.extend_from_slice(exponent.unsigned_abs().to_string().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn text(value: f64) -> String {
        let mut text = Vec::new();
        push_number(&mut text, value);
        String::from_utf8(text).unwrap()
    }

    /// By the definition of Number::toString, from the digits that the standard library finds. It knows the fewest, but
    /// of two equally near it takes the upper one and V8 the even one, as does formatting with a precision.
    fn defined(value: f64) -> String {
        if value == 0.0 {
            return "0".into();
        }
        let fewest = format!("{:e}", value.abs());
        let precision = fewest.replace('.', "").find('e').unwrap() - 1;
        let nearest = format!("{:.precision$e}", value.abs());
        let same = nearest.parse() == Ok(value.abs());
        let shortest = if same { nearest } else { fewest };
        let (mantissa, exponent) = shortest.split_once('e').unwrap();
        let digits = mantissa.replace('.', "");
        let (k, n) = (digits.len() as i32, exponent.parse::<i32>().unwrap() + 1);
        let sign = if value < 0.0 { "-" } else { "" };
        let zeros = |count: i32| "0".repeat(count as usize);
        let exponent = format!("{}{}", if n > 0 { "+" } else { "-" }, (n - 1).abs());
        let unsigned = match n {
            _ if k <= n && n <= 21 => digits + &zeros(n - k),
            1..=21 => format!("{}.{}", &digits[..n as usize], &digits[n as usize..]),
            -5..=0 => format!("0.{}{digits}", zeros(-n)),
            _ if k == 1 => format!("{digits}e{exponent}"),
            _ => format!("{}.{}e{exponent}", &digits[..1], &digits[1..]),
        };
        format!("{sign}{unsigned}")
    }

    /// SplitMix64.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[test]
    fn numbers_look_as_in_javascript() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (64_123.45, "64123.45"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-6, "0.000001"),
            (1.5e-6, "0.0000015"),
            (9.9e-7, "9.9e-7"),
            (1e-7, "1e-7"),
            (-1.25e-9, "-1.25e-9"),
            (1e-8, "1e-8"),
            (9_999_999.99999999, "9999999.99999999"),
            (1e7, "10000000"),
            (1e20, "100000000000000000000"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (f64::NAN, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn any_bit_pattern_is_written_by_the_definition() {
        let mut state = 1;
        for _ in 0..100_000 {
            let value = f64::from_bits(random(&mut state));
            if value.is_finite() {
                assert_eq!(text(value), defined(value), "{value:e}");
            }
        }
    }

    #[test]
    fn decimals_and_their_neighbours_are_written_by_the_definition() {
        let mut state = 2;
        for _ in 0..30_000 {
            let whole = random(&mut state) >> (random(&mut state) % 64);
            let scale = 10_f64.powi((random(&mut state) % 40) as i32 - 8);
            let value = whole as f64 / scale;
            for near in [value, value.next_up(), -value.next_down()] {
                assert_eq!(text(near), defined(near), "{near:e}");
            }
        }
    }

    #[test]
    fn powers_of_ten_and_two_are_written_by_the_definition() {
        for exponent in -1074..1024 {
            let value = 2_f64.powi(exponent);
            assert_eq!(text(value), defined(value), "{value:e}");
        }
        for exponent in -323..309 {
            let value: f64 = format!("1e{exponent}").parse().unwrap();
            for near in [value, value.next_up(), value.next_down()] {
                assert_eq!(text(near), defined(near), "{near:e}");
            }
        }
    }
}
