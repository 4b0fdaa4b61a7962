//! Numbers as JavaScript writes them: the fewest digits that read back as the same double, an exponent from 1e21 on
//! and below 1e-6.

/// Longer than any number's text.
pub const LONGEST: usize = 32;
const ZEROS: u64 = 0x3030_3030_3030_3030;
const EIGHT: u64 = 100_000_000;

/// Adds a number as `JSON.stringify` writes it.
pub fn push_number(text: &mut Vec<u8>, value: f64) {
    let mut place = [0; LONGEST];
    let length = write_number(&mut place, value);
    text.extend_from_slice(&place[..length]);
}

/// Writes a number as `JSON.stringify` does; returns how many bytes it takes. What is behind them is undefined.
pub fn write_number(place: &mut [u8; LONGEST], value: f64) -> usize {
    let size = value.abs();
    let mut text = Text { place, length: 0 };
    if size < 1e7 {
        // Most prices and volumes have at most eight decimals. Both numbers of the division are exact, so the quotient
        // is the double nearest to this decimal; and no two decimals of up to 15 digits are nearest to the same double,
        // so there is no shorter one.
        let scaled = (size * 1e8 + 0.5) as u64;
        if scaled as f64 / 1e8 == size && (scaled >= 100 || scaled == 0) {
            text.sign(value);
            text.whole(scaled / EIGHT);
            text.decimals(scaled % EIGHT);
            return text.length;
        }
    } else if size < 9_007_199_254_740_992.0 && size.trunc() == size {
        // Such as times: sixteen digits at most.
        let whole = size as u64;
        text.sign(value);
        if whole < EIGHT {
            text.whole(whole);
        } else {
            text.whole(whole / EIGHT);
            text.eight(eight_digits(whole % EIGHT), 8);
        }
        return text.length;
    } else if !value.is_finite() {
        text.extend(b"null");
        return text.length;
    }
    text.any(value);
    text.length
}

/// The digits of a number below 10^8, zeros before it, the first one in the lowest byte: two of four digits, four of
/// two, eight of one, all at once.
fn eight_digits(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens | ((twos - 10 * tens) << 8)) + ZEROS
}

/// Text that grows in a place that is large enough for every number.
struct Text<'a> {
    place: &'a mut [u8; LONGEST],
    length: usize,
}

impl Text<'_> {
    fn push(&mut self, byte: u8) {
        self.place[self.length] = byte;
        self.length += 1;
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.place[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn sign(&mut self, value: f64) {
        self.place[0] = b'-';
        self.length = usize::from(value < 0.0);
    }

    /// Writes eight bytes, of which the first ones count.
    fn eight(&mut self, digits: u64, count: usize) {
        self.place[self.length..][..8].copy_from_slice(&digits.to_le_bytes());
        self.length += count;
    }

    /// Writes a number below 10^8.
    fn whole(&mut self, number: u64) {
        let digits = eight_digits(number);
        let zeros = ((digits ^ ZEROS).trailing_zeros() / 8).min(7);
        self.eight(digits >> (8 * zeros), 8 - zeros as usize);
    }

    /// Writes what comes behind the point, of which there are eight digits.
    fn decimals(&mut self, decimals: u64) {
        if decimals > 0 {
            let digits = eight_digits(decimals);
            let zeros = (digits ^ ZEROS).leading_zeros() / 8;
            self.push(b'.');
            self.eight(digits, 8 - zeros as usize);
        }
    }

    /// Writes any finite number.
    fn any(&mut self, value: f64) {
        let mut buffer = zmij::Buffer::new();
        let shortest = buffer.format_finite(value);
        let (mantissa, exponent) = match shortest.split_once('e') {
            // Plain text, where JavaScript writes it so, too, but for `.0`.
            None => {
                let plain = shortest.strip_suffix(".0").unwrap_or(shortest);
                return self.extend(plain.as_bytes());
            }
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        };
        let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
        if unsigned.len() < mantissa.len() {
            self.push(b'-');
        }
        let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let count = whole.len() + decimals.len();
        match exponent {
            0..21 => {
                let zeros = (exponent as usize + 1).saturating_sub(count);
                self.extend(whole.as_bytes());
                self.extend(decimals.as_bytes());
                self.extend(&b"00000000000000000000"[..zeros]);
            }
            -6..0 => {
                self.extend(b"0.");
                self.extend(&b"00000"[..(-exponent - 1) as usize]);
                self.extend(whole.as_bytes());
                self.extend(decimals.as_bytes());
            }
            _ => {
                self.extend(whole.as_bytes());
                if !decimals.is_empty() {
                    self.push(b'.');
                    self.extend(decimals.as_bytes());
                }
                self.extend(if exponent < 0 { b"e-" } else { b"e+" });
                self.extend(exponent.unsigned_abs().to_string().as_bytes());
            }
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
    fn whole_numbers_and_decimals_of_every_length_are_written_by_the_definition() {
        let mut state = 3;
        for digits in 0..17 {
            for _ in 0..2_000 {
                let whole = (random(&mut state) % 10_u64.pow(digits + 1)) as f64;
                for near in [whole, -whole, whole / 1e8, whole / 1e3, whole + 0.5] {
                    assert_eq!(text(near), defined(near), "{near:e}");
                }
            }
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
