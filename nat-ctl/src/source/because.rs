//! Answers in words.
use super::{Error, Explanation, Rule, TieBreak};

impl Explanation {
    /// Why this source and no other, or why none: a sentence without its full stop.
    pub fn because(&self) -> String {
        match self.outcome {
            Ok((_, Rule::Tie)) => match self.options.tie_break {
                TieBreak::First => "no rule decides: it comes first".to_owned(),
                TieBreak::Lowest => "no rule decides: it is the lowest".to_owned(),
            },
            Ok((_, rule)) => rule.about().to_owned(),
            Err(error) => self.lack(error),
        }
    }

    fn lack(&self, error: Error) -> String {
        let dev = self.dev().unwrap_or_default();
        match (error, self.bind) {
            (Error::NoRoute, Some(bind)) if self.model.routes_by_source() => {
                format!("the interface that has {bind} has no route to {}", self.destination)
            }
            (Error::NoRoute, _) => format!("there is no route to {}", self.destination),
            (Error::NoSource, _) => format!("there is no usable address for packets by {dev}"),
            (Error::NotLocal, Some(bind)) => format!("no interface has {bind}"),
            (Error::NotLocal, None) => "no interface has the address".to_owned(),
            (Error::NotUnicast, _) => {
                format!("{} is a multicast or broadcast address", self.destination)
            }
            (Error::AddressNotOnEgress, _) => format!("a named address is not on {dev}"),
            (Error::EmptyPool, _) => "no address is named".to_owned(),
        }
    }
}

impl Rule {
    /// What is so good about the winner.
    pub const fn about(self) -> &'static str {
        match self {
            Self::OnlyCandidate => "it is the only candidate",
            Self::SameAddress => "rule 1: it is the destination itself",
            Self::Scope => "rule 2: of the scopes that reach the destination its is the smallest",
            Self::Deprecated => "rule 3: it is not deprecated",
            Self::Home => "rule 4: it is a home address",
            Self::Outgoing => "rule 5: it is on the interface that the packet leaves by",
            Self::Advertised => "rule 5.5: the next hop advertised its prefix",
            Self::Label => "rule 6: it has the destination's label",
            Self::Temporary => "rule 7: temporary or public, as is preferred",
            Self::Orchid => "overlay identifiers are for each other only",
            Self::NextHop => "rule 8a: it shares the most bits with the next hop",
            Self::Longest => "rule 8: it shares the most bits with the destination",
            Self::Tie => "no rule decides",
            Self::Bound => "the sender asks for it",
            Self::FirstConfigured => "it is configured first",
            Self::Smallest => "it is the lowest",
            Self::Specified => "the rule specifies it",
            Self::Pool => "it is the client's address of the pool",
            Self::LinuxFirstPrimary => "it is the first primary address",
            Self::LinuxGatewaySubnet => "it is the first primary with the next hop in its subnet",
            Self::LinuxPrefsrc => "it is the `src` of the route",
            Self::LinuxFallback => "the interface has no address, and this is the first elsewhere",
        }
    }
}
