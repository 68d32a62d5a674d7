//! The controller: keeps the data path as the configuration and the host ask for.
//!
//! Its state changes in three ways only: a new configuration ([`Controller::apply`]), a change of
//! the host ([`Controller::host_changed`]), and the passing of time ([`Controller::sweep`]). The
//! loop around them is in [`serve`].
mod keeper;
mod routes;
mod serve;
mod signals;

pub use self::{
    keeper::Keeper,
    routes::StaticRoutes,
    serve::{Events, serve},
    signals::Signals,
};

use std::collections::BTreeSet;

use nat_common::flow::FlowKey;

use crate::{
    clock,
    compile::External,
    config::{Action, Config, OnAddressRemoved},
    datapath::{ConfigText, Datapath, Interface, NextHop, State, Swept},
    desired::{Desired, desired, lacking, order},
    exit::Failure,
    hook::{self, Situation},
    host::{Network, NetworkDelta, forward_filters},
    plan::Plan,
    sources::{Moved, Remembered, Sources},
};

/// Where the configuration comes from when it is to be read again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    File(std::path::PathBuf),
    /// `run --inside … --outside …`: there is nothing to be read again.
    CommandLine,
}

/// See the module.
pub struct Controller<D> {
    datapath: D,
    source: Source,
    config: Config,
    text: ConfigText,
    network: Network,
    sources: Sources,
    desired: Desired,
    /// Rules out of service for want of a source: what has been said already.
    lacking: Vec<String>,
    /// Whether a table of choices could not be changed, and has to be written anew.
    torn: bool,
    /// To which XDP has sent packets, as of the last sweep.
    next_hops: BTreeSet<NextHop>,
}

/// What an order led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    pub plan: Plan,
    pub warnings: Vec<String>,
}

impl<D: Datapath> Controller<D> {
    /// A controller of a data path in which `desired` is in force.
    pub fn new(
        datapath: D,
        source: Source,
        config: Config,
        text: ConfigText,
        network: Network,
        sources: Sources,
        desired: Desired,
    ) -> Self {
        let lacking = lacking(&desired.table, &network, &sources);
        Self {
            datapath,
            source,
            config,
            text,
            network,
            sources,
            desired,
            lacking,
            torn: false,
            next_hops: BTreeSet::new(),
        }
    }

    /// What does not work at this moment, for people.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.desired.warnings.iter().chain(&self.lacking)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the data path holds.
    pub fn state(&self) -> &impl State {
        &self.datapath
    }

    /// This host as it was last seen.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The same, to be changed; what has changed is to be [followed](Controller::follow).
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Puts another configuration in force. On an error everything stays as it was.
    pub fn apply(&mut self, text: ConfigText, dry_run: bool) -> Result<Applied, Failure> {
        let config = Config::parse(&text.text, &text.name)?;
        let plan = Plan::between(&self.config, &config);
        plan.refuse_if_not_live()?;
        let situation = self.situation(&config);
        let none = Remembered::new();
        let wanted = desired(&config, &self.network, &mut self.sources, &none, &situation);
        let applied = wanted.map_err(Failure::from).and_then(|new| {
            let mut warnings = new.warnings.clone();
            let lacking = lacking(&new.table, &self.network, &self.sources);
            warnings.extend(lacking.iter().cloned());
            if !dry_run {
                self.put_in_force(new, &text)?;
                self.config = config;
                self.text = text;
                self.lacking = lacking;
            }
            Ok(Applied { plan, warnings })
        });
        // Of the tables that were made for it, or those that it takes no more.
        self.sources.keep(&self.desired.choices(), &order(&self.config));
        applied
    }

    /// Reads the configuration again and puts it in force.
    pub fn reload(&mut self) -> Result<Applied, Failure> {
        match &self.source {
            Source::File(path) => {
                let text = ConfigText::read(path)?;
                self.apply(text, false)
            }
            Source::CommandLine => Err(Failure::usage(
                "the controller was started without a file: there is nothing to read again",
            )
            .with_help("start it with --config FILE, or use `apply FILE`")),
        }
    }

    /// Follows a change of this host. Choices change first, prefix by prefix in their tables; then,
    /// if links or addresses have changed, the rules as a whole.
    pub fn follow(&mut self, delta: &NetworkDelta) -> Result<(), Failure> {
        let followed = self.sources.follow(&self.network, delta);
        for moved in &followed.moved {
            self.warn_of_move(moved);
        }
        for (key, changes) in &followed.changes {
            if let Err(error) = self.datapath.change_choices(key, changes) {
                tracing::error!("{error}");
                self.torn = true;
            }
        }
        if delta.links || self.torn {
            self.follow_links()?;
        }
        let lacking = lacking(&self.desired.table, &self.network, &self.sources);
        warn_of_new(&lacking, &self.lacking);
        self.lacking = lacking;
        Ok(())
    }

