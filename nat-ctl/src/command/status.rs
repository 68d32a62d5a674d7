//! `nat-ctl status`
use std::{net::Ipv4Addr, time::Duration};

use nat_common::{instance::COOLING_LOST, source::Choice, verdict::Verdict};
use serde::Serialize;

use super::open;
use crate::{
    cli::{Global, StatusArgs},
    clock, cooling,
    datapath::{PoolState, State},
    exit::{Exit, Failure},
    hook,
    output::{Out, Style, Table, Tone, units},
    source,
};

/// `status -j`
#[derive(Serialize)]
struct Status {
    schema: &'static str,
    version: &'static str,
    instance: String,
    healthy: bool,
    attached_s: u64,
    generation: u32,
    controller: Controller,
    interfaces: Vec<Interface>,
    sessions: Sessions,
    cooling: Cooling,
    rules: Vec<Rule>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Controller {
    running: bool,
    pid: Option<u32>,
}

#[derive(Serialize)]
struct Interface {
    name: String,
    index: u32,
    role: &'static str,
    hook: &'static str,
    why: &'static str,
    /// The interface that is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    because_of: Option<String>,
    #[serde(skip)]
    because: String,
}

#[derive(Serialize)]
struct Sessions {
    live: usize,
    max: u32,
}

/// External ports that rest after their session.
#[derive(Serialize)]
struct Cooling {
    cooling: usize,
    max: u32,
    /// Those that gave way before their time, since the data path was attached.
    released_early: u64,
}

#[derive(Serialize)]
struct Rule {
    rule: String,
    action: &'static str,
    /// External addresses by interface; none for `route` and `drop` rules.
    pools: Vec<RulePool>,
}

#[derive(Serialize)]
struct RulePool {
    interface: String,
    addresses: Vec<Ipv4Addr>,
    /// Why a source model has found none.
    #[serde(skip_serializing_if = "Option::is_none")]
    lack: Option<source::Error>,
}

/// A controller that has not looked for so long is not there any more, whatever its record says.
const HEARTBEAT_MAX: Duration = Duration::from_secs(10);

/// Sessions beyond which a warning says that the table is nearly full, in percent of its size.
const SESSIONS_WARNING_PERCENT: u64 = 90;

/// Prints the state of the instance, or only tells whether it is healthy.
pub fn run(global: &Global, args: &StatusArgs, out: Out) -> Result<Exit, Failure> {
    let state = open(global)?;
    let status = status(&state, global.instance.as_str(), clock::now_ns())?;
    let exit = if status.healthy || !args.check { Exit::Ok } else { Exit::Unhealthy };
    if args.check && !global.json {
        for warning in &status.warnings {
            eprintln!("warning: {warning}");
        }
    } else {
        out.answer(&status, text)?;
    }
    Ok(exit)
}

fn status(state: &impl State, name: &str, now_ns: u64) -> Result<Status, Failure> {
    let instance = state.instance()?;
    let silent_ns = now_ns.saturating_sub(instance.heartbeat_ns);
    let running = instance.controller_pid != 0 && Duration::from_nanos(silent_ns) < HEARTBEAT_MAX;
    let live = state.sessions()?.iter().filter(|pair| pair.deadline_ns() > now_ns).count();
    let generation = state.generation()?;

    let mut warnings = Vec::new();
    if !running {
        warnings.push(
            "no controller is running: sessions go on, but nothing follows changes of this host"
                .to_owned(),
        );
    }
    if generation == 0 {
        warnings.push("no rules are in force: everything outbound is dropped".to_owned());
    }
    let full = live as u64 * 100 >= u64::from(instance.max_sessions) * SESSIONS_WARNING_PERCENT;
    if full {
        warnings.push(format!(
            "{live} of {} sessions are in use: raise max_sessions under [limits]",
            instance.max_sessions
        ));
    }
    let cooling = cooling(state, instance.max_cooling, now_ns)?;
    if cooling.released_early > 0 {
        warnings.push(format!(
            "{} ports have been given up before their cooldown was over: raise max_cooling under \
             [cooldown]",
            cooling.released_early
        ));
    }
    let attached = Duration::from_nanos(now_ns.saturating_sub(instance.attached_ns));
    if instance.flags & COOLING_LOST != 0 && attached < longest_cooldown(state)? {
        warnings.push(
            "which ports were cooling when the data path was attached is not known: new connections \
             to servers that hold old ones may fail for a while"
                .to_owned(),
        );
    }
    let interfaces = state.interfaces()?;
    let rules = rules(state, &interfaces)?;
    for rule in rules.iter().filter(|rule| rule.action == "snat") {
        if rule.pools.is_empty() {
            warnings.push(format!(
                "rule `{}` is out of service: none of its external addresses was on an outside \
                 interface when the rules were applied",
                rule.rule
            ));
        }
        for (interface, lack) in
            rule.pools.iter().filter_map(|pool| Some((&pool.interface, pool.lack?)))
        {
            warnings.push(format!(
                "rule `{}` is out of service on `{interface}`: {lack}; `nat-ctl explain` says why",
                rule.rule
            ));
        }
    }
    Ok(Status {
        schema: "nat-ctl/status/1",
        version: env!("CARGO_PKG_VERSION"),
        instance: name.to_owned(),
        healthy: running && generation != 0,
        attached_s: attached.as_secs(),
        generation,
        controller: Controller { running, pid: running.then_some(instance.controller_pid) },
        rules,
        interfaces: interfaces
            .iter()
            .map(|interface| Interface {
                name: interface.name.clone(),
                index: interface.index,
                role: interface.role.name(),
                hook: interface.hook.name(),
                why: interface.why.name(),
                because_of: hook::culprit(interface, &interfaces).map(str::to_owned),
                because: hook::because(interface, &interfaces),
            })
            .collect(),
        sessions: Sessions { live, max: instance.max_sessions },
        cooling,
        warnings,
    })
}

/// After so long, whatever rested is free.
fn longest_cooldown(state: &impl State) -> Result<Duration, Failure> {
    let settings = state.cooldown()?;
    let waits = settings.map(|settings| settings.wait_ns);
    Ok(Duration::from_nanos(waits.into_iter().flatten().max().unwrap_or_default()))
}

fn cooling(state: &impl State, max: u32, now_ns: u64) -> Result<Cooling, Failure> {
    let mut cooling = 0;
    cooling::each(state, now_ns, |_, _, _| cooling += 1)?;
    let released_early = state.cooldown_counters()?.released_early;
    Ok(Cooling { cooling, max, released_early })
}

fn rules(
    state: &impl State,
    interfaces: &[crate::datapath::Interface],
) -> Result<Vec<Rule>, Failure> {
    let pools = state.pools()?;
    let named = |index: u32| {
        let interface = interfaces.iter().find(|interface| interface.index == index);
        interface.map_or_else(|| format!("interface {index}"), |one| one.name.clone())
    };
    let in_force = state.rules()?.into_iter().filter_map(|rule| Some((rule.action?, rule)));
    let rules = in_force.map(|(action, rule)| Rule {
        pools: pools
            .iter()
            .filter(|pool| pool.rule == rule.id)
            .map(|pool| RulePool {
                interface: named(pool.ifindex),
                addresses: pool.addresses.clone(),
                lack: lack(pool),
            })
            .collect(),
        rule: rule.name,
        action: action.name(),
    });
    Ok(rules.collect())
}

/// Why a source model has no address for anybody.
fn lack(pool: &PoolState) -> Option<source::Error> {
    let choices = pool.choices.as_ref().filter(|_| pool.addresses.is_empty())?;
    let no_source = |choice: &Choice| choice.address() == Err(Verdict::NoSource);
    match choices.iter().any(|(_, choice)| no_source(choice)) {
        true => Some(source::Error::NoSource),
        false => Some(source::Error::NoRoute),
    }
}

fn text(status: &Status, style: Style) -> String {
    let controller = match status.controller.pid {
        Some(pid) => style.paint(Tone::Good, &format!("running, pid {pid}")),
        None => style.paint(Tone::Warning, "not running"),
    };
    let mut text = format!(
        "instance {}, attached for {}, rule table {}\ncontroller {controller}\nsessions {} of {}, cooling ports {} of {}\n\n",
        status.instance,
        units::duration(status.attached_s),
        status.generation,
        status.sessions.live,
        status.sessions.max,
        status.cooling.cooling,
        status.cooling.max,
    );
    let mut interfaces = Table::new(&["INTERFACE", "ROLE", "HOOK", "WHY"]);
    for interface in &status.interfaces {
        let Interface { name, role, hook, because, .. } = interface;
        interfaces.row([name.as_str(), *role, *hook, because.as_str()]);
    }
    text.push_str(&interfaces.render(style));
    let mut rules = Table::new(&["RULE", "ACTION", "INTERFACE", "EXTERNAL ADDRESSES"]);
    for rule in &status.rules {
        if rule.pools.is_empty() {
            rules.row([rule.rule.as_str(), rule.action, "-", "-"]);
        }
        for pool in &rule.pools {
            let addresses: Vec<_> = pool.addresses.iter().map(ToString::to_string).collect();
            let addresses = match pool.lack {
                Some(lack) => format!("none: {lack}"),
                None => addresses.join(" "),
            };
            rules.row([rule.rule.as_str(), rule.action, &pool.interface, &addresses]);
        }
    }
    if !rules.is_empty() {
        text.push('\n');
        text.push_str(&rules.render(style));
    }
    for warning in &status.warnings {
        text.push_str(&format!("\n{} {warning}\n", style.paint(Tone::Warning, "warning:")));
    }
    text
}

#[cfg(test)]
mod tests {
    use nat_common::{
        addr::{Ipv4, Port},
        cooldown::{Reason, Resting},
        flow::{FlowKey, Protocol},
        instance::{HookMode, HookReason, Role},
    };

