//! One end of a link in the hands of a test: frames are sent byte by byte, and those that arrive come
//! with the kernel's time.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use super::{
    netns::NetNs,
    packet_socket::{self, Receive},
    sniffer::{self, Frame},
};

/// See the module. It does not see what it sends itself.
pub struct Wire {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Wire {
    /// From now on all frames that cross the device in either direction wait here.
    #[must_use]
    pub fn open(namespace: &NetNs, device: &str) -> Self {
        let socket = packet_socket::open(namespace);
        sniffer::prepare(&socket);
        packet_socket::bind(namespace, &socket, device, Receive::All);
        Self { socket, buffer: vec![0; sniffer::FRAME_BYTES_MAX] }
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the pointer and the length describe `frame`.
        let sent =
            unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "send: {}", io::Error::last_os_error());
    }

    /// The next frame, if one waits.
    pub fn receive(&mut self) -> Option<Frame> {
        sniffer::receive(&self.socket, &mut self.buffer)
    }

    /// Panics if the kernel lost a frame that was to be received here.
    pub fn check_nothing_lost(&self) {
        let lost = packet_socket::statistics(self.socket.as_fd()).tp_drops;
        assert_eq!(lost, 0, "frames were lost");
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