    /// Brings rules and programs in line with links and addresses.
    fn follow_links(&mut self) -> Result<(), Failure> {
        let situation = self.situation(&self.config);
        let none = Remembered::new();
        let new = desired(&self.config, &self.network, &mut self.sources, &none, &situation)?;
        warn_of_new(&new.warnings, &self.desired.warnings);
        if new != self.desired || self.torn {
            let text = self.text.clone();
            let before = self.desired.table.locals.clone();
            self.put_in_force(new, &text)?;
            if self.desired.table.locals != before {
                self.end_orphans()?;
            }
        }
        self.sources.keep(&self.desired.choices(), &order(&self.config));
        Ok(())
    }

    /// What [`desired`] has to know to choose hooks for this configuration.
    fn situation(&self, config: &Config) -> Situation {
        Situation::of(config, &self.network, &self.desired.interfaces, forward_filters)
    }

    /// Says how packets reach the data path, and why, where that was not so `before`.
    pub fn say_hooks(&self, before: &[Interface]) {
        // Whoever looks for it finds it in `status`, too.
        let now = self.datapath.interfaces().unwrap_or_default();
        let how = |one: &Interface| (one.index, one.hook, one.why, one.because_of);
        for one in now.iter().filter(|one| !before.iter().any(|old| how(old) == how(one))) {
            let because = hook::because(one, &now);
            tracing::info!("{} ({}): {}: {because}", one.name, one.role.name(), one.hook.name());
        }
    }

    fn warn_of_move(&self, moved: &Moved) {
        let Moved { key, old, new, rule } = moved;
        let link = self.network.links.iter().find(|link| link.index == key.ifindex);
        let interface = link.map_or("?", |link| &link.name);
        let table = &self.desired.table;
        let concerned = table.rules.iter().filter(|rule| {
            rule.pools.iter().any(|(_, external)| *external == External::Chosen(*key))
        });
        let rules: Vec<_> = concerned.map(|rule| rule.name.as_str()).collect();
        tracing::warn!(
            %old, %new, by_rule = rule.as_str(), interface, rules = rules.join(", "),
            "the default source has moved: to keep one, set `sticky = true` or name the address"
        );
    }

    /// Ends the sessions of addresses that this host has no more, where the rule says so.
    pub fn end_orphans(&mut self) -> Result<(), Failure> {
        let ends = |rule: &&crate::config::Rule| match &rule.action {
            Action::Snat(snat) => snat.on_address_removed == OnAddressRemoved::End,
            _ => false,
        };
        let names: BTreeSet<_> =
            self.config.rules.iter().filter(ends).map(|rule| &rule.name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let rules = self.datapath.rules()?;
        let ids: BTreeSet<u32> =
            rules.iter().filter(|rule| names.contains(&rule.name)).map(|rule| rule.id).collect();
        let local: BTreeSet<_> = self.desired.table.locals.iter().map(|(_, one)| *one).collect();
        let orphans: Vec<FlowKey> = self
            .datapath
            .sessions()?
            .iter()
            .filter(|pair| ids.contains(&pair.outbound.rule_id()))
            .filter(|pair| !local.contains(&pair.outbound.address.into()))
            .map(|pair| pair.key)
            .collect();
        if !orphans.is_empty() {
            let ended = self.datapath.end(&orphans)?;
            tracing::info!(ended, "ended sessions whose external address is gone");
        }
        Ok(())
    }

    /// Interfaces before rules: one that cannot be attached leaves the rules as they were, and
    /// traffic that leaves by a new one before its rules know it is dropped.
    fn put_in_force(&mut self, new: Desired, text: &ConfigText) -> Result<(), Failure> {
        if new.interfaces != self.desired.interfaces {
            let before = self.datapath.interfaces()?;
            for done in self.datapath.attach(&new.interfaces)? {
                tracing::info!("{done}");
            }
            self.say_hooks(&before);
        }
        if let Err(error) = self.datapath.apply(&new.table, &self.sources, text) {
            // Best effort: the error that counts is the first.
            let _ = self.datapath.attach(&self.desired.interfaces);
            return Err(error.into());
        }
        self.torn = false;
        self.desired = new;
        Ok(())
    }

    /// Removes ended sessions, forgets what has rested, and shows that the controller is alive. Returns
    /// whether there is more to be forgotten: each time does a limited amount of it.
    pub fn sweep(&mut self) -> Result<bool, Failure> {
        let Swept { ended, next_hops } = self.datapath.sweep()?;
        self.next_hops = next_hops;
        if ended > 0 {
            tracing::debug!(ended, "removed ended sessions");
        }
        let more = self.datapath.forget_rested()?;
        self.datapath.record_controller(std::process::id(), clock::now_ns())?;
        Ok(more)
    }

    /// To which XDP has sent packets, as of the last sweep.
    pub fn next_hops(&self) -> &BTreeSet<NextHop> {
        &self.next_hops
    }

    /// Has the data path ask for every session's way again.
    pub fn ways_changed(&mut self) -> Result<(), Failure> {
        Ok(self.datapath.ways_changed()?)
    }

    /// Signs off.
    pub fn leave(&mut self) -> Result<(), Failure> {
        Ok(self.datapath.record_controller(0, clock::now_ns())?)
    }
}

/// Says what has not been said before.
fn warn_of_new(warnings: &[String], said: &[String]) {
    warnings.iter().filter(|text| !said.contains(text)).for_each(|text| tracing::warn!("{text}"));
}

#[cfg(test)]
mod tests;
