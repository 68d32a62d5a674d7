//! The hosts of the laboratory and how they are joined.
//!
//! ```text
//!   client            gateway                server
//!   c0 ────────── lan0       wan0 ────────── s0
//!   10.77.0.2     10.77.0.1  203.0.113.1     203.0.113.10, 203.0.113.11
//!   client2           │
//!   c1 ────────── lan1
//!   10.77.0.3     10.77.0.1
//! ```
//!
//! The server has no route to 10.77.0.0/24: a packet that was not translated is never answered, so
//! no test passes without NAT by accident. The gateway's default route leads to the server, which
//! drops what is not addressed to it.
//!
//! Hardware addresses carry the IPv4 address in their last four bytes, to make captures readable.

use std::{net::Ipv4Addr, time::Duration};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

use super::{
    netns::NetNs,
    offloads::{self, End, Offloads},
    process::{ip, tool},
    wait,
};

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
pub const CLIENT2: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
/// The gateway's address on both of its inside interfaces.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The gateway's first external address.
pub const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub const SERVER2: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);

const LINK_LIMIT: Duration = Duration::from_secs(5);

/// What a [`Lab`] is to look like.
#[derive(Debug)]
pub struct Builder {
    offloads: Offloads,
    second_client: bool,
    more_external: Vec<Ipv4Addr>,
    rp_filter: u8,
    gateway_mac: Option<[u8; 6]>,
}

impl Builder {
    /// Gives all interfaces of the gateway this hardware address.
    #[must_use]
    pub fn gateway_mac(mut self, mac: [u8; 6]) -> Self {
        self.gateway_mac = Some(mac);
        self
    }

    /// Adds `client2`, on an inside interface of its own, `lan1`.
    #[must_use]
    pub fn second_client(mut self) -> Self {
        self.second_client = true;
        self
    }

    /// Gives `wan0` further addresses, in this order after [`EXTERNAL`].
    #[must_use]
    pub fn external(mut self, addresses: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        self.more_external.extend(addresses);
        self
    }

    /// Sets the gateway's reverse path filter (default 0, off).
    #[must_use]
    pub fn rp_filter(mut self, mode: u8) -> Self {
        self.rp_filter = mode;
        self
    }

    #[must_use]
    pub fn build(self) -> Lab {
        Lab::from_builder(&self)
    }
}

/// The laboratory. Everything disappears with this value.
#[derive(Debug)]
pub struct Lab {
    pub client: NetNs,
    pub gateway: NetNs,
    pub server: NetNs,
    second_client: Option<NetNs>,
    offloads: Offloads,
    gateway_mac: Option<[u8; 6]>,
}

impl Lab {
    /// One client, one external address.
    #[must_use]
    pub fn new(offloads: Offloads) -> Self {
        Self::builder(offloads).build()
    }

    #[must_use]
    pub fn builder(offloads: Offloads) -> Builder {
        Builder {
            offloads,
            second_client: false,
            more_external: Vec::new(),
            rp_filter: 0,
            gateway_mac: None,
        }
    }

    /// The second client; panics if the laboratory was built without.
    #[must_use]
    pub fn client2(&self) -> &NetNs {
        self.second_client.as_ref().expect("build the laboratory with second_client()")
    }

    #[must_use]
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn from_builder(wanted: &Builder) -> Self {
        let lab = Self {
            client: NetNs::new(),
            gateway: NetNs::new(),
            server: NetNs::new(),
            second_client: wanted.second_client.then(NetNs::new),
            offloads: wanted.offloads,
            gateway_mac: wanted.gateway_mac,
        };
        // New namespaces inherit the machine's own IPv4 settings: leave none to chance.
        for host in [&lab.client, &lab.server].into_iter().chain(&lab.second_client) {
            host.sysctl("net/ipv4/ip_forward", "0");
            set_rp_filter(host, 0);
        }
        lab.gateway.sysctl("net/ipv4/ip_forward", "1");
        set_rp_filter(&lab.gateway, wanted.rp_filter);

        lab.connect(INSIDE, "lan0", &lab.client, "c0", CLIENT);
        ip(&lab.gateway, &format!("addr add {INSIDE}/24 dev lan0\n"));
        ip(&lab.client, &format!("addr add {CLIENT}/24 dev c0\nroute add default via {INSIDE}\n"));

        lab.connect(EXTERNAL, "wan0", &lab.server, "s0", SERVER);
        for address in [EXTERNAL].iter().chain(&wanted.more_external) {
            ip(&lab.gateway, &format!("addr add {address}/24 dev wan0\n"));
        }
        ip(&lab.gateway, &format!("route add default via {SERVER}\n"));
        for address in [SERVER, SERVER2] {
            ip(&lab.server, &format!("addr add {address}/24 dev s0\n"));
        }

        if let Some(client2) = &lab.second_client {
            // The same subnet behind a second interface, by host routes: one rule covers both
            // clients and neither reaches the other except through the gateway.
            lab.connect(INSIDE, "lan1", client2, "c1", CLIENT2);
            ip(
                &lab.gateway,
                &format!("addr add {INSIDE}/32 dev lan1\nroute add {CLIENT2}/32 dev lan1\n"),
            );
            ip(
                client2,
                &format!(
                    "addr add {CLIENT2}/32 dev c1\nroute add {INSIDE}/32 dev c1\n\
                     route add default via {INSIDE} dev c1 src {CLIENT2}\n"
                ),
            );
        }
        lab
    }

