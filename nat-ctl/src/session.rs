//! Sessions as people and scripts read them: one vocabulary of fields and filters for every
//! command that has to do with sessions.
use std::{collections::HashMap, net::Ipv4Addr};

use nat_common::{
    flow::{FlowKey, Protocol},
    mapping::{Filtering, Kind, Uses},
    session::{Session, state_name},
};
use serde::Serialize;

use crate::{
    cli::{EndpointFilter, SessionFilter},
    datapath::{RuleState, SessionPair},
};

/// An address and a port; for ICMP the identifier, and 0 on the remote side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Endpoint {
    pub addr: Ipv4Addr,
    pub port: u16,
}

/// A number for each direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Directions {
    pub out: u64,
    #[serde(rename = "in")]
    pub inbound: u64,
}

/// An element of `sessions list -j`: schema `nat-ctl/sessions/1`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SessionView {
    pub proto: &'static str,
    pub state: &'static str,
    pub inside: Endpoint,
    pub outside: Endpoint,
    pub remote: Endpoint,
    pub rule: String,
    /// What its external port depends on: a [`Kind`].
    pub mapping: &'static str,
    /// Who else may send to that port now: a [`Filtering`].
    pub filtering: &'static str,
    pub age_s: u64,
    /// Seconds until it ends if no packet comes.
    pub expires_s: u64,
    pub packets: Directions,
    pub bytes: Directions,
}

const NS_PER_S: u64 = 1_000_000_000;

/// The live sessions among `pairs` that match `filter`, ordered by protocol, inside and remote.
pub fn views(
    pairs: &[SessionPair],
    rules: &[RuleState],
    filter: &SessionFilter,
    now_ns: u64,
) -> Vec<SessionView> {
    let mut views: Vec<_> =
        select(pairs, rules, filter, now_ns).into_iter().map(|(_, view)| view).collect();
    views.sort_by_key(|view| (view.proto, view.inside, view.remote, view.outside));
    views
}

/// The live sessions among `pairs` that match `filter`, with the keys of their outbound entries.
pub fn select(
    pairs: &[SessionPair],
    rules: &[RuleState],
    filter: &SessionFilter,
    now_ns: u64,
) -> Vec<(FlowKey, SessionView)> {
    let rules: HashMap<u32, &RuleState> = rules.iter().map(|rule| (rule.id, rule)).collect();
    pairs
        .iter()
        .filter(|pair| pair.deadline_ns() > now_ns)
        .filter_map(|pair| Some((pair.key, view(pair, &rules, now_ns)?)))
        .filter(|(_, view)| matches(filter, view))
        .collect()
}

fn view(pair: &SessionPair, rules: &HashMap<u32, &RuleState>, now_ns: u64) -> Option<SessionView> {
    let SessionPair { key, outbound, inbound } = pair;
    let protocol = Protocol::from_number(key.protocol)?;
    let rule = rules.get(&outbound.rule_id()).copied();
    let kind = kind(outbound);
    let (packets_in, bytes_in) = inbound.map_or((0, 0), |inbound| (inbound.packets, inbound.bytes));
    let endpoint = |addr: nat_common::addr::Ipv4, port: nat_common::addr::Port| Endpoint {
        addr: addr.into(),
        port: port.number(),
    };
    Some(SessionView {
        proto: protocol.name(),
        state: state_name(protocol, outbound, packets_in),
        inside: endpoint(key.local, key.local_port),
        outside: endpoint(outbound.address, outbound.port),
        remote: endpoint(key.remote, key.remote_port),
        rule: rule.map(|rule| rule.name.clone()).unwrap_or_default(),
        mapping: kind.name(),
        filtering: filtering(kind, protocol, rule).name(),
        age_s: (now_ns / NS_PER_S).saturating_sub(outbound.created_s.into()),
        expires_s: pair.deadline_ns().saturating_sub(now_ns) / NS_PER_S,
        packets: Directions { out: outbound.packets, inbound: packets_in },
        bytes: Directions { out: outbound.bytes, inbound: bytes_in },
    })
}

/// How a session's external port was chosen.
pub fn kind(outbound: &Session) -> Kind {
    match outbound.uses {
        Uses::NOTHING => Kind::AddressAndPortDependent,
        _ => Kind::EndpointIndependent,
    }
}

