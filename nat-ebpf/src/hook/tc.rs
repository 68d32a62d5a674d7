//! TC: between the stack and the wire. The stack has routed or will route; packets may be
//! super-frames, and their checksums unfinished or already verified, so fields are changed through
//! helpers that keep `skb->csum` and `ip_summed` right.
use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_CSUM_LEVEL_QUERY, BPF_F_INGRESS, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR,
        TC_ACT_SHOT, TC_ACT_UNSPEC,
    },
    helpers::generated::{bpf_csum_level, bpf_redirect, bpf_skb_load_bytes},
    programs::{SkBuffContext, TcContext},
};
use nat_common::{
    addr::Ipv4,
    checksum::{self, Delta},
    flow::{Direction, Protocol},
    fragment::{Part, RETURNED_MARK},
    hop::Hop,
    instance::{Device, Role},
    mark,
    mss::Lowered,
    packet::Packet,
    rewrite::{Fields, IPV4_CHECK, IPV4_PART, IPV4_TTL},
    stats,
    verdict::{Fate, Verdict},
};

use network_types::tcp::TcpHdr;

use super::{Hook, Weight};
use crate::{
    entry::Translation,
    packet::Frame,
    stage::{
        fragment, guard, icmp, locals,
        parse::{ETHERNET_BYTES, IPV4_OFFSET},
        redirect, rewrite, socket,
        stats::count,
    },
};

/// Ethernet, IPv4 with all its options, and what is read of TCP.
const HEADER_BYTES_MAX: u32 = (ETHERNET_BYTES + 60 + TcpHdr::LEN) as u32;

/// The VLAN's number in a tag.
const VLAN_ID: u32 = 0x0fff;

/// A packet at a TC hook.
pub struct Tc {
    ctx: TcContext,
    hook: stats::Hook,
    /// What becomes of a translated packet.
    action: i32,
}

impl Tc {
    #[inline(always)]
    pub fn new(ctx: TcContext, hook: stats::Hook) -> Self {
        // Leaves the packet to further TC programs, if there are any.
        let tc = Self { ctx, hook, action: TC_ACT_UNSPEC };
        // A packet may keep its headers in pages that a program cannot read directly. On failure
        // they stay there and the packet reads as cut short.
        let wanted = HEADER_BYTES_MAX.min(tc.skb().len);
        if tc.end() - tc.start() < wanted as usize {
            let _ = tc.ctx.pull_data(wanted);
        }
        tc
    }

    /// Counts the verdict and turns it into an action.
    #[inline(always)]
    pub fn finish(&self, verdict: Verdict) -> i32 {
        let verdict = self.of_fragment(verdict);
        count(self.hook, verdict, self.weight());
        match verdict.fate() {
            Fate::Translated => self.action,
            Fate::Passed | Fate::LeftToStack => TC_ACT_UNSPEC,
            Fate::Dropped => TC_ACT_SHOT,
        }
    }

    /// Whether the controller gives a fragment from outside back. It can only send, not receive.
    #[inline(always)]
    pub fn is_returned(&self) -> bool {
        self.skb().mark == RETURNED_MARK && self.skb().ingress_ifindex == 0
    }

    /// Makes a frame that is about to leave arrive instead, where `tc_ingress` sees it.
    #[inline(always)]
    pub fn turn_round(&self) -> i32 {
        count(self.hook, Verdict::LeftUntouched, self.weight());
        // SAFETY: the helper has no precondition.
        unsafe { bpf_redirect(self.skb().ifindex, u64::from(BPF_F_INGRESS)) as i32 }
    }

