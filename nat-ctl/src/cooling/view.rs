//! Resting tuples as people and scripts read them.
use std::net::Ipv4Addr;

use nat_common::{
    cooldown::{Cooldown, Reason, Resting, elapsed_ns},
    flow::{FlowKey, Protocol},
};
use serde::Serialize;

use crate::{
    cli::SessionFilter,
    datapath::{Error, State},
    exit::Failure,
    session::Endpoint,
};

/// An element of `sessions list --state cooling -j`: schema `nat-ctl/sessions/1`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CoolingView {
    pub proto: &'static str,
    /// Always `cooling`.
    pub state: &'static str,
    pub outside: Endpoint,
    /// None: everybody.
    pub remote: Option<Endpoint>,
    /// The inside endpoint that may use the port again at once: that of the mapping which had it.
    pub owner: Option<Endpoint>,
    /// Why the session ended.
    pub reason: &'static str,
    /// Seconds since it ended.
    pub age_s: u64,
    /// Seconds until the tuple may be used again, rounded up.
    pub expires_s: u64,
}

const NS_PER_S: u64 = 1_000_000_000;

/// The tuples that may not be used yet and that match `filter`, ordered by protocol, outside and
/// remote.
pub fn views(
    state: &impl State,
    filter: &SessionFilter,
    now_ns: u64,
) -> Result<Vec<CoolingView>, Failure> {
    for (flag, given) in [("--inside", filter.inside.is_some()), ("--rule", filter.rule.is_some())]
    {
        if given {
            let what =
                format!("{flag} says nothing about cooling ports: most are nobody's any more");
            return Err(Failure::usage(what).with_help("leave it out, or --state cooling"));
        }
    }
    let mut views = Vec::new();
    each(state, now_ns, |tuple, resting, settings| {
        views.extend(view(tuple, resting, settings, now_ns).filter(|view| matches(filter, view)));
    })?;
    views.sort_by_key(|view| (view.proto, view.outside, view.remote));
    Ok(views)
}

/// Calls `visit` with every tuple that may not be used yet.
pub fn each(
    state: &impl State,
    now_ns: u64,
    mut visit: impl FnMut(&FlowKey, &Resting, &Cooldown),
) -> Result<(), Error> {
    let Some(settings) = state.cooldown()? else { return Ok(()) };
    state.each_resting(&mut |tuple, resting| {
        if !resting.over(&settings, now_ns) {
            visit(tuple, resting, &settings);
        }
    })
}

fn view(
    tuple: &FlowKey,
    resting: &Resting,
    settings: &Cooldown,
    now_ns: u64,
) -> Option<CoolingView> {
    let protocol = Protocol::from_number(tuple.protocol)?;
    let reason = Reason::from_number(resting.reason);
    let toward_one = *tuple != tuple.toward_everybody();
    let owned = resting.is_of((resting.owner, resting.owner_port));
    let endpoint = |addr: Ipv4Addr, port| Endpoint { addr, port };
    let elapsed_ns = u64::try_from(elapsed_ns(resting.closed_ns, now_ns)).unwrap_or_default();
    Some(CoolingView {
        proto: protocol.name(),
        state: "cooling",
        outside: endpoint(tuple.local.into(), tuple.local_port.number()),
        remote: toward_one.then(|| endpoint(tuple.remote.into(), tuple.remote_port.number())),
        owner: owned.then(|| endpoint(resting.owner.into(), resting.owner_port.number())),
        reason: reason.name(),
        age_s: elapsed_ns / NS_PER_S,
        expires_s: settings.remaining_ns(resting.closed_ns, reason, now_ns).div_ceil(NS_PER_S),
    })
}

/// Whether a tuple passes all filters. One that rests toward everybody does so toward every remote
/// endpoint.
fn matches(filter: &SessionFilter, view: &CoolingView) -> bool {
    filter.proto.is_none_or(|proto| proto.as_str() == view.proto)
        && filter.outside.is_none_or(|one| one.matches(view.outside.addr, view.outside.port))
        && filter.remote.is_none_or(|one| {
            view.remote.is_none_or(|remote| one.matches(remote.addr, remote.port))
        })
}

#[cfg(test)]
mod tests {
    use nat_common::addr::{Ipv4, Port};

    use super::*;
    use crate::{cli::SessionState, config, datapath::fake::Fake};

    const NOW_NS: u64 = 1000 * NS_PER_S;

