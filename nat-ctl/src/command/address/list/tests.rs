//! A host, a configuration and a data path in memory → the list.
use nat_common::{
    addr::{Ipv4, Port},
    flow::{FlowKey, Protocol},
    session::{Birth, Session},
    settings::Lifetime,
    tcp::Segment,
};

use super::*;
use crate::{
    datapath::{ConfigText, Datapath as _, SessionPair, fake::Fake},
    desired::desired,
    hook::Situation,
    host::{Address, Link, routes::Route},
    sources::{Remembered, Sources},
};

const NOW_NS: u64 = 5_000_000_000;

/// A model that prefers .8, a list of .7, and a rule that does not translate.
const CONFIG: &str = r#"
[interfaces]
inside = ["lan0"]
outside = ["wan0", "wan1"]

[addresses]
wan0 = ["203.0.113.8", "203.0.113.99", { address = "203.0.113.7", skip_as_source = true }]

[[rules]]
name = "vpn"
from = ["10.0.0.0/8"]
to = ["10.20.0.0/16"]
action = "route"

[[rules]]
name = "mail"
from = ["10.0.0.25"]
to = ["external"]
action = "snat"
source = { addresses = ["203.0.113.7", "203.0.113.8"] }

[[rules]]
name = "internet"
from = ["10.0.0.0/8"]
to = ["external"]
action = "snat"
"#;

/// `wan0` with .7, .8 and the deprecated .9, and a router .1; `wan1` is not there.
fn network() -> Network {
    let address = |last: u8, flags: &[Flag]| Address {
        ip: Ipv4Addr::new(203, 0, 113, last).into(),
        prefix_len: 24,
        flags: flags.iter().copied().collect(),
    };
    let wan = Link {
        index: 2,
        name: "wan0".to_owned(),
        ethernet: true,
        up: true,
        addresses: vec![
            address(7, &[]),
            address(8, &[Flag::Secondary]),
            address(9, &[Flag::Secondary, Flag::Deprecated]),
        ],
        ..Link::default()
    };
    let inside = Link { index: 3, name: "lan0".to_owned(), ethernet: true, ..Link::default() };
    let route = |dst: &str, via| {
        let dst = dst.parse().unwrap();
        Route { dst, via, dev: 2, metric: 0, src: None, table: 254 }
    };
    let routes =
        [route("0.0.0.0/0", Some(Ipv4Addr::new(203, 0, 113, 1))), route("203.0.113.0/24", None)];
    Network { links: vec![wan, inside], routes: routes.into_iter().collect(), ..Network::default() }
}

/// A session of a client that ends at some time.
fn session(client: u8, external: [u8; 4], deadline_ns: u64) -> SessionPair {
    let inside = (Ipv4::new([10, 0, 0, client]), Port::new(1000));
    let remote = (Ipv4::new([198, 51, 100, 9]), Port::new(53));
    let key = FlowKey::new(Protocol::Udp, inside, remote);
    let birth = Birth {
        protocol: Protocol::Udp,
        rule: 0,
        lifetime: Lifetime::initial(Protocol::Udp, 53),
        timeout_ns: 0,
        first: Segment::NONE,
        mss: 0,
        uses: 0,
        range: Port::NONE,
    };
    let external = (Ipv4::new(external), Port::new(2000));
    let outbound = Session::new(&key, external, &birth, 0);
    SessionPair { key, outbound: Session { deadline_ns, ..outbound }, inbound: None }
}

fn fake() -> Fake {
    let text = ConfigText { name: "nat.toml".to_owned(), text: CONFIG.to_owned() };
    let config = Config::parse(CONFIG, "nat.toml").unwrap();
    let mut sources = Sources::default();
    let desired =
        desired(&config, &network(), &mut sources, &Remembered::new(), &Situation::default())
            .unwrap();
    let sessions = vec![
        session(1, [203, 0, 113, 8], NOW_NS + 1),
        session(2, [203, 0, 113, 8], NOW_NS + 1),
        session(3, [203, 0, 113, 8], NOW_NS),
        session(4, [203, 0, 113, 66], NOW_NS + 1),
    ];
    let mut fake = Fake { sessions, ..Fake::default() };
    fake.apply(&desired.table, &sources, &text).unwrap();
    fake.attach(&desired.interfaces).unwrap();
    fake
}