    /// The verdict of a packet that may be a fragment.
    #[inline(always)]
    fn of_fragment(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Fragment
            | Verdict::Truncated
            | Verdict::IcmpErrorNoSession
            | Verdict::NoSession
                if self.part().is_fragment() => {}
            _ => return verdict,
        }
        let inbound = matches!(self.hook, stats::Hook::TcIngress);
        Verdict::from_number(fragment::judge_fragment(
            self.ctx.skb.skb,
            u32::from(inbound),
            verdict as u32,
        ) as u8)
    }

    /// Which part of a packet it is. For frames that have been found to hold an IPv4 header.
    #[inline(always)]
    fn part(&self) -> Part {
        let field = self.load(IPV4_OFFSET + IPV4_PART as usize);
        field.map_or(Part::WHOLE, Part::of)
    }

    #[inline(always)]
    fn skb(&self) -> &__sk_buff {
        // SAFETY: the context that the kernel passed to the program.
        unsafe { &*self.ctx.skb.skb }
    }
}

impl Frame for Tc {
    #[inline(always)]
    fn start(&self) -> usize {
        self.ctx.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.ctx.data_end()
    }

    /// The stack and most drivers take the tag out of the frame.
    #[inline(always)]
    fn tagged(&self) -> bool {
        // VLAN 0 is no VLAN but a priority (IEEE 802.1Q): the stack takes the packet as untagged.
        self.skb().vlan_present != 0 && self.skb().vlan_tci & VLAN_ID != 0
    }

    #[inline(always)]
    fn prioritised(&self) -> bool {
        self.skb().vlan_present != 0
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.skb().len as usize
    }
}

impl Hook for Tc {
    const EARLY: bool = false;

    /// The stack has found it.
    const KEEPS_ROUTES: bool = false;

    /// The interface by which the packet leaves, where that is known: at egress.
    type Route = u32;

    #[inline(always)]
    fn weight(&self) -> Weight {
        Weight {
            packets: self.skb().gso_segs.max(1) as u64,
            bytes: self.length().saturating_sub(ETHERNET_BYTES) as u64,
        }
    }

    #[inline(always)]
    fn accept(&self, _packet: &Packet) -> Result<(), Verdict> {
        if !self.part().is_fragment() {
            return Ok(());
        }
        let inbound = matches!(self.hook, stats::Hook::TcIngress);
        match fragment::check_fragment(self.ctx.skb.skb, u32::from(inbound)) as u8 {
            fragment::ALONE => Ok(()),
            number => Err(Verdict::from_number(number)),
        }
    }

    #[inline(always)]
    fn genuine(&self, packet: &Packet) -> Result<(), Verdict> {
        let arrived = self.skb().ingress_ifindex;
        let looked_at = match self.hook {
            stats::Hook::TcEgress => {
                // Also what came by an interface with a role: the stack may have taken off a tag or
                // a label that hid it there.
                arrived == 0
            }
            _ => false,
        };
        if looked_at { Ok(()) } else { guard::check(self.ctx.as_ptr(), packet, arrived) }
    }

    /// One that the stack has to forward would die there.
    #[inline(always)]
    fn delivers(&self, packet: &Packet, address: Ipv4) -> bool {
        packet.ttl > 1 || locals::has(locals::ANY_INTERFACE, address)
    }

    #[inline(always)]
    fn context(&self) -> *mut c_void {
        self.ctx.as_ptr()
    }

    #[inline(always)]
    fn own(&self) -> bool {
        self.skb().ingress_ifindex == 0
    }

    #[inline(always)]
    fn arrived(&self) -> u32 {
        self.skb().ingress_ifindex
    }

    #[inline(always)]
    fn route(&self, _packet: &Packet, destination: Ipv4, _by: Role) -> Result<u32, Verdict> {
        match self.hook {
            // It does not leave, but is translated as if it did.
            stats::Hook::TcInside => {
                locals::interface_of(destination).ok_or(Verdict::LeftUntouched)
            }
            stats::Hook::TcIngress if self.turned() => {
                redirect::inside(self.ctx.as_ptr(), destination, self.skb().ifindex)
            }
            _ => Ok(self.skb().ifindex),
        }
    }

    #[inline(always)]
    fn kept_route(_hop: &Hop, _device: &Device) -> Option<u32> {
        None
    }

