//! nat-ctl's data path. Only the entry points are here; the packet's way is in [`outbound`] and
//! [`inbound`], which read top to bottom and are the same for XDP and TC.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a map's key or value that is passed by value is first copied to the stack"
)]

mod arrival;
mod atomic;
mod clock;
mod entry;
mod established;
mod hairpin;
mod hook;
mod inbound;
mod maps;
mod outbound;
mod packet;
mod stage;
mod sweep;

use aya_ebpf::{
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use nat_common::stats;

use crate::hook::{tc::Tc, xdp::Xdp};

/// XDP on an inside interface: translates and redirects what leaves by an outside interface.
#[xdp(frags)]
pub fn xdp_inside(ctx: XdpContext) -> u32 {
    let mut hook = Xdp::new(ctx, stats::Hook::XdpInside);
    let verdict = outbound::outbound(&mut hook);
    hook.finish(verdict)
}

/// XDP on an outside interface: translates replies back and redirects them inside.
#[xdp(frags)]
pub fn xdp_outside(ctx: XdpContext) -> u32 {
    let mut hook = Xdp::new(ctx, stats::Hook::XdpOutside);
    let verdict = inbound::inbound(&mut hook);
    hook.finish(verdict)
}

/// TC egress of an outside interface: nothing covered leaves it untranslated.
#[classifier]
pub fn tc_egress(ctx: TcContext) -> i32 {
    let mut hook = Tc::new(ctx, stats::Hook::TcEgress);
    if hook.is_returned() {
        return hook.turn_round();
    }
    let verdict = outbound::outbound(&mut hook);
    hook.finish(verdict)
}

/// TC ingress of an outside interface: translates replies back and leaves them to the stack.
#[classifier]
pub fn tc_ingress(ctx: TcContext) -> i32 {
    let mut hook = Tc::new(ctx, stats::Hook::TcIngress);
    let verdict = inbound::inbound(&mut hook);
    hook.finish(verdict)
}

/// TC ingress of an inside interface: nothing forged comes in, and clients reach each other behind
/// their external addresses.
#[classifier]
pub fn tc_inside(ctx: TcContext) -> i32 {
    let mut hook = Tc::new(ctx, stats::Hook::TcInside);
    let verdict = arrival::arrival(&mut hook);
    hook.finish(verdict)
}

/// Run by the controller, never attached: see [`sweep`].
#[xdp]
pub fn sweep(ctx: XdpContext) -> u32 {
    sweep::sweep(&ctx)
}

/// Run by the command line, never attached: see [`sweep`].
#[xdp]
pub fn flush(ctx: XdpContext) -> u32 {
    sweep::flush(&ctx)
}

/// Run by the controller, never attached: see [`sweep`].
#[xdp]
pub fn clear(_ctx: XdpContext) -> u32 {
    sweep::clear()
}

/// `bpf_fib_lookup` is for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // The verifier refuses the object if any path leads here.
    loop {}
}
