//! A file over HTTP, compared by hash.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::tcp;
use crate::lab::{
    netns::NetNs,
    wait,
    worker::{StopSignal, Worker},
};

const POLL_LIMIT: Duration = Duration::from_secs(1);
/// For one read or write of the server: long enough for retransmissions, so that a NAT that loses
/// a packet is slow here and not broken.
const IO_LIMIT: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: u64 = 8192;

/// Serves one file of pseudo-random bytes to everybody.
pub struct HttpServer {
    address: SocketAddrV4,
    sha256: String,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    _worker: Worker<()>,
}

impl HttpServer {
    /// Listens on `address` (port 0: any) in a namespace.
    #[must_use]
    pub fn start(namespace: &NetNs, address: SocketAddrV4, bytes: usize) -> Self {
        let listener = namespace
            .enter(|| TcpListener::bind(address))
            .unwrap_or_else(|error| panic!("listen on {address}: {error}"));
        let Ok(SocketAddr::V4(address)) = listener.local_addr() else {
            panic!("the listener has no IPv4 address");
        };
        listener.set_nonblocking(true).expect("make the listener non-blocking");
        let file = Arc::new(pseudo_random(bytes));
        let peers = Arc::new(Mutex::new(Vec::new()));
        let sha256 = hex(&Sha256::digest(&*file));
        let worker = Worker::start("http", {
            let peers = Arc::clone(&peers);
            move |stop| serve(&listener, &stop, &file, &peers)
        });
        Self { address, sha256, peers, _worker: worker }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Hash of the file.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The address and port of each connection so far, as the server saw them.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    listener: &TcpListener,
    stop: &StopSignal,
    file: &Arc<Vec<u8>>,
    peers: &Mutex<Vec<SocketAddr>>,
) {
    loop {
        let [stopped, _] = wait::readable([stop.as_fd(), listener.as_fd()], POLL_LIMIT);
        if stopped {
            return;
        }
        while let Ok((stream, peer)) = listener.accept() {
            peers.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
            let file = Arc::clone(file);
            // Whatever goes wrong in a connection, the client notices.
            thread::spawn(move || answer(stream, &file));
        }
    }
}

fn answer(mut stream: TcpStream, file: &[u8]) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(IO_LIMIT))?;
    stream.set_write_timeout(Some(IO_LIMIT))?;
    let mut request = BufReader::new(stream.try_clone()?).take(HEADER_BYTES_MAX);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let length = file.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(file)
}

/// A file that was fetched completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    pub bytes: usize,
    pub sha256: String,
    /// The client's own end of the connection.
    pub local: SocketAddr,
}

/// Fetches the file, from a given address and port or from whatever the kernel chooses. `limit`
/// bounds the connection and each read.
pub fn download(
    namespace: &NetNs,
    from: Option<SocketAddrV4>,
    server: SocketAddrV4,
    limit: Duration,
) -> io::Result<Download> {
    let mut stream = tcp::connect(namespace, from, server, limit)?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let local = stream.local_addr()?;
    let mut answer = BufReader::new(stream);
    let mut length = None;
    let mut line = String::new();
    while answer.read_line(&mut line)? > 2 {
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim_end().parse().ok();
        }
        line.clear();
    }
    let length: usize = length.ok_or_else(|| io::Error::other("no Content-Length"))?;
    let mut body = Vec::with_capacity(length);
    answer.read_to_end(&mut body)?;
    if body.len() != length {
        return Err(io::Error::other(format!("{} of {length} bytes came", body.len())));
    }
    Ok(Download { bytes: length, sha256: hex(&Sha256::digest(&body)), local })
}

/// xorshift64: every packet has other bytes, so that a swapped or damaged one changes the hash.
fn pseudo_random(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state)
    };
    let mut file: Vec<u8> =
        std::iter::from_fn(next).take(bytes.div_ceil(8)).flat_map(u64::to_le_bytes).collect();
    file.truncate(bytes);
    file
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
