//! Marks of packets within the gateway (`skb->mark`).

/// Of a packet that has come from inside for an external address, has been translated on its way out,
/// and is on its way back in. "nat" and the number of inside interfaces that it passes.
pub const TURNED: u32 = 0x6e61_7402;
