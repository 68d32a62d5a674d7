//! Key → session: found, kept alive, made, ended.
use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_get_prandom_u32};
use nat_common::{
    flow::{Direction, FlowKey, Protocol},
    limits::REFRESH_INTERVAL_NS,
    packet::Packet,
    pool::{self, PoolKey, Pooling},
    session::{self, DELETED, Session},
    settings::Lifetime,
    tcp,
    verdict::Verdict,
};

use crate::{
    entry::{Entry, Translation},
    hook::Weight,
    maps::{INBOUND, OUTBOUND, POOLS},
    stage::{
        classify::{self, Matched},
        port, stats,
    },
};

/// Result of the kernel's map update for a key that is there already (`-EEXIST`).
pub const EXISTS: i32 = -17;

/// What a look-up found.
#[derive(Clone, Copy)]
pub enum Found {
    /// A live session.
    Live(Live),
    /// A session whose time is up; its entries are still there.
    Ended,
    /// Nothing.
    Absent,
}

/// A live session, as seen by one direction.
#[derive(Clone, Copy)]
pub struct Live {
    entry: Entry,
    pub to: Translation,
}

/// Looks a packet's session up. Changes nothing that a later look-up would see differently.
#[inline(always)]
pub fn find(direction: Direction, key: &FlowKey, now_ns: u64) -> Result<Found, Verdict> {
    let Some(entry) = Entry::find(direction, key) else {
        return Ok(Found::Absent);
    };
    let to = entry.translation();
    let deadline_ns = entry.deadline_ns();
    if !entry.belongs_to(key) {
        return Err(Verdict::Contended);
    }
    if !session::live(deadline_ns, now_ns) {
        // This direction has been silent; the other one may have kept the session alive.
        let other = Entry::find(direction.reverse(), &key.translated(to.address, to.port));
        match other.map(Entry::deadline_ns) {
            Some(other_ns) if session::live(other_ns, now_ns) => entry.set_deadline_ns(other_ns),
            _ => return Ok(Found::Ended),
        }
    }
    Ok(Found::Live(Live { entry, to }))
}

/// What a packet that will be translated does to its session.
#[inline(always)]
pub fn touch(
    live: &Live,
    direction: Direction,
    key: &FlowKey,
    packet: &Packet,
    weight: Weight,
    now_ns: u64,
) {
    let entry = live.entry;
    let events = packet.tcp_flags().events();
    if events != tcp::Flags::NONE {
        tcp_event(live, direction, key, packet.tcp_flags(), now_ns);
    }
    if now_ns >= entry.refresh_ns() {
        let lifetime = entry.lifetime();
        if lifetime.refreshed_by(direction) {
            refresh(entry, lifetime, now_ns);
        }
    }
    entry.count(weight.packets, weight.bytes);
}

#[inline(always)]
fn refresh(entry: Entry, lifetime: Lifetime, now_ns: u64) {
    if let Ok(timeout_ns) = timeout_ns(lifetime) {
        entry.set_refresh_ns(now_ns + REFRESH_INTERVAL_NS);
        entry.set_deadline_ns(session::deadline(now_ns, timeout_ns));
    }
}

#[inline(always)]
fn timeout_ns(lifetime: Lifetime) -> Result<u64, Verdict> {
    let settings = classify::settings(classify::generation()?)?;
    Ok(settings.timeout_ns(lifetime))
}

/// SYN, FIN and RST: the only time that one direction looks at the other.
#[inline(always)]
fn tcp_event(live: &Live, direction: Direction, key: &FlowKey, flags: tcp::Flags, now_ns: u64) {
    let entry = live.entry;
    let other_key = key.translated(live.to.address, live.to.port);
    let Some(other) = Entry::find(direction.reverse(), &other_key) else {
        return;
    };
    // Both sides may send their FIN at once, on two CPUs: write, pass a barrier, then read, so
    // that at least one of them sees both. (Whether a SYN finds the connection closing does not
    // depend on that SYN having been noted.)
    let seen = entry.seen().with(flags.events());
    entry.set_seen(seen);
    entry.barrier();
    let other_seen = other.seen();
    let change = session::tcp_event(direction, flags, seen, other_seen);
    if change.other_seen != other_seen {
        entry.set_seen(change.seen);
        other.set_seen(change.other_seen);
    }
    if change.lifetime as u8 != entry.lifetime() as u8 {
        for one in [entry, other] {
            one.set_lifetime(change.lifetime);
            refresh(one, change.lifetime, now_ns);
        }
    }
}

