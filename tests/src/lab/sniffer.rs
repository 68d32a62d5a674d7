//! What really went over a link, seen from one of its ends.
//!
//! Where to listen: an XDP program at the gateway takes and redirects frames before the gateway's
//! own taps see them. `s0` and `c0`, the far ends, see what arrives in every mode.

use std::{
    ffi::c_int,
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
    ptr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    checksums::{self, Checksums},
    leaks::{self, Leak},
    netns::NetNs,
    packet_socket::{self, Receive},
    pcap, wait,
    worker::{StopSignal, Worker},
};

/// Much more than a test sends; memory is taken only for what waits there.
const RECEIVE_BUFFER_BYTES: c_int = 512 << 20;
/// A GSO frame and its headers.
pub(super) const FRAME_BYTES_MAX: usize = 256 << 10;
/// Idle time between two looks at the stop signal, which poll() reports anyway.
const POLL_LIMIT: Duration = Duration::from_secs(1);

/// Direction as seen from the device on which the frame was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Incoming,
    Outgoing,
}

/// A frame with its Ethernet header.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Since 1970.
    pub time: Duration,
    pub direction: Direction,
    /// With its VLAN tag, which the kernel keeps beside the frame.
    pub bytes: Vec<u8>,
    /// The transport checksum is not there yet: its sender left it to the next device.
    pub checksum_pending: bool,
}

/// Everything a [`Sniffer`] saw.
#[derive(Debug)]
pub struct Capture {
    pub device: String,
    pub frames: Vec<Frame>,
}

impl Capture {
    pub fn incoming(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(|frame| frame.direction == Direction::Incoming)
    }

    pub fn outgoing(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(|frame| frame.direction == Direction::Outgoing)
    }

    /// Frames in either direction with a private source: see [`leaks::private_sources`].
    #[must_use]
    pub fn private_sources(&self) -> Vec<Leak> {
        leaks::private_sources(&self.frames)
    }

    /// Has tcpdump check the checksums: see [`checksums::check`].
    pub fn checksums(&self) -> Checksums {
        checksums::check(&self.frames)
    }

    pub fn write_pcap(&self, path: &Path) {
        pcap::write(path, &self.frames);
    }
}

#[derive(Default)]
struct Seen {
    frames: Mutex<Vec<Frame>>,
    more: Condvar,
}