    use super::*;
    use crate::{
        datapath::{self, fake::Fake},
        sources::Sources,
    };

    fn fake() -> Fake {
        with_address("203.0.113.7")
    }

    /// A rule with this address, on a host that has 203.0.113.7.
    fn with_address(address: &str) -> Fake {
        let wan = datapath::Interface {
            index: 2,
            name: "wan0".to_owned(),
            role: Role::Outside,
            hook: HookMode::Tc,
            why: HookReason::OtherInterface,
            because_of: 2,
            mac: [0; 6],
        };
        let mut fake = Fake { interfaces: vec![wan], ..Fake::default() };
        let config = format!(
            "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n\
             [[rules]]\nname = \"internet\"\nfrom = [\"10.0.0.0/8\"]\n\
             to = [\"0.0.0.0/0\"]\naction = \"snat\"\n\
             source = {{ addresses = [\"{address}\"] }}\n"
        );
        let config = crate::config::Config::parse(&config, "test.toml").unwrap();
        let outside = crate::compile::OutsideInterface {
            index: 2,
            name: "wan0".to_owned(),
            addresses: vec![Ipv4Addr::new(203, 0, 113, 7)],
        };
        let host = crate::compile::Host { outside: vec![outside], ..Default::default() };
        let table = crate::compile::compile(&config, &host).unwrap().0;
        let text = datapath::ConfigText { name: String::new(), text: String::new() };
        datapath::Datapath::apply(&mut fake, &table, &Sources::default(), &text).unwrap();
        fake
    }

