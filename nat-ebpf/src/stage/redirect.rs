//! The way on, by the kernel's own routing and neighbour tables.
use core::{ffi::c_void, ptr::write_volatile};

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
        BPF_FIB_LKUP_RET_SUCCESS, BPF_FIB_LOOKUP_OUTPUT, BPF_FIB_LOOKUP_SKIP_NEIGH,
        bpf_fib_lookup as FibLookup, bpf_redir_neigh,
    },
    helpers::generated::{bpf_fib_lookup, bpf_redirect_neigh},
    macros::map,
    maps::PerCpuArray,
};
use nat_common::{
    addr::Ipv4,
    hop::Hop,
    instance::{Device, Role},
    packet::Packet,
    verdict::Verdict,
};

use crate::maps::{DEVICES, INSTANCE, INTERFACES};

/// AF_INET of `sys/socket.h`.
const AF_INET: u8 = 2;

/// Where a frame goes next.
#[derive(Clone, Copy)]
pub struct NextHop {
    pub ifindex: u32,
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    /// The longest IPv4 packet that fits, in bytes.
    pub mtu: u16,
}

impl NextHop {
    /// What of it a session may keep.
    #[inline(always)]
    pub fn to_keep(self, now_ns: u64) -> Option<Hop> {
        Hop::new(ways_followed(now_ns), now_ns, self.ifindex, self.mtu, self.destination_mac)
    }
}

/// [`Instance::ways_followed`].
#[inline(always)]
pub fn ways_followed(now_ns: u64) -> u32 {
    INSTANCE.get(0).map_or(0, |instance| instance.ways_followed(now_ns))
}

/// What is known of an interface at its place.
#[inline(always)]
pub fn device(ifindex: u32) -> Option<&'static Device> {
    DEVICES.get(Device::place(ifindex)).filter(|device| device.ifindex == ifindex)
}

/// Whether a link-layer address is that of an interface with a role.
#[inline(always)]
pub fn is_ours(ifindex: u32, mac: [u8; 6]) -> bool {
    if let Some(device) = device(ifindex) {
        return device.mac == mac;
    }
    // SAFETY: interfaces with a role are not removed while programs are attached.
    unsafe { INTERFACES.get(ifindex) }.is_some_and(|interface| interface.mac == mac)
}

/// Whether an interface has this role.
#[inline(always)]
fn has_role(ifindex: u32, role: Role) -> bool {
    if let Some(device) = device(ifindex) {
        return device.role == role as u8;
    }
    // SAFETY: as above.
    unsafe { INTERFACES.get(ifindex) }.is_some_and(|interface| interface.role == role as u8)
}

/// The next hop of a packet that arrived on `ifindex` and is bound for `destination`, if it leaves
/// by an interface of role `by`. `ctx` is the context of the running program.
#[inline(always)]
pub fn next_hop(
    ctx: *mut c_void,
    packet: &Packet,
    destination: Ipv4,
    ifindex: u32,
    by: Role,
) -> Result<NextHop, Verdict> {
    let fib = question(packet, destination, ifindex)?;
    // Makes the helper check the MTU of the way out.
    fib.__bindgen_anon_1.tot_len = packet.total_length;
    let outcome = ask(ctx, fib, 0);
    if outcome == BPF_FIB_LKUP_RET_NO_NEIGH {
        return Err(Verdict::LeftNeighbour);
    }
    if outcome == BPF_FIB_LKUP_RET_FRAG_NEEDED {
        return Err(Verdict::LeftMtu);
    }
    if outcome != BPF_FIB_LKUP_RET_SUCCESS {
        return Err(Verdict::LeftRoute);
    }
    if !has_role(fib.ifindex, by) {
        return Err(Verdict::LeftRoute);
    }
    // SAFETY: plain integers; the helper has put the MTU in the place of the length.
    let mtu = unsafe { fib.__bindgen_anon_1.mtu_result };
    Ok(NextHop { ifindex: fib.ifindex, destination_mac: fib.dmac, source_mac: fib.smac, mtu })
}

/// The inside interface by which a packet that arrived on `ifindex` reaches a client.
#[inline(always)]
pub fn inside(ctx: *mut c_void, client: Ipv4, ifindex: u32) -> Result<u32, Verdict> {
    let fib = blank()?;
    fib.ifindex = ifindex;
    fib.__bindgen_anon_4.ipv4_dst = client.to_be32();
    // The length is 0: the helper looks at the packet itself, which may be a super-frame.
    match ask(ctx, fib, BPF_FIB_LOOKUP_SKIP_NEIGH) {
        BPF_FIB_LKUP_RET_SUCCESS => {}
        BPF_FIB_LKUP_RET_FRAG_NEEDED => return Err(Verdict::HairpinMtu),
        _ => return Err(Verdict::HairpinRoute),
    }
    if has_role(fib.ifindex, Role::Inside) { Ok(fib.ifindex) } else { Err(Verdict::HairpinRoute) }
}

