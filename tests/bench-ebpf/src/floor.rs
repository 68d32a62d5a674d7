//! The floor: the least that a translation of addresses and ports can cost. One look-up in one table
//! gives the new endpoint, both changes of checksums, the interface and both hardware addresses; the
//! time of the last packet is kept. No rules, no routes, no states, no timeouts, no limits, no
//! counters: nobody could use it.
use aya_ebpf::{
    bindings::{
        BPF_NOEXIST,
        xdp_action::{XDP_ABORTED, XDP_PASS},
    },
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_redirect},
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};

use crate::{
    fib::HOP,
    frame::{self, Headers, Packet, fold, halves, updated},
    layout::{FLOOR_PORT, FLOOR_PORTS, FLOOR_SESSIONS, Floor, Hop},
};

/// As it stands in the packets: big-endian.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Key {
    source: u32,
    destination: u32,
    source_port: u16,
    destination_port: u16,
    protocol: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Session {
    seen_ns: u64,
    address: u32,
    port: u16,
    /// What the sum of the words of each header gains.
    header: u16,
    transport: u16,
    destination_mac: [u8; 6],
    source_mac: [u8; 6],
    ifindex: u32,
}

#[map]
static FLOOR: Array<Floor> = Array::with_max_entries(1, 0);
#[map]
static OUT: HashMap<Key, Session> = HashMap::with_max_entries(FLOOR_SESSIONS, 0);
#[map]
static BACK: HashMap<Key, Session> = HashMap::with_max_entries(FLOOR_SESSIONS, 0);
/// How many ports this CPU has handed out.
#[map]
static HANDED_OUT: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// A port in use is passed over so often.
const TRIES: u32 = 8;

#[inline(always)]
pub fn outbound(mut packet: Packet) -> u32 {
    let headers = packet.headers();
    let Some(key) = key(headers) else { return XDP_PASS };
    let session = match OUT.get_ptr_mut(&key) {
        Some(session) => session,
        None => match open(&key) {
            Some(session) => session,
            None => return XDP_ABORTED,
        },
    };
    // SAFETY: an entry of a table that is never removed.
    let session = unsafe { &mut *session };
    headers.source = session.address;
    headers.source_port = session.port;
    sent_on(headers, session)
}

#[inline(always)]
pub fn inbound(mut packet: Packet) -> u32 {
    let headers = packet.headers();
    let Some(key) = key(headers) else { return XDP_PASS };
    let Some(session) = BACK.get_ptr_mut(&key) else { return XDP_PASS };
    // SAFETY: as above.
    let session = unsafe { &mut *session };
    headers.destination = session.address;
    headers.destination_port = session.port;
    sent_on(headers, session)
}

#[inline(always)]
fn key(headers: &Headers) -> Option<Key> {
    let known = headers.protocol == frame::UDP || headers.protocol == frame::TCP;
    if headers.ethertype != frame::IPV4.to_be() || headers.version != 0x45 || !known {
        return None;
    }
    if headers.ttl <= 1 || headers.fragment & 0x3fff_u16.to_be() != 0 {
        return None;
    }
    Some(Key {
        source: headers.source,
        destination: headers.destination,
        source_port: headers.source_port,
        destination_port: headers.destination_port,
        protocol: headers.protocol.into(),
    })
}

/// Writes all that the two ways have in common, and redirects.
#[inline(always)]
fn sent_on(headers: &mut Headers, session: &mut Session) -> u32 {
    headers.ttl -= 1;
    headers.header_check = updated(headers.header_check, u64::from(session.header) + HOP);
    let gained = u64::from(session.transport);
    if headers.protocol == frame::UDP {
        // SAFETY: any bytes are a header.
        let check = unsafe { headers.transport.udp.check };
        if check != 0 {
            headers.transport.udp.check = updated(check, gained);
        }
    } else {
        // SAFETY: as above.
        headers.transport.tcp.check = updated(unsafe { headers.transport.tcp.check }, gained);
    }
    headers.destination_mac = session.destination_mac;
    headers.source_mac = session.source_mac;
    // SAFETY: the helpers have no precondition.
    unsafe {
        session.seen_ns = bpf_ktime_get_coarse_ns();
        bpf_redirect(session.ifindex, 0) as u32
    }
}

/// A session with the next port that is free toward its destination.
#[inline(always)]
fn open(key: &Key) -> Option<*mut Session> {
    let floor = FLOOR.get(0)?;
    let handed_out = HANDED_OUT.get_ptr_mut(0)?;
    let external = floor.external.to_be();
    for _ in 0..TRIES {
        // SAFETY: this CPU's own.
        let count = unsafe {
            *handed_out += 1;
            *handed_out
        };
        let port = (FLOOR_PORT + (count % FLOOR_PORTS) as u16).to_be();
        let back = Key {
            source: key.destination,
            destination: external,
            source_port: key.destination_port,
            destination_port: port,
            protocol: key.protocol,
        };
        let inbound = session(&floor.inside, (external, port), (key.source, key.source_port));
        if BACK.insert(&back, &inbound, BPF_NOEXIST.into()).is_ok() {
            let outbound = session(&floor.outside, (key.source, key.source_port), (external, port));
            OUT.insert(key, &outbound, BPF_NOEXIST.into()).ok()?;
            return OUT.get_ptr_mut(key);
        }
    }
    None
}

#[inline(always)]
fn session(hop: &Hop, old: (u32, u16), new: (u32, u16)) -> Session {
    let header = halves(!old.0) + halves(new.0);
    let transport = header + u64::from(!old.1) + u64::from(new.1);
    Session {
        seen_ns: 0,
        address: new.0,
        port: new.1,
        header: fold(header),
        transport: fold(transport),
        destination_mac: hop.destination_mac,
        source_mac: hop.source_mac,
        ifindex: hop.ifindex,
    }
}
