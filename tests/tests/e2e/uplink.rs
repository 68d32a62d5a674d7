//! The gateway's way out, addressed anew: the hosts of the background articles.
use std::{
    cell::RefCell,
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use nat_tests::lab::{
    Controller, Offloads,
    process::{ip, tool},
    traffic::{UdpClient, UdpEcho},
    wait,
};

use crate::gateway::{ANY, Gateway, LIMIT, at};

/// A host that no interface's subnet holds.
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

/// How long a packet that must not be answered is waited for.
const SILENCE: Duration = Duration::from_millis(150);

/// A gateway whose `wan0` has other addresses, and a server that shows what it sees.
pub struct Uplink {
    pub gateway: Gateway,
    /// One for each destination asked so far.
    echoes: RefCell<Vec<(Ipv4Addr, UdpEcho)>>,
}

impl Uplink {
    /// `wan0` gets these addresses, in this order; the next hop, [`FAR`] and `more` are the
    /// server's.
    pub fn new(
        offloads: Offloads,
        addresses: &[&str],
        next_hop: Ipv4Addr,
        more: &[Ipv4Addr],
    ) -> Self {
        let gateway = Gateway::new(offloads);
        let (router, server) = (&gateway.lab.gateway, &gateway.lab.server);
        ip(router, "addr flush dev wan0\n");
        addresses.iter().for_each(|one| ip(router, &format!("addr add {one} dev wan0\n")));
        ip(server, "addr flush dev s0\n");
        let uplink = Self { gateway, echoes: RefCell::default() };
        uplink.server_has(next_hop);
        more.iter().for_each(|address| uplink.server_has(*address));
        ip(&uplink.gateway.lab.server, &format!("addr add {FAR}/32 dev lo\n"));
        ip(&uplink.gateway.lab.gateway, &format!("route replace default via {next_hop}\n"));
        uplink
    }

    /// Gives the server's end of the link another address.
    pub fn server_has(&self, address: Ipv4Addr) {
        ip(&self.gateway.lab.server, &format!("addr add {address}/24 dev s0\n"));
    }

    /// Runs nat-ctl with one rule for all clients, whose source is written like this.
    pub fn start(&self, hook: &str, source: &str) -> Controller {
        self.start_with(hook, source, "")
    }

    /// The same with further lines of the rule and tables after it.
    pub fn start_with(&self, hook: &str, source: &str, more: impl Display) -> Controller {
        self.gateway.start(hook, rule(source, more))
    }

    /// The source of a new flow to a destination, as the server sees it; None if nothing arrives
    /// there.
    pub fn seen(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        self.seen_within(destination, LIMIT)
    }

    /// Whether nothing arrives at a destination.
    pub fn silent(&self, destination: Ipv4Addr) -> bool {
        self.seen_within(destination, SILENCE).is_none()
    }

    fn seen_within(&self, destination: Ipv4Addr, limit: Duration) -> Option<Ipv4Addr> {
        let mut echoes = self.echoes.borrow_mut();
        if !echoes.iter().any(|(address, _)| *address == destination) {
            let echo = UdpEcho::start(&self.gateway.lab.server, at(destination, 7));
            echoes.push((destination, echo));
        }
        let (_, echo) = echoes.iter().find(|(address, _)| *address == destination)?;
        let before = echo.peers().len();
        let client = UdpClient::bind(&self.gateway.lab.client, ANY);
        if !client.ask(echo.address(), b"?", 1, limit) {
            return None;
        }
        match echo.peers().get(before..)? {
            [peer] => match peer.ip() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            },
            several => panic!("one flow was seen as {several:?}"),
        }
    }

    /// Changes the gateway's addresses, routes or links as `ip -batch` would.
    pub fn ip(&self, batch: &str) {
        ip(&self.gateway.lab.gateway, batch);
    }

    /// Waits until new flows to a destination come from an address; says how long that took.
    pub fn follows(&self, destination: Ipv4Addr, source: Ipv4Addr) -> Duration {
        let started = std::time::Instant::now();
        let now = || self.seen_within(destination, SILENCE) == Some(source);
        let seen = wait::until(LIMIT, || now().then_some(()));
        let is = self.seen(destination);
        assert!(seen.is_some(), "{destination} is reached from {is:?}, not from {source}");
        started.elapsed()
    }

    /// What `ip` shows of the gateway.
    pub fn shown(&self, arguments: &[&str]) -> String {
        tool(&self.gateway.lab.gateway, "ip", arguments)
    }
}

/// One rule for all clients.
pub fn rule(source: &str, more: impl Display) -> String {
    format!(
        "[[rules]]\nname = \"internet\"\nfrom = [\"10.77.0.0/24\"]\nto = [\"0.0.0.0/0\"]\n\
         action = \"snat\"\nsource = {source}\n{more}\n"
    )
}