    #[inline(always)]
    fn route_to_keep(_route: &u32, _now_ns: u64) -> Option<Hop> {
        None
    }

    #[inline(always)]
    fn arrived_by(&self) -> u32 {
        self.skb().ifindex
    }

    #[inline(always)]
    fn egress(route: &u32) -> u32 {
        *route
    }

    #[inline(always)]
    fn translate(
        &mut self,
        packet: &Packet,
        direction: Direction,
        protocol: Protocol,
        to: &Translation,
        route: &u32,
    ) -> Result<(), Verdict> {
        self.rewrite(packet, direction, protocol, to).map_err(|_| Verdict::RewriteFailed)?;
        if self.part().is_fragment() {
            let (inbound, before) = match direction {
                Direction::Outbound => (false, packet.source),
                Direction::Inbound => (true, packet.destination),
            };
            match fragment::note_fragment(self.ctx.skb.skb, u32::from(inbound), before.to_be32())
                as u8
            {
                fragment::TAKEN => {}
                number => return Err(Verdict::from_number(number)),
            }
        }
        self.send_on(packet, direction, route)
    }

    #[inline(always)]
    fn copy(&self, offset: u32, to: *mut u8, bytes: u32) -> bool {
        // SAFETY: the caller vouches for the room.
        unsafe { bpf_skb_load_bytes(self.ctx.as_ptr(), offset, to.cast(), bytes) == 0 }
    }

    #[inline(always)]
    fn lower(&self, check: u32, options: u32, lowered: &Lowered) -> Option<()> {
        let (old, new) = lowered.words();
        let bytes = size_of::<u16>() as u64;
        self.ctx.l4_csum_replace(check as usize, old.into(), new.into(), bytes).ok()?;
        self.ctx.store(options as usize + usize::from(lowered.at), &lowered.new, 0).ok()
    }

    #[inline(always)]
    fn error(
        &mut self,
        packet: &Packet,
        direction: Direction,
        now_ns: u64,
    ) -> Result<bool, Verdict> {
        let offset = u32::from(packet.transport_offset);
        let work = icmp::work()?;
        work.source = packet.source;
        work.destination = packet.destination;
        work.offset = offset;
        work.bytes = (IPV4_OFFSET as u32 + u32::from(packet.total_length)).saturating_sub(offset);
        work.weight = self.weight();
        work.now_ns = now_ns;
        work.arriving = !matches!(self.hook, stats::Hook::TcEgress);
        let outbound = matches!(direction, Direction::Outbound);
        match icmp::translate(self.ctx.skb.skb, outbound) {
            icmp::NOT_OURS => Ok(false),
            icmp::TRANSLATED => Ok(true),
            number => Err(Verdict::from_number(number)),
        }
    }

    #[inline(always)]
    fn fragment(&mut self, _packet: &Packet, direction: Direction) -> Result<bool, Verdict> {
        match fragment::translate_fragment(
            self.ctx.skb.skb,
            u32::from(matches!(direction, Direction::Inbound)),
        ) as u8
        {
            fragment::ALONE => Ok(false),
            fragment::TAKEN => Ok(true),
            number => Err(Verdict::from_number(number)),
        }
    }

