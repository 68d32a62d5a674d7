//! Endpoint-independent mappings on two CPUs: made once, shared, gone with their last session.
use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    time::Duration,
};

use nat_common::{
    addr::Port,
    flow::FlowKey,
    mapping::{self, Shared, Users, Uses},
    stats::Hook,
    verdict::Verdict,
};
use nat_ctl::datapath::State;

use super::{
    bench::{BOTH, Bench, Hooks},
    cpus::{self, Lockstep},
    frames::{self, CLIENT, GATEWAY, SERVER},
    gateway::Gateway,
    lifetime::life,
    runs,
};

const ENDPOINTS: u16 = 3000;
/// Whom the clients have not sent to.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
/// When UDP's sessions have ended.
const LIFE: Duration = life(300);

fn gateway(filtering: &str) -> Gateway {
    Gateway::with_rule(&format!("ports = \"1024-65535\"\nfiltering = \"{filtering}\"\n"), 16_384)
}

/// From a client's port to one of the server's.
fn out(from: u16, to: u16) -> Vec<u8> {
    frames::udp((CLIENT, from), (SERVER, to), b"out")
}

/// Checks that mappings, their claims and permissions are those that the sessions use, each counted
/// with as many users as it has. Returns how many mappings there are.
fn check(bench: &Bench) -> usize {
    let (mut users, mut claims) = (HashMap::new(), HashMap::new());
    let mut permitted = HashMap::new();
    for pair in bench.state().sessions().unwrap() {
        let (outbound, tuple) =
            (pair.outbound, pair.key.translated(pair.outbound.address, pair.outbound.port));
        assert_ne!(outbound.uses, Uses::NOTHING);
        let key = mapping::key(&pair.key, outbound.address, outbound.range);
        *users.entry(key).or_insert(0) += 1;
        let claim = (tuple.local_port, pair.key.local, pair.key.local_port, outbound.range);
        let other = claims.insert(tuple.toward_everybody(), claim);
        assert!(other.is_none_or(|other| other == claim), "{tuple:?} is shared: {other:?}");
        if outbound.uses == Uses::PERMISSION {
            *permitted.entry(mapping::permission_key(&tuple)).or_insert(0) += 1;
        }
    }
    let maps = bench.maps();
    let count = |key: &FlowKey, shared: &Shared| {
        // The fingerprint is the key's, or nobody could join.
        assert_eq!(Users(shared.users).joined(key), Some(Users(shared.users + 1)), "{key:?}");
        Users(shared.users).count()
    };
    let mut mappings = HashMap::new();
    maps.mappings
        .for_each(|key, mapping| {
            mappings.insert(*key, count(key, &mapping.shared));
        })
        .unwrap();
    assert_eq!(mappings, users, "mappings and their users");
    let mut owners = HashMap::new();
    maps.owners
        .for_each(|claim, owner| {
            let owned = (claim.local_port, owner.address, owner.port, owner.range);
            owners.insert(*claim, owned);
        })
        .unwrap();
    assert_eq!(owners, claims, "claims and who has them");
    let mut permissions = HashMap::new();
    maps.permissions
        .for_each(|key, shared| {
            permissions.insert(*key, count(key, shared));
        })
        .unwrap();
    assert_eq!(permissions, permitted, "permissions and their users");
    mappings.len()
}

/// Nothing is left when all sessions have ended.
fn check_end(bench: &mut Bench) {
    bench.advance(LIFE);
    bench.sweep();
    assert_eq!((bench.entries(), bench.claims(), check(bench)), (0, 0, 0));
}

/// The first packets of one inside endpoint, toward two servers.
#[test]
fn rfc4787_req11_an_inside_endpoint_on_two_cpus_has_one_mapping() {
    for run in 0..runs() {
        for hooks in BOTH {
            for filtering in ["address-and-port-dependent", "address-dependent"] {
                let mut gateway = gateway(filtering);
                let lost = gateway.send_pairs(hooks.out, |which| {
                    (1..=ENDPOINTS).map(|from| out(from, [3478, 3479][which])).collect()
                });
                assert_eq!(check(&gateway.bench), usize::from(ENDPOINTS));
                println!("{run} {hooks:?} {filtering}: {lost} of {} contended", 2 * ENDPOINTS);
                assert!(lost <= u64::from(ENDPOINTS) / 100, "{lost} first packets were lost");
                check_end(&mut gateway.bench);
            }
        }
    }
}

/// The last session goes at the moment at which another one wants to join.
#[test]
fn a_last_session_that_goes_and_a_new_one_leave_a_mapping_or_none() {
    for run in 0..runs() {
        for hooks in BOTH {
            for program in ["sweep", "flush"] {
                let mut gateway = gateway("address-dependent");
                let keys = open_all(&gateway, hooks);
                if program == "sweep" {
                    gateway.bench.advance(LIFE);
                }
                let lockstep = Lockstep::default();
                let came = cpus::both(gateway.namespaces(), |which| {
                    let mut came = 0;
                    for (number, key) in keys.iter().enumerate() {
                        let frame = out(key.local_port.number(), 3479);
                        lockstep.step(number);
                        if which == 0 {
                            came += u32::from(gateway.send_out(hooks.out, &frame).is_some());
                        } else {
                            gateway.bench.with_keys_here(program, std::slice::from_ref(key));
                        }
                    }
                    came
                });
                assert_eq!(check(&gateway.bench), came[0] as usize);
                assert_eq!(gateway.packets(Verdict::NoPort), 0);
                println!("{run} {hooks:?} {program}: {} came", came[0]);
                assert_eq!(
                    gateway.packets(Verdict::Contended),
                    u64::from(u32::from(ENDPOINTS) - came[0])
                );
                check_end(&mut gateway.bench);
            }
        }
    }
}

