//! Reading the maps.
use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use aya::maps::{MapError, PerCpuValues};
use ipnet::Ipv4Net;
use nat_common::{
    cooldown::{Cooldown, CooldownCounters, Resting},
    flow::FlowKey,
    instance::{HookMode, HookReason, Instance, Role, text},
    limits::RULE_IDS_MAX,
    rule::Action,
    session::Session,
    source::Choice,
    stats::{Counter, Hook, RuleCounters, counter_index},
    verdict::Verdict,
};

use super::{Attached, Pinned, choices, config_text, maps::Maps, table};
use crate::datapath::{
    ConfigText, Error, Interface, PoolState, RuleState, SessionPair, State, VerdictState,
};

fn reading(what: &'static str) -> impl Fn(MapError) -> Error {
    move |error| Error::kernel(format!("cannot read {what}"))(error.into())
}

impl Maps {
    /// Calls `visit` with every outbound entry.
    pub fn each_outbound(&self, visit: impl FnMut(&FlowKey, &Session)) -> Result<(), Error> {
        self.outbound
            .for_each(visit)
            .map_err(|error| Error::kernel("cannot read the sessions")(error.into()))
    }

    /// The rule identities that sessions refer to.
    pub fn outbound_rules(&self) -> Result<Vec<u32>, Error> {
        let mut rules = Vec::new();
        self.each_outbound(|_, session| rules.push(session.rule_id()))?;
        Ok(rules)
    }
}

impl Pinned {
    pub(super) fn each_outbound(&self, visit: impl FnMut(&FlowKey, &Session)) -> Result<(), Error> {
        self.maps.each_outbound(visit)
    }
}

impl State for Pinned {
    fn sessions(&self) -> Result<Vec<SessionPair>, Error> {
        let mut inbound = HashMap::new();
        self.maps
            .inbound
            .for_each(|key, session| {
                inbound.insert(*key, *session);
            })
            .map_err(|error| Error::kernel("cannot read the sessions")(error.into()))?;
        let mut pairs = Vec::new();
        self.each_outbound(|key, outbound| {
            let inbound_key = key.translated(outbound.address, outbound.port);
            let inbound = inbound.get(&inbound_key).copied();
            pairs.push(SessionPair { key: *key, outbound: *outbound, inbound });
        })?;
        Ok(pairs)
    }

    fn rules(&self) -> Result<Vec<RuleState>, Error> {
        let names = table::names(&self.maps)?;
        let in_force = table::rules_in_force(&self.maps)?;
        let rule = |id| in_force.iter().map(|(_, rule)| rule).find(|rule| rule.id == id);
        (0..RULE_IDS_MAX)
            .filter_map(|id| names.get(&id).map(|name| (id, name)))
            .map(|(id, name)| {
                let values = self.maps.rule_counters.get(&id, 0);
                let counters = sum_rule(&values.map_err(reading("the rule counters"))?);
                let action = rule(id).map(|rule| Action::from_number(rule.action));
                let behaviour = rule(id).map(|rule| rule.behaviour).unwrap_or_default();
                Ok(RuleState { id, name: name.clone(), action, behaviour, counters })
            })
            .collect()
    }

    fn verdicts(&self) -> Result<Vec<VerdictState>, Error> {
        let mut states = Vec::new();
        for hook in Hook::ALL {
            for &verdict in Verdict::ALL {
                let values = self.maps.verdicts.get(&counter_index(hook, verdict), 0);
                let counter = sum(&values.map_err(reading("the counters"))?);
                if counter != Counter::default() {
                    states.push(VerdictState { hook, verdict, counter });
                }
            }
        }
        Ok(states)
    }

    fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        let mut interfaces = Vec::new();
        for entry in self.maps.interfaces.iter() {
            let (index, interface) = entry.map_err(reading("the interfaces"))?;
            interfaces.push(Interface {
                index,
                name: text(&interface.name).to_owned(),
                mac: interface.mac,
                role: if interface.role == Role::Inside as u8 {
                    Role::Inside
                } else {
                    Role::Outside
                },
                why: HookReason::from_number(interface.why).unwrap_or(HookReason::Unknown),
                because_of: interface.because_of,
                hook: if interface.hook == HookMode::Xdp as u8 {
                    HookMode::Xdp
                } else {
                    HookMode::Tc
                },
            });
        }
        interfaces.sort_by_key(|interface| interface.index);
        Ok(interfaces)
    }

    fn instance(&self) -> Result<Instance, Error> {
        self.maps.instance.get(&0, 0).map_err(reading("the instance"))
    }

    fn generation(&self) -> Result<u32, Error> {
        table::generation(&self.maps)
    }

    fn pools(&self) -> Result<Vec<PoolState>, Error> {
        let tables = choices::read(&self.maps).map_err(reading("the choices"))?;
        let generation = self.generation()?;
        let rules: HashMap<u32, u32> = table::rules_in_force(&self.maps)?
            .into_iter()
            .map(|(position, rule)| (position, rule.id))
            .collect();
        let mut pools = Vec::new();
        for entry in self.maps.pools.iter() {
            let (key, pool) = entry.map_err(reading("the pools"))?;
            let Some(&id) = rules.get(&key.rule) else { continue };
            if key.generation != generation {
                continue;
            }
            let choices =
                (pool.table != 0).then(|| tables.get(&pool.table).cloned().unwrap_or_default());
            let addresses = match &choices {
                None => {
                    let listed = pool.addresses.iter().take(pool.count as usize);
                    listed.map(|&address| address.into()).collect()
                }
                Some(choices) => chosen(choices),
            };
            pools.push(PoolState { rule: id, ifindex: key.ifindex, addresses, choices });
        }
        pools.sort_by_key(|pool| (pool.rule, pool.ifindex));
        Ok(pools)
    }

    fn config(&self) -> Result<Option<ConfigText>, Error> {
        // The slot is written again two changes later: while nothing has changed, what was read
        // belongs together.
        loop {
            let generation = self.generation()?;
            let config = config_text::read(&self.maps, generation);
            if self.generation()? == generation {
                return config.map_err(reading("the configuration"));
            }
        }
    }

    fn cooldown(&self) -> Result<Option<Cooldown>, Error> {
        // As with the configuration.
        loop {
            let generation = self.generation()?;
            let settings = self.maps.settings_in_force()?;
            if self.generation()? == generation {
                return Ok(settings.map(|settings| settings.cooldown));
            }
        }
    }

    fn each_resting(&self, visit: &mut dyn FnMut(&FlowKey, &Resting)) -> Result<(), Error> {
        self.maps.each_resting(visit)
    }

    fn cooldown_counters(&self) -> Result<CooldownCounters, Error> {
        let values = self.maps.cooldown_counters.get(&0, 0).map_err(reading("the counters"))?;
        Ok(values.iter().fold(CooldownCounters::default(), |sum, one| CooldownCounters {
            rested: sum.rested + one.rested,
            released_early: sum.released_early + one.released_early,
            reused_early: sum.reused_early + one.reused_early,
        }))
    }
}

/// The controller reads what everybody reads.
impl State for Attached {
    fn sessions(&self) -> Result<Vec<SessionPair>, Error> {
        self.pinned.sessions()
    }

    fn rules(&self) -> Result<Vec<RuleState>, Error> {
        self.pinned.rules()
    }

    fn verdicts(&self) -> Result<Vec<VerdictState>, Error> {
        self.pinned.verdicts()
    }

    fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        self.pinned.interfaces()
    }

    fn instance(&self) -> Result<Instance, Error> {
        self.pinned.instance()
    }

    fn generation(&self) -> Result<u32, Error> {
        self.pinned.generation()
    }

    fn pools(&self) -> Result<Vec<PoolState>, Error> {
        self.pinned.pools()
    }

    fn config(&self) -> Result<Option<ConfigText>, Error> {
        self.pinned.config()
    }

    fn cooldown(&self) -> Result<Option<Cooldown>, Error> {
        self.pinned.cooldown()
    }

    fn each_resting(&self, visit: &mut dyn FnMut(&FlowKey, &Resting)) -> Result<(), Error> {
        self.pinned.each_resting(visit)
    }

    fn cooldown_counters(&self) -> Result<CooldownCounters, Error> {
        self.pinned.cooldown_counters()
    }
}

/// The addresses among choices, once each.
fn chosen(choices: &[(Ipv4Net, Choice)]) -> Vec<Ipv4Addr> {
    let addresses = choices.iter().filter_map(|(_, choice)| choice.address().ok());
    addresses.map(Ipv4Addr::from).collect::<BTreeSet<_>>().into_iter().collect()
}

fn sum(values: &PerCpuValues<Counter>) -> Counter {
    values.iter().fold(Counter::default(), |sum, one| Counter {
        packets: sum.packets + one.packets,
        bytes: sum.bytes + one.bytes,
    })
}

fn sum_rule(values: &PerCpuValues<RuleCounters>) -> RuleCounters {
    values.iter().fold(RuleCounters::default(), |sum, one| sum.plus(one))
}
