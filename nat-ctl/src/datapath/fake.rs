//! A data path in memory: keeps what it is given, removes what has ended. For tests of everything
//! above the kernel.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use nat_common::{
    cooldown::{Cooldown, CooldownCounters, Resting},
    flow::FlowKey,
    instance::Instance,
    mapping::Behaviour,
    source::Choice,
    stats::RuleCounters,
};

use super::{
    ChoiceChange, Choices, ConfigText, Datapath, Error, Interface, PoolState, RuleState,
    SessionPair, State, Swept, VerdictState,
};
use crate::{
    compile::{External, RuleTable},
    source::TableKey,
};

/// See the module. All fields are for tests to fill and look at.
#[derive(Clone, Debug)]
pub struct Fake {
    pub instance: Instance,
    pub interfaces: Vec<Interface>,
    pub sessions: Vec<SessionPair>,
    pub rules: Vec<RuleState>,
    pub verdicts: Vec<VerdictState>,
    /// The tables applied so far, the last one in force.
    pub tables: Vec<RuleTable>,
    /// The choices that the last table refers to.
    pub choices: BTreeMap<TableKey, BTreeMap<Ipv4Net, Choice>>,
    /// The configuration of the last table.
    pub config: Option<ConfigText>,
    /// That of the last table.
    pub cooldown: Option<Cooldown>,
    pub resting: Vec<(FlowKey, Resting)>,
    pub cooldown_counters: CooldownCounters,
    /// What the data path takes for the time.
    pub now_ns: u64,
}

impl Fake {
    /// Resting tuples that are forgotten in one go.
    pub const FORGOTTEN_AT_ONCE: usize = 4;
}

impl Default for Fake {
    fn default() -> Self {
        let instance = Instance {
            netns_device: 0,
            netns_inode: 0,
            attached_ns: 0,
            heartbeat_ns: 0,
            max_sessions: 1024,
            max_cooling: 1024,
            controller_pid: 0,
            flags: 0,
            ways: 1,
            follows_ways: 0,
        };
        Self {
            instance,
            interfaces: Vec::new(),
            sessions: Vec::new(),
            rules: Vec::new(),
            verdicts: Vec::new(),
            tables: Vec::new(),
            choices: BTreeMap::new(),
            config: None,
            cooldown: None,
            resting: Vec::new(),
            cooldown_counters: CooldownCounters::default(),
            now_ns: 0,
        }
    }
}

impl State for Fake {
    fn sessions(&self) -> Result<Vec<SessionPair>, Error> {
        Ok(self.sessions.clone())
    }

    fn rules(&self) -> Result<Vec<RuleState>, Error> {
        Ok(self.rules.clone())
    }

    fn verdicts(&self) -> Result<Vec<VerdictState>, Error> {
        Ok(self.verdicts.clone())
    }

    fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        Ok(self.interfaces.clone())
    }

    fn instance(&self) -> Result<Instance, Error> {
        Ok(self.instance)
    }

    fn generation(&self) -> Result<u32, Error> {
        Ok(self.tables.len() as u32)
    }

    fn pools(&self) -> Result<Vec<PoolState>, Error> {
        let Some(table) = self.tables.last() else { return Ok(Vec::new()) };
        let id = |name: &str| self.rules.iter().find(|rule| rule.name == name).map(|rule| rule.id);
        let mut pools = Vec::new();
        for rule in &table.rules {
            let Some(id) = id(&rule.name) else { continue };
            for (ifindex, external) in &rule.pools {
                let (addresses, choices) = match external {
                    External::Listed(addresses) => (addresses.clone(), None),
                    External::Chosen(key) => {
                        let entries = self.choices.get(key).cloned().unwrap_or_default();
                        let addresses = entries.values().filter_map(|one| one.address().ok());
                        let addresses: BTreeSet<_> = addresses.map(Ipv4Addr::from).collect();
                        (addresses.into_iter().collect(), Some(entries.into_iter().collect()))
                    }
                };
                pools.push(PoolState { rule: id, ifindex: *ifindex, addresses, choices });
            }
        }
        Ok(pools)
    }

    fn config(&self) -> Result<Option<ConfigText>, Error> {
        Ok(self.config.clone())
    }

    fn cooldown(&self) -> Result<Option<Cooldown>, Error> {
        Ok(self.cooldown)
    }

    fn each_resting(&self, visit: &mut dyn FnMut(&FlowKey, &Resting)) -> Result<(), Error> {
        self.resting.iter().for_each(|(tuple, resting)| visit(tuple, resting));
        Ok(())
    }

    fn cooldown_counters(&self) -> Result<CooldownCounters, Error> {
        Ok(self.cooldown_counters)
    }
}

