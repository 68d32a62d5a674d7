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
    /// Sent by this machine from the address of another interface than the one it leaves by; left
    /// as it is (RFC 1122 section 3.3.4.2: the weak host model).
    WeakHostSend = 4, "weak_host_send", Passed;
    /// Not IPv4: ARP, IPv6 and so on.
    NotIpv4 = 5, "not_ipv4", Passed;
    /// Carries a VLAN tag, so it belongs to another interface.
    VlanTagged = 6, "vlan_tagged", Passed;
    /// Arrived outside and belongs to no session, nor to a port that translation uses: the stack
    /// decides.
    NoSession = 7, "no_session", Passed;

    /// A `drop` rule discards it.
    RuleDrop = 8, "rule_drop", Dropped;
    /// No rule covers it, and `unmatched` is `drop`.
    UnmatchedDrop = 9, "unmatched_drop", Dropped;
    /// A `snat` rule covers its addresses but not its protocol, which may be one that cannot be
    /// translated at all, and no later rule matches.
    ProtocolNotCovered = 10, "protocol_not_covered", Dropped;
    /// Covered by a `snat` rule, but ICMP other than an echo request or an error.
    IcmpUnsupported = 11, "icmp_unsupported", Dropped;
    /// Covered by a `snat` rule, or from outside for an address that one translates to; a fragment
    /// that came before the first one of its packet, or a part of an ICMP error.
    Fragment = 12, "fragment", Dropped;
    /// Covered by a `snat` rule, but its transport header is cut short.
    Truncated = 13, "truncated", Dropped;
    /// Its IPv4 header makes no sense.
    Malformed = 14, "malformed", Dropped;
    /// Covered by a `snat` rule; TCP without a session and without a SYN.
    TcpWithoutSyn = 15, "tcp_without_syn", Dropped;
    /// None of the rule's external addresses is on the interface by which it leaves.
    AddressNotOnEgress = 16, "address_not_on_egress", Dropped;
    /// The source model knows no route to the destination by the interface by which it leaves.
    NoRoute = 17, "no_route", Dropped;
    /// The interface by which it leaves has no address that the source model may use.
    NoSource = 18, "no_source", Dropped;
    /// Covered by a `snat` rule with a source model; multicast or broadcast.
    NotUnicast = 19, "not_unicast", Dropped;
    /// All external ports that its session could have are taken, or rest.
    NoPort = 20, "no_port", Dropped;
    /// No room for another session.
    TableFull = 21, "table_full", Dropped;
    /// Its session is being removed or made by another CPU at this moment.
    Contended = 22, "contended", Dropped;
    /// Arrived outside without a session, for an address inside that no `route` rule opens.
    Unsolicited = 23, "unsolicited", Dropped;
    /// From a network that names its interfaces, but arrived by another one.
    SpoofedSource = 24, "spoofed_source", Dropped;
    /// Arrived by an interface that a network names, but the way back to its source is another one
    /// (RFC 3704 section 2.2).
    NoReversePath = 25, "no_reverse_path", Dropped;
    /// Sent by this machine from the address of another interface than the one it leaves by, which
    /// `enforce_strong_send` forbids (RFC 1122 section 3.3.4.2: the strong host model).
    StrongHostDrop = 26, "strong_host_drop", Dropped;
    /// The kernel refused to change it.
    RewriteFailed = 27, "rewrite_failed", Dropped;
    /// No rule table is in force.
    NotConfigured = 28, "not_configured", Dropped;

    /// XDP: its time to live ends here; the stack answers.
    LeftTtl = 29, "left_ttl", LeftToStack;
    /// XDP: IPv4 options.
    LeftOptions = 30, "left_options", LeftToStack;
    /// XDP: not a whole TCP or UDP packet or ICMP query.
    LeftUntranslatable = 31, "left_untranslatable", LeftToStack;
    /// XDP: no route, or one that ends at or leaves through an interface without the right role.
    LeftRoute = 32, "left_route", LeftToStack;
    /// XDP: the next hop's link-layer address is not known yet.
    LeftNeighbour = 33, "left_neighbour", LeftToStack;
    /// XDP: larger than the next interface's MTU.
    LeftMtu = 34, "left_mtu", LeftToStack;
    /// XDP, and TC on an inside interface: nothing to do here.
    LeftUntouched = 35, "left_untouched", LeftToStack;

    /// An ICMP error with a wrong checksum, its own or that of the header it quotes; or that quotes
    /// no IPv4 packet, another ICMP error, or a TCP segment that cannot be on its way.
    IcmpErrorMalformed = 36, "icmp_error_malformed", Dropped;
    /// Covered by a `snat` rule, itself or by what it quotes; an ICMP error about a packet that
    /// belongs to no session.
    IcmpErrorNoSession = 37, "icmp_error_no_session", Dropped;
    /// An ICMP redirect or source quench: from outside always, on its way out where a `snat` rule
    /// covers it.
    IcmpRefused = 38, "icmp_refused", Dropped;
    /// For a port that translation uses on an external address, which has neither a session nor a
    /// socket: nobody answers (RFC 5382 REQ-4).
    NoMapping = 39, "no_mapping", Dropped;
    /// A fragment of which a part has passed already, or that reaches beyond the end of its packet;
    /// and every further fragment of that packet (RFC 5722).
    FragmentOverlap = 40, "fragment_overlap", Dropped;
    /// A first fragment without the whole transport header, or one that would replace a part of a
    /// TCP header (RFC 1858, RFC 3128).
    FragmentTiny = 41, "fragment_tiny", Dropped;
    /// Its client has as many sessions as one may have (`sessions_per_client`).
    ClientSessions = 42, "client_sessions", Dropped;
    /// Its client has as many half-open TCP connections as one may have (`half_open_per_client`).
    ClientHalfOpen = 43, "client_half_open", Dropped;
    /// Its client opens sessions faster than one may (`new_per_second_per_client`).
    ClientRate = 44, "client_rate", Dropped;
    /// Came before the first fragment of its packet: the controller keeps it and gives it back when
    /// that one has come. Until then, and if it does not come in time, it is as good as dropped.
    FragmentHeld = 45, "fragment_held", Dropped;

    /// From inside, for a client behind an external address: translated in both directions and sent on
    /// to it (RFC 4787 REQ-9).
    Hairpin = 46, "hairpin", Translated;
    /// From inside, for a port that translation uses on an external address: its time to live ends
    /// here.
    HairpinTtl = 47, "hairpin_ttl", Dropped;
    /// For a client behind an external address; larger than the MTU of the interface that leads to it.
    HairpinMtu = 48, "hairpin_mtu", Dropped;
    /// For a client behind an external address to which no inside interface leads.
    HairpinRoute = 49, "hairpin_route", Dropped;
    /// From inside, for the external endpoint behind which its sender hides.
    HairpinLoop = 50, "hairpin_loop", Dropped;

    /// Sent by this machine from an address that translation uses, in a conversation that it has not
    /// begun; left as it is, although a `snat` rule covers it.
    OwnReply = 51, "own_reply", Passed;
    /// Sent by this machine from an external endpoint that is a client's toward this remote one.
    OwnPortTaken = 52, "own_port_taken", Dropped;
    /// Arrived outside for a mapped port, without a session, from somebody whom the rule's `filtering`
    /// does not let in; or TCP that opens nothing.
    Filtered = 53, "filtered", Dropped;
    /// A free external port was not found yet, among more than one packet may try: where the gateway does
    /// not know which ports toward a busy destination are free. The packet's next sending goes on.
    Searching = 54, "searching", Dropped;
    /// XDP: in several buffers, and its headers are not in the first one, or one of the interfaces takes no
    /// such frames.
    LeftBuffers = 55, "left_buffers", LeftToStack;
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
