//! How the NAT behaves, found out from outside (RFC 5780), also while others contend for its ports.
use std::{collections::BTreeSet, net::SocketAddrV4};

use nat_tests::lab::{
    Lab, Offloads,
    stun::{StunServer, seen},
    topology::{CLIENT, CLIENT2, EXTERNAL, SERVER, SERVER2},
    traffic::UdpClient,
};

use crate::gateway::{Gateway, INTERNET, WITHOUT_OFFLOADS, at};

const INDEPENDENT: &str = "Endpoint Independent";
const ADDRESS_DEPENDENT: &str = "Address Dependent";
const BOTH_DEPENDENT: &str = "Address and Port Dependent";

fn lab() -> Lab {
    Lab::builder(Offloads::Off).second_client().build()
}

/// The mapping of one client's port, asked of all endpoints of the server, while another client uses
/// the same port toward each of them first.
struct Contended {
    one: Vec<SocketAddrV4>,
    other: Vec<SocketAddrV4>,
}

impl Contended {
    fn ask(lab: &Lab, server: &StunServer, port: u16) -> Self {
        let one = UdpClient::bind(&lab.client, at(CLIENT, port));
        let other = UdpClient::bind(lab.client2(), at(CLIENT2, port));
        let [first, rest @ ..] = server.endpoints();
        // The one comes first with the first endpoint and second with the others.
        let mut asked = Self { one: vec![seen(&one, first)], other: Vec::new() };
        for endpoint in rest {
            asked.other.push(seen(&other, endpoint));
            asked.one.push(seen(&one, endpoint));
        }
        asked.other.push(seen(&other, first));
        asked
    }

    fn is_endpoint_independent(&self) -> bool {
        [&self.one, &self.other].iter().all(|seen| seen.iter().collect::<BTreeSet<_>>().len() == 1)
    }

    /// Whether both have had one external port at the same time (RFC 4787 section 4.2.2).
    fn is_overloaded(&self) -> bool {
        self.one.iter().any(|endpoint| self.other.contains(endpoint))
    }
}

/// That the questions are sharp: the kernel's NAT passes plain discovery, and fails when somebody
/// contends.
#[test]
fn masquerade_seems_endpoint_independent_until_somebody_contends() {
    let lab = lab();
    lab.masquerade();
    let server = StunServer::start(&lab.server, [SERVER, SERVER2]);
    let (mapping, _) = server.discover(&lab.client, CLIENT);
    assert_eq!(mapping, INDEPENDENT);
    let contended = Contended::ask(&lab, &server, 40_000);
    assert!(!contended.is_endpoint_independent(), "{:?} {:?}", contended.one, contended.other);
    assert!(contended.is_overloaded(), "{:?} {:?}", contended.one, contended.other);
}

/// What a rule says, and what is to be found out.
struct Case {
    rule: &'static str,
    mapping: &'static str,
    filtering: &'static str,
}

const CASES: [Case; 5] = [
    Case { rule: "", mapping: INDEPENDENT, filtering: BOTH_DEPENDENT },
    Case {
        rule: "mapping = \"address-and-port-dependent\"",
        mapping: BOTH_DEPENDENT,
        filtering: BOTH_DEPENDENT,
    },
    Case {
        rule: "filtering = { udp = \"address-dependent\" }",
        mapping: INDEPENDENT,
        filtering: ADDRESS_DEPENDENT,
    },
    Case {
        rule: "filtering = { udp = \"endpoint-independent\" }",
        mapping: INDEPENDENT,
        filtering: INDEPENDENT,
    },
    // Without a mapping only the remote endpoint tells whose a packet is: the strictest filter holds.
    Case {
        rule: "mapping = \"address-and-port-dependent\"\nfiltering = \"endpoint-independent\"",
        mapping: BOTH_DEPENDENT,
        filtering: BOTH_DEPENDENT,
    },
];

#[test]
fn rfc5780_discovery_finds_what_the_rule_says() {
    for hook in WITHOUT_OFFLOADS {
        for case in &CASES {
            let gateway = Gateway::with_two_clients(Offloads::Off);
            let _controller = gateway.start(hook, format!("{INTERNET}{}\n", case.rule));
            let server = StunServer::start(&gateway.lab.server, [SERVER, SERVER2]);
            let (mapping, filtering) = server.discover(&gateway.lab.client, CLIENT);
            assert_eq!(mapping, case.mapping, "{hook} {}", case.rule);
            assert_eq!(filtering, case.filtering, "{hook} {}", case.rule);
        }
    }
}

/// RFC 4787 REQ-11: the answer is the same whoever contends, and however many flows there are.
#[test]
fn rfc4787_req11_mapping_is_the_same_under_contention_and_load() {
    for hook in WITHOUT_OFFLOADS {
        for case in &CASES {
            let gateway = Gateway::with_two_clients(Offloads::Off);
            let lab = &gateway.lab;
            let _controller = gateway.start(hook, format!("{INTERNET}{}\n", case.rule));
            let server = StunServer::start(&lab.server, [SERVER, SERVER2]);
            let others = UdpClient::bind(lab.client2(), at(CLIENT2, 50_000));
            for round in 0..8_u16 {
                let asked = Contended::ask(lab, &server, 40_000 + round);
                let independent = case.mapping == INDEPENDENT;
                let what =
                    format!("{hook} {} {round}: {:?} {:?}", case.rule, asked.one, asked.other);
                assert_eq!(asked.is_endpoint_independent(), independent, "{what}");
                if independent {
                    assert!(!asked.is_overloaded(), "{what}");
                }
                assert!(asked.one.iter().chain(&asked.other).all(|seen| *seen.ip() == EXTERNAL));
                // 150 flows more, toward ports where nobody answers.
                for port in 0..150 {
                    let to = at(SERVER, 10_000 + round * 150 + port);
                    // What ICMP has brought is an error of the next call.
                    let _ = others.send(to, b"load");
                }
            }
        }
    }
}