impl Seen {
    /// A panic elsewhere leaves a list of frames that is as good as before.
    fn frames(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running capture.
pub struct Sniffer {
    device: String,
    seen: Arc<Seen>,
    worker: Worker<()>,
}

impl Sniffer {
    /// Begins to capture on a device. When this returns the kernel delivers every frame: the socket
    /// is bound, which is all it takes; the thread only empties it.
    #[must_use]
    pub fn start(namespace: &NetNs, device: &str) -> Self {
        let socket = packet_socket::open(namespace);
        prepare(&socket);
        // Only now, so that the very first frame has a timestamp and a tag.
        packet_socket::bind(namespace, &socket, device, Receive::All);
        let seen = Arc::new(Seen::default());
        let worker = Worker::start("sniffer", {
            let seen = Arc::clone(&seen);
            move |stop| collect(&socket, &stop, &seen)
        });
        Self { device: device.to_owned(), seen, worker }
    }

    /// Waits for a frame, past or future, that fulfils a condition. `None` when the time is up.
    pub fn wait_for(
        &self,
        limit: Duration,
        mut condition: impl FnMut(&Frame) -> bool,
    ) -> Option<Frame> {
        let deadline = Instant::now() + limit;
        let mut frames = self.seen.frames();
        let mut examined = 0;
        loop {
            if let Some(found) = frames[examined..].iter().find(|frame| condition(frame)) {
                return Some(found.clone());
            }
            examined = frames.len();
            let left = deadline.checked_duration_since(Instant::now())?;
            (frames, _) =
                self.seen.more.wait_timeout(frames, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many of the frames so far fulfil a condition.
    #[must_use]
    pub fn count(&self, mut condition: impl FnMut(&Frame) -> bool) -> usize {
        self.seen.frames().iter().filter(|frame| condition(frame)).count()
    }

    /// What has been seen so far.
    #[must_use]
    pub fn so_far(&self) -> Vec<Frame> {
        self.seen.frames().clone()
    }

    /// Ends the capture with every frame that has crossed the device before this call. Panics if
    /// the kernel lost any: a check for leaks must not pass because it did not look.
    #[must_use]
    pub fn stop(self) -> Capture {
        self.worker.stop();
        Capture { device: self.device, frames: std::mem::take(&mut *self.seen.frames()) }
    }
}

/// Asks for room, and for what [`receive`] needs beside each frame.
pub(super) fn prepare(socket: &OwnedFd) {
    for (level, name, value) in [
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1),
        (libc::SOL_PACKET, libc::PACKET_AUXDATA, 1),
    ] {
        packet_socket::set_option(socket.as_fd(), level, name, value);
    }
}

fn collect(socket: &OwnedFd, stop: &StopSignal, seen: &Seen) {
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    let mut received = 0_u64;
    loop {
        // In this order: after the stop signal, what is already queued is still taken.
        let [stopped, _] = wait::readable([stop.as_fd(), socket.as_fd()], POLL_LIMIT);
        while let Some(frame) = receive(socket, &mut buffer) {
            received += 1;
            seen.frames().push(frame);
            seen.more.notify_all();
        }
        if stopped {
            break;
        }
    }
    let statistics = packet_socket::statistics(socket.as_fd());
    assert_eq!(statistics.tp_drops, 0, "the sniffer lost frames, after {received}");
}

/// The next queued frame.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Option<Frame> {
    let mut control = [0_u64; 32];
    // SAFETY: these structures are made of integers and raw pointers, for which zero is a value.
    let (mut from, mut header) = unsafe {
        (
            MaybeUninit::<libc::sockaddr_ll>::zeroed().assume_init(),
            MaybeUninit::<libc::msghdr>::zeroed().assume_init(),
        )
    };
    let mut data = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    header.msg_name = (&raw mut from).cast();
    header.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    header.msg_iov = &raw mut data;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer in `header` is to a local value or to `buffer`, with its length.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
    let Ok(length) = usize::try_from(length) else {
        let error = io::Error::last_os_error();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "receive a frame: {error}");
        return None;
    };
    assert_eq!(header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC), 0, "a frame was cut off");

    let direction = match from.sll_pkttype {
        libc::PACKET_OUTGOING => Direction::Outgoing,
        _ => Direction::Incoming,
    };
    let notes = notes(&header);
    let mut bytes = buffer[..length].to_vec();
    if let Some(tag) = notes.vlan {
        bytes.splice(12..12, tag);
    }
    Some(Frame {
        time: notes.time,
        direction,
        bytes,
        checksum_pending: notes.status & libc::TP_STATUS_CSUMNOTREADY != 0,
    })
}

/// What the kernel says beside a frame.
struct Notes {
    time: Duration,
    status: u32,
    vlan: Option<[u8; 4]>,
}

fn notes(header: &libc::msghdr) -> Notes {
    let mut notes = Notes { time: Duration::ZERO, status: 0, vlan: None };
    // SAFETY: recvmsg() has filled in `header`, whose control buffer is alive and aligned.
    let mut entry = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !entry.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header in the buffer.
        let (level, kind, data) =
            unsafe { ((*entry).cmsg_level, (*entry).cmsg_type, libc::CMSG_DATA(entry)) };
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: the kernel puts a timespec into this message.
                let time: libc::timespec = unsafe { ptr::read_unaligned(data.cast()) };
                notes.time = Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
            }
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                // SAFETY: the kernel puts a tpacket_auxdata into this message.
                let extra: libc::tpacket_auxdata = unsafe { ptr::read_unaligned(data.cast()) };
                notes.status = extra.tp_status;
                if extra.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                    let ([a, b], [c, d]) =
                        (extra.tp_vlan_tpid.to_be_bytes(), extra.tp_vlan_tci.to_be_bytes());
                    notes.vlan = Some([a, b, c, d]);
                }
            }
            _ => {}
        }
        // SAFETY: as for CMSG_FIRSTHDR; `entry` is in the same buffer.
        entry = unsafe { libc::CMSG_NXTHDR(header, entry) };
    }
    notes
}
