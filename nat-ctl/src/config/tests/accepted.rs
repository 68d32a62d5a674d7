//! What a correct file means.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{GOOD, accept, good_and, good_with};
use crate::config::{
    Action, Config, Cooldown, Defaults, Filtering, Hook, Interfaces, Limits, Mapping, Mss,
    OnAddressRemoved, PerProtocol, Pooling, Protocol, ProtocolSet, Selector, Snat, Source,
    SourceModel, SourceOptions, StaticRoute, Timeouts, Unmatched,
};

/// Every key of the documented format.
pub(super) const SAMPLE: &str = r#"
[interfaces]
inside  = ["lan0"]
outside = ["wan0"]
hook    = "auto"

[addresses]
wan0 = ["192.168.1.14", { address = "192.168.1.68", skip_as_source = true }]

[[networks]]
name = "internal"
prefixes = ["10.0.0.0/8", "172.16.0.0/12"]
interfaces = ["lan0"]

[[rules]]
name = "vpn"
from = ["internal"]
to = ["10.20.0.0/16"]
action = "route"

[[rules]]
name = "web"
from = ["internal"]
to = ["external"]
protocols = ["tcp"]
action = "snat"
source = { addresses = ["192.168.1.14", "192.168.1.68"], pooling = "paired" }

[[rules]]
name = "internet"
from = ["internal"]
to = ["external"]
protocols = ["tcp", "udp", "icmp"]
action = "snat"
source = "strong-host"
sticky = false
on_address_removed = "drain"
ports = "1024-65535"
exclude_ports = []
mapping = { tcp = "address-and-port-dependent", udp = "endpoint-independent", icmp = "endpoint-independent" }
filtering = "address-and-port-dependent"
spill = false
mss = "off"

[defaults]
unmatched = "route"

[source]
tie_break = "first"
candidates = "egress"
private_scope = "global"
enforce_strong_send = false
honour_skip_as_source = true

[cooldown]
enabled = true
time_ms = 240000
rst_ms = 240000
half_open_ms = 30000
udp_ms = 0
scope = "destination"
max_cooling = 1048576
pressure_reuse = false

[timeouts]
tcp_established = "7440s"
tcp_opening = "240s"
tcp_closing = "240s"
udp = "300s"
udp_dns = "20s"
icmp = "60s"

[limits]
max_sessions = 262144
sessions_per_client = 8192
half_open_per_client = 512
new_per_second_per_client = 2000

[listen]
http = "127.0.0.1:9469"

[log]
nat_events = "off"

[[static_routes]]
to = "10.128.0.0/9"
via = "10.0.0.1"
dev = "lan0"
metric = 0
"#;

/// What the last of the rules that translate does.
fn snat(config: &Config) -> &Snat {
    config
        .rules
        .iter()
        .rev()
        .find_map(|rule| match &rule.action {
            Action::Snat(snat) => Some(snat),
            _ => None,
        })
        .unwrap()
}

fn pooling(snat: &Snat) -> Pooling {
    match &snat.source {
        Source::Addresses { pooling, .. } => *pooling,
        Source::Model(model) => panic!("{model}"),
    }
}

#[test]
fn the_sample() {
    let config = accept(SAMPLE);
    assert_eq!(config.warnings, []);
    assert_eq!(
        config.interfaces,
        Interfaces {
            inside: vec!["lan0".to_owned()],
            outside: vec!["wan0".to_owned()],
            hook: Hook::Auto
        }
    );
    assert_eq!(config.networks.len(), 1);
    assert_eq!(config.networks[0].name, "internal");
    assert_eq!(config.networks[0].prefixes.len(), 2);
    assert_eq!(config.networks[0].interfaces, ["lan0"]);
    let [vpn, web, internet] = config.rules.as_slice() else { panic!("{:?}", config.rules) };
    assert_eq!((vpn.name.as_str(), &vpn.action), ("vpn", &Action::Route));
    assert_eq!(vpn.to, [Selector::Prefix("10.20.0.0/16".parse().unwrap())]);
    assert_eq!(vpn.protocols, ProtocolSet::EVERY);
    assert_eq!(internet.from, [Selector::Network(0)]);
    assert_eq!(internet.to, [Selector::External]);
    assert_eq!(internet.protocols, ProtocolSet::TRANSLATABLE);
    let listed = Source::Addresses {
        addresses: vec![Ipv4Addr::new(192, 168, 1, 14), Ipv4Addr::new(192, 168, 1, 68)],
        pooling: Pooling::Paired,
    };
    let by_default = Snat {
        source: Source::Model(SourceModel::StrongHost),
        sticky: false,
        on_address_removed: OnAddressRemoved::Drain,
        ports: 1024..=65535,
        exclude_ports: Vec::new(),
        mapping: PerProtocol {
            tcp: Mapping::AddressAndPortDependent,
            udp: Mapping::EndpointIndependent,
            icmp: Mapping::EndpointIndependent,
        },
        filtering: PerProtocol::all(Filtering::AddressAndPortDependent),
        spill: false,
        mss: Mss::Off,
    };
    assert_eq!(web.action, Action::Snat(Snat { source: listed, ..by_default.clone() }));
    assert_eq!(internet.action, Action::Snat(by_default));
    let [route] = config.static_routes.as_slice() else { panic!("{:?}", config.static_routes) };
    assert_eq!(route.to_string(), "10.128.0.0/9 via 10.0.0.1 dev lan0");
}

