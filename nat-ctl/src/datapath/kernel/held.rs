//! Fragments that the data path cannot translate yet: taken from its ring, held, and given back when
//! the first one of their packet has come ([`crate::fragments`]).
//!
//! They are given back by a packet socket on the interface where they were seen. On their way out
//! they so come to `tc_egress` once more; what came from outside carries a mark, by which `tc_egress`
//! turns it round to `tc_ingress`.
use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Instant,
};

use aya::Ebpf;
use nat_common::fragment::RETURNED_MARK;
use tokio::time::{MissedTickBehavior, interval};

use super::ring::Ring;
use crate::{
    datapath::Error,
    fragments::{Frame, Held, Key, PATIENCE},
};

/// Last byte of a key of the inbound direction.
const INBOUND: u8 = 1;
/// Bytes of a held frame's record before the frame: key, interface, length.
const HEADER_BYTES: usize = 20;

/// Holds fragments until the task is dropped. To be called at most once, within a tokio runtime and
/// in the instance's network namespace.
pub fn start(ebpf: &mut Ebpf) -> Result<(), Error> {
    let failed = |what: &'static str| {
        move |error: io::Error| {
            Error::kernel(format!("cannot hold fragments: {what}"))(error.into())
        }
    };
    let ring = Ring::take(ebpf, "HELD", "cannot hold fragments")?;
    let out = socket(None).map_err(failed("a packet socket"))?;
    let back = socket(Some(RETURNED_MARK)).map_err(failed("a marked packet socket"))?;
    tokio::spawn(Holder { ring, out, back, held: Held::default() }.run());
    Ok(())
}

struct Holder {
    ring: Ring,
    out: OwnedFd,
    back: OwnedFd,
    held: Held,
}

impl Holder {
    async fn run(mut self) {
        let mut ticks = interval(PATIENCE / 4);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ready = self.ring.ready() => if let Err(error) = ready {
                    tracing::error!("fragments are not held any more: {error}");
                    return;
                },
                _ = ticks.tick() => {
                    let expired = self.held.expire(Instant::now());
                    if expired > 0 {
                        tracing::debug!(expired, "held fragments whose first one has not come");
                    }
                }
            }
            self.drain();
        }
    }

    /// Takes what the ring has.
    fn drain(&mut self) {
        let now = Instant::now();
        while let Some(record) = self.ring.next() {
            take(&record, &mut self.held, (&self.out, &self.back), now);
        }
    }
}

/// Holds the frame of a record, or gives back what the record says.
fn take(record: &[u8], held: &mut Held, (out, back): (&OwnedFd, &OwnedFd), now: Instant) {
    let Some((&key, rest)) = record.split_first_chunk::<{ size_of::<Key>() }>() else { return };
    if rest.is_empty() {
        let [.., direction] = key;
        let socket = if direction == INBOUND { back } else { out };
        for frame in held.release(&key) {
            if let Err(error) = send(socket, &frame) {
                tracing::debug!("cannot give a fragment back: {error}");
            }
        }
        return;
    }
    let Some(frame) = frame(record) else { return };
    if !held.hold(key, frame, now) {
        tracing::debug!("no room for another fragment");
    }
}

fn frame(record: &[u8]) -> Option<Frame> {
    let number = |at: usize| Some(u32::from_ne_bytes(*record.get(at..)?.first_chunk()?));
    let (ifindex, length) = (number(12)?, number(16)? as usize);
    let bytes = record.get(HEADER_BYTES..)?.get(..length)?.to_vec();
    Some(Frame { ifindex, bytes })
}

/// A packet socket that receives nothing, and marks what it sends.
fn socket(mark: Option<u32>) -> io::Result<OwnedFd> {
    // SAFETY: socket takes three integers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just handed this descriptor out and nothing else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let Some(mark) = mark else { return Ok(socket) };
    // SAFETY: the pointer and the length describe `mark`.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MARK,
            (&raw const mark).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

fn send(socket: &OwnedFd, frame: &Frame) -> io::Result<()> {
    // SAFETY: sockaddr_ll is made of integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    address.sll_ifindex = frame.ifindex as libc::c_int;
    // SAFETY: the pointers and lengths describe the frame and the address.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.bytes.as_ptr().cast(),
            frame.bytes.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use nat_common::fragment::HeldFrame;

    use super::*;

    #[test]
    fn a_record_is_read_as_the_data_path_writes_it() {
        assert_eq!(HEADER_BYTES, std::mem::offset_of!(HeldFrame, frame));
        assert_eq!(std::mem::offset_of!(HeldFrame, ifindex), 12);
        assert_eq!(std::mem::offset_of!(HeldFrame, length), 16);
        let mut record = vec![9; size_of::<HeldFrame>()];
        record[12..16].copy_from_slice(&3_u32.to_ne_bytes());
        record[16..20].copy_from_slice(&60_u32.to_ne_bytes());
        assert_eq!(frame(&record), Some(Frame { ifindex: 3, bytes: vec![9; 60] }));
        record[16..20].copy_from_slice(&4000_u32.to_ne_bytes());
        assert_eq!(frame(&record), None);
    }
}
