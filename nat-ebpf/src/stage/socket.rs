//! This machine's own sockets, which share its addresses with translation.
use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_F_CURRENT_NETNS,
    helpers::generated::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use nat_common::{
    addr::{Ipv4, Port},
    external::{ExternalKey, ExternalPorts},
    flow::{FlowKey, Protocol},
    packet::{Packet, Transport},
};

use super::classify;
use crate::maps::EXTERNALS;

/// Whether a packet from outside is for a port that some rule may use, and that no socket of this
/// machine has. `ctx` is the context of the running program.
#[inline(always)]
pub fn unclaimed(ctx: *mut c_void, packet: &Packet) -> bool {
    let (protocol, from, to) = match packet.transport {
        Transport::Tcp { source, destination, .. } => (Protocol::Tcp, source, destination),
        Transport::Udp { source, destination } => (Protocol::Udp, source, destination),
        _ => return false,
    };
    nobodys(ctx, protocol as u8, end(packet.source, from), end(packet.destination, to))
}

/// Whether a socket of this machine has the external endpoint of a claim: it would lose its packets
/// to the session, or get those of the session (RFC 6056 section 3.1, CVE-2021-3773).
#[inline(always)]
pub fn has(ctx: *mut c_void, claim: &FlowKey) -> bool {
    match Protocol::from_number(claim.protocol) {
        Some(protocol @ (Protocol::Tcp | Protocol::Udp)) => {
            let remote = end(claim.remote, claim.remote_port);
            held(ctx, protocol as u8, remote, end(claim.local, claim.local_port))
        }
        _ => false,
    }
}

/// [`unclaimed`], from one [`end`] to another.
#[inline(always)]
fn nobodys(ctx: *mut c_void, protocol: u8, from: u64, to: u64) -> bool {
    let address = Ipv4::from_be32((to >> 16) as u32);
    let port = Port::from_bytes((to as u16).to_ne_bytes());
    may_be_external(address)
        && external(address, protocol).is_some_and(|ports| ports.contains(port.number()))
        && !held(ctx, protocol, from, to)
}

/// What every packet from inside is asked first, most of which are for none of these addresses.
#[inline(always)]
fn may_be_external(address: Ipv4) -> bool {
    classify::generation()
        .and_then(classify::settings)
        .is_ok_and(|settings| settings.externals.holds(address))
}

/// The ports of an address that rules may use, if they use it at all for a protocol (IANA number).
#[inline(always)]
pub fn external(address: Ipv4, protocol: u8) -> Option<&'static ExternalPorts> {
    let generation = classify::generation().ok()?;
    let key = ExternalKey { generation, address, protocol: protocol.into() };
    // SAFETY: entries of the generation in force are not removed.
    unsafe { EXTERNALS.get(&key) }
}

/// An endpoint, in one argument: both parts in network byte order.
#[inline(always)]
fn end(address: Ipv4, port: Port) -> u64 {
    u64::from(address.to_be32()) << 16 | u64::from(port.to_be16())
}

/// Whether a socket of this machine takes packets from one [`end`] to another: a connection, in
/// TIME_WAIT too, or one that listens.
///
/// Not inlined: other packets should not pay for it with stack.
#[inline(never)]
fn held(ctx: *mut c_void, protocol: u8, from: u64, to: u64) -> bool {
    let mut tuple = Ipv4Tuple {
        source: (from >> 16) as u32,
        destination: (to >> 16) as u32,
        source_port: from as u16,
        destination_port: to as u16,
    };
    let (tuple, bytes) = ((&raw mut tuple).cast(), size_of::<Ipv4Tuple>() as u32);
    let netns = BPF_F_CURRENT_NETNS as u64;
    // SAFETY: the context is the program's own, and the tuple is there in full.
    let socket = unsafe {
        match Protocol::from_number(protocol) {
            Some(Protocol::Tcp) => bpf_skc_lookup_tcp(ctx, tuple, bytes, netns, 0),
            _ => bpf_sk_lookup_udp(ctx, tuple, bytes, netns, 0),
        }
    };
    if socket.is_null() {
        return false;
    }
    // SAFETY: a socket that a look-up has returned and that is not used any more.
    unsafe { bpf_sk_release(socket.cast()) };
    true
}

/// The IPv4 form of the kernel's `bpf_sock_tuple`, in network byte order. The other one is three times
/// as large, and the stack is short.
#[repr(C)]
struct Ipv4Tuple {
    source: u32,
    destination: u32,
    source_port: u16,
    destination_port: u16,
}