impl Datapath for Fake {
    fn apply(
        &mut self,
        table: &RuleTable,
        choices: &dyn Choices,
        config: &ConfigText,
    ) -> Result<(), Error> {
        let wanted: BTreeSet<TableKey> = table.choices().collect();
        self.choices.retain(|key, _| wanted.contains(key));
        for key in wanted {
            self.choices.entry(key).or_insert_with(|| choices.entries(&key).into_iter().collect());
        }
        for rule in &table.rules {
            if !self.rules.iter().any(|known| known.name == rule.name) {
                let id = self.rules.len() as u32;
                let counters = RuleCounters::default();
                let name = rule.name.clone();
                let behaviour = Behaviour::default();
                self.rules.push(RuleState { id, name, action: None, behaviour, counters });
            }
        }
        for known in &mut self.rules {
            let rule = table.rules.iter().find(|rule| rule.name == known.name);
            known.action = rule.map(|rule| rule.action);
            known.behaviour = rule.map(|rule| rule.behaviour).unwrap_or_default();
        }
        self.tables.push(table.clone());
        self.cooldown = Some(table.settings.cooldown);
        self.config = Some(config.clone());
        Ok(())
    }

    fn attach(&mut self, interfaces: &[Interface]) -> Result<Vec<String>, Error> {
        self.interfaces = interfaces.to_vec();
        Ok(Vec::new())
    }

    fn change_choices(&mut self, key: &TableKey, changes: &[ChoiceChange]) -> Result<(), Error> {
        if let Some(entries) = self.choices.get_mut(key) {
            for (prefix, choice) in changes {
                match choice {
                    Some(choice) => entries.insert(*prefix, *choice),
                    None => entries.remove(prefix),
                };
            }
        }
        Ok(())
    }

    fn end(&mut self, keys: &[FlowKey]) -> Result<u32, Error> {
        let before = self.sessions.len();
        self.sessions.retain(|pair| !keys.contains(&pair.key));
        Ok((before - self.sessions.len()) as u32)
    }

    fn sweep(&mut self) -> Result<Swept, Error> {
        let before = self.sessions.len();
        let now_ns = self.now_ns;
        self.sessions.retain(|pair| pair.deadline_ns() > now_ns);
        Ok(Swept { ended: (before - self.sessions.len()) as u32, ..Swept::default() })
    }

    fn forget_rested(&mut self) -> Result<bool, Error> {
        let (cooldown, now_ns) = (self.cooldown, self.now_ns);
        let over =
            |resting: &Resting| cooldown.is_some_and(|cooldown| resting.over(&cooldown, now_ns));
        let before = self.resting.len();
        let mut room = Self::FORGOTTEN_AT_ONCE;
        self.resting.retain(|(_, resting)| {
            let goes = room > 0 && over(resting);
            room -= usize::from(goes);
            !goes
        });
        Ok(before - self.resting.len() == Self::FORGOTTEN_AT_ONCE)
    }

    fn ways_changed(&mut self) -> Result<(), Error> {
        self.instance.ways += 1;
        self.instance.follows_ways = 1;
        Ok(())
    }

    fn record_controller(&mut self, pid: u32, now_ns: u64) -> Result<(), Error> {
        self.instance.controller_pid = pid;
        self.instance.follows_ways &= u32::from(pid != 0);
        self.instance.heartbeat_ns = now_ns;
        Ok(())
    }
}
