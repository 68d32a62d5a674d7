//! The controller: keeps the data path as the configuration and the host ask for.
//!
//! Its state changes in three ways only: a new configuration ([`Controller::apply`]), a change of
//! the host ([`Controller::host_changed`]), and the passing of time ([`Controller::sweep`]). The
//! loop around them is in [`serve`].
mod serve;
mod signals;

pub use self::{serve::serve, signals::Signals};

use crate::{
    clock,
    config::Config,
    datapath::{ConfigText, Datapath},
    desired::{Desired, desired},
    exit::Failure,
    host::Network,
    plan::Plan,
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
    desired: Desired,
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
        desired: Desired,
    ) -> Self {
        Self { datapath, source, config, text, network, desired }
    }

    /// Puts another configuration in force. On an error everything stays as it was.
    pub fn apply(&mut self, text: ConfigText, dry_run: bool) -> Result<Applied, Failure> {
        let config = Config::parse(&text.text, &text.name)?;
        let plan = Plan::between(&self.config, &config);
        plan.refuse_if_not_live()?;
        let new = desired(&config, &self.network)?;
        let warnings = new.warnings.clone();
        if !dry_run {
            self.put_in_force(new, &text)?;
            self.config = config;
            self.text = text;
        }
        Ok(Applied { plan, warnings })
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

    /// Follows a change of interfaces or addresses.
    pub fn host_changed(&mut self, network: Network) -> Result<(), Failure> {
        let new = desired(&self.config, &network)?;
        self.network = network;
        if new == self.desired {
            return Ok(());
        }
        for warning in new.warnings.iter().filter(|text| !self.desired.warnings.contains(text)) {
            tracing::warn!("{warning}");
        }
        let text = self.text.clone();
        self.put_in_force(new, &text)
    }

    /// Interfaces before rules: one that cannot be attached leaves the rules as they were, and
    /// traffic that leaves by a new one before its rules know it is dropped.
    fn put_in_force(&mut self, new: Desired, text: &ConfigText) -> Result<(), Failure> {
        if new.interfaces != self.desired.interfaces {
            for done in self.datapath.attach(&new.interfaces)? {
                tracing::info!("{done}");
            }
        }
        if let Err(error) = self.datapath.apply(&new.table, text) {
            // Best effort: the error that counts is the first.
            let _ = self.datapath.attach(&self.desired.interfaces);
            return Err(error.into());
        }
        self.desired = new;
        Ok(())
    }

    /// Removes ended sessions and shows that the controller is alive.
    pub fn sweep(&mut self) -> Result<(), Failure> {
        let swept = self.datapath.sweep()?;
        if swept > 0 {
            tracing::debug!(swept, "removed ended sessions");
        }
        Ok(self.datapath.record_controller(std::process::id(), clock::now_ns())?)
    }

    /// Signs off.
    pub fn leave(&mut self) -> Result<(), Failure> {
        Ok(self.datapath.record_controller(0, clock::now_ns())?)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        datapath::{State, fake::Fake},
        host::Link,
    };

    const HEADER: &str = "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n";

    fn rule(name: &str, to: &str) -> String {
        format!(
            "[[rules]]\nname = \"{name}\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"{to}\"]\n\
             action = \"snat\"\nsource = {{ addresses = [\"203.0.113.7\"] }}\n"
        )
    }

    fn text(rules: &str) -> ConfigText {
        ConfigText { name: "nat.toml".to_owned(), text: format!("{HEADER}{rules}") }
    }

    fn link(index: u32, name: &str, address: [u8; 4]) -> Link {
        Link {
            index,
            name: name.to_owned(),
            ethernet: true,
            mac: [2, 0, 0, 0, 0, 1],
            addresses: vec![Ipv4Addr::from(address)],
        }
    }

    fn host(wan_index: u32) -> Network {
        let links = vec![link(1, "lan0", [10, 0, 0, 1]), link(wan_index, "wan0", [203, 0, 113, 7])];
        Network { links }
    }

    fn controller() -> Controller<Fake> {
        let text = text(&rule("internet", "0.0.0.0/0"));
        let config = Config::parse(&text.text, &text.name).unwrap();
        let desired = desired(&config, &host(2)).unwrap();
        let mut fake = Fake::default();
        fake.apply(&desired.table, &text).unwrap();
        fake.attach(&desired.interfaces).unwrap();
        Controller::new(fake, Source::CommandLine, config, text, host(2), desired)
    }

    #[test]
    fn a_new_configuration_is_in_force_with_its_text() {
        let mut controller = controller();
        let new = text(&(rule("dns", "192.0.2.53") + &rule("internet", "0.0.0.0/0")));
        controller.apply(new.clone(), true).unwrap();
        assert_eq!(controller.datapath.tables.len(), 1, "a dry run changes nothing");
        let applied = controller.apply(new.clone(), false).unwrap();
        assert!(!applied.plan.is_empty());
        assert_eq!(controller.datapath.tables.last().unwrap().rules[0].name, "dns");
        assert_eq!(controller.datapath.config().unwrap(), Some(new.clone()));
        assert!(controller.apply(new, false).unwrap().plan.is_empty());
    }

    #[test]
    fn a_bad_configuration_changes_nothing() {
        let mut controller = controller();
        let before = controller.datapath.config().unwrap();
        let failure = controller.apply(text("[[rules]]\nnam = 1\n"), false).unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
        assert_eq!(controller.datapath.config().unwrap(), before);
        assert_eq!(controller.datapath.tables.len(), 1);
        assert!(controller.reload().is_err());
    }

    #[test]
    fn an_interface_that_comes_back_is_attached_with_its_new_index() {
        let mut controller = controller();
        let mut gone = host(2);
        gone.links.pop();
        controller.host_changed(gone).unwrap();
        let names = |controller: &Controller<Fake>| {
            let interfaces = controller.datapath.interfaces().unwrap();
            interfaces.iter().map(|one| (one.name.clone(), one.index)).collect::<Vec<_>>()
        };
        assert_eq!(names(&controller), [("lan0".to_owned(), 1)]);
        assert_eq!(controller.datapath.tables.last().unwrap().rules[0].pools, []);
        controller.host_changed(host(9)).unwrap();
        assert_eq!(names(&controller), [("wan0".to_owned(), 9), ("lan0".to_owned(), 1)]);
        let pools = &controller.datapath.tables.last().unwrap().rules[0].pools;
        assert_eq!(pools[..], [(9, vec![Ipv4Addr::new(203, 0, 113, 7)])]);
    }

    #[test]
    fn a_host_that_has_not_changed_is_no_reason_for_a_new_table() {
        let mut controller = controller();
        controller.host_changed(host(2)).unwrap();
        assert_eq!(controller.datapath.tables.len(), 1);
    }

    #[test]
    fn the_controller_signs_on_and_off() {
        let mut controller = controller();
        controller.sweep().unwrap();
        assert_eq!(controller.datapath.instance.controller_pid, std::process::id());
        controller.leave().unwrap();
        assert_eq!(controller.datapath.instance.controller_pid, 0);
        assert_ne!(controller.datapath.instance.heartbeat_ns, 0);
    }
}
