//! What each of several bytes is, as bits of one word, the lowest for the first byte. With them numbers are found and
//! checked all at once, where a step for each byte would wait for the one before.

/// Bytes looked at together.
pub const WINDOW: usize = 64;

/// Bits of the bytes that are ...
pub struct Masks {
    pub digits: u64,
    pub zeros: u64,
    pub dots: u64,
}

impl Masks {
    /// Bits of what numbers are made of, but for signs and exponents.
    pub fn numbers(&self) -> u64 {
        self.digits | self.dots
    }

    /// Bits in numbers that may not be canonical. None where all those that end in the window and have
    /// less than 16 characters are.
    #[inline(always)]
    pub fn doubts(&self) -> u64 {
        let Self {
            digits,
            zeros,
            dots,
            ..
        } = *self;
        let numbers = self.numbers();
        let first = numbers & !(numbers << 1);
        let after_dots = dots << 1;
        // The carry runs through the digits after a dot to what follows them.
        let after_decimals = digits.wrapping_add(after_dots) & !digits;
        let needless_zero = ((first & zeros) << 1 & digits) | (after_decimals >> 1 & zeros);
        let misplaced_dot = dots & (first | after_decimals | !(digits >> 1));
        let two_zeros = zeros & zeros >> 1;
        let six_zeros = two_zeros & two_zeros >> 2 & two_zeros >> 4;
        needless_zero | misplaced_dot | after_dots & six_zeros
    }
}

/// Looks at 16 bytes; the other bits are none.
#[inline(always)]
pub fn of_16(bytes: &[u8; 16]) -> Masks {
    let [digits, zeros, dots] = block::bits(bytes).map(u64::from);
    Masks {
        digits,
        zeros,
        dots,
    }
}

/// Looks at the whole window.
#[inline(always)]
pub fn of_window(bytes: &[u8; WINDOW]) -> Masks {
    let (blocks, _) = bytes.as_chunks::<16>();
    let mut all = [0; 3];
    for (at, block) in blocks.iter().enumerate() {
        for (all, bits) in all.iter_mut().zip(block::bits(block)) {
            *all |= u64::from(bits) << (at * 16);
        }
    }
    let [digits, zeros, dots] = all;
    Masks {
        digits,
        zeros,
        dots,
    }
}

/// Digits as 1 to 10 and a dot as 15, four bits each, the highest for the first. What other bytes become says nothing,
/// but a quote fits in as well, and only the bytes after it may spoil those beside them.
#[inline(always)]
pub fn nibbles(bytes: &[u8; 16]) -> u64 {
    block::nibbles(bytes)
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) use portable as block;
#[cfg(target_arch = "x86_64")]
pub(super) use sse2 as block;

/// By instructions that every x86-64 has.
#[cfg(target_arch = "x86_64")]
pub(super) mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_and_si128, _mm_cmpeq_epi8, _mm_cvtsi128_si64, _mm_min_epu8,
        _mm_movemask_epi8, _mm_or_si128, _mm_packus_epi16, _mm_set_epi64x, _mm_set1_epi8,
        _mm_set1_epi16, _mm_slli_epi16, _mm_srli_epi16, _mm_sub_epi8,
    };

    #[inline(always)]
    pub fn bits(bytes: &[u8; 16]) -> [u16; 3] {
        // SAFETY: every x86-64 has SSE2.
        unsafe { bits_by_sse2(bytes) }
    }

    #[inline(always)]
    pub fn nibbles(bytes: &[u8; 16]) -> u64 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { nibbles_by_sse2(bytes) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits_by_sse2(bytes: &[u8; 16]) -> [u16; 3] {
        let bytes = load(bytes);
        let digit = _mm_sub_epi8(bytes, _mm_set1_epi8(b'0' as i8));
        let least = _mm_min_epu8(digit, _mm_set1_epi8(9));
        [
            mask(_mm_cmpeq_epi8(digit, least)),
            mask(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'0' as i8))),
            mask(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'.' as i8))),
        ]
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn nibbles_by_sse2(bytes: &[u8; 16]) -> u64 {
        let low = _mm_and_si128(load(bytes), _mm_set1_epi8(15));
        let bits = _mm_add_epi8(low, _mm_set1_epi8(1));
        let pairs = _mm_or_si128(_mm_slli_epi16(bits, 4), _mm_srli_epi16(bits, 8));
        let pairs = _mm_and_si128(pairs, _mm_set1_epi16(0xff));
        (_mm_cvtsi128_si64(_mm_packus_epi16(pairs, pairs)) as u64).swap_bytes()
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        let both = u128::from_le_bytes(*bytes);
        _mm_set_epi64x((both >> 64) as i64, both as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn mask(found: __m128i) -> u16 {
        _mm_movemask_epi8(found) as u16
    }
}

/// Eight bytes in a word.
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(super) mod portable {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = ONES * 0x7f;

    pub fn bits(bytes: &[u8; 16]) -> [u16; 3] {
        let [low, high] = words(bytes).map(bits_of_8);
        std::array::from_fn(|at| u16::from(low[at]) | u16::from(high[at]) << 8)
    }

    pub fn nibbles(bytes: &[u8; 16]) -> u64 {
        let [low, high] = words(bytes).map(nibbles_of_8);
        u64::from(low) << 32 | u64::from(high)
    }

    fn words(bytes: &[u8; 16]) -> [u64; 2] {
        let both = u128::from_le_bytes(*bytes);
        [both as u64, (both >> 64) as u64]
    }

    fn bits_of_8(bytes: u64) -> [u8; 3] {
        let from = |byte: u8| bytes ^ (ONES * u64::from(byte));
        [
            gather(at_most(from(b'0'), 9)),
            gather(at_most(from(b'0'), 0)),
            gather(at_most(from(b'.'), 0)),
        ]
    }

    /// The high bit of each byte that is not over `limit`, without carries between bytes.
    fn at_most(bytes: u64, limit: u64) -> u64 {
        !(((bytes & LOW) + ONES * (0x7f - limit)) | bytes) & !LOW
    }

    /// The high bits of the bytes as those of one.
    fn gather(high: u64) -> u8 {
        ((high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
    }

    fn nibbles_of_8(bytes: u64) -> u32 {
        let bits = (bytes & (ONES * 0x0f)) + ONES;
        let pairs = (bits << 4 | bits >> 8) & 0x00ff_00ff_00ff_00ff;
        let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
        ((fours | fours >> 16) as u32).swap_bytes()
    }
}
