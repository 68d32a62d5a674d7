//! A data path in memory: keeps what it is given, removes what has ended. For tests of everything
//! above the kernel.
use std::net::Ipv4Addr;

use nat_common::{instance::Instance, stats::RuleCounters};

use super::{ConfigText, Datapath, Error, Interface, RuleState, SessionPair, State, VerdictState};
use crate::compile::RuleTable;

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
    /// The configuration of the last table.
    pub config: Option<ConfigText>,
    /// What the data path takes for the time.
    pub now_ns: u64,
}

impl Default for Fake {
    fn default() -> Self {
        let instance = Instance {
            netns_device: 0,
            netns_inode: 0,
            attached_ns: 0,
            heartbeat_ns: 0,
            max_sessions: 1024,
            controller_pid: 0,
        };
        Self {
            instance,
            interfaces: Vec::new(),
            sessions: Vec::new(),
            rules: Vec::new(),
            verdicts: Vec::new(),
            tables: Vec::new(),
            config: None,
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

    fn pools(&self) -> Result<Vec<(u32, u32, Vec<Ipv4Addr>)>, Error> {
        let Some(table) = self.tables.last() else { return Ok(Vec::new()) };
        let id = |name: &str| self.rules.iter().find(|rule| rule.name == name).map(|rule| rule.id);
        let pools = table.rules.iter().flat_map(|rule| {
            let of_rule = rule.pools.iter();
            of_rule.filter_map(|(ifindex, pool)| Some((id(&rule.name)?, *ifindex, pool.clone())))
        });
        Ok(pools.collect())
    }

    fn config(&self) -> Result<Option<ConfigText>, Error> {
        Ok(self.config.clone())
    }
}

impl Datapath for Fake {
    fn apply(&mut self, table: &RuleTable, config: &ConfigText) -> Result<(), Error> {
        for rule in &table.rules {
            if !self.rules.iter().any(|known| known.name == rule.name) {
                let id = self.rules.len() as u32;
                let counters = RuleCounters::default();
                let name = rule.name.clone();
                self.rules.push(RuleState { id, name, action: None, counters });
            }
        }
        for known in &mut self.rules {
            let rule = table.rules.iter().find(|rule| rule.name == known.name);
            known.action = rule.map(|rule| rule.action);
        }
        self.tables.push(table.clone());
        self.config = Some(config.clone());
        Ok(())
    }

    fn attach(&mut self, interfaces: &[Interface]) -> Result<Vec<String>, Error> {
        self.interfaces = interfaces.to_vec();
        Ok(Vec::new())
    }

    fn sweep(&mut self) -> Result<u32, Error> {
        let before = self.sessions.len();
        let now_ns = self.now_ns;
        self.sessions.retain(|pair| pair.deadline_ns() > now_ns);
        Ok((before - self.sessions.len()) as u32)
    }

    fn record_controller(&mut self, pid: u32, now_ns: u64) -> Result<(), Error> {
        self.instance.controller_pid = pid;
        self.instance.heartbeat_ns = now_ns;
        Ok(())
    }
}
