//! What the forwarding benchmark is made of: the generator, the sinks, and forwarders to compare
//! nat-ctl with. Nothing of it is installed anywhere.
#![no_std]
#![no_main]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a map's key or value that is passed by value is first copied to the stack"
)]

mod fib;
mod floor;
mod frame;
mod generate;
#[expect(dead_code, reason = "the benchmark uses the rest")]
mod layout;
mod sink;

use aya_ebpf::{bindings::xdp_action::XDP_ABORTED, macros::xdp, programs::XdpContext};

use crate::{frame::Packet, layout::Place};

/// Run with live frames on a client's interface: sends packets by it.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    generate::next(&ctx).unwrap_or(XDP_ABORTED)
}

#[xdp]
pub fn sink_gateway(ctx: XdpContext) -> u32 {
    sink::take(&ctx, Place::Gateway)
}

#[xdp]
pub fn sink_server(ctx: XdpContext) -> u32 {
    sink::take(&ctx, Place::Server)
}

#[xdp]
pub fn sink_client(ctx: XdpContext) -> u32 {
    sink::take(&ctx, Place::Client)
}

/// The cheapest forwarder that asks the kernel for the way: no translation.
#[xdp]
pub fn forward(ctx: XdpContext) -> u32 {
    fib::forward(&ctx)
}

/// The cheapest stateful translation there can be: on the inside interface.
#[xdp]
pub fn floor_inside(ctx: XdpContext) -> u32 {
    Packet::of(&ctx).map_or(XDP_ABORTED, floor::outbound)
}

/// The same on the outside interface.
#[xdp]
pub fn floor_outside(ctx: XdpContext) -> u32 {
    Packet::of(&ctx).map_or(XDP_ABORTED, floor::inbound)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
