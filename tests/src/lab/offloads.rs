//! What a veth may leave undone because its peer is on the same machine.
//!
//! With veth's defaults a TCP or UDP packet travels with only a partial checksum, in GSO frames of
//! up to 64 KiB. That is what TC programs meet in practice and must handle. But a receiver then
//! believes every checksum, so a NAT that computes them wrongly passes; and XDP sees neither the
//! partial checksum nor the GSO frame. Hence every end-to-end test has a run with `Off`.

use super::{netns::NetNs, process::tool};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    /// The kernel's defaults: partial checksums, GSO frames.
    On,
    /// Every packet is complete on the wire and every receiver checks it.
    Off,
    /// The same, and the gateway's interfaces have checked what arrives before anybody sees it, as most
    /// network cards do.
    Verified,
}

/// Which end of a link a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Gateway,
    Host,
}

/// Both ends of a link have to be set before either comes up: the kernel notes whether a veth takes
/// redirected frames when that veth comes up, from its peer's GRO at that time, and when a peer that
/// is already up changes it; not when a peer that is down does.
pub(super) fn set(namespace: &NetNs, device: &str, end: End, offloads: Offloads) {
    let state = match offloads {
        Offloads::On => "on",
        Offloads::Off | Offloads::Verified => "off",
    };
    // A veth accepts frames that XDP redirects to it only if its peer runs NAPI, which is there with
    // GRO on (or with an XDP program): otherwise they are dropped without a word. So the peers of
    // the gateway's interfaces keep GRO, which goes together with everything else off.
    let gro = match (end, offloads) {
        (End::Gateway, Offloads::On | Offloads::Off) => state,
        // GRO checks.
        (End::Gateway, Offloads::Verified) => "on",
        (End::Host, _) => "on",
    };
    let arguments = format!("-K {device} rx {state} tx {state} sg on tso {state} gso {state}");
    let arguments = format!("{arguments} gro {gro}");
    tool(namespace, "ethtool", &arguments.split(' ').collect::<Vec<_>>());
    if gro == "on" && offloads != Offloads::On {
        // GRO on, but nothing may grow: a capture there shows each packet as it came over the wire.
        // Merged ones would have a partial checksum, which tcpdump calls incorrect.
        tool(namespace, "ip", &["link", "set", "dev", device, "gro_max_size", "1"]);
    }
}
