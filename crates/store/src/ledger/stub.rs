use crate::{Failure, WriteTxn};
/// x
pub struct Recorded {
    /// x
    pub first: u64,
    /// x
    pub last: u64,
}
impl WriteTxn<'_> {
    /// x
    pub fn record(&mut self, _entry: ledger::Entry) -> Result<Recorded, Failure> {
        Ok(Recorded { first: 0, last: 0 })
    }
}