    #[test]
    fn a_silent_controller_is_unhealthy() {
        let mut fake = fake();
        fake.instance.controller_pid = 7;
        fake.instance.heartbeat_ns = 1_000_000_000;
        let at = |fake: &Fake, now_s: u64| status(fake, "x", now_s * 1_000_000_000).unwrap();
        assert!(at(&fake, 10).healthy);
        assert_eq!(at(&fake, 10).controller.pid, Some(7));
        assert!(!at(&fake, 11).healthy, "killed: its record is old");
        fake.instance.controller_pid = 0;
        assert!(!at(&fake, 2).healthy, "it has said good-bye");
    }

    #[test]
    fn a_rule_without_an_address_on_the_way_out_is_said_to_be_out_of_service() {
        let good = status(&fake(), "x", 0).unwrap();
        assert!(!good.warnings.iter().any(|warning| warning.contains("out of service")));
        let bad = status(&with_address("198.51.100.1"), "x", 0).unwrap();
        assert!(
            bad.warnings.iter().any(|warning| warning.contains("`internet` is out of service"))
        );
    }

    #[test]
    fn rules_show_where_they_translate_to() {
        let status = status(&fake(), "x", 0).unwrap();
        assert_eq!(status.rules[0].rule, "internet");
        assert_eq!(status.rules[0].pools[0].interface, "wan0");
        assert_eq!(status.rules[0].pools[0].addresses, [Ipv4Addr::new(203, 0, 113, 7)]);
        let text = text(&status, Style::new(false));
        assert!(text.contains("wan0") && text.contains("203.0.113.7"), "{text}");
    }

    #[test]
    fn cooling_ports_are_counted_and_early_releases_warned_of() {
        let mut fake = fake();
        let tuple = FlowKey::new(
            Protocol::Tcp,
            (Ipv4::new([203, 0, 113, 7]), Port::new(4000)),
            (Ipv4::new([198, 51, 100, 9]), Port::new(443)),
        );
        fake.resting = vec![(tuple, Resting::new(5_000_000_000, Reason::Fin))];
        let at = |fake: &Fake, now_s: u64| status(fake, "x", now_s * 1_000_000_000).unwrap();
        let now = at(&fake, 244);
        assert_eq!((now.cooling.cooling, now.cooling.max), (1, 1024));
        assert!(text(&now, Style::new(false)).contains("cooling ports 1 of 1024"));
        assert_eq!(at(&fake, 245).cooling.cooling, 0, "after 240 s");
        let early = |status: &Status| status.warnings.iter().any(|one| one.contains("max_cooling"));
        assert!(!early(&now));
        fake.cooldown_counters.released_early = 3;
        assert!(early(&at(&fake, 244)));
    }

    #[test]
    fn a_lost_cooldown_is_warned_of_for_as_long_as_it_matters() {
        let mut fake = fake();
        fake.instance.attached_ns = 1_000_000_000;
        let warned = |fake: &Fake, now_s: u64| {
            let status = status(fake, "x", now_s * 1_000_000_000).unwrap();
            status.warnings.iter().any(|warning| warning.contains("is not known"))
        };
        assert!(!warned(&fake, 2));
        fake.instance.flags = COOLING_LOST;
        assert!(warned(&fake, 240));
        assert!(!warned(&fake, 241), "the longest cooldown is 240 s");
    }
}
