//! XDP: before the stack. Decides the route itself, by the kernel's tables, and redirects; leaves
//! whatever is unusual to the stack, unmodified.
use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
        xdp_md,
    },
    helpers::generated::{bpf_redirect, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use nat_common::{
    addr::Ipv4,
    checksum,
    flow::{Direction, Protocol},
    fragment::Part,
    hop::Hop,
    instance::{BUFFERS_TAKEN, Device, Role},
    mss::Lowered,
    packet::{Packet, Transport},
    rewrite::{IPV4_PART, IPV4_TTL},
    stats,
    verdict::{Fate, Verdict},
};
use network_types::ip::Ipv4Hdr;

use super::{Hook, Weight};
use crate::{
    entry::Translation,
    maps::INSTANCE,
    packet::{Frame, opaque},
    stage::{
        guard,
        parse::{ETHERNET_BYTES, IPV4_OFFSET},
        redirect::{self, NextHop},
        rewrite,
        stats::count,
    },
};

/// Where the total length stands in an IPv4 header (RFC 791).
const IPV4_LENGTH: usize = 2;

/// A frame at an XDP hook.
pub struct Xdp {
    ctx: XdpContext,
    hook: stats::Hook,
    /// Bytes of the frame, in all its buffers.
    length: usize,
    /// What becomes of a translated frame.
    action: u32,
}

impl Xdp {
    #[inline(always)]
    pub fn new(ctx: XdpContext, hook: stats::Hook) -> Self {
        // The action is overwritten with the packet; a translated frame without one is a bug.
        let mut xdp = Self { ctx, hook, length: 0, action: XDP_ABORTED };
        // A frame may lie in several buffers, of which only the first can be read directly. The
        // kernel is asked where the packet does not fit into that one; of a frame that is not IPv4
        // this may be the first buffer's length.
        let total = xdp.load(IPV4_OFFSET + IPV4_LENGTH).map_or(0, u16::from_be_bytes);
        let in_first = xdp.in_first_buffer(total);
        xdp.length = if in_first { xdp.first_buffer() } else { xdp.all_buffers() };
        // LLVM would keep what has been read of the context in 32 bits where the kernel was not asked,
        // and to the verifier the lower half of a pointer is none.
        xdp.ctx = XdpContext::new(opaque(xdp.ctx.ctx as usize) as *mut xdp_md);
        xdp
    }

    /// Counts the verdict and turns it into an action.
    #[inline(always)]
    pub fn finish(&self, verdict: Verdict) -> u32 {
        let (verdict, action) = match verdict.fate() {
            Fate::Translated => (verdict, self.action),
            Fate::Dropped => (verdict, XDP_DROP),
            Fate::LeftToStack => (verdict, XDP_PASS),
            // TC sees the frame next and gives the final verdict.
            Fate::Passed => (Verdict::LeftUntouched, XDP_PASS),
        };
        count(self.hook, verdict, self.weight());
        action
    }
}

impl Frame for Xdp {
    #[inline(always)]
    fn start(&self) -> usize {
        self.ctx.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.ctx.data_end()
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.length
    }

    /// What is not in the first buffer may be in another one.
    #[inline(always)]
    fn cut(&self) -> Verdict {
        if self.all_buffers() < IPV4_OFFSET + Ipv4Hdr::LEN {
            return Verdict::Malformed;
        }
        Verdict::LeftBuffers
    }
}

impl Hook for Xdp {
    const EARLY: bool = true;

    const KEEPS_ROUTES: bool = true;

    type Route = NextHop;

    #[inline(always)]
    fn weight(&self) -> Weight {
        let bytes = self.length().saturating_sub(ETHERNET_BYTES);
        Weight { packets: 1, bytes: bytes as u64 }
    }

    #[inline(always)]
    fn accept(&self, packet: &Packet) -> Result<(), Verdict> {
        if !self.addressed_to_us() || !packet.destination.is_unicast() {
            return Err(Verdict::LeftUntouched);
        }
        if packet.options {
            return Err(Verdict::LeftOptions);
        }
        if packet.ttl <= 1 {
            return Err(Verdict::LeftTtl);
        }
        if !self.in_first_buffer(packet.total_length) && !buffers_taken() {
            return Err(Verdict::LeftBuffers);
        }
        let part: [u8; 2] = self.load(IPV4_OFFSET + IPV4_PART as usize).unwrap_or_default();
        if Part::of(part).is_fragment() {
            return Err(Verdict::LeftUntranslatable);
        }
        match packet.transport {
            Transport::IcmpError | Transport::Untranslatable(_) => Err(Verdict::LeftUntranslatable),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn genuine(&self, packet: &Packet) -> Result<(), Verdict> {
        guard::check(self.ctx.as_ptr(), packet, self.ctx.ingress_ifindex() as u32)
    }

    /// Others have been left to the stack.
    #[inline(always)]
    fn delivers(&self, _packet: &Packet, _address: Ipv4) -> bool {
        true
    }

    #[inline(always)]
    fn context(&self) -> *mut c_void {
        self.ctx.as_ptr()
    }

    #[inline(always)]
    fn own(&self) -> bool {
        false
    }

    #[inline(always)]
    fn arrived(&self) -> u32 {
        self.ctx.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn route(&self, packet: &Packet, destination: Ipv4, by: Role) -> Result<NextHop, Verdict> {
        let ifindex = self.ctx.ingress_ifindex() as u32;
        redirect::next_hop(self.ctx.as_ptr(), packet, destination, ifindex, by)
    }

    #[inline(always)]
    fn kept_route(hop: &Hop, device: &Device) -> Option<NextHop> {
        Some(NextHop {
            ifindex: hop.ifindex.into(),
            destination_mac: hop.mac,
            source_mac: device.mac,
            mtu: hop.mtu,
        })
    }

    #[inline(always)]
    fn route_to_keep(route: &NextHop, now_ns: u64) -> Option<Hop> {
        route.to_keep(now_ns)
    }

    #[inline(always)]
    fn arrived_by(&self) -> u32 {
        self.ctx.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn egress(route: &NextHop) -> u32 {
        route.ifindex
    }

    #[inline(always)]
    fn translate(
        &mut self,
        packet: &Packet,
        direction: Direction,
        protocol: Protocol,
        to: &Translation,
        route: &NextHop,
    ) -> Result<(), Verdict> {
        let done = self.rewrite(packet, direction, protocol, to, route);
        done.ok_or(Verdict::RewriteFailed)?;
        self.send_on(packet, direction, route)
    }

    /// TC asks.
    #[inline(always)]
    fn unclaimed(&self, _packet: &Packet) -> bool {
        false
    }

    #[inline(always)]
    fn copy(&self, offset: u32, to: *mut u8, bytes: u32) -> bool {
        // SAFETY: the caller vouches for the room.
        unsafe { bpf_xdp_load_bytes(self.ctx.ctx, offset, to.cast(), bytes) == 0 }
    }

    #[inline(always)]
    fn lower(&self, check: u32, options: u32, lowered: &Lowered) -> Option<()> {
        let check = check as usize;
        self.put(check, checksum::update(self.load(check)?, lowered.delta()))?;
        self.put(options as usize + usize::from(lowered.at), lowered.new)
    }

    #[inline(always)]
    fn error(&mut self, _: &Packet, _: Direction, _: u64) -> Result<bool, Verdict> {
        Err(Verdict::LeftUntranslatable)
    }

    #[inline(always)]
    fn fragment(&mut self, _: &Packet, _: Direction) -> Result<bool, Verdict> {
        Err(Verdict::LeftUntranslatable)
    }

    #[inline(always)]
    fn send_on(&mut self, _: &Packet, _: Direction, route: &NextHop) -> Result<(), Verdict> {
        // SAFETY: the helper has no precondition.
        self.action = unsafe { bpf_redirect(route.ifindex, 0) } as u32;
        Ok(())
    }

    #[inline(always)]
    fn forwarded(&self, _packet: &Packet) -> Result<bool, Verdict> {
        Err(Verdict::LeftUntouched)
    }
}

impl Xdp {
    #[inline(always)]
    fn first_buffer(&self) -> usize {
        self.end() - self.start()
    }

    /// Whether a packet of so many bytes is in the first buffer.
    #[inline(always)]
    fn in_first_buffer(&self, total_length: u16) -> bool {
        IPV4_OFFSET + usize::from(total_length) <= self.first_buffer()
    }

    #[inline(always)]
    fn all_buffers(&self) -> usize {
        // SAFETY: the helper has no precondition.
        unsafe { bpf_xdp_get_buff_len(self.ctx.ctx) as usize }
    }

    /// Whether the frame is for this host. The stack looks at this itself; a switch floods frames
    /// for others, and an interface that somebody listens on takes them in.
    #[inline(always)]
    fn addressed_to_us(&self) -> bool {
        let Some(destination) = self.load::<[u8; 6]>(0) else {
            return false;
        };
        redirect::is_ours(self.ctx.ingress_ifindex() as u32, destination)
    }

    /// Writes the new addresses of all layers. Nothing, once a field is found missing: that cannot
    /// happen after parsing, and the frame is then dropped.
    #[inline(always)]
    fn rewrite(
        &self,
        packet: &Packet,
        direction: Direction,
        protocol: Protocol,
        to: &Translation,
        route: &NextHop,
    ) -> Option<()> {
        rewrite::whole(self, packet, (direction, protocol), to, checksum::TTL_DECREMENT)?;
        self.put(IPV4_OFFSET + IPV4_TTL as usize, packet.ttl - 1)?;
        self.put(0, [route.destination_mac, route.source_mac])
    }

    #[inline(always)]
    fn put<T: Copy>(&self, offset: usize, value: T) -> Option<()> {
        self.store(offset, value).then_some(())
    }
}

/// Whether a frame in several buffers gets to whichever interface it is redirected to.
#[inline(always)]
fn buffers_taken() -> bool {
    INSTANCE.get(0).is_some_and(|instance| instance.flags & BUFFERS_TAKEN != 0)
}
