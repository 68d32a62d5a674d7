//! Every way in which a packet can end, by one name used in counters, output, docs and tests.

/// What the hook does with a packet of some verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Leaves translated.
    Translated,
    /// Goes its way as it is.
    Passed,
    /// Goes no further.
    Dropped,
    /// XDP leaves it, as it is, to the stack and to TC, where it gets its final verdict.
    LeftToStack,
}

impl Fate {
    /// The name in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Translated => "translated",
            Self::Passed => "passed",
            Self::Dropped => "dropped",
            Self::LeftToStack => "left_to_stack",
        }
    }
}

macro_rules! verdicts {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $fate:ident;)+) => {
        /// How a packet ends. Numbers are positions in the counter map and are never given to
        /// another meaning within a layout version.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Verdict {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Verdict {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The verdict of a number. An unknown number can only come from a damaged map, and
            /// discards the packet.
            #[inline(always)]
            #[must_use]
            pub const fn from_number(number: u8) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    _ => Self::NotConfigured,
                }
            }

            /// The name in counters, output and docs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What becomes of the packet.
            #[inline(always)]
            #[must_use]
            pub const fn fate(self) -> Fate {
                match self {
                    $(Self::$variant => Fate::$fate,)+
                }
            }

            /// One sentence or two for people.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

verdicts! {
    /// Translated on its way out.
    TranslatedOut = 0, "translated_out", Translated;
    /// Translated on its way in.
    TranslatedIn = 1, "translated_in", Translated;

    /// A `route` rule leaves it as it is.
    Routed = 2, "routed", Passed;
    /// No rule covers it, and `unmatched` is `route`.
    Unmatched = 3, "unmatched", Passed;
    /// Not IPv4: ARP, IPv6 and so on.
    NotIpv4 = 4, "not_ipv4", Passed;
    /// Carries a VLAN tag, so it belongs to another interface.
    VlanTagged = 5, "vlan_tagged", Passed;
    /// Arrived outside and belongs to no session: the stack decides.
    NoSession = 6, "no_session", Passed;

    /// A `drop` rule discards it.
    RuleDrop = 7, "rule_drop", Dropped;
    /// No rule covers it, and `unmatched` is `drop`.
    UnmatchedDrop = 8, "unmatched_drop", Dropped;
    /// A `snat` rule covers its addresses but not its protocol, which may be one that cannot be
    /// translated at all, and no later rule matches.
    ProtocolNotCovered = 9, "protocol_not_covered", Dropped;
    /// Covered by a `snat` rule, but ICMP other than an echo request.
    IcmpUnsupported = 10, "icmp_unsupported", Dropped;
    /// Covered by a `snat` rule, but a fragment.
    Fragment = 11, "fragment", Dropped;
    /// Covered by a `snat` rule, but its transport header is cut short.
    Truncated = 12, "truncated", Dropped;
    /// Its IPv4 header makes no sense.
    Malformed = 13, "malformed", Dropped;
    /// Covered by a `snat` rule; TCP without a session and without a SYN.
    TcpWithoutSyn = 14, "tcp_without_syn", Dropped;
    /// None of the rule's external addresses is on the interface by which it leaves.
    AddressNotOnEgress = 15, "address_not_on_egress", Dropped;
    /// No free external port was found.
    NoPort = 16, "no_port", Dropped;
    /// No room for another session.
    TableFull = 17, "table_full", Dropped;
    /// Its session is being removed or made by another CPU at this moment.
    Contended = 18, "contended", Dropped;
    /// Arrived outside without a session, for an address inside that no `route` rule opens.
    Unsolicited = 19, "unsolicited", Dropped;
    /// The kernel refused to change it.
    RewriteFailed = 20, "rewrite_failed", Dropped;
    /// No rule table is in force.
    NotConfigured = 21, "not_configured", Dropped;

    /// XDP: its time to live ends here; the stack answers.
    LeftTtl = 22, "left_ttl", LeftToStack;
    /// XDP: IPv4 options.
    LeftOptions = 23, "left_options", LeftToStack;
    /// XDP: not a whole TCP or UDP packet or ICMP query.
    LeftUntranslatable = 24, "left_untranslatable", LeftToStack;
    /// XDP: no route, or one that ends at or leaves through an interface without the right role.
    LeftRoute = 25, "left_route", LeftToStack;
    /// XDP: the next hop's link-layer address is not known yet.
    LeftNeighbour = 26, "left_neighbour", LeftToStack;
    /// XDP: larger than the next interface's MTU.
    LeftMtu = 27, "left_mtu", LeftToStack;
    /// XDP: nothing to translate.
    LeftUntouched = 28, "left_untouched", LeftToStack;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_are_positions_and_names_are_unique_snake_case() {
        let mut names = HashSet::new();
        for (position, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, position, "{verdict:?}");
            assert_eq!(Verdict::from_number(position as u8), *verdict);
            assert!(names.insert(verdict.name()), "{verdict:?}");
            let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(verdict.name().chars().all(snake), "{verdict:?}");
            assert!(verdict.describe().ends_with('.'), "{verdict:?}");
        }
    }

    #[test]
    fn names_tell_what_xdp_leaves() {
        for verdict in Verdict::ALL {
            let left = verdict.fate() == Fate::LeftToStack;
            assert_eq!(verdict.name().starts_with("left_"), left, "{verdict:?}");
        }
    }
}
