//! UDP questions and echoes.

use std::{
    io,
    net::{SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::AsFd as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::lab::{
    netns::NetNs,
    wait,
    worker::{StopSignal, Worker},
};

const POLL_LIMIT: Duration = Duration::from_secs(1);
const DATAGRAM_BYTES_MAX: usize = 65536;

/// Sends every datagram back to where it came from.
pub struct UdpEcho {
    address: SocketAddrV4,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    _worker: Worker<()>,
}

impl UdpEcho {
    /// Listens on `address` (port 0: any) in a namespace.
    #[must_use]
    pub fn start(namespace: &NetNs, address: SocketAddrV4) -> Self {
        let socket = bind(namespace, address);
        let Ok(SocketAddr::V4(address)) = socket.local_addr() else {
            panic!("the socket has no IPv4 address");
        };
        let peers = Arc::new(Mutex::new(Vec::new()));
        let worker = Worker::start("udp echo", {
            let peers = Arc::clone(&peers);
            move |stop| echo(&socket, &stop, &peers)
        });
        Self { address, peers, _worker: worker }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Sender of each datagram so far, as the server saw it.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn echo(socket: &UdpSocket, stop: &StopSignal, peers: &Mutex<Vec<SocketAddr>>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let [stopped, _] = wait::readable([stop.as_fd(), socket.as_fd()], POLL_LIMIT);
        if stopped {
            return;
        }
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            peers.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
            // An echo that cannot be sent is an answer that does not come: the client notices.
            let _ = socket.send_to(&buffer[..length], peer);
        }
    }
}

/// A client's socket.
pub struct UdpClient(UdpSocket);

impl UdpClient {
    /// Binds a socket in a namespace (address 0.0.0.0 and port 0: the kernel chooses).
    #[must_use]
    pub fn bind(namespace: &NetNs, address: SocketAddrV4) -> Self {
        Self(bind(namespace, address))
    }

    /// The socket itself, which is non-blocking.
    #[must_use]
    pub fn socket(&self) -> &UdpSocket {
        &self.0
    }

    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket has an address")
    }

    pub fn send(&self, to: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        self.0.send_to(payload, to).map(|_| ())
    }

    /// The next datagram and its sender. `None` when the time is up.
    #[must_use]
    pub fn receive(&self, limit: Duration) -> Option<(Vec<u8>, SocketAddr)> {
        let deadline = Instant::now() + limit;
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            // An error is what ICMP brought (refused, unreachable): not a datagram.
            if let Ok((length, from)) = self.0.recv_from(&mut buffer) {
                buffer.truncate(length);
                return Some((buffer, from));
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let _ = wait::readable([self.0.as_fd()], left);
        }
    }

    /// Sends to somebody who is expected to be unreachable: what ICMP says of it. `None` when the time
    /// is up. The socket is then connected.
    #[must_use]
    pub fn refused(&self, to: SocketAddrV4, limit: Duration) -> Option<io::ErrorKind> {
        let deadline = Instant::now() + limit;
        self.0.connect(to).and_then(|()| self.0.send(b"anybody?")).ok()?;
        loop {
            match self.0.recv(&mut [0; DATAGRAM_BYTES_MAX]) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Some(error.kind());
                }
                _ => {}
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let _ = wait::readable([self.0.as_fd()], left);
        }
    }

    /// Asks until the same bytes come back from the same address: `tries` times, waiting `limit`
    /// each time. Whether they came.
    #[must_use]
    pub fn ask(&self, to: SocketAddrV4, payload: &[u8], tries: u32, limit: Duration) -> bool {
        (0..tries).any(|_| {
            let deadline = Instant::now() + limit;
            if self.send(to, payload).is_err() {
                return false;
            }
            // Answers to earlier questions may be on their way still.
            std::iter::from_fn(|| self.receive(deadline.checked_duration_since(Instant::now())?))
                .any(|(bytes, from)| bytes == payload && from == to.into())
        })
    }
}

fn bind(namespace: &NetNs, address: SocketAddrV4) -> UdpSocket {
    let socket = namespace
        .enter(|| UdpSocket::bind(address))
        .unwrap_or_else(|error| panic!("bind {address}: {error}"));
    socket.set_nonblocking(true).expect("make a socket non-blocking");
    socket
}