/// Who may send to a port by the rule as it is in force. A port without a mapping tells by the remote
/// endpoint alone whose a packet is, and by ICMP nobody is let in.
fn filtering(kind: Kind, protocol: Protocol, rule: Option<&RuleState>) -> Filtering {
    let behaviour = rule.map(|rule| rule.behaviour).unwrap_or_default();
    let lets_in = kind == Kind::EndpointIndependent
        && behaviour.endpoint_independent(protocol)
        && protocol != Protocol::Icmp;
    if lets_in { behaviour.filtering(protocol) } else { Filtering::AddressAndPortDependent }
}

/// Whether a session passes all filters.
fn matches(filter: &SessionFilter, view: &SessionView) -> bool {
    let endpoint = |filter: Option<EndpointFilter>, endpoint: Endpoint| {
        filter.is_none_or(|filter| filter.matches(endpoint.addr, endpoint.port))
    };
    filter.proto.is_none_or(|proto| proto.as_str() == view.proto)
        && filter.state.is_none_or(|state| state.as_str() == view.state)
        && filter.rule.as_ref().is_none_or(|rule| *rule == view.rule)
        && endpoint(filter.inside, view.inside)
        && endpoint(filter.outside, view.outside)
        && endpoint(filter.remote, view.remote)
}

#[cfg(test)]
mod tests {
    use nat_common::{
        addr::{Ipv4, Port},
        mapping::Behaviour,
        session::Birth,
        settings::Lifetime,
        stats::RuleCounters,
        tcp::Segment,
    };

    use super::*;

    const NOW_NS: u64 = 100 * NS_PER_S;

    fn pair(protocol: Protocol, last_octet: u8) -> SessionPair {
        let inside = (Ipv4::new([10, 0, 0, last_octet]), Port::new(41822));
        let external = (Ipv4::new([203, 0, 113, 7]), Port::new(50711));
        let key = FlowKey::new(protocol, inside, (Ipv4::new([198, 51, 100, 9]), Port::new(443)));
        let birth = Birth {
            protocol,
            rule: 3,
            lifetime: Lifetime::initial(protocol, 443),
            timeout_ns: 60 * NS_PER_S,
            first: Segment::NONE,
            mss: 0,
            uses: 0,
            range: Port::NONE,
        };
        let entry = |key: &FlowKey, to| Session::new(key, to, &birth, 88 * NS_PER_S);
        let outbound = Session { packets: 18, bytes: 2100, ..entry(&key, external) };
        let inbound_key = key.translated(external.0, external.1);
        let inbound = Session { packets: 24, bytes: 31000, ..entry(&inbound_key, inside) };
        SessionPair { key, outbound, inbound: Some(inbound) }
    }

