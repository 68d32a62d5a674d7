//! What differs between XDP and TC. Everything else is written once, generic over [`Hook`].
pub mod tc;
pub mod xdp;

use core::ffi::c_void;

use nat_common::{
    addr::Ipv4,
    flow::{Direction, Protocol},
    hop::Hop,
    instance::{Device, Role},
    mss::Lowered,
    packet::Packet,
    verdict::Verdict,
};

use crate::{entry::Translation, packet::Frame};

/// What a frame adds to counters.
#[derive(Clone, Copy)]
pub struct Weight {
    /// More than one for a segmented super-frame.
    pub packets: u64,
    /// From the network header on.
    pub bytes: u64,
}

/// A place where packets are seen.
pub trait Hook: Frame {
    /// Whether the stack and TC still see what this hook passes on.
    const EARLY: bool;

    /// Whether it costs more to find a route than to keep it.
    const KEEPS_ROUTES: bool;

    /// How a packet leaves; found before anything is changed.
    type Route: Copy;

    /// What this frame adds to counters.
    fn weight(&self) -> Weight;

    /// Whether this hook translates such a packet itself; otherwise how it leaves it to the stack.
    fn accept(&self, packet: &Packet) -> Result<(), Verdict>;

    /// Whether the packet may come from where it says it comes from.
    fn genuine(&self, packet: &Packet) -> Result<(), Verdict>;

    /// Whether a packet from outside reaches `address`, for all this machine can know: the next
    /// router must not find its time to live used up.
    fn delivers(&self, packet: &Packet, address: Ipv4) -> bool;

    /// Whether this machine itself sends the packet.
    fn own(&self) -> bool;

    /// Index of the interface by which the packet came to this machine; 0 for one that it sends itself.
    fn arrived(&self) -> u32;

    /// The program's context, for the kernel's helpers.
    fn context(&self) -> *mut c_void;

    /// How a packet to `destination` leaves. Where the hook has to find that out, it must be by an
    /// interface of role `by`.
    fn route(&self, packet: &Packet, destination: Ipv4, by: Role) -> Result<Self::Route, Verdict>;

    /// How a packet leaves by what its session has kept, and by an interface.
    fn kept_route(hop: &Hop, device: &Device) -> Option<Self::Route>;

    /// What a session may keep of how its packet leaves.
    fn route_to_keep(route: &Self::Route, now_ns: u64) -> Option<Hop>;

    /// Index of the interface by which a packet from outside has arrived.
    fn arrived_by(&self) -> u32;

    /// Index of the interface by which a packet leaves.
    fn egress(route: &Self::Route) -> u32;

    /// Replaces the local endpoint of the packet and sends it on its way.
    fn translate(
        &mut self,
        packet: &Packet,
        direction: Direction,
        protocol: Protocol,
        to: &Translation,
        route: &Self::Route,
    ) -> Result<(), Verdict>;

    /// Copies bytes of the frame, also those that cannot be read directly. At `to` there has to be
    /// room for them.
    fn copy(&self, offset: u32, to: *mut u8, bytes: u32) -> bool;

    /// Writes a lower maximum segment size into the TCP options at `options` and makes up for it in
    /// the checksum at `check`.
    fn lower(&self, check: u32, options: u32, lowered: &Lowered) -> Option<()>;

    /// Translates an ICMP error with the session of the packet that it quotes. False for one that
    /// is as good as any other packet without a session.
    fn error(
        &mut self,
        packet: &Packet,
        direction: Direction,
        now_ns: u64,
    ) -> Result<bool, Verdict>;

    /// Translates a later fragment as the first one of its packet has been. False if that is not
    /// known.
    fn fragment(&mut self, packet: &Packet, direction: Direction) -> Result<bool, Verdict>;

    /// Sends a translated packet on its way, where the stack would not. `packet` is as it was
    /// before.
    fn send_on(
        &mut self,
        packet: &Packet,
        direction: Direction,
        route: &Self::Route,
    ) -> Result<(), Verdict>;

    /// Whether a packet for this machine is for a port that translation uses and that no socket of
    /// this machine has.
    fn unclaimed(&self, packet: &Packet) -> bool;

    /// Whether the stack would forward this packet rather than take it in, or how this hook leaves
    /// a packet that it has nothing to do with.
    fn forwarded(&self, packet: &Packet) -> Result<bool, Verdict>;
}
