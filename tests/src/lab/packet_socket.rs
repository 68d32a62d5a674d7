//! AF_PACKET sockets: whole frames, from and to one device.

use std::{
    ffi::c_int,
    io,
    mem::size_of,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use nix::net::if_::if_nametoindex;

use super::netns::NetNs;

/// Opens a socket that is not bound to a device yet and therefore receives nothing.
pub(super) fn open(namespace: &NetNs) -> OwnedFd {
    // Protocol 0: with another one it would receive from all devices until it is bound.
    // SAFETY: socket takes three integers.
    let fd = namespace.enter(|| unsafe {
        libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
    });
    assert!(fd >= 0, "socket(AF_PACKET): {}", io::Error::last_os_error());
    // SAFETY: the kernel has just handed this descriptor out and nothing else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// What a bound socket receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// Nothing: it is there to send.
    Nothing,
    /// All frames in both directions, beginning with the first one after the call has returned.
    All,
}

/// Binds the socket to a device.
pub(super) fn bind(namespace: &NetNs, socket: &OwnedFd, device: &str, receive: Receive) {
    let index = namespace
        .enter(|| if_nametoindex(device))
        .unwrap_or_else(|error| panic!("no device {device} to bind to: {error}"));
    let protocol = match receive {
        Receive::Nothing => 0,
        Receive::All => libc::ETH_P_ALL,
    };
    let protocol = u16::try_from(protocol).expect("ETH_P_ALL has 16 bits");
    // SAFETY: sockaddr_ll is made of integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = c_int::try_from(index).expect("an interface index is an int");
    // SAFETY: the pointer and the length describe `address`.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    assert_eq!(bound, 0, "bind to {device}: {}", io::Error::last_os_error());
}

/// Sets an integer option.
pub(super) fn set_option(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) {
    // SAFETY: the pointer and the length describe `value`.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "socket option {level}/{name}: {}", io::Error::last_os_error());
}

/// How many frames the socket was offered and how many of those were lost, since the last call.
pub(super) fn statistics(socket: BorrowedFd<'_>) -> libc::tpacket_stats {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `statistics`, which is made of integers.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut length,
        )
    };
    assert_eq!(got, 0, "PACKET_STATISTICS: {}", io::Error::last_os_error());
    statistics
}