    #[inline(always)]
    fn send_on(
        &mut self,
        packet: &Packet,
        _direction: Direction,
        route: &u32,
    ) -> Result<(), Verdict> {
        match self.hook {
            stats::Hook::TcInside => {
                self.ctx.set_mark(mark::TURNED);
                // SAFETY: the helper has no precondition.
                self.action = unsafe { bpf_redirect(*route, BPF_F_INGRESS.into()) } as i32;
                Ok(())
            }
            stats::Hook::TcIngress if self.turned() => {
                self.ctx.set_mark(0);
                self.action = deliver(self.ctx.skb.skb, packet.ttl, packet.protocol, *route);
                if self.action == TC_ACT_SHOT { Err(Verdict::RewriteFailed) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn unclaimed(&self, packet: &Packet) -> bool {
        socket::unclaimed(self.ctx.as_ptr(), packet)
    }

    #[inline(always)]
    fn forwarded(&self, packet: &Packet) -> Result<bool, Verdict> {
        Ok(redirect::forwarded(self.ctx.as_ptr(), packet, self.skb().ifindex))
    }
}

impl Tc {
    /// Whether the packet has come from inside and been turned back: see [`crate::hairpin`].
    #[inline(always)]
    fn turned(&self) -> bool {
        self.skb().mark == mark::TURNED
    }

    #[inline(always)]
    fn rewrite(
        &self,
        packet: &Packet,
        direction: Direction,
        protocol: Protocol,
        to: &Translation,
    ) -> Result<(), i64> {
        let fields = Fields::of(direction, protocol);
        // First: the helpers make what is known of the frame's bytes worthless to the verifier.
        rewrite::all_but_transport_check(self, packet, &fields, to, UNCHANGED).ok_or(UNREADABLE)?;
        if self.is_verified() {
            return rewrite::transport_check(self, packet, &fields, to).ok_or(UNREADABLE);
        }
        let check = packet.transport_offset as usize + fields.check as usize;
        let optional = if fields.check_optional { BPF_F_MARK_MANGLED_0 as u64 } else { 0 };
        let (word, two_words) = (size_of::<u16>() as u64, size_of::<u32>() as u64);
        let mut gained = to.transport_delta;
        if fields.pseudo_header {
            let address = to.header_delta;
            gained = checksum::combine(gained, !address);
            // The only part of the sum that is already there while the checksum is partial. What was 0
            // and becomes a delta gains just that.
            let flags = BPF_F_PSEUDO_HDR as u64 | optional | two_words;
            self.ctx.l4_csum_replace(check, 0, address.into(), flags)?;
        }
        self.ctx.l4_csum_replace(check, 0, gained.into(), optional | word)
    }

    /// Whether the device or GRO has found the transport checksum right (`CHECKSUM_UNNECESSARY` of
    /// include/linux/skbuff.h): nothing that the kernel keeps beside the packet depends on its bytes.
    /// Of all others a sum is kept there (`CHECKSUM_COMPLETE`), or the field is half done
    /// (`CHECKSUM_PARTIAL`), or nothing is known (`CHECKSUM_NONE`): a program cannot tell which, but
    /// the kernel's helpers can.
    #[inline(always)]
    fn is_verified(&self) -> bool {
        // SAFETY: the context that the kernel passed to the program; this only asks.
        unsafe { bpf_csum_level(self.ctx.skb.skb, BPF_CSUM_LEVEL_QUERY.into()) >= 0 }
    }
}

/// What the IPv4 header's checksum gains by other changes here: the stack counts the TTL down.
const UNCHANGED: Delta = 0;

/// What is not there although the packet has been read.
const UNREADABLE: i64 = -1;

/// Sends a packet out by an inside interface, to the next hop that has been found last: the stack does
/// not forward what comes from an address of its own. Returns the action of the program.
///
/// Not inlined: few packets come here, and the others should not pay for it with stack.
#[inline(never)]
fn deliver(skb: *mut __sk_buff, ttl: u8, protocol: u8, ifindex: u32) -> i32 {
    let skb = SkBuffContext::new(skb);
    let word = |ttl: u8| u64::from(u16::from_ne_bytes([ttl, protocol]));
    let less = ttl.wrapping_sub(1);
    let (check, bytes) = (IPV4_OFFSET + IPV4_CHECK as usize, size_of::<u16>() as u64);
    let counted = skb.l3_csum_replace(check, word(ttl), word(less), bytes);
    let stored = skb.store(IPV4_OFFSET + IPV4_TTL as usize, &less, 0);
    match counted.and(stored) {
        Ok(()) => redirect::to_next_hop(ifindex).unwrap_or(TC_ACT_SHOT),
        Err(_) => TC_ACT_SHOT,
    }
}
