//! What the rest of the program may ask of the data path.
//!
//! Everything that knows about eBPF is below [`kernel`]; nothing else imports aya. [`fake`] is the
//! same in memory, for tests of everything above.
pub mod error;
pub mod fake;
pub mod kernel;

use std::{collections::BTreeSet, io, net::Ipv4Addr, path::Path};

use ipnet::Ipv4Net;

use nat_common::{
    cooldown::{Cooldown, CooldownCounters, Resting},
    flow::FlowKey,
    instance::{HookMode, HookReason, Instance, Role},
    mapping::Behaviour,
    rule::Action,
    session::Session,
    source::Choice,
    stats::{Counter, Hook, RuleCounters},
    verdict::Verdict,
};

use serde::{Deserialize, Serialize};

pub use self::error::Error;
use crate::{compile::RuleTable, exit::Failure, source::TableKey};

/// Both entries of a session as they stand in the maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionPair {
    /// Key of the outbound entry: (inside, remote).
    pub key: FlowKey,
    pub outbound: Session,
    /// Missing for a moment while a session is made or removed.
    pub inbound: Option<Session>,
}

impl SessionPair {
    /// When the session ends if no packet comes, on the data path's clock.
    pub fn deadline_ns(&self) -> u64 {
        let inbound = self.inbound.map_or(0, |inbound| inbound.deadline_ns);
        self.outbound.deadline_ns.max(inbound)
    }
}

/// An interface with a role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    pub role: Role,
    pub hook: HookMode,
    pub why: HookReason,
    /// The interface that is the reason; 0 for none.
    pub because_of: u32,
    pub mac: [u8; 6],
}

/// A rule's identity and counters, summed over the CPUs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleState {
    pub id: u32,
    pub name: String,
    /// What it does, if it is in force.
    pub action: Option<Action>,
    /// How it maps and filters, if it is in force.
    pub behaviour: Behaviour,
    pub counters: RuleCounters,
}

/// A counter, summed over the CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerdictState {
    pub hook: Hook,
    pub verdict: Verdict,
    pub counter: Counter,
}

/// External addresses of a rule on an outside interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolState {
    /// Identity of the rule.
    pub rule: u32,
    pub ifindex: u32,
    /// In configured order; of a source model, those that it chooses for some destination.
    pub addresses: Vec<Ipv4Addr>,
    /// What a source model has chosen, by destination.
    pub choices: Option<Vec<(Ipv4Net, Choice)>>,
}

/// A step of a change of choices: what a prefix gets, or nothing any more.
pub type ChoiceChange = (Ipv4Net, Option<Choice>);

/// Where the data path gets whole tables of choices from.
pub trait Choices {
    /// All prefixes of a table.
    fn entries(&self, key: &TableKey) -> Vec<(Ipv4Net, Choice)>;
}

/// Reading: needs no controller.
pub trait State {
    /// All entries of the outbound map with their inbound halves, ended sessions included.
    fn sessions(&self) -> Result<Vec<SessionPair>, Error>;
    /// All rules that have an identity, by identity, whether in force or not.
    fn rules(&self) -> Result<Vec<RuleState>, Error>;
    /// Counters other than zero, by hook and verdict.
    fn verdicts(&self) -> Result<Vec<VerdictState>, Error>;
    /// Interfaces with a role, by index.
    fn interfaces(&self) -> Result<Vec<Interface>, Error>;
    fn instance(&self) -> Result<Instance, Error>;
    /// Generation of the rule table in force; 0 for none.
    fn generation(&self) -> Result<u32, Error>;
    /// External addresses in force, by rule identity and interface index.
    fn pools(&self) -> Result<Vec<PoolState>, Error>;
    /// The configuration that the table in force was made from; nothing before the first.
    fn config(&self) -> Result<Option<ConfigText>, Error>;
    /// How long tuples rest by the table in force; nothing before the first.
    fn cooldown(&self) -> Result<Option<Cooldown>, Error>;
    /// Calls `visit` with every tuple that rests, or whose rest nobody has ended yet.
    fn each_resting(&self, visit: &mut dyn FnMut(&FlowKey, &Resting)) -> Result<(), Error>;
    /// What has become of tuples, summed over the CPUs.
    fn cooldown_counters(&self) -> Result<CooldownCounters, Error>;
}

/// A configuration as it was written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigText {
    /// The file's path, or what stands for one.
    pub name: String,
    pub text: String,
}

impl ConfigText {
    /// Reads a file. Its name is made absolute: it may be read again from elsewhere.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::usage(format!("cannot read {}\n  caused by: {error}", path.display()))
        };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let name = std::path::absolute(path).map_err(failed)?.display().to_string();
        Ok(Self { name, text })
    }
}

/// Where XDP sends packets of a session without asking the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NextHop {
    /// Index of the interface.
    pub ifindex: u32,
    pub mac: [u8; 6],
}

/// What a look at all sessions has found and done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Sessions that had ended and have been removed.
    pub ended: u32,
    /// Of sessions whose packets go out by XDP.
    pub next_hops: BTreeSet<NextHop>,
}

/// Changing: the controller's side.
pub trait Datapath: State {
    /// Puts a rule table and the configuration that it was made from in force, whole: packets see
    /// the old one or the new one. On an error the old one stays. Tables of choices that it refers
    /// to and that are not in force yet are taken from `choices`.
    fn apply(
        &mut self,
        table: &RuleTable,
        choices: &dyn Choices,
        config: &ConfigText,
    ) -> Result<(), Error>;
    /// Changes a table of choices in place, step by step: in the right order, every destination has
    /// its old or its new choice at every moment. One that is not in force is left alone. After an
    /// error the next [`Datapath::apply`] writes it anew.
    fn change_choices(&mut self, key: &TableKey, changes: &[ChoiceChange]) -> Result<(), Error>;
    /// Ends sessions, by their outbound keys; returns how many.
    fn end(&mut self, keys: &[FlowKey]) -> Result<u32, Error>;
    /// Has the programs run on exactly these interfaces. Says what it did. On an error no
    /// interface has more than it had before. Where XDP is not a must ([`HookReason::Able`]) and one
    /// of them cannot do it after all, all of them have TC.
    fn attach(&mut self, interfaces: &[Interface]) -> Result<Vec<String>, Error>;
    /// Removes ended sessions.
    fn sweep(&mut self) -> Result<Swept, Error>;
    /// Forgets tuples that have rested long enough, oldest first, for a limited time. Returns whether
    /// there may be more of them.
    fn forget_rested(&mut self) -> Result<bool, Error>;
    /// Has the programs ask the kernel again for the way of every session: it may be another one. From
    /// now on they keep what they hear, until [`Datapath::record_controller`] says that nobody is there.
    fn ways_changed(&mut self) -> Result<(), Error>;
    /// Records the controller's process, or with 0 its absence, and the time of its last look.
    fn record_controller(&mut self, pid: u32, now_ns: u64) -> Result<(), Error>;
}
