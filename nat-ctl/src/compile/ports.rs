//! Which ports a rule may use.
use nat_common::{limits::PORT_GAPS_MAX, port::PortRange};

use crate::config::{EXCLUDED_MAX, Snat};

// Exclusions that touch an end of the range make no gap.
const _: () = assert!(EXCLUDED_MAX <= PORT_GAPS_MAX as usize);

/// Those of `ports` that are not in `exclude_ports`: in rising order, apart from each other.
pub fn allowed(snat: &Snat) -> Vec<PortRange> {
    let mut allowed = Vec::new();
    let mut next = Some(*snat.ports.start());
    for excluded in &snat.exclude_ports {
        if let (Some(min), Some(max)) = (next, excluded.start().checked_sub(1))
            && min <= max
        {
            allowed.push(PortRange { min, max });
        }
        next = excluded.end().checked_add(1);
    }
    let max = *snat.ports.end();
    allowed.extend(next.filter(|min| *min <= max).map(|min| PortRange { min, max }));
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Action, Config};

    /// The allowed ports of a rule, one by one.
    #[track_caller]
    fn check(ports: &str, excluded: &str, expected: impl IntoIterator<Item = u16>) {
        let text = format!(
            "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n[[rules]]\nname = \"r\"\n\
             from = [\"10.0.0.0/8\"]\nto = [\"external\"]\naction = \"snat\"\n\
             ports = \"{ports}\"\nexclude_ports = {excluded}\n"
        );
        let config = Config::parse(&text, "nat.toml").unwrap();
        let Action::Snat(snat) = &config.rules[0].action else { panic!("{config:?}") };
        let allowed = allowed(snat);
        let ports = allowed.iter().flat_map(|range| range.min..=range.max);
        assert!(ports.eq(expected), "{allowed:?}");
        let touch = allowed.windows(2).any(|pair| pair[1].min - pair[0].max < 2);
        assert!(!touch, "{allowed:?}");
    }

    #[test]
    fn exclusions_leave_the_rest() {
        check("5-9", "[]", 5..=9);
        check("5-9", "[5]", 6..=9);
        check("5-9", "[9]", 5..=8);
        check("5-9", "[7]", [5, 6, 8, 9]);
        check("5-9", "[\"5-7\", 9]", [8]);
        check("1-65535", "[\"1-9\", \"11-65535\"]", [10]);
        check("1-65535", "[\"2-65534\"]", [1, 65_535]);
        check("1000-3000", "[8, 1500, 1502, \"2000-2999\"]", {
            let some = |port: &u16| ![1500, 1502].contains(port) && *port < 2000;
            (1000..3000).filter(some).chain([3000]).collect::<Vec<_>>()
        });
    }
}
