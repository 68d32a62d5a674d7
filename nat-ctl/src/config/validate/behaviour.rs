//! How a `snat` rule translates: `mapping`, `filtering`, `spill` and `mss`.

use toml::Spanned;

use crate::config::checked::{
    Filtering, Mapping, Mss, PerProtocol, Pooling, Protocol, ProtocolSet, Snat, Source,
};
use crate::config::model::{self, AllOrEach, ProtocolsTable, RuleTable};
use crate::config::report::Report;
use crate::config::words::MssWord;
use crate::config::{MSS_MAX, MSS_MIN};

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];

/// A rule for messages, and the protocols that it translates.
#[derive(Clone, Copy)]
pub(super) struct Of<'r> {
    pub label: &'r str,
    pub protocols: ProtocolSet,
}

impl Of<'_> {
    pub fn mapping(self, table: &RuleTable, report: &mut Report<'_>) -> PerProtocol<Mapping> {
        self.warn_unless_covered("mapping", table.mapping.as_ref(), report);
        per_protocol(table.mapping.as_ref(), Snat::MAPPING_DEFAULT)
    }

    pub fn filtering(
        self,
        table: &RuleTable,
        mapping: PerProtocol<Mapping>,
        report: &mut Report<'_>,
    ) -> PerProtocol<Filtering> {
        self.warn_unless_covered("filtering", table.filtering.as_ref(), report);
        let filtering = per_protocol(table.filtering.as_ref(), Snat::FILTERING_DEFAULT);
        self.warn_of_icmp(table.filtering.as_ref(), filtering.icmp, report);
        let shared = PROTOCOLS.into_iter().filter(|protocol| {
            *protocol != Protocol::Icmp
                && self.protocols.contains(*protocol)
                && mapping.get(*protocol) == Mapping::AddressAndPortDependent
                && filtering.get(*protocol) != Filtering::AddressAndPortDependent
        });
        let shared: Vec<&str> = shared.map(Protocol::as_str).collect();
        if let (Some(written), Some(first)) = (&table.filtering, shared.first()) {
            let message = format!(
                "`filtering` in {} has no effect on {}: with `mapping` \
                 \"address-and-port-dependent\" a port can belong to several clients, and only the \
                 remote endpoint tells whose a packet is",
                self.label,
                shared.join(" and "),
            );
            let help = format!(
                "set `mapping = {{ {first} = \"endpoint-independent\" }}`, or name the other \
                 protocols only: `filtering = {{ udp = \"endpoint-independent\" }}`"
            );
            report.warn(&written.span(), message, help);
        }
        filtering
    }

    /// Whoever asks ICMP from outside asks the gateway: no filter lets that in. One word for several
    /// protocols has its effect on the others.
    fn warn_of_icmp(
        self,
        written: Option<&Spanned<AllOrEach<Filtering>>>,
        filtering: Filtering,
        report: &mut Report<'_>,
    ) {
        let span = match written.map(|written| (written.get_ref(), written.span())) {
            Some((AllOrEach::Each(table), _)) => table.icmp.as_ref().map(Spanned::span),
            Some((AllOrEach::All(_), span)) => {
                let others = [Protocol::Tcp, Protocol::Udp];
                (!others.iter().any(|other| self.protocols.contains(*other))).then_some(span)
            }
            None => None,
        };
        let is_covered = self.protocols.contains(Protocol::Icmp);
        if let Some(span) = span
            && is_covered
            && filtering != Filtering::AddressAndPortDependent
        {
            let message = format!(
                "`filtering` in {} has no effect on icmp: an echo request from outside is the \
                 gateway's to answer, and a reply comes in only from whom a client has asked",
                self.label
            );
            report.warn(&span, message, "leave icmp out of it");
        }
    }

    /// `spill` is for clients that have an address of their own among several.
    pub fn spill(self, table: &RuleTable, source: &Source, report: &mut Report<'_>) -> bool {
        let Some(written) = &table.spill else { return false };
        let spill = *written.get_ref();
        let reason = match source {
            Source::Model(_) => "a source model gives one address",
            Source::Addresses { pooling: Pooling::Random, .. } => {
                "with `pooling = \"random\"` every flow may use every address"
            }
            Source::Addresses { addresses, .. } if addresses.len() < 2 => "there is one address",
            Source::Addresses { .. } => return spill,
        };
        if spill {
            let message = format!("`spill` in {} has no effect: {reason}", self.label);
            let help = "remove the line, or list several addresses with `pooling = \"paired\"`";
            report.warn(&written.span(), message, help);
        }
        spill
    }

    pub fn mss(self, table: &RuleTable, report: &mut Report<'_>) -> Mss {
        let Some(written) = &table.mss else { return Snat::MSS_DEFAULT };
        let mss = match written.get_ref() {
            model::Mss::Word(MssWord::Off) => return Mss::Off,
            model::Mss::Word(MssWord::Auto) => Mss::Auto,
            model::Mss::Bytes(bytes) => match u16::try_from(*bytes) {
                Ok(size) if (MSS_MIN..=MSS_MAX).contains(&size) => Mss::Clamp(size),
                _ => {
                    let message = format!("`mss` in {} cannot be {bytes}", self.label);
                    let help =
                        format!("it can be from {MSS_MIN} to {MSS_MAX}, \"off\" or \"auto\"");
                    report.error(&written.span(), message, help);
                    return Snat::MSS_DEFAULT;
                }
            },
        };
        if !self.protocols.contains(Protocol::Tcp) {
            let message =
                format!("`mss` in {} has no effect: its `protocols` leave out tcp", self.label);
            report.warn(&written.span(), message, "remove the line");
        }
        mss
    }

    /// Warns about protocols that a table names and the rule does not translate.
    fn warn_unless_covered<T>(
        self,
        key: &str,
        written: Option<&Spanned<AllOrEach<T>>>,
        report: &mut Report<'_>,
    ) {
        let Some(AllOrEach::Each(table)) = written.map(Spanned::get_ref) else { return };
        for protocol in PROTOCOLS {
            if let Some(value) = table.get(protocol)
                && !self.protocols.contains(protocol)
            {
                let message = format!(
                    "`{key}` in {} names {protocol}, which its `protocols` leave out",
                    self.label
                );
                report.warn(&value.span(), message, "remove one, or add the other");
            }
        }
    }
}

impl<T> ProtocolsTable<T> {
    fn get(&self, protocol: Protocol) -> Option<&Spanned<T>> {
        match protocol {
            Protocol::Tcp => self.tcp.as_ref(),
            Protocol::Udp => self.udp.as_ref(),
            Protocol::Icmp => self.icmp.as_ref(),
        }
    }
}

/// The values of a key; what a table leaves out has its default.
fn per_protocol<T: Copy>(
    written: Option<&Spanned<AllOrEach<T>>>,
    default: PerProtocol<T>,
) -> PerProtocol<T> {
    match written.map(Spanned::get_ref) {
        None => default,
        Some(AllOrEach::All(value)) => PerProtocol::all(*value),
        Some(AllOrEach::Each(table)) => {
            let value = |protocol| {
                table.get(protocol).map_or(default.get(protocol), |value| *value.get_ref())
            };
            PerProtocol {
                tcp: value(Protocol::Tcp),
                udp: value(Protocol::Udp),
                icmp: value(Protocol::Icmp),
            }
        }
    }
}
