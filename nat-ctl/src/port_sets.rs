//! How long the data path's knowledge of ports holds ([`nat_common::hint`]): beyond a new table, as long
//! as it says no less than the truth. Pure.
use nat_common::{cooldown::Reason, hint::PORT_SETS, rule::Rule, settings::Settings};

/// Fills in what a table, the one of `generation`, keeps of the table before: since when what is known
/// holds, and the numbers of the rules' ports. New ports get the number whose last use is longest ago.
pub fn keep(
    before: Option<(&Settings, &[Rule])>,
    generation: u32,
    settings: &mut Settings,
    rules: &mut [Rule],
) {
    let holds = before.is_some_and(|(before, _)| holds(before, settings));
    let (mut last, since, old) = match before {
        Some((before, old)) => (before.port_sets, before.hints_since, old),
        None => (0, generation, [].as_slice()),
    };
    settings.hints_since = if holds { since } else { generation };
    for position in 0..rules.len() {
        let (done, rest) = rules.split_at_mut(position);
        let Some((rule, _)) = rest.split_first_mut() else { break };
        let known = done.iter().chain(old.iter().filter(|_| holds));
        let same = known.filter(|other| other.ports == rule.ports).map(|other| other.port_set);
        rule.port_set = same.min().unwrap_or_else(|| {
            last =
                next(last, |number| done.iter().chain(old).any(|other| other.port_set == number));
            last
        });
    }
    settings.port_sets = last;
}

/// The number after `last` that is not in use.
fn next(last: u16, in_use: impl Fn(u16) -> bool) -> u16 {
    let numbers = (last + 1..=PORT_SETS).chain(1..=last);
    numbers.into_iter().find(|number| !in_use(*number)).unwrap_or(PORT_SETS)
}

/// Whether what was noted under the settings before holds: a port that is said to be taken or to rest
/// until some time is so under the new ones. What they let rest for longer is found out by a try.
fn holds(before: &Settings, after: &Settings) -> bool {
    let reasons = (0..Reason::COUNT as u8).map(Reason::from_number);
    let mut waits =
        reasons.map(|reason| (before.cooldown.wait_ns(reason), after.cooldown.wait_ns(reason)));
    let mut timeouts = before.timeout_ns.iter().zip(&after.timeout_ns);
    waits.all(|(before, after)| before <= after)
        && timeouts.all(|(before, after)| before <= after)
        && before.cooldown.scope <= after.cooldown.scope
}

#[cfg(test)]
mod tests {
    use nat_common::{
        addr::Port, cooldown::Cooldown, external::Span, limit::ClientLimits, mapping::Behaviour,
        port::PortRange, ports::Ports, settings::Lifetime,
    };

    use super::*;

    fn settings() -> Settings {
        Settings {
            timeout_ns: [100; Lifetime::COUNT],
            cooldown: Cooldown {
                wait_ns: [100; Reason::COUNT],
                enabled: 1,
                scope: 0,
                pressure_reuse: 0,
                zero: [0; 5],
            },
            clients: ClientLimits::NONE,
            unmatched: 0,
            guarded: 0,
            enforce_strong_send: 0,
            zero: [0; 7],
            port_sets: 0,
            hints_since: 0,
            externals: Span::of([].into_iter()),
        }
    }

    /// A rule with the ports from `min` on.
    fn rule(min: u16) -> Rule {
        let ports = Ports::new(&[PortRange { min, max: u16::MAX }]);
        let behaviour = Behaviour::default();
        let (range, zero) = (Port::NONE, [0; 2]);
        Rule { id: 0, ports, action: 2, pooling: 0, mss: 0, behaviour, port_set: 0, range, zero }
    }

    /// Tables, one after the other.
    struct Tables {
        generation: u32,
        settings: Settings,
        rules: Vec<Rule>,
    }

    impl Tables {
        fn first(ports: &[u16]) -> Self {
            let (mut settings, mut rules) = (settings(), rules(ports));
            keep(None, 1, &mut settings, &mut rules);
            Self { generation: 1, settings, rules }
        }

        /// The numbers of the rules' ports in the next table.
        fn then(&mut self, ports: &[u16], change: impl FnOnce(&mut Settings)) -> Vec<u16> {
            let (mut next, mut rules) = (self.settings, rules(ports));
            change(&mut next);
            (next.port_sets, next.hints_since) = (0, 0);
            self.generation += 1;
            keep(Some((&self.settings, &self.rules)), self.generation, &mut next, &mut rules);
            (self.settings, self.rules) = (next, rules);
            self.numbers()
        }

        fn numbers(&self) -> Vec<u16> {
            self.rules.iter().map(|rule| rule.port_set).collect()
        }
    }

    fn rules(ports: &[u16]) -> Vec<Rule> {
        ports.iter().map(|min| rule(*min)).collect()
    }

    #[test]
    fn the_same_ports_keep_their_number_wherever_their_rule_stands() {
        let mut tables = Tables::first(&[1000, 2000, 1000]);
        assert_eq!(tables.numbers(), [1, 2, 1]);
        assert_eq!(tables.then(&[3000, 2000, 1000], |_| {}), [3, 2, 1]);
        assert_eq!(tables.then(&[1000], |_| {}), [1]);
        assert_eq!(tables.then(&[2000, 1000], |_| {}), [4, 1], "not known any more");
        assert_eq!((tables.settings.port_sets, tables.settings.hints_since), (4, 1));
    }

    #[test]
    fn what_shortens_a_wait_makes_all_new() {
        type Change = fn(&mut Settings);
        let changes: [(Change, bool); 8] = [
            (|settings| settings.cooldown.wait_ns[1] = 99, false),
            (|settings| settings.cooldown.wait_ns[1] = 101, true),
            (|settings| settings.timeout_ns[5] = 99, false),
            (|settings| settings.timeout_ns[5] = 101, true),
            (|settings| settings.cooldown.enabled = 0, false),
            (|settings| settings.cooldown.scope = 1, true),
            (|settings| settings.unmatched = 1, true),
            (|settings| settings.cooldown.pressure_reuse = 1, true),
        ];
        for (index, (change, holds)) in changes.into_iter().enumerate() {
            let mut tables = Tables::first(&[1000]);
            let number = tables.then(&[1000], change);
            let expected = if holds { (vec![1], 1) } else { (vec![2], 2) };
            assert_eq!((number, tables.settings.hints_since), expected, "change {index}");
        }
        // There and back: once each way at most, but not as before.
        let mut tables = Tables::first(&[1000]);
        assert_eq!(tables.then(&[1000], |settings| settings.cooldown.scope = 1), [1]);
        assert_eq!(tables.then(&[1000], |settings| settings.cooldown.scope = 0), [2]);
        assert_eq!(tables.then(&[1000], |settings| settings.cooldown.wait_ns[0] = 5), [3]);
        assert_eq!(tables.then(&[1000], |settings| settings.cooldown.wait_ns[0] = 6), [3]);
        assert_eq!(tables.settings.hints_since, 4);
    }

    #[test]
    fn numbers_are_used_again_last_of_all_and_never_while_in_use() {
        let mut tables = Tables::first(&[1]);
        for _ in 0..PORT_SETS / 2 {
            let last = tables.settings.port_sets;
            assert_eq!(tables.then(&[1, 2], |_| {}), [1, last + 1]);
            assert_eq!(tables.then(&[1, 3], |_| {}), [1, last + 2]);
        }
        assert_eq!(tables.settings.port_sets, PORT_SETS);
        assert_eq!(tables.then(&[1, 2], |_| {}), [1, 2]);
    }
}
