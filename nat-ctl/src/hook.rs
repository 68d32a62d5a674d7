//! How packets of each interface reach the data path: what `hook` says, or with `auto` what the host
//! is like. Pure.
//!
//! XDP on all interfaces or on none: a packet that comes by one is redirected to another, and one that
//! cannot take it loses it without a word.
use std::collections::{BTreeMap, BTreeSet};

use nat_common::instance::{HookMode, HookReason};

use crate::{
    config::{Config, Hook},
    datapath::Interface,
    host::{Filters, Link, Network, XdpFeatures},
};

/// The largest packet for which a driver has a frame in one page: 4096 bytes without the program's
/// headroom (256), what the kernel keeps at the end (320) and the Ethernet header. Many drivers take
/// less; those refuse the program. Others lay longer frames into several buffers.
const MTU_MAX: u32 = 4096 - 256 - 320 - 14;

/// What is decided for an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    pub mode: HookMode,
    pub why: HookReason,
    /// The interface that is the reason; 0 for none.
    pub because_of: u32,
}

impl Choice {
    /// As the configuration says.
    pub const TC: Self = Self::new(HookMode::Tc, HookReason::Configured);
    const XDP: Self = Self::new(HookMode::Xdp, HookReason::Configured);

    const fn new(mode: HookMode, why: HookReason) -> Self {
        Self { mode, why, because_of: 0 }
    }

    const fn tc_because_of(because_of: u32) -> Self {
        Self { mode: HookMode::Tc, why: HookReason::OtherInterface, because_of }
    }
}

/// What [`choose`] has to know besides the network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Situation {
    /// Interfaces where an XDP program is this instance's, if there is one.
    ours: BTreeSet<u32>,
    filters: Filters,
}

impl Situation {
    /// `there` are the interfaces as they are now. What filters there are is asked only if nothing else
    /// speaks against XDP.
    pub fn of(
        config: &Config,
        network: &Network,
        there: &[Interface],
        filters: impl FnOnce() -> Filters,
    ) -> Self {
        let ours = there.iter().filter(|one| one.hook == HookMode::Xdp).map(|one| one.index);
        let mut situation = Self { ours: ours.collect(), filters: Filters::None };
        let choices = choose(config, network, &situation);
        if choices.values().any(|choice| choice.why == HookReason::Able) {
            situation.filters = filters();
        }
        situation
    }

    /// That XDP is not used because of netfilter, for people.
    pub fn warning(&self, choices: &BTreeMap<u32, Choice>) -> Option<String> {
        let concerned = choices.values().any(|choice| choice.why == HookReason::ForwardFilter);
        match &self.filters {
            Filters::There(names) if concerned => Some(format!(
                "`hook = \"auto\"` leaves XDP unused: `{}` filters forwarded packets and would not \
                 see them; write `hook = \"xdp\"` if they may pass",
                names.join("`, `")
            )),
            _ => None,
        }
    }
}

/// The configured Ethernet interfaces that are there, by index. Others have no program at all.
pub fn choose(config: &Config, network: &Network, situation: &Situation) -> BTreeMap<u32, Choice> {
    let named = config.interfaces.outside.iter().chain(&config.interfaces.inside);
    let links: Vec<&Link> =
        named.filter_map(|name| network.link(name)).filter(|link| link.ethernet).collect();
    let obstacles: BTreeMap<u32, HookReason> = links
        .iter()
        .filter_map(|link| Some((link.index, obstacle(link, network, &situation.ours)?)))
        .collect();
    let choice = |index: u32| match (config.interfaces.hook, obstacles.get(&index)) {
        (Hook::Tc, _) => Choice::TC,
        (Hook::Xdp, _) => Choice::XDP,
        (Hook::Auto, Some(why)) => Choice::new(HookMode::Tc, *why),
        (Hook::Auto, None) => match (obstacles.first_key_value(), &situation.filters) {
            (Some((other, _)), _) => Choice::tc_because_of(*other),
            (None, Filters::None) => Choice::new(HookMode::Xdp, HookReason::Able),
            (None, Filters::There(_)) => Choice::new(HookMode::Tc, HookReason::ForwardFilter),
            (None, Filters::Unknown) => Choice::new(HookMode::Tc, HookReason::ForwardFilterUnknown),
        },
    };
    links.iter().map(|link| (link.index, choice(link.index))).collect()
}

/// Why an interface cannot do XDP, as far as is known before it is tried.
fn obstacle(link: &Link, network: &Network, ours: &BTreeSet<u32>) -> Option<HookReason> {
    if matches!(link.kind.as_deref(), Some("veth" | "tun" | "tap")) {
        return Some(HookReason::PartialChecksums);
    }
    if link.has_xdp && !ours.contains(&link.index) {
        return Some(HookReason::OtherProgram);
    }
    let Some(features) = link.xdp else { return Some(HookReason::Unknown) };
    if !(features.has(XdpFeatures::BASIC) && features.has(XdpFeatures::REDIRECT)) {
        return Some(HookReason::NoNativeXdp);
    }
    let is_vlan = |other: &&Link| other.kind.as_deref() == Some("vlan");
    if network.links.iter().filter(is_vlan).any(|other| other.parent == Some(link.index)) {
        return Some(HookReason::Vlan);
    }
    (link.mtu > MTU_MAX && !features.has(XdpFeatures::BUFFERS)).then_some(HookReason::Mtu)
}

/// Whether an interface has XDP because it seemed able, and may have TC instead.
pub fn is_choice(interface: &Interface) -> bool {
    interface.hook == HookMode::Xdp && interface.why == HookReason::Able
}

/// Of the interfaces with such a program one that takes no redirected frames all the same.
pub fn not_redirectable(
    interfaces: &[Interface],
    features: &BTreeMap<u32, XdpFeatures>,
) -> Option<u32> {
    let takes = |one: &Interface| {
        features.get(&one.index).is_some_and(|features| features.has(XdpFeatures::NDO_XMIT))
    };
    interfaces.iter().find(|one| is_choice(one) && !takes(one)).map(|one| one.index)
}

/// Whether all interfaces with XDP take redirected frames in several buffers.
pub fn takes_buffers(interfaces: &[Interface], features: &BTreeMap<u32, XdpFeatures>) -> bool {
    let mut with_xdp = interfaces.iter().filter(|one| one.hook == HookMode::Xdp);
    with_xdp.all(|one| {
        features.get(&one.index).is_some_and(|features| features.has(XdpFeatures::XMIT_BUFFERS))
    })
}

/// TC on all interfaces, because one of them cannot do XDP after all.
pub fn fall_back(interfaces: &mut [Interface], culprit: u32, why: HookReason) {
    for one in interfaces.iter_mut().filter(|one| is_choice(one)) {
        let choice = if one.index == culprit {
            Choice::new(HookMode::Tc, why)
        } else {
            Choice::tc_because_of(culprit)
        };
        Choice { mode: one.hook, why: one.why, because_of: one.because_of } = choice;
    }
}

/// The name of the interface that is the reason.
pub fn culprit<'a>(interface: &Interface, all: &'a [Interface]) -> Option<&'a str> {
    let other = all.iter().find(|other| other.index == interface.because_of)?;
    Some(&other.name)
}

/// The reason, for people.
pub fn because(interface: &Interface, all: &[Interface]) -> String {
    match culprit(interface, all) {
        Some(name) => format!("XDP needs all interfaces, and {name} cannot"),
        None => interface.why.meaning().to_owned(),
    }
}

#[cfg(test)]
mod tests;
