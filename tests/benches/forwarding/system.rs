//! What is compared.
use nat_common::stats::Hook;

/// A way from one interface to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// The packets end where they would come in: the cost of making, sending and checking them.
    Generator,
    /// The kernel's forwarding, no translation.
    Forwarding,
    /// The kernel's NAT.
    Masquerade,
    /// The same with a range of ports, chosen by chance.
    SourceRange,
    /// XDP with the kernel's routes, no translation.
    XdpForwarder,
    /// XDP with one look-up: see bench-ebpf/src/floor.rs.
    Floor,
    /// nat-ctl.
    Ours(Hook),
}

impl System {
    pub fn name(self) -> &'static str {
        match self {
            Self::Generator => "generator alone",
            Self::Forwarding => "kernel forwarding",
            Self::Masquerade => "nftables masquerade",
            Self::SourceRange => "nftables snat, range",
            Self::XdpForwarder => "XDP FIB forwarder",
            Self::Floor => "floor",
            Self::Ours(Hook::XdpInside) => "nat-ctl, XDP",
            Self::Ours(_) => "nat-ctl, TC",
        }
    }

    pub fn translates(self) -> bool {
        !matches!(self, Self::Generator | Self::Forwarding | Self::XdpForwarder)
    }
}
