//! From `scope = "destination"` to `"port"`.
use std::collections::HashMap;

use nat_common::{
    cooldown::{Cooldown, Reason, Resting},
    flow::FlowKey,
};

/// What rests toward single destinations, made to rest toward everybody as well.
///
/// The data path writes an entry toward everybody for a session that ends while ports rest as such.
/// Of those that ended before, only the tuples are known: one port may have several, of which the one
/// that rests longest counts.
pub struct Widening<'a> {
    settings: &'a Cooldown,
    ports: HashMap<FlowKey, Port>,
}

#[derive(Clone, Copy)]
struct Port {
    longest: Resting,
    /// What rests toward everybody already.
    there: Option<Resting>,
}

impl<'a> Widening<'a> {
    /// Under these settings.
    pub fn new(settings: &'a Cooldown) -> Self {
        Self { settings, ports: HashMap::new() }
    }

    /// Takes note of a resting tuple, or of a port that rests toward everybody.
    pub fn see(&mut self, tuple: &FlowKey, resting: &Resting) {
        let everybody = tuple.toward_everybody();
        let there = (*tuple == everybody).then_some(*resting);
        if wait_ns(self.settings, resting) == 0 && there.is_none() {
            return;
        }
        let new = Port { longest: *resting, there };
        let port = self.ports.entry(everybody).or_insert(new);
        port.there = port.there.or(there);
        if is_later(free_ns(self.settings, resting), free_ns(self.settings, &port.longest)) {
            port.longest = *resting;
        }
        // Whose it was, it still is: its own tuples rest for that one, too.
        if let Some(Resting { owner, owner_port, .. }) = port.there {
            port.longest = Resting { owner, owner_port, ..port.longest };
        }
    }

    /// What is to be written, oldest first.
    pub fn finish(self) -> Vec<(FlowKey, Resting)> {
        let missing = self.ports.into_iter().filter(|(_, port)| port.there != Some(port.longest));
        let mut missing: Vec<_> = missing.map(|(key, port)| (key, port.longest)).collect();
        missing.sort_unstable_by_key(|(_, resting)| resting.closed_ns.cast_signed());
        missing
    }
}

const fn wait_ns(settings: &Cooldown, resting: &Resting) -> u64 {
    settings.wait_ns(Reason::from_number(resting.reason))
}

const fn free_ns(settings: &Cooldown, resting: &Resting) -> u64 {
    resting.closed_ns.wrapping_add(wait_ns(settings, resting))
}

/// Times of the data path's clock are signed: see [`nat_common::cooldown`].
const fn is_later(one_ns: u64, other_ns: u64) -> bool {
    one_ns.wrapping_sub(other_ns).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use nat_common::{
        addr::{Ipv4, Port as Number},
        flow::Protocol,
    };

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A FIN's tuple rests 100 s, an unanswered opening's 30 s, a reset one's not at all.
    fn settings() -> Cooldown {
        let mut wait_ns = [0; Reason::COUNT];
        wait_ns[Reason::Fin as usize] = 100 * SECOND;
        wait_ns[Reason::HalfOpen as usize] = 30 * SECOND;
        Cooldown { wait_ns, enabled: 1, scope: 1, pressure_reuse: 0, zero: [0; 5] }
    }

    fn tuple(port: u16, server: u8) -> FlowKey {
        FlowKey::new(
            Protocol::Tcp,
            (Ipv4::new([203, 0, 113, 7]), Number::new(port)),
            (Ipv4::new([198, 51, 100, server]), Number::new(443)),
        )
    }

    fn widened(seen: &[(FlowKey, Resting)]) -> Vec<(FlowKey, Resting)> {
        let settings = settings();
        let mut widening = Widening::new(&settings);
        seen.iter().for_each(|(tuple, resting)| widening.see(tuple, resting));
        widening.finish()
    }

    fn ended(second: u64, reason: Reason) -> Resting {
        Resting::new(second.wrapping_mul(SECOND), reason)
    }

    #[test]
    fn a_port_rests_as_long_as_the_tuple_that_rests_longest() {
        // The later one is free at 150, the earlier one at 200.
        let (long, short) = (ended(100, Reason::Fin), ended(120, Reason::HalfOpen));
        let mut seen = [(tuple(1, 1), short), (tuple(1, 2), long), (tuple(2, 1), short)];
        let expected =
            [(tuple(1, 0).toward_everybody(), long), (tuple(2, 0).toward_everybody(), short)];
        assert_eq!(widened(&seen), expected);
        seen.reverse();
        assert_eq!(widened(&seen), expected);
    }

    #[test]
    fn what_rests_toward_everybody_already_is_only_put_off() {
        let (long, short) = (ended(100, Reason::Fin), ended(120, Reason::HalfOpen));
        let everybody = tuple(1, 0).toward_everybody();
        for [first, second] in [[0, 1], [1, 0]] {
            let seen = [(everybody, long), (tuple(1, 1), short)];
            assert_eq!(widened(&[seen[first], seen[second]]), []);
            let seen = [(everybody, short), (tuple(1, 1), long)];
            assert_eq!(widened(&[seen[first], seen[second]]), [(everybody, long)]);
            // Not by one that is not to rest at all under these settings.
            let seen = [(everybody, short), (tuple(1, 1), ended(1000, Reason::Rst))];
            assert_eq!(widened(&[seen[first], seen[second]]), []);
        }
    }

    #[test]
    fn who_may_use_a_port_again_may_do_so_for_as_long_as_it_rests() {
        let owned = |resting| {
            let (owner, owner_port) = (Ipv4::new([10, 0, 0, 5]), Number::new(5000));
            Resting { owner, owner_port, ..resting }
        };
        let (long, short) = (ended(100, Reason::Fin), ended(120, Reason::HalfOpen));
        let everybody = tuple(1, 0).toward_everybody();
        for [first, second] in [[0, 1], [1, 0]] {
            let seen = [(everybody, owned(long)), (tuple(1, 1), long)];
            assert_eq!(widened(&[seen[first], seen[second]]), [], "both end at once");
            let seen = [(everybody, owned(short)), (tuple(1, 1), long)];
            assert_eq!(widened(&[seen[first], seen[second]]), [(everybody, owned(long))]);
        }
    }

    #[test]
    fn what_is_not_to_rest_adds_nothing() {
        assert_eq!(widened(&[(tuple(1, 1), ended(100, Reason::Rst))]), []);
        assert_eq!(widened(&[]), []);
    }

    #[test]
    fn protocols_have_their_own_ports() {
        let mut udp = tuple(1, 1);
        udp.protocol = Protocol::Udp as u8;
        let rest = ended(1, Reason::Fin);
        assert_eq!(widened(&[(tuple(1, 1), rest), (udp, rest)]).len(), 2);
    }

    /// Those of a file may have ended before this boot.
    #[test]
    fn sessions_that_ended_before_this_boot_come_first() {
        let before = ended(10_u64.wrapping_neg(), Reason::Fin);
        let after = ended(10, Reason::Fin);
        let seen = [(tuple(1, 1), after), (tuple(1, 2), before), (tuple(2, 1), before)];
        let expected =
            [(tuple(2, 0).toward_everybody(), before), (tuple(1, 0).toward_everybody(), after)];
        assert_eq!(widened(&seen), expected);
    }
}
