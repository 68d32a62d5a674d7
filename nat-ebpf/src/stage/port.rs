//! An external port for a new session.
use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_get_prandom_u32};
use nat_common::{
    addr::Ipv4,
    flow::{Direction, FlowKey},
    limits::PORT_TRIES_MAX,
    port::{Candidates, PortRange},
    verdict::Verdict,
};

use crate::{
    entry::Entry,
    maps::INBOUND,
    stage::session::{self, Birth, EXISTS},
};

/// Claims an external endpoint for the flow `key` and returns the inbound key that it has now.
///
/// The claim is the insertion itself, refused by the kernel if the tuple is there already, so two
/// CPUs cannot both succeed.
#[inline(always)]
pub fn claim(
    key: &FlowKey,
    external: Ipv4,
    ports: PortRange,
    birth: &Birth,
) -> Result<FlowKey, Verdict> {
    // SAFETY: the helper has no precondition.
    let mut candidates = Candidates::new(ports, unsafe { bpf_get_prandom_u32() });
    for _ in 0..PORT_TRIES_MAX {
        let claim = key.translated(external, candidates.next_port());
        let entry = birth.entry(&claim, (key.local, key.local_port));
        let mut result = INBOUND.insert(&claim, &entry, BPF_NOEXIST as u64);
        if result == Err(EXISTS) && reclaim(&claim, birth.now_ns) {
            result = INBOUND.insert(&claim, &entry, BPF_NOEXIST as u64);
        }
        match result {
            Ok(()) => return Ok(claim),
            Err(EXISTS) => {}
            Err(_) => return Err(Verdict::TableFull),
        }
    }
    Err(Verdict::NoPort)
}

/// Removes the session that holds an external tuple if its time is up, so that a dead controller,
/// which sweeps no more, costs no ports. Returns whether it did.
#[inline(always)]
fn reclaim(claim: &FlowKey, now_ns: u64) -> bool {
    let Some(occupant) = Entry::find(Direction::Inbound, claim) else {
        return false;
    };
    let to = occupant.translation();
    occupant.belongs_to(claim) && session::end(&claim.translated(to.address, to.port), now_ns)
}