/// Somebody outside comes in at that moment.
#[test]
fn a_last_session_that_goes_and_a_packet_from_outside_leave_a_mapping_or_none() {
    for run in 0..runs() {
        for filtering in ["endpoint-independent", "address-dependent"] {
            let mut gateway = gateway(filtering);
            let keys = open_all(&gateway, BOTH[0]);
            let ports = ports(&gateway);
            let from = if filtering == "endpoint-independent" { STRANGER } else { SERVER };
            let lockstep = Lockstep::default();
            let came = cpus::both(gateway.namespaces(), |which| {
                let mut came = 0;
                for (number, key) in keys.iter().enumerate() {
                    let port = ports[&key.local_port.number()];
                    let knock = frames::udp((from, 9), (GATEWAY, port), b"in");
                    lockstep.step(number);
                    if which == 0 {
                        came += u32::from(gateway.send_in(Hook::TcIngress, &knock).is_some());
                    } else {
                        gateway.bench.with_keys_here("flush", std::slice::from_ref(key));
                    }
                }
                came
            });
            assert_eq!(check(&gateway.bench), came[0] as usize);
            println!("{run} {filtering}: {} came in", came[0]);
            check_end(&mut gateway.bench);
        }
    }
}

/// Opens a session for each inside endpoint; returns the outbound keys, by port.
fn open_all(gateway: &Gateway, hooks: Hooks) -> Vec<FlowKey> {
    gateway.namespace().enter(|| {
        for from in 1..=ENDPOINTS {
            gateway.open(hooks.out, &out(from, 3478));
        }
    });
    let pairs = gateway.bench.state().sessions().unwrap();
    let mut keys: Vec<FlowKey> = pairs.iter().map(|pair| pair.key).collect();
    keys.sort_by_key(|key| key.local_port.number());
    assert_eq!(keys.len(), usize::from(ENDPOINTS));
    keys
}

/// External ports by those of the client.
fn ports(gateway: &Gateway) -> BTreeMap<u16, u16> {
    let pairs = gateway.bench.state().sessions().unwrap();
    let port = |port: Port| port.number();
    pairs.iter().map(|pair| (port(pair.key.local_port), port(pair.outbound.port))).collect()
}

/// Everything at once on few endpoints, for which there are hardly ports enough.
#[test]
fn whatever_happens_at_once_mappings_are_those_of_the_sessions() {
    const STEPS: u32 = 60_000;
    for run in 0..runs() {
        for hooks in BOTH {
            for filtering in ["endpoint-independent", "address-dependent"] {
                let rule = format!("ports = \"4000-4005\"\nfiltering = \"{filtering}\"\n");
                let mut gateway = Gateway::with_rule(&rule, 64);
                let counts = cpus::both(gateway.namespaces(), |which| {
                    let mut numbers = Numbers(u64::from(run) << 8 | which as u64 | 1 << 32);
                    let mut passed = [0_u32; 3];
                    for _ in 0..STEPS {
                        let (from, to) = (5000 + numbers.below(8), 3478 + numbers.below(4));
                        let external = 4000 + numbers.below(6);
                        match numbers.below(8) {
                            0..4 => {
                                let sent = gateway.send_out(hooks.out, &out(from, to));
                                passed[0] += u32::from(sent.is_some());
                            }
                            4..6 => {
                                let remote = if to % 2 == 0 { SERVER } else { STRANGER };
                                let frame = frames::udp((remote, to), (GATEWAY, external), b"in");
                                let sent = gateway.send_in(Hook::TcIngress, &frame);
                                passed[1] += u32::from(sent.is_some());
                            }
                            _ => {
                                let remote = if to % 2 == 0 { SERVER } else { STRANGER };
                                let keys = [SERVER, remote].map(|remote| key(from, (remote, to)));
                                passed[2] += gateway.bench.with_keys_here("flush", &keys);
                            }
                        }
                    }
                    passed
                });
                println!("{run} {hooks:?} {filtering}: {counts:?} went out, came in, ended");
                assert!(counts.iter().flatten().all(|count| *count > 100), "{counts:?}");
                gateway.check_pairs();
                check(&gateway.bench);
                check_end(&mut gateway.bench);
            }
        }
    }
}

fn key(from: u16, (remote, port): (Ipv4Addr, u16)) -> FlowKey {
    let local = (CLIENT.into(), Port::new(from));
    FlowKey::new(nat_common::flow::Protocol::Udp, local, (remote.into(), Port::new(port)))
}

/// xorshift64* (Marsaglia, Vigna): the same numbers for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u16) -> u16 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u16 % bound
    }
}