#[test]
fn addresses_have_order_flags_and_use() {
    let list = list(&fake(), Some(&network()), NOW_NS).unwrap();
    let expected = serde_json::json!({
        "schema": "nat-ctl/address/1",
        "version": env!("CARGO_PKG_VERSION"),
        "interfaces": [
            {"name": "wan0", "addresses": [
                {
                    "address": "203.0.113.8", "prefix": 24, "order": 1, "listed": true,
                    "skip_as_source": false, "flags": ["secondary"], "present": true,
                    "rules": ["mail", "internet"], "sessions": 2,
                },
                {
                    "address": "203.0.113.99", "prefix": null, "order": null, "listed": true,
                    "skip_as_source": false, "flags": [], "present": false,
                    "rules": [], "sessions": 0,
                },
                {
                    "address": "203.0.113.7", "prefix": 24, "order": 2, "listed": true,
                    "skip_as_source": true, "flags": ["skip_as_source"], "present": true,
                    "rules": ["mail"], "sessions": 0,
                },
                {
                    "address": "203.0.113.9", "prefix": 24, "order": 3, "listed": false,
                    "skip_as_source": false, "flags": ["deprecated", "secondary"],
                    "present": true, "rules": [], "sessions": 0,
                },
            ]},
            {"name": "wan1", "addresses": []},
        ],
        "warnings": [
            "there is no interface `wan1` now",
            "no outside interface has 203.0.113.66, the external address of 1 live session",
        ],
    });
    assert_eq!(serde_json::to_value(&list).unwrap(), expected);
    assert_eq!(
        text(&list, Style::new(false)),
        "INTERFACE  #  ADDRESS         FLAGS                  SOURCE FOR     SESSIONS\n\
         wan0       1  203.0.113.8/24  secondary              mail internet         2\n\
         wan0       -  203.0.113.99    not on the interface   -                     0\n\
         wan0       2  203.0.113.7/24  skip_as_source         mail                  0\n\
         wan0       3  203.0.113.9/24  deprecated, secondary  -                     0\n\
         wan1       -  -               -                      -                     -\n"
    );
}

#[test]
fn an_address_that_has_gone_is_shown_while_rules_use_it() {
    let mut network = network();
    network.links[0].addresses.remove(1);
    let list = list(&fake(), Some(&network), NOW_NS).unwrap();
    let gone = &list.interfaces[0].addresses[0];
    assert_eq!((gone.order, gone.present), (None, Some(false)));
    assert_eq!((gone.rules.len(), gone.sessions), (2, 2));
    let mut unlisted = fake();
    let text = CONFIG.replace("\"203.0.113.8\", \"203.0.113.99\", ", "");
    unlisted.config = Some(ConfigText { name: "nat.toml".to_owned(), text });
    let list = super::list(&unlisted, Some(&network), NOW_NS).unwrap();
    let last = list.interfaces[0].addresses.last().unwrap();
    assert_eq!((last.address, last.present), (Ipv4Addr::new(203, 0, 113, 8), Some(false)));
}

#[test]
fn elsewhere_only_the_maps_are_asked() {
    let list = list(&fake(), None, NOW_NS).unwrap();
    assert!(list.warnings.len() == 1 && list.warnings[0].contains("--netns"));
    let addresses = &list.interfaces[0].addresses;
    let shown: Vec<u8> = addresses.iter().map(|one| one.address.octets()[3]).collect();
    assert_eq!(shown, [8, 99, 7]);
    assert!(addresses.iter().all(|one| (one.order, one.present, one.prefix) == (None, None, None)));
    assert!(addresses[2].skip_as_source && addresses[0].sessions == 2);
    let text = text(&list, Style::new(false));
    assert!(text.contains("wan0       -  203.0.113.8   -               mail internet"), "{text}");
}

#[test]
fn without_a_configuration_there_is_nothing_to_list() {
    let list = list(&Fake::default(), Some(&network()), NOW_NS).unwrap();
    assert!(list.interfaces.is_empty());
    assert_eq!(list.warnings, ["no configuration is in force"]);
}
