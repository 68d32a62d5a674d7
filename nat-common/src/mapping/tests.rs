use super::*;

fn flow() -> FlowKey {
    FlowKey::new(
        Protocol::Udp,
        (Ipv4::new([10, 0, 0, 5]), Port::new(5000)),
        (Ipv4::new([198, 51, 100, 9]), Port::new(443)),
    )
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];
const FILTERINGS: [Filtering; 3] = [
    Filtering::AddressAndPortDependent,
    Filtering::AddressDependent,
    Filtering::EndpointIndependent,
];

#[test]
fn each_protocol_has_its_own_behaviour() {
    for kinds in 0..8_u32 {
        for filterings in 0..27_usize {
            let of = |n: usize| {
                let independent = kinds >> n & 1 == 1;
                (independent, FILTERINGS[filterings / 3_usize.pow(n as u32) % 3])
            };
            let mut behaviour = Behaviour::default();
            for (n, protocol) in PROTOCOLS.into_iter().enumerate() {
                let kind =
                    if of(n).0 { Kind::EndpointIndependent } else { Kind::AddressAndPortDependent };
                behaviour = behaviour.with(protocol, kind, of(n).1);
            }
            for (n, protocol) in PROTOCOLS.into_iter().enumerate() {
                let got = (behaviour.endpoint_independent(protocol), behaviour.filtering(protocol));
                assert_eq!(got, of(n), "{protocol:?} of {kinds} {filterings}");
            }
        }
    }
}

#[test]
fn what_is_not_known_is_the_strictest() {
    let behaviour = Behaviour::default();
    for protocol in PROTOCOLS {
        assert!(!behaviour.endpoint_independent(protocol));
        assert_eq!(behaviour.filtering(protocol), Filtering::AddressAndPortDependent);
    }
    assert_eq!(Filtering::from_number(3), Filtering::AddressAndPortDependent);
    for filtering in FILTERINGS {
        assert_eq!(Filtering::from_number(filtering as u8), filtering);
    }
}

#[test]
fn nobody_joins_what_is_being_removed_or_somebody_elses() {
    let key = key(&flow(), Ipv4::new([203, 0, 113, 7]), Port::new(1024));
    let one = Users::one(&key);
    let two = one.joined(&key).unwrap();
    assert_eq!((one.count(), two.count()), (1, 2));
    assert_eq!(Users(one.0 - 1).count(), 0);
    assert_eq!(Users(one.0 - 1).joined(&key), None);
    assert_eq!(one.joined(&flow()), None);
    let full = Users(one.0 | u64::from(u32::MAX));
    assert_eq!(full.joined(&key), None, "the count stays within its half of the word");
}

#[test]
fn mappings_and_permissions_of_different_things_have_different_keys() {
    let (here, there) = (Ipv4::new([203, 0, 113, 7]), Ipv4::new([203, 0, 113, 8]));
    let keys = [
        key(&flow(), here, Port::new(1024)),
        key(&flow(), there, Port::new(1024)),
        key(&flow(), here, Port::new(2048)),
        permission_key(&flow()),
    ];
    for (n, one) in keys.iter().enumerate() {
        assert!(keys.iter().skip(n + 1).all(|other| other != one));
    }
    // But for all ports of a remote address there is one permission.
    let elsewhere = flow().toward(flow().remote, Port::new(444));
    assert_eq!(permission_key(&elsewhere), permission_key(&flow()));
    let mapped = |flow| key(&flow, here, Port::new(1024));
    assert_eq!(mapped(elsewhere), mapped(flow()));
}