/// The sample names every key with its default value.
#[test]
fn the_sample_shows_the_defaults() {
    let sample = accept(SAMPLE);
    let config = accept(&good_with("source = { addresses = [\"203.0.113.1\"] }", ""));
    assert_eq!(
        (config.source, sample.source),
        (SourceOptions::default(), SourceOptions::default())
    );
    assert_eq!((config.timeouts, sample.timeouts), (Timeouts::default(), Timeouts::default()));
    assert_eq!((config.cooldown, sample.cooldown), (Cooldown::default(), Cooldown::default()));
    assert_eq!((config.limits, sample.limits), (Limits::default(), Limits::default()));
    assert_eq!((config.defaults, sample.defaults), (Defaults::default(), Defaults::default()));
    assert_eq!(config.interfaces.hook, sample.interfaces.hook);
    assert_eq!(snat(&config), snat(&sample));
    assert_eq!(config.rules[0].protocols, sample.rules[2].protocols);
    let metric = sample.static_routes[0].metric;
    assert_eq!(metric, StaticRoute::METRIC_DEFAULT);
    let listed = accept(GOOD);
    let Action::Snat(web) = &sample.rules[1].action else { panic!() };
    assert_eq!(pooling(snat(&listed)), pooling(web));
}

#[test]
fn values_are_taken() {
    let text = good_with("to = [\"external\"]", "to = [\"8.8.8.8\", \"0.0.0.0/0\"]")
        .replace("] }", "], pooling = \"random\" }")
        .replace("outside = [\"wan0\"]", "outside = [\"wan0\", \"wan1\"]\nhook = \"xdp\"")
        + "protocols = [\"udp\", \"udp\"]\nports = \" 1 - 1 \"\n[defaults]\nunmatched = \"drop\"\n\
           [timeouts]\ntcp_established = \"2h 4m\"\nudp_dns = \"1s\"\nicmp = \"30d\"\n[limits]\n\
           max_sessions = 16\n";
    let config = accept(&text);
    assert_eq!(config.interfaces.outside, ["wan0", "wan1"]);
    assert_eq!(config.interfaces.hook, Hook::Xdp);
    let rule = &config.rules[0];
    let to: Vec<Selector> = ["8.8.8.8/32", "0.0.0.0/0"]
        .map(|prefix| Selector::Prefix(prefix.parse().unwrap()))
        .to_vec();
    assert_eq!(rule.to, to);
    assert!(rule.protocols.contains(Protocol::Udp));
    assert!(!rule.protocols.contains(Protocol::Tcp) && !rule.protocols.contains_others());
    assert_eq!((pooling(snat(&config)), &snat(&config).ports), (Pooling::Random, &(1..=1)));
    assert_eq!(config.defaults.unmatched, Unmatched::Drop);
    assert_eq!(config.timeouts.tcp_established, Duration::from_secs(7440));
    assert_eq!(config.timeouts.udp_dns, Duration::from_secs(1));
    assert_eq!(config.timeouts.icmp, Duration::from_secs(30 * 86_400));
    assert_eq!(config.limits.max_sessions, 16);
}

#[test]
fn local_host_can_be_named_on_both_sides() {
    let text = good_with("from = [\"10.0.0.0/8\"]", "from = [\"10.0.0.0/8\", \"local-host\"]")
        .replace("[\"external\"]", "[\"local-host\"]");
    let config = accept(&text);
    assert_eq!(config.rules[0].from[1], Selector::LocalHost);
    assert_eq!(config.rules[0].to, [Selector::LocalHost]);
    assert_eq!(config.warnings, []);
}

#[test]
fn prefixes_of_one_network_may_overlap() {
    let text = good_and(
        "[[networks]]\nname = \"a\"\nprefixes = [\"10.0.0.0/8\", \"10.1.0.0/16\", \"10.0.0.0/8\"]\n\
         [[networks]]\nname = \"b\"\nprefixes = [\"11.0.0.0/8\", \"9.255.255.255\"]",
    );
    assert_eq!(accept(&text).networks.len(), 2);
}

fn listed(addresses: Vec<Ipv4Addr>) -> Source {
    Source::Addresses { addresses, pooling: Pooling::Paired }
}

#[test]
fn quick_is_one_rule() {
    let interfaces = Interfaces {
        inside: vec!["lan0".to_owned()],
        outside: vec!["wan0".to_owned()],
        hook: Hook::Tc,
    };
    let from = vec!["10.0.0.0/24".parse().unwrap()];
    let source = listed(vec![Ipv4Addr::new(203, 0, 113, 7)]);
    let config = Config::quick(interfaces.clone(), from, source.clone()).unwrap();
    assert_eq!(config.interfaces, interfaces);
    assert_eq!(config.warnings, []);
    assert_eq!(config.rules.len(), 1);
    assert_eq!(config.rules[0].name, "default");
    assert_eq!(config.rules[0].to, [Selector::Prefix("0.0.0.0/0".parse().unwrap())]);
    assert_eq!(snat(&config), &Snat { source, ..snat(&accept(GOOD)).clone() });
}

#[test]
fn quick_is_checked_like_a_file() {
    let quick = |inside: &str, source: Source| {
        let interfaces = Interfaces {
            inside: vec![inside.to_owned()],
            outside: vec!["wan0".to_owned()],
            hook: Hook::Auto,
        };
        let error = Config::quick(interfaces, vec!["10.0.0.0/8".parse().unwrap()], source);
        error.unwrap_err().to_string()
    };
    let strong = Source::Model(SourceModel::StrongHost);
    assert_eq!(
        quick("wan0", strong.clone()),
        "error: interface `wan0` is both `inside` and `outside`\n  help: name it in one of them"
    );
    assert!(quick("a/b", strong).contains("interface name `a/b` contains '/'"));
    assert!(
        quick("lan0", listed(Vec::new())).contains("`addresses` in the source of rule `default`")
    );
    assert!(quick("lan0", listed(vec![Ipv4Addr::LOCALHOST])).contains("loopback"));
}
