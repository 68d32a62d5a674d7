//! Refused sessions: taken from the data path's ring, and their clients told ([`crate::refusals`]).
//!
//! By a raw socket, through the interface by which the refused packet came, and from the address that
//! this machine has there toward the client: the kernel fills it in.
use std::{
    io,
    net::SocketAddrV4,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use aya::Ebpf;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

use super::ring::Ring;
use crate::{
    datapath::Error,
    refusals::{Log, Refused},
};

/// Tells clients until the task is dropped. To be called at most once, within a tokio runtime and in the
/// instance's network namespace.
pub fn start(ebpf: &mut Ebpf) -> Result<(), Error> {
    let what = "cannot tell clients of refused sessions";
    let mut ring = Ring::take(ebpf, "REFUSALS", what)?;
    let socket =
        socket().map_err(|error| Error::kernel(format!("{what}: a raw socket"))(error.into()))?;
    tokio::spawn(async move {
        let mut log = Log::default();
        while ring.ready().await.is_ok() {
            while let Some(record) = ring.next() {
                let Some(refused) = Refused::read(&record) else { continue };
                log.note(&refused);
                if let Err(error) = tell(&socket, &refused) {
                    let client = refused.client();
                    tracing::debug!(%client, "cannot tell a client of a refused session: {error}");
                }
            }
        }
        tracing::error!("clients are not told of refused sessions any more");
    });
    Ok(())
}

/// A socket for whole IPv4 packets. It receives nothing.
fn socket() -> io::Result<OwnedFd> {
    // SAFETY: socket takes three integers.
    let fd = unsafe {
        libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just handed this descriptor out and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn tell(socket: &OwnedFd, refused: &Refused) -> io::Result<()> {
    let packet = refused.error();
    let by = libc::in_pktinfo {
        ipi_ifindex: refused.ifindex as libc::c_int,
        ipi_spec_dst: libc::in_addr { s_addr: 0 },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let to = SockaddrIn::from(SocketAddrV4::new(refused.client(), 0));
    let parts = [io::IoSlice::new(&packet)];
    let control = [ControlMessage::Ipv4PacketInfo(&by)];
    sendmsg(socket.as_raw_fd(), &parts, &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
    Ok(())
}
