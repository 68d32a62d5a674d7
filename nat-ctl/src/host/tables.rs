//! In which order routing tables are asked: the policy rules (`ip rule`). Pure.
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::packet_core::Parseable as _;

const LOCAL: u32 = libc::RT_TABLE_LOCAL as u32;
const MAIN: u32 = libc::RT_TABLE_MAIN as u32;
const DEFAULT: u32 = libc::RT_TABLE_DEFAULT as u32;

/// The order for a packet of which nothing is known but its destination: tables that every packet
/// asks come first, by the priority of their rules, then those that only some packets ask (`from`,
/// `fwmark`, `iif`, …), so that whatever leaves by their interfaces finds its next hop.
///
/// Approximations: packets carry no mark, so `not fwmark` is no condition. `goto`,
/// `suppress_ifgroup` and the tables of VRF devices (`l3mdev`) are ignored. A rule that refuses
/// every packet ends the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    asked: Vec<Asked>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asked {
    table: u32,
    /// Only routes whose prefix is longer count (`suppress_prefixlength`).
    longer_than: Option<u32>,
}

/// A policy rule, as far as it is of interest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    /// Whether a packet of which nothing is known is meant.
    always: bool,
    does: Does,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Does {
    Ask(Asked),
    Refuse,
    /// Nothing that is followed.
    Other,
}

impl Tables {
    /// The place of a route in the order, 0 first; None if its table is never asked for it.
    pub fn position(&self, table: u32, prefix_len: u8) -> Option<u32> {
        let counts = |asked: &Asked| {
            let longer = asked.longer_than.is_none_or(|bits| u32::from(prefix_len) > bits);
            asked.table == table && longer
        };
        self.asked.iter().position(counts).and_then(|position| position.try_into().ok())
    }

    /// From rules in the order of their priority.
    pub(super) fn new(rules: &[Rule]) -> Self {
        let end = rules.iter().position(|rule| rule.always && rule.does == Does::Refuse);
        let rules = &rules[..end.unwrap_or(rules.len())];
        let (always, sometimes): (Vec<&Rule>, Vec<&Rule>) =
            rules.iter().partition(|rule| rule.always);
        let asked = always.into_iter().chain(sometimes).filter_map(|rule: &Rule| match rule.does {
            Does::Ask(asked) if asked.table != LOCAL => Some(asked),
            _ => None,
        });
        Self { asked: asked.collect() }
    }
}

impl Default for Tables {
    /// Those of a host whose rules nobody has changed.
    fn default() -> Self {
        let asked = [MAIN, DEFAULT].map(|table| Asked { table, longer_than: None });
        Self { asked: asked.into() }
    }
}