    fn tuple(protocol: Protocol, port: u16, server: u8) -> FlowKey {
        FlowKey::new(
            protocol,
            (Ipv4::new([203, 0, 113, 7]), Port::new(port)),
            (Ipv4::new([198, 51, 100, server]), Port::new(443)),
        )
    }

    /// All rest for 100 s. One ended 30.5 s ago, one toward everybody 99.9 s ago, one long ago.
    fn fake() -> Fake {
        let cooldown = Cooldown {
            wait_ns: [100 * NS_PER_S; Reason::COUNT],
            enabled: 1,
            scope: 0,
            pressure_reuse: 0,
            zero: [0; 5],
        };
        let ended = |ms_ago: u64, reason| Resting::new(NOW_NS - ms_ago * 1_000_000, reason);
        let everybody = tuple(Protocol::Udp, 4001, 9).toward_everybody();
        let owned = Resting {
            owner: Ipv4::new([10, 0, 0, 5]),
            owner_port: Port::new(5000),
            ..ended(99_900, Reason::UdpIcmp)
        };
        let resting = vec![
            (everybody, owned),
            (tuple(Protocol::Tcp, 4000, 9), ended(30_500, Reason::HalfOpen)),
            (tuple(Protocol::Tcp, 4002, 9), ended(100_000, Reason::Fin)),
        ];
        Fake { cooldown: Some(cooldown), resting, ..Fake::default() }
    }

    fn count(filter: SessionFilter) -> usize {
        views(&fake(), &filter, NOW_NS).unwrap().len()
    }

    #[test]
    fn json_has_the_documented_fields() {
        let views = views(&fake(), &SessionFilter::default(), NOW_NS).unwrap();
        let expected = serde_json::json!([
            {
                "proto": "tcp", "state": "cooling",
                "outside": {"addr": "203.0.113.7", "port": 4000},
                "remote": {"addr": "198.51.100.9", "port": 443}, "owner": null,
                "reason": "half-open", "age_s": 30, "expires_s": 70,
            },
            {
                "proto": "udp", "state": "cooling",
                "outside": {"addr": "203.0.113.7", "port": 4001},
                "remote": null, "owner": {"addr": "10.0.0.5", "port": 5000}, "reason": "udp-icmp", "age_s": 99, "expires_s": 1,
            },
        ]);
        assert_eq!(serde_json::to_value(views).unwrap(), expected);
    }

    #[test]
    fn the_times_are_those_of_the_settings_in_force() {
        let mut fake = fake();
        let all = SessionFilter::default();
        let expires = |fake: &Fake| -> Vec<u64> {
            views(fake, &all, NOW_NS).unwrap().iter().map(|view| view.expires_s).collect()
        };
        fake.cooldown.as_mut().unwrap().wait_ns[Reason::Fin as usize] = 200 * NS_PER_S;
        assert_eq!(expires(&fake), [70, 100, 1]);
        fake.cooldown.as_mut().unwrap().enabled = 0;
        assert_eq!(expires(&fake), [0_u64; 0]);
        fake.cooldown = None;
        assert_eq!(expires(&fake), [0_u64; 0]);
    }

    #[test]
    fn filters_of_what_a_tuple_has() {
        let endpoint = |text: &str| Some(text.parse().unwrap());
        let all = SessionFilter { state: Some(SessionState::Cooling), ..SessionFilter::default() };
        assert_eq!(count(all.clone()), 2);
        let udp = SessionFilter { proto: Some(config::Protocol::Udp), ..all.clone() };
        assert_eq!(count(udp), 1);
        assert_eq!(count(SessionFilter { outside: endpoint(":4000"), ..all.clone() }), 1);
        assert_eq!(count(SessionFilter { outside: endpoint("203.0.113.8"), ..all.clone() }), 0);
        // Toward everybody is also toward this one.
        assert_eq!(count(SessionFilter { remote: endpoint("198.51.100.9"), ..all.clone() }), 2);
        assert_eq!(count(SessionFilter { remote: endpoint("192.0.2.1"), ..all.clone() }), 1);
        for filter in [
            SessionFilter { inside: endpoint("10.0.0.5"), ..all.clone() },
            SessionFilter { rule: Some("internet".to_owned()), ..all },
        ] {
            let failure = views(&fake(), &filter, NOW_NS).unwrap_err();
            assert!(failure.what.contains("nobody's any more"), "{failure}");
        }
    }
}
