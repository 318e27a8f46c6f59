//! The order of SRV records: by priority, within one by lot according to weight (RFC 2782).

use sansio::Entropy;

use super::records::Srv;

/// RFC 2782's own arithmetic gives the first of two records of weight 1 two thirds of the load.
/// In finer parts the shares are exact, and weight 0 keeps its "very small chance".
const FINE: u64 = 1000;

/// All records, in the order to be tried this time.
pub(crate) fn order(records: &[Srv], entropy: &mut dyn Entropy) -> Vec<Srv> {
    let mut left: Vec<Srv> = records.to_vec();
    left.sort_by_key(|r| r.priority);
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let priority = first.priority;
        let group = left.iter().take_while(|r| r.priority == priority).count();
        let total: u64 = left[..group].iter().map(share).sum();
        // The bias of the modulus is below 2^-30: weights are of 16 bits.
        let lot = entropy.next_u64() % total;
        let mut running = 0;
        let drawn = left[..group].iter().position(|r| {
            running += share(r);
            running > lot
        });
        ordered.push(left.remove(drawn.unwrap_or(0)));
    }
    ordered
}

fn share(record: &Srv) -> u64 {
    (u64::from(record.weight) * FINE).max(1)
}