impl Rule {
    /// RTM_NEWRULE
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        RuleMessage::parse(payload).ok().map(|message| Self::new(&message))
    }

    fn new(message: &RuleMessage) -> Self {
        let header = &message.header;
        let mut asked = Asked { table: header.table.into(), longer_than: None };
        let mut mark = None;
        let mut other = header.dst_len > 0 || header.src_len > 0 || header.tos > 0;
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Table(table) => asked.table = *table,
                // -1: none
                RuleAttribute::SuppressPrefixLen(bits) => {
                    asked.longer_than = Some(*bits).filter(|bits| *bits != u32::MAX);
                }
                RuleAttribute::FwMark(value) if *value != 0 => mark = Some(*value),
                RuleAttribute::Priority(_)
                | RuleAttribute::Protocol(_)
                | RuleAttribute::Realm(_)
                | RuleAttribute::Goto(_)
                | RuleAttribute::SuppressIfGroup(_)
                | RuleAttribute::FwMark(_)
                | RuleAttribute::FwMask(_) => {}
                // Whatever else there is, now and in kernels to come, is a condition.
                _ => other = true,
            }
        }
        let inverted = header.flags.contains(RuleFlags::Invert);
        let does = match header.action {
            // `not` without a condition is for no packet at all.
            _ if inverted && !other && mark.is_none() => Does::Other,
            RuleAction::ToTable => Does::Ask(asked),
            RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => Does::Refuse,
            _ => Does::Other,
        };
        Self { always: !other && mark.is_some() == inverted, does }
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::{AddressFamily, route::RouteProtocol};
    use rtnetlink::packet_core::Emitable as _;

    use super::*;

    /// What every rule carries.
    fn rule(table: u32, more: &[RuleAttribute]) -> RuleMessage {
        let mut rule = RuleMessage::default();
        rule.header.family = AddressFamily::Inet;
        rule.header.action = RuleAction::ToTable;
        rule.attributes = vec![
            RuleAttribute::Table(table),
            RuleAttribute::SuppressPrefixLen(u32::MAX),
            RuleAttribute::Protocol(RouteProtocol::Kernel),
        ];
        rule.attributes.extend_from_slice(more);
        rule
    }

    fn tables(rules: &[RuleMessage]) -> Tables {
        let parse = |rule: &RuleMessage| {
            let mut bytes = vec![0; rule.buffer_len()];
            rule.emit(&mut bytes);
            Rule::parse(&bytes).unwrap()
        };
        Tables::new(&rules.iter().map(parse).collect::<Vec<_>>())
    }

    #[test]
    fn the_rules_of_every_host() {
        let rules = [rule(LOCAL, &[]), rule(MAIN, &[]), rule(DEFAULT, &[])];
        let tables = tables(&rules);
        assert_eq!(tables, Tables::default());
        assert_eq!(tables.position(MAIN, 0), Some(0));
        assert_eq!(tables.position(DEFAULT, 0), Some(1));
        assert_eq!(tables.position(LOCAL, 32), None);
        assert_eq!(tables.position(100, 0), None);
    }

    #[test]
    fn tables_of_some_packets_come_after_those_of_all() {
        let mut from = rule(100, &[RuleAttribute::Source([10, 0, 0, 1].into())]);
        from.header.src_len = 32;
        let iif = rule(101, &[RuleAttribute::Iifname("lan0".to_owned())]);
        let mark = rule(102, &[RuleAttribute::FwMark(7), RuleAttribute::FwMask(u32::MAX)]);
        let mut tos = rule(103, &[]);
        tos.header.tos = 8;
        let all = rule(99, &[]);
        let tables = tables(&[from, iif, mark, tos, all, rule(MAIN, &[])]);
        let order = [99, MAIN, 100, 101, 102, 103];
        let positions = order.map(|table| tables.position(table, 0));
        assert_eq!(positions, [Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)]);
    }

    /// As `wg-quick` sets up: everything without its mark goes through the tunnel, but where `main`
    /// has more than a default route.
    #[test]
    fn a_suppressed_prefix_length_and_a_missing_mark() {
        let main = rule(MAIN, &[RuleAttribute::SuppressPrefixLen(0)]);
        let mut tunnel = rule(51820, &[RuleAttribute::FwMark(0xca6c)]);
        tunnel.header.flags = RuleFlags::Invert;
        let tables = tables(&[rule(LOCAL, &[]), main, tunnel, rule(MAIN, &[])]);
        assert_eq!(tables.position(MAIN, 24), Some(0));
        assert_eq!(tables.position(51820, 0), Some(1));
        assert_eq!(tables.position(MAIN, 0), Some(2));
    }

    #[test]
    fn nothing_is_asked_after_a_refusal() {
        let mut refuse = rule(0, &[]);
        refuse.header.action = RuleAction::Prohibit;
        let tables = tables(&[rule(MAIN, &[]), refuse, rule(DEFAULT, &[])]);
        assert_eq!(tables.position(MAIN, 0), Some(0));
        assert_eq!(tables.position(DEFAULT, 0), None);
    }

    #[test]
    fn a_rule_for_no_packet_is_none() {
        let mut never = rule(100, &[]);
        never.header.flags = RuleFlags::Invert;
        assert_eq!(tables(&[never, rule(MAIN, &[])]).position(100, 0), None);
    }
}
