//! This machine's own sockets, which share its addresses with translation.
use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_F_CURRENT_NETNS,
    helpers::generated::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use nat_common::{
    addr::{Ipv4, Port},
    external::{ExternalKey, ExternalPorts},
    flow::Protocol,
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
    translated(packet.destination, protocol, to)
        && !held(ctx, protocol, (packet.source, from), (packet.destination, to))
}

/// Whether some rule may use a port of an address.
#[inline(always)]
fn translated(address: Ipv4, protocol: Protocol, port: Port) -> bool {
    external(address, protocol as u8).is_some_and(|ports| ports.contains(port.number()))
}

/// The ports of an address that rules may use, if they use it at all for a protocol (IANA number).
#[inline(always)]
pub fn external(address: Ipv4, protocol: u8) -> Option<&'static ExternalPorts> {
    let generation = classify::generation().ok()?;
    let key = ExternalKey { generation, address, protocol: protocol.into() };
    // SAFETY: entries of the generation in force are not removed.
    unsafe { EXTERNALS.get(&key) }
}

/// Whether a socket of this machine takes packets from one endpoint to another: a connection, in
/// TIME_WAIT too, or one that listens.
#[inline(always)]
fn held(ctx: *mut c_void, protocol: Protocol, from: (Ipv4, Port), to: (Ipv4, Port)) -> bool {
    let mut tuple = Ipv4Tuple {
        source: from.0.to_be32(),
        destination: to.0.to_be32(),
        source_port: from.1.to_be16(),
        destination_port: to.1.to_be16(),
    };
    let (tuple, bytes) = ((&raw mut tuple).cast(), size_of::<Ipv4Tuple>() as u32);
    let netns = BPF_F_CURRENT_NETNS as u64;
    // SAFETY: the context is the program's own, and the tuple is there in full.
    let socket = unsafe {
        match protocol {
            Protocol::Tcp => bpf_skc_lookup_tcp(ctx, tuple, bytes, netns, 0),
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
