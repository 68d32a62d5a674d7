//! A netlink socket for links, addresses, routes and rules: what there is, and what the kernel
//! announces.
//!
//! The connection of rtnetlink is good for questions. A live picture depends on what it hides: that
//! a message could not be read, and that a dump was disturbed by a change.
use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::{
    packet_core::{
        NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
        NetlinkMessage,
    },
    sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket, protocols},
};

/// More than the kernel puts into one datagram: 32 KiB of a dump, less of announcements.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// How often a dump that changes disturb is tried. Whoever follows changes hears of them anyway.
const TRIES: usize = 3;

/// The kernel's address.
const KERNEL: u32 = 0;

/// See the module.
pub(super) struct Netlink {
    socket: TokioSocket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A message of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// RTM_…
    pub kind: u16,
    /// NLM_F_…
    pub flags: u16,
    pub payload: &'a [u8],
    sequence: u32,
}

impl<'a> Message<'a> {
    /// A message for tests.
    #[cfg(test)]
    pub fn new(kind: u16, payload: &'a [u8]) -> Self {
        Self { kind, flags: 0, payload, sequence: 0 }
    }
}

impl Netlink {
    /// A socket in the network namespace of this thread, subscribed to `groups` (RTNLGRP_…).
    pub fn open(groups: &[u32]) -> io::Result<Self> {
        let mut socket = TokioSocket::new(protocols::NETLINK_ROUTE)?;
        socket.socket_mut().bind_auto()?;
        for group in groups {
            socket.socket_ref().add_membership(*group)?;
        }
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM_BYTES_MAX) })
    }

    /// Sets the room for messages that wait to be read, in bytes of the kernel's memory.
    pub fn set_room(&self, bytes: usize) -> io::Result<()> {
        let socket = self.socket.socket_ref();
        // Without the capability the limit of the system (net.core.rmem_max) has to do.
        setsockopt(socket, RcvBufForce, &bytes).or_else(|_| {
            let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
            socket.set_rx_buf_sz(bytes)
        })
    }

    /// Everything of a kind, as `parse` understands it; what it does not is left out.
    pub async fn dump<T>(
        &mut self,
        request: &RouteNetlinkMessage,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut all = Vec::new();
        for _ in 0..TRIES {
            all.clear();
            if self.dump_each(request, |payload| all.extend(parse(payload))).await? {
                break;
            }
        }
        Ok(all)
    }

    /// Calls `each` with everything of a kind. Returns false if a change has disturbed the dump.
    pub async fn dump_each(
        &mut self,
        request: &RouteNetlinkMessage,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        self.sequence += 1;
        let sequence = self.sequence;
        let mut message = NetlinkMessage::from(request.clone());
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        message.header.sequence_number = sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(KERNEL, 0)).await?;
        let mut whole = true;
        loop {
            let answers = messages(self.receive().await?);
            for answer in answers.filter(|answer| answer.sequence == sequence) {
                whole &= answer.flags & NLM_F_DUMP_INTR == 0;
                match answer.kind {
                    NLMSG_DONE | NLMSG_ERROR => return ended(answer.payload).map(|()| whole),
                    _ => each(answer.payload),
                }
            }
        }
    }

    /// Waits for a datagram of the kernel. ENOBUFS: messages have been lost.
    pub async fn receive(&mut self) -> io::Result<&[u8]> {
        loop {
            self.buffer.clear();
            let sender = self.socket.recv_from(&mut self.buffer).await?;
            if sender.port_number() == KERNEL {
                break;
            }
        }
        Ok(&self.buffer)
    }

    /// Throws away what waits to be read.
    ///
    /// Once a message has been lost the kernel loses the following ones without a word, until the
    /// reader has emptied the socket (net/netlink/af_netlink.c, NETLINK_S_CONGESTED). So whoever
    /// wants to hear of changes after a dump has to do this before it.
    pub fn discard(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.socket_ref().recv_from(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if is_loss(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether an error of [`Netlink::receive`] says that messages have been lost.
pub(super) fn is_loss(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

/// The messages of a datagram.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let length = (message.length() as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        Some(Message {
            kind: message.message_type(),
            flags: message.flags(),
            payload: message.payload(),
            sequence: message.sequence_number(),
        })
    })
}

/// The end of a dump: both kinds of message start with 0 or a negative error number.
fn ended(payload: &[u8]) -> io::Result<()> {
    let code = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}