/// Has the kernel send a packet out by an interface, to the next hop of this CPU's last question,
/// whose link-layer address it resolves. Returns the action of the program.
#[inline(always)]
pub fn to_next_hop(ifindex: u32) -> Result<i32, Verdict> {
    let answer = QUESTION.get_ptr_mut(0).ok_or(Verdict::NotConfigured)?;
    // SAFETY: this CPU's own copy; plain integers.
    let gateway = unsafe { (*answer).__bindgen_anon_4.ipv4_dst };
    // In the place of the question, which is larger: the stack has no room to spare.
    let next_hop: *mut bpf_redir_neigh = answer.cast();
    // SAFETY: as above.
    unsafe {
        (*next_hop).nh_family = AF_INET.into();
        (*next_hop).__bindgen_anon_1.ipv4_nh = gateway;
        let bytes = size_of::<bpf_redir_neigh>() as i32;
        Ok(bpf_redirect_neigh(ifindex, next_hop, bytes, 0) as i32)
    }
}

const _: () = assert!(size_of::<bpf_redir_neigh>() <= size_of::<FibLookup>());
const _: () = assert!(size_of::<FibLookup>().is_multiple_of(size_of::<u64>()));

/// Whether the stack would forward a packet that arrived on `ifindex`, rather than take it in or
/// discard it.
#[inline(always)]
pub fn forwarded(ctx: *mut c_void, packet: &Packet, ifindex: u32) -> bool {
    // Multicast and the limited broadcast are not forwarded by routes, but a default route takes
    // them.
    if !packet.destination.is_unicast() {
        return false;
    }
    let Ok(fib) = question(packet, packet.destination, ifindex) else {
        return false;
    };
    let outcome = ask(ctx, fib, BPF_FIB_LOOKUP_SKIP_NEIGH);
    // One that is too long for the next link is fragmented, if its sender allows that.
    outcome == BPF_FIB_LKUP_RET_SUCCESS || outcome == BPF_FIB_LKUP_RET_FRAG_NEEDED
}

/// How an answer to a packet would leave.
pub enum WayBack {
    /// By the interface of this index.
    By(u32),
    /// Not at all.
    None,
    /// Nothing is forwarded here, so nothing has to be asked.
    Unasked,
}

/// How an answer to a packet that arrived on `ifindex` would leave, by the routes of what this machine
/// sends, as the kernel's own check asks (fib_validate_source): rules for what arrives by an interface
/// say nothing of the way back.
#[inline(always)]
pub fn way_back(ctx: *mut c_void, source: Ipv4, destination: Ipv4, ifindex: u32) -> WayBack {
    // By the interface of arrival only where forwarding is not on for all.
    for from in [LOOPBACK, ifindex] {
        let Ok(fib) = reverse_question(source, from) else { return WayBack::None };
        fib.__bindgen_anon_3.ipv4_src = destination.to_be32();
        match ask(ctx, fib, BPF_FIB_LOOKUP_SKIP_NEIGH) {
            BPF_FIB_LKUP_RET_SUCCESS => return WayBack::By(fib.ifindex),
            BPF_FIB_LKUP_RET_FWD_DISABLED => {}
            _ => return WayBack::None,
        }
    }
    WayBack::Unasked
}

/// Whether packets to an address can leave by an interface.
#[inline(always)]
pub fn reaches(ctx: *mut c_void, destination: Ipv4, ifindex: u32) -> bool {
    let Ok(fib) = reverse_question(destination, ifindex) else { return false };
    let flags = BPF_FIB_LOOKUP_SKIP_NEIGH | BPF_FIB_LOOKUP_OUTPUT;
    ask(ctx, fib, flags) == BPF_FIB_LKUP_RET_SUCCESS && fib.ifindex == ifindex
}

#[inline(always)]
fn reverse_question(destination: Ipv4, ifindex: u32) -> Result<&'static mut FibLookup, Verdict> {
    let fib = blank()?;
    fib.ifindex = ifindex;
    fib.__bindgen_anon_4.ipv4_dst = destination.to_be32();
    Ok(fib)
}

/// LOOPBACK_IFINDEX of include/net/flow.h: the same in every network namespace.
const LOOPBACK: u32 = 1;

#[inline(always)]
fn question(
    packet: &Packet,
    destination: Ipv4,
    ifindex: u32,
) -> Result<&'static mut FibLookup, Verdict> {
    let fib = blank()?;
    fib.l4_protocol = packet.protocol;
    fib.__bindgen_anon_2.tos = packet.tos;
    fib.ifindex = ifindex;
    fib.__bindgen_anon_3.ipv4_src = packet.source.to_be32();
    fib.__bindgen_anon_4.ipv4_dst = destination.to_be32();
    Ok(fib)
}

/// One question a CPU, which would be an eighth of the stack: the programs of a CPU do not interrupt
/// each other.
#[map]
static QUESTION: PerCpuArray<FibLookup> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's question, with nothing in it but the family.
#[inline(always)]
fn blank() -> Result<&'static mut FibLookup, Verdict> {
    let fib = QUESTION.get_ptr_mut(0).ok_or(Verdict::NotConfigured)?;
    // SAFETY: this CPU's own copy, of which there is one reference at a time; plain integers, for
    // which zero is a value.
    let fib = unsafe {
        // Word by word: otherwise it is a call of a function that writes bytes.
        let words: *mut u64 = fib.cast();
        for word in 0..size_of::<FibLookup>() / size_of::<u64>() {
            write_volatile(words.add(word), 0);
        }
        &mut *fib
    };
    fib.family = AF_INET;
    Ok(fib)
}

#[inline(always)]
fn ask(ctx: *mut c_void, fib: &mut FibLookup, flags: u32) -> u32 {
    // SAFETY: the context is the program's own, and the size is that of the structure.
    unsafe { bpf_fib_lookup(ctx, fib, size_of::<FibLookup>() as i32, flags) as u32 }
}