    fn rules() -> Vec<RuleState> {
        let counters = RuleCounters::default();
        let behaviour = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp].into_iter().fold(
            Behaviour::default(),
            |behaviour, protocol| {
                let filtering = Filtering::AddressDependent;
                behaviour.with(protocol, Kind::EndpointIndependent, filtering)
            },
        );
        vec![RuleState { id: 3, name: "internet".to_owned(), action: None, behaviour, counters }]
    }

    fn list(pairs: &[SessionPair], filter: &SessionFilter) -> Vec<SessionView> {
        views(pairs, &rules(), filter, NOW_NS)
    }

    #[test]
    fn json_has_the_documented_fields() {
        let list = list(&[pair(Protocol::Tcp, 5)], &SessionFilter::default());
        let expected = serde_json::json!([{
            "proto": "tcp", "state": "opening",
            "inside": {"addr": "10.0.0.5", "port": 41822},
            "outside": {"addr": "203.0.113.7", "port": 50711},
            "remote": {"addr": "198.51.100.9", "port": 443},
            "rule": "internet", "mapping": "address-and-port-dependent",
            "filtering": "address-and-port-dependent", "age_s": 12, "expires_s": 49,
            "packets": {"out": 18, "in": 24}, "bytes": {"out": 2100, "in": 31000},
        }]);
        assert_eq!(serde_json::to_value(list).unwrap(), expected);
    }

    /// Who comes in is for the rule in force to say, what the port depends on is the session's.
    #[test]
    fn mapping_is_the_sessions_and_filtering_the_rules() {
        let shown = |protocol, uses, rules: &[RuleState]| {
            let mut pair = pair(protocol, 5);
            pair.outbound.uses = uses;
            let view = &views(&[pair], rules, &SessionFilter::default(), NOW_NS)[0];
            (view.mapping, view.filtering)
        };
        let (alone, port) = ("endpoint-independent", "address-and-port-dependent");
        let own = shown(Protocol::Udp, Uses::PERMISSION, &rules());
        assert_eq!(own, (alone, "address-dependent"));
        assert_eq!(shown(Protocol::Udp, Uses::MAPPING, &rules()), (alone, "address-dependent"));
        assert_eq!(shown(Protocol::Udp, Uses::NOTHING, &rules()), (port, port));
        assert_eq!(shown(Protocol::Icmp, Uses::MAPPING, &rules()), (alone, port));
        // The rule maps otherwise by now, or is gone.
        let otherwise = RuleState { behaviour: Behaviour::default(), ..rules().remove(0) };
        for rules in [&[otherwise][..], &[]] {
            assert_eq!(shown(Protocol::Udp, Uses::MAPPING, rules), (alone, port));
        }
    }

    #[test]
    fn ended_sessions_are_not_shown_and_either_direction_keeps_one_alive() {
        let mut ended = pair(Protocol::Udp, 5);
        ended.outbound.deadline_ns = NOW_NS;
        assert_eq!(list(&[ended], &SessionFilter::default()).len(), 1);
        ended.inbound = None;
        assert_eq!(list(&[ended], &SessionFilter::default()).len(), 0);
    }

    #[test]
    fn an_unanswered_udp_session_is_one_way() {
        let mut silent = pair(Protocol::Udp, 5);
        assert_eq!(list(&[silent], &SessionFilter::default())[0].state, "established");
        silent.inbound = silent.inbound.map(|inbound| Session { packets: 0, ..inbound });
        assert_eq!(list(&[silent], &SessionFilter::default())[0].state, "one-way");
    }

    #[test]
    fn every_state_can_be_filtered_by_its_name() {
        use clap::ValueEnum;
        for state in crate::cli::SessionState::value_variants() {
            assert_eq!(state.to_possible_value().unwrap().get_name(), state.as_str());
        }
        let session = pair(Protocol::Tcp, 5);
        let states = [Lifetime::TcpOpening, Lifetime::TcpEstablished, Lifetime::TcpClosing];
        for (lifetime, name) in states.into_iter().zip(["opening", "established", "closing"]) {
            let outbound = Session { lifetime: lifetime as u8, ..session.outbound };
            let view = &list(&[SessionPair { outbound, ..session }], &SessionFilter::default())[0];
            assert_eq!(view.state, name);
            assert!(crate::cli::SessionState::value_variants().iter().any(|s| s.as_str() == name));
        }
    }

    #[test]
    fn all_filters_must_match() {
        let pairs = [pair(Protocol::Tcp, 5), pair(Protocol::Tcp, 6), pair(Protocol::Udp, 5)];
        let count = |filter: SessionFilter| list(&pairs, &filter).len();
        let endpoint = |text: &str| Some(text.parse().unwrap());
        let all = SessionFilter::default();
        assert_eq!(count(all.clone()), 3);
        let tcp = SessionFilter { proto: Some(crate::config::Protocol::Tcp), ..all.clone() };
        assert_eq!(count(tcp.clone()), 2);
        assert_eq!(count(SessionFilter { inside: endpoint("10.0.0.5"), ..tcp.clone() }), 1);
        assert_eq!(count(SessionFilter { inside: endpoint("10.0.0.0/24:41822"), ..tcp }), 2);
        assert_eq!(count(SessionFilter { remote: endpoint(":443"), ..all.clone() }), 3);
        assert_eq!(count(SessionFilter { outside: endpoint(":1"), ..all.clone() }), 0);
        assert_eq!(count(SessionFilter { rule: Some("other".to_owned()), ..all }), 0);
    }
}