/// Makes the session of a packet that a `snat` rule covers: claims an external endpoint, then
/// publishes. Leaves nothing behind on failure.
#[inline(always)]
pub fn create(
    key: &FlowKey,
    packet: &Packet,
    matched: &Matched,
    egress: u32,
    weight: Weight,
    now_ns: u64,
) -> Result<Translation, Verdict> {
    let protocol = Protocol::from_number(packet.protocol).ok_or(Verdict::ProtocolNotCovered)?;
    if matches!(protocol, Protocol::Tcp) && !packet.tcp_flags().opens() {
        return Err(Verdict::TcpWithoutSyn);
    }
    let pool_key =
        PoolKey { generation: matched.generation, rule: matched.position, ifindex: egress };
    // SAFETY: pools of the generation in force are not removed.
    let pool = unsafe { POOLS.get(pool_key) }.ok_or(Verdict::AddressNotOnEgress)?;
    let pooling = Pooling::from_number(matched.rule.pooling);
    // SAFETY: the helper has no precondition.
    let random = unsafe { bpf_get_prandom_u32() };
    let external =
        pool::choose(pool, pooling, key.local, random).ok_or(Verdict::AddressNotOnEgress)?;

    let lifetime = Lifetime::initial(protocol, key.remote_port.number());
    let birth = Birth {
        protocol,
        rule: matched.rule.id,
        lifetime,
        now_ns,
        timeout_ns: classify::settings(matched.generation)?.timeout_ns(lifetime),
    };
    let claimed = port::claim(key, external, matched.rule.ports, &birth)?;

    let mut outbound = birth.entry(key, (claimed.local, claimed.local_port));
    outbound.seen = packet.tcp_flags().events().0;
    outbound.packets = weight.packets;
    outbound.bytes = weight.bytes;
    match OUTBOUND.insert(key, &outbound, BPF_NOEXIST as u64) {
        Ok(()) => Ok(Translation::from(&outbound)),
        Err(error) => {
            // Nobody knows of the claim yet: no packet has left with it.
            let _ = INBOUND.remove(&claimed);
            if error != EXISTS {
                return Err(Verdict::TableFull);
            }
            // Another CPU published a session of this flow first; both packets use that one.
            match find(Direction::Outbound, key, now_ns)? {
                Found::Live(winner) => {
                    touch(&winner, Direction::Outbound, key, packet, weight, now_ns);
                    Ok(winner.to)
                }
                Found::Ended | Found::Absent => Err(Verdict::Contended),
            }
        }
    }
}

/// What both entries of a new session have in common.
pub struct Birth {
    pub protocol: Protocol,
    pub rule: u32,
    pub lifetime: Lifetime,
    pub now_ns: u64,
    pub timeout_ns: u64,
}

impl Birth {
    /// The entry stored under `key` that replaces its local endpoint by `to`.
    #[inline(always)]
    pub fn entry(
        &self,
        key: &FlowKey,
        to: (nat_common::addr::Ipv4, nat_common::addr::Port),
    ) -> Session {
        let Self { protocol, rule, lifetime, now_ns, timeout_ns } = *self;
        Session::new(protocol, key, to, rule, lifetime, now_ns, timeout_ns)
    }
}

/// Removes a session whose time is up, by the key of its outbound entry. Does nothing to a live
/// session; of several CPUs that try at once, one removes it. Returns whether this one did.
///
/// Not inlined: it stands in the loops of [`port::claim`] and of the sweep.
#[inline(never)]
pub fn end(key: &FlowKey, now_ns: u64) -> bool {
    let Some(outbound) = Entry::find(Direction::Outbound, key) else {
        return false;
    };
    let to = outbound.translation();
    let rule = outbound.rule();
    let deadline_ns = outbound.deadline_ns();
    if !outbound.belongs_to(key) || deadline_ns == DELETED || session::live(deadline_ns, now_ns) {
        return false;
    }
    let inbound_key = key.translated(to.address, to.port);
    let inbound = Entry::find(Direction::Inbound, &inbound_key);
    let inbound_ns = inbound.map_or(DELETED, Entry::deadline_ns);
    if session::live(inbound_ns, now_ns) || !outbound.begin_removal(deadline_ns) {
        return false;
    }
    let carried_in = inbound.map_or((0, 0), Entry::totals);
    stats::count_ended(rule, outbound.totals(), carried_in);
    // The claim goes first: while the outbound entry stands, nobody else removes this key.
    let _ = INBOUND.remove(&inbound_key);
    let _ = OUTBOUND.remove(key);
    true
}
