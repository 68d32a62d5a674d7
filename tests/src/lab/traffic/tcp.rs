//! TCP connections from a chosen namespace, address and port.

use std::{
    io,
    net::{SocketAddrV4, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

use nix::sys::{
    socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect as connect_socket, setsockopt,
        socket, sockopt,
    },
    time::TimeVal,
};

use crate::lab::netns::NetNs;

/// Connects from `from` (`None`: the kernel chooses) within `limit`, which is then also the limit
/// of every read and write.
pub fn connect(
    namespace: &NetNs,
    from: Option<SocketAddrV4>,
    to: SocketAddrV4,
    limit: Duration,
) -> io::Result<TcpStream> {
    let socket = namespace
        .enter(|| socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None))?;
    if let Some(from) = from {
        // A test may use the same port again while the last connection is in TIME_WAIT.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        bind(socket.as_raw_fd(), &SockaddrIn::from(from))?;
    }
    // These bound connect() as well.
    let time = TimeVal::new(limit.as_secs() as i64, limit.subsec_micros().into());
    setsockopt(&socket, sockopt::SendTimeout, &time)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &time)?;
    connect_socket(socket.as_raw_fd(), &SockaddrIn::from(to))?;
    Ok(TcpStream::from(socket))
}