    /// Gives the gateway a second way out, `wan1`, to the server's `s1`. Addresses are written with
    /// their prefix.
    pub fn second_uplink(&self, gateway: &str, server: &str) {
        let address = |text: &str| -> Ipv4Addr {
            let (address, _) = text.split_once('/').expect("an address with its prefix");
            address.parse().expect("an IPv4 address")
        };
        self.connect(address(gateway), "wan1", &self.server, "s1", address(server));
        ip(&self.gateway, &format!("addr add {gateway} dev wan1\n"));
        ip(&self.server, &format!("addr add {server} dev s1\n"));
    }

    /// Joins the gateway and a host, both ends up and carrying frames.
    fn connect(
        &self,
        gateway_address: Ipv4Addr,
        gateway_device: &str,
        host: &NetNs,
        device: &str,
        address: Ipv4Addr,
    ) {
        let gateway_mac = match self.gateway_mac {
            Some(mac) => mac.map(|byte| format!("{byte:02x}")).join(":"),
            None => hardware_address(gateway_device, gateway_address),
        };
        let mac = hardware_address(device, address);
        let path = host.path();
        let path = path.display();
        // The two ends must not get the same index, as the first devices of two namespaces would:
        // the kernel then takes the link for no pair, and takes a second to notice its carrier.
        let index = match gateway_device {
            "lan0" => 10,
            "lan1" => 11,
            "wan1" => 21,
            _ => 20,
        };
        ip(
            &self.gateway,
            &format!(
                "link add {gateway_device} index {index} address {gateway_mac} type veth \
                 peer name {device} address {mac} netns {path}\n"
            ),
        );
        offloads::set(&self.gateway, gateway_device, End::Gateway, self.offloads);
        offloads::set(host, device, End::Host, self.offloads);
        ip(&self.gateway, &format!("link set {gateway_device} up\n"));
        ip(host, &format!("link set {device} up\n"));
        wait_running(&self.gateway, gateway_device);
        wait_running(host, device);
    }

    /// Takes away all that the gateway and the hosts have learned about each other's hardware
    /// addresses: the next packet finds its neighbour unresolved.
    pub fn flush_neighbours(&self) {
        for host in
            [&self.client, &self.gateway, &self.server].into_iter().chain(&self.second_client)
        {
            tool(host, "ip", &["neigh", "flush", "all"]);
        }
    }
}

fn set_rp_filter(namespace: &NetNs, mode: u8) {
    for scope in ["all", "default"] {
        namespace.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), &mode.to_string());
    }
}

/// 02:NN: and the address, where NN is the device's number.
fn hardware_address(device: &str, address: Ipv4Addr) -> String {
    let number = device.trim_start_matches(char::is_alphabetic);
    let [a, b, c, d] = address.octets();
    format!("02:{number:0>2}:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// A device drops what it is to send until the kernel has noticed the carrier, a moment after both
/// ends were set up.
fn wait_running(namespace: &NetNs, device: &str) {
    let running = namespace.enter(|| {
        wait::until(LINK_LIMIT, || {
            let mut interfaces = getifaddrs().expect("list interfaces");
            interfaces
                .any(|entry| {
                    entry.interface_name == device
                        && entry.flags.contains(InterfaceFlags::IFF_RUNNING)
                })
                .then_some(())
        })
    });
    assert!(running.is_some(), "{device} has no carrier after {LINK_LIMIT:?}");
}
