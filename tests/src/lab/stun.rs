//! RFC 5780: a STUN server with two addresses and two ports, and what it says of the NAT before a client.
//!
//! coturn is the server, and for plain discovery the client as well. Plain discovery takes a NAT that
//! keeps ports where it can for endpoint-independent, such as the kernel's masquerade. So questions can
//! also be asked one by one, by several clients that contend for a port.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    process::{Child, Stdio},
    time::Duration,
};

use super::{
    netns::NetNs,
    process::{kill, prepare_background, run},
    traffic::UdpClient,
    wait,
};

/// Ports of the server, on each of its addresses.
pub const PORTS: [u16; 2] = [3478, 3479];
const START_LIMIT: Duration = Duration::from_secs(10);
/// Discovery waits 3 s for each answer that does not come, of which there are two.
const DISCOVERY_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const TRIES: u32 = 5;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_RESPONSE: u16 = 0x0101;
const MAGIC_COOKIE: u32 = 0x2112_a442;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// A running server.
pub struct StunServer {
    child: Child,
    addresses: [Ipv4Addr; 2],
}

impl StunServer {
    /// Starts coturn on both ports of two addresses; returns when it answers.
    #[must_use]
    pub fn start(namespace: &NetNs, addresses: [Ipv4Addr; 2]) -> Self {
        let mut command = namespace.command("turnserver");
        command.args(["-n", "--stun-only", "--no-tls", "--no-dtls", "--no-cli"]);
        command.args(["--no-stdout-log", "--log-file=stdout", "--pidfile=/dev/null"]);
        command.args(addresses.map(|address| format!("--listening-ip={address}")));
        prepare_background(&mut command);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("start turnserver, of the package coturn");
        let server = Self { child, addresses };
        let client = UdpClient::bind(namespace, SocketAddrV4::new(addresses[0], 0));
        let last = server.endpoints()[3];
        let up = wait::until(START_LIMIT, || ask(&client, last, Duration::from_millis(50)));
        assert!(up.is_some(), "turnserver does not answer");
        server
    }

    /// Its four endpoints: both ports of the first address, then of the second.
    #[must_use]
    pub fn endpoints(&self) -> [SocketAddrV4; 4] {
        let [first, second] = self.addresses;
        [(first, 0), (first, 1), (second, 0), (second, 1)]
            .map(|(address, port)| SocketAddrV4::new(address, PORTS[port]))
    }

    /// What plain discovery says from an address: mapping and filtering, in coturn's words.
    #[must_use]
    pub fn discover(&self, client: &NetNs, from: Ipv4Addr) -> (String, String) {
        let (from, server) = (from.to_string(), self.addresses[0].to_string());
        let mut command = client.command("turnutils_natdiscovery");
        command.args(["-m", "-f", "-L", &from, &server]);
        let said = run(&mut command, DISCOVERY_LIMIT).ok();
        let verdict = |what: &str| {
            let lines = said.lines().filter_map(|line| line.strip_prefix("NAT with "));
            let mut verdicts = lines.filter_map(|line| line.strip_suffix(what));
            verdicts.next().unwrap_or_else(|| panic!("no {what:?} in:\n{said}")).trim().to_owned()
        };
        (verdict("Mapping!"), verdict("Filtering!"))
    }
}

impl Drop for StunServer {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// The address and port from which a server sees a client.
#[must_use]
pub fn seen(client: &UdpClient, server: SocketAddrV4) -> SocketAddrV4 {
    (0..TRIES)
        .find_map(|_| ask(client, server, ANSWER_LIMIT))
        .unwrap_or_else(|| panic!("{server} does not answer {}", client.local()))
}

/// A binding request and its answer, from where it was sent to.
fn ask(client: &UdpClient, server: SocketAddrV4, limit: Duration) -> Option<SocketAddrV4> {
    let [a, b] = server.port().to_be_bytes();
    let mut request = [BINDING_REQUEST.to_be_bytes(), [0, 0]].concat();
    request.extend(MAGIC_COOKIE.to_be_bytes());
    // The identifier of the transaction: late answers of others are told by it.
    request.extend(server.ip().octets());
    request.extend([a, b, 0, 0, 0, 0, 0, 1]);
    client.send(server, &request).ok()?;
    std::iter::from_fn(|| client.receive(limit))
        .filter(|(answer, from)| *from == server.into() && answer.get(8..20) == request.get(8..20))
        .find_map(|(answer, _)| mapped(&answer))
}

/// XOR-MAPPED-ADDRESS of a binding response (RFC 8489 section 14.2).
fn mapped(answer: &[u8]) -> Option<SocketAddrV4> {
    let word = |at: usize| Some(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    if word(0)? != BINDING_RESPONSE {
        return None;
    }
    let mut at = 20;
    loop {
        let (kind, length) = (word(at)?, usize::from(word(at + 2)?));
        if kind == XOR_MAPPED_ADDRESS {
            let port = word(at + 6)? ^ (MAGIC_COOKIE >> 16) as u16;
            let address = u32::from(word(at + 8)?) << 16 | u32::from(word(at + 10)?);
            return Some(SocketAddrV4::new(Ipv4Addr::from(address ^ MAGIC_COOKIE), port));
        }
        at += 4 + length.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 section 2.2.
    #[test]
    fn the_rfcs_sample_is_read() {
        let mut sample = vec![0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42];
        sample.extend([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);
        sample.extend([0x80, 0x22, 0x00, 0x0b]);
        sample.extend(b"test vector ");
        sample.extend([0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let expected = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 32853);
        assert_eq!(mapped(&sample), Some(expected));
        for length in 0..sample.len() {
            assert_eq!(mapped(&sample[..length]), None, "{length}");
        }
    }
}
