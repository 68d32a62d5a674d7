//! The words that a key may have as its value. One list per key: reading, printing, the command
//! line and the suggestions in error messages all come from it.

/// Declares an enum whose variants are words of the configuration file.
macro_rules! words {
    (
        $(#[$enum_meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$meta:meta])* $variant:ident = $word:literal, )+
        }
    ) => {
        $(#[$enum_meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
        $vis enum $name {
            $( $(#[$meta])* #[value(name = $word)] $variant, )+
        }

        impl $name {
            /// Every word, in the order of the documentation.
            const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word, as in the configuration file.
            $vis fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }

            /// The variant that a word stands for.
            fn from_word(word: &str) -> Option<Self> {
                match word {
                    $( $word => Some(Self::$variant), )+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        // Written by hand because a derived enum would also accept a table (`hook = { xdp = 1 }`)
        // and would call a number "wanted string or table".
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Words;

                impl serde::de::Visitor<'_> for Words {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(&$crate::config::words::alternatives($name::WORDS))
                    }

                    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<$name, E> {
                        $name::from_word(word).ok_or_else(|| E::unknown_variant(word, $name::WORDS))
                    }
                }

                deserializer.deserialize_str(Words)
            }
        }
    };
}

words! {
    /// Where packets are taken: the `hook` key.
    pub enum Hook {
        /// TC in this version: it does everything, on every driver
        Auto = "auto",
        /// XDP, or refuse to start
        Xdp = "xdp",
        /// TC only
        Tc = "tc",
    }
}

words! {
    /// A protocol that can be translated.
    pub enum Protocol {
        /// TCP
        Tcp = "tcp",
        /// UDP
        Udp = "udp",
        /// ICMP echo
        Icmp = "icmp",
    }
}

words! {
    /// How a rule with several external addresses picks one for a new flow.
    pub enum Pooling {
        /// A client keeps its external address (RFC 4787 REQ-2)
        Paired = "paired",
        /// Any address for every flow
        Random = "random",
    }
}

words! {
    /// What happens to a packet that no rule covers.
    pub enum Unmatched {
        /// Leave it to the kernel's routing, untranslated
        Route = "route",
        /// Drop it
        Drop = "drop",
    }
}

words! {
    /// The `action` key of a rule; [`Action`](super::Action) is what it means.
    pub enum ActionWord {
        /// Translate the source address
        Snat = "snat",
        /// Leave as it is
        Route = "route",
        /// Drop
        Drop = "drop",
    }
}

words! {
    /// How a `snat` rule chooses its external address by the host's routes and addresses.
    pub enum SourceModel {
        /// As Windows Server 2008 and later: the address nearest to the next hop
        StrongHost = "strong-host",
        /// As Windows Server 2003: the primary address of the interface that the best route names
        WeakHost = "weak-host",
        /// As ISA Server: the first configured address of the egress interface
        First = "first",
        /// As the default IP address of Microsoft TMG: the lowest one of the egress interface
        Lowest = "lowest",
    }
}

words! {
    /// Which of several addresses wins where no rule of a model decides.
    pub enum TieBreak {
        /// The one that is configured first
        First = "first",
        /// The one with the smallest number
        Lowest = "lowest",
    }
}

words! {
    /// Which addresses a model may choose from (RFC 6724 section 4).
    pub enum Candidates {
        /// Those of the egress interface
        Egress = "egress",
        /// Those of all interfaces
        All = "all",
    }
}

words! {
    /// The scope of private addresses (RFC 1918).
    pub enum PrivateScope {
        /// Global (RFC 6724 section 3.2)
        Global = "global",
        /// Site-local (RFC 3484 section 3.2)
        SiteLocal = "site-local",
    }
}

words! {
    /// What becomes of sessions whose external address is taken from the host.
    pub enum OnAddressRemoved {
        /// They stay until they end; new ones get another address
        Drain = "drain",
        /// They end at once
        End = "end",
    }
}

words! {
    /// What decides the external port of a flow (RFC 4787 section 4.1).
    pub enum Mapping {
        /// The inside endpoint alone: it has one external port for everybody
        EndpointIndependent = "endpoint-independent",
        /// Also the remote endpoint: a port may serve several clients at once
        AddressAndPortDependent = "address-and-port-dependent",
    }
}

words! {
    /// Who may send to a client's external port (RFC 4787 section 5).
    pub enum Filtering {
        /// Anybody
        EndpointIndependent = "endpoint-independent",
        /// The addresses that the client has sent to
        AddressDependent = "address-dependent",
        /// The addresses and ports that the client has sent to
        AddressAndPortDependent = "address-and-port-dependent",
    }
}

words! {
    /// The words of the `mss` key; it can be a number too.
    pub enum MssWord {
        /// Leave it as it is
        Off = "off",
        /// As much as the way out can take
        Auto = "auto",
    }
}

words! {
    /// What rests after a session: the `scope` of `[cooldown]`.
    pub enum CooldownScope {
        /// The external port toward the same remote endpoint
        Destination = "destination",
        /// The external port toward everybody
        Port = "port",
    }
}

/// `"auto", "xdp" or "tc"`.
pub(super) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for word in Hook::WORDS {
            assert_eq!(Hook::from_word(word).map(Hook::as_str), Some(*word));
        }
        assert_eq!(Hook::from_word("Auto"), None);
        assert_eq!(format!("{:>5}|", Protocol::Tcp), "  tcp|");
    }

    #[test]
    fn alternatives_read_like_a_sentence() {
        assert_eq!(alternatives(Hook::WORDS), r#""auto", "xdp" or "tc""#);
        assert_eq!(alternatives(Unmatched::WORDS), r#""route" or "drop""#);
    }
}
