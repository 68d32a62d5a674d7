//! The kernel's routes and neighbours, and nothing else.
use core::mem;

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as FibLookup,
        xdp_action::{XDP_ABORTED, XDP_PASS},
    },
    helpers::generated::{bpf_fib_lookup, bpf_redirect},
    programs::XdpContext,
};

use crate::frame::{self, Headers, Packet, updated};

const AF_INET: u8 = 2;

#[inline(always)]
pub fn forward(ctx: &XdpContext) -> u32 {
    let Some(mut packet) = Packet::of(ctx) else { return XDP_PASS };
    let headers = packet.headers();
    if headers.ethertype != frame::IPV4.to_be() || headers.ttl <= 1 {
        return XDP_PASS;
    }
    // SAFETY: plain integers, for which zero is a value.
    let mut fib: FibLookup = unsafe { mem::zeroed() };
    fib.family = AF_INET;
    fib.l4_protocol = headers.protocol;
    fib.__bindgen_anon_1.tot_len = u16::from_be(headers.total_length);
    fib.ifindex = ctx.ingress_ifindex() as u32;
    fib.__bindgen_anon_3.ipv4_src = headers.source;
    fib.__bindgen_anon_4.ipv4_dst = headers.destination;
    // SAFETY: the program's own context, and the size is that of the structure.
    let outcome =
        unsafe { bpf_fib_lookup(ctx.ctx.cast(), &mut fib, size_of::<FibLookup>() as i32, 0) };
    if outcome != i64::from(BPF_FIB_LKUP_RET_SUCCESS) {
        return XDP_PASS;
    }
    // Read again: the helper may have moved the frame, for all that the verifier knows.
    let Some(mut packet) = Packet::of(ctx) else { return XDP_ABORTED };
    let headers = packet.headers();
    hop(headers);
    headers.destination_mac = fib.dmac;
    headers.source_mac = fib.smac;
    // SAFETY: the helper has no precondition.
    unsafe { bpf_redirect(fib.ifindex, 0) as u32 }
}

/// Counts one hop.
#[inline(always)]
pub fn hop(headers: &mut Headers) {
    headers.ttl -= 1;
    headers.header_check = updated(headers.header_check, HOP);
}

/// What the sum of the words gains: 0x0100 less.
pub const HOP: u64 = (!0x0100_u16).to_be() as u64;
