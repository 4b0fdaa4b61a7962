//! A timeframe: the minutes of one candle, which name its table.

/// Minutes of one candle; its table is `candles_<minutes>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeframe(pub u32);

impl Timeframe {
    /// A minute.
    pub const MIN: u32 = 1;
    /// A year of 366 days.
    pub const MAX: u32 = 527_040;

    pub fn table(self) -> String {
        format!("candles_{}", self.0)
    }
}
