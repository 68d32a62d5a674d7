//! Upwards: leaves get their answers, the prefixes above them the sets that follow.
use super::{
    Choice, Chooser, Place, Table,
    choices::Id,
    regions::RegionId,
    routes::{HopId, Way},
    sets::Set,
    trie::Index,
};

/// What holds at a place, because of the prefixes that contain it and its own.
#[derive(Clone, Copy)]
pub(super) struct State {
    /// The route that counted when the answers below were found; None if these could be wrong
    /// whatever the routes are.
    pub before: Option<Way>,
    /// The route that counts.
    pub now: Way,
    /// The answer in force, as far as entries were assigned so far.
    pub in_force: Id,
}

impl State {
    /// Above the root.
    pub const NOTHING: Self = Self { before: None, now: Way::NONE, in_force: Id::NO_ROUTE };

    fn is_settled(&self) -> bool {
        self.before == Some(self.now)
    }
}

impl<C: Chooser> Table<C> {
    /// What holds at a node when `above` holds around it.
    pub(super) fn state(&self, index: Index, above: State) -> State {
        let node = self.trie.get(index);
        let own = self.routes.best(node.routes);
        State {
            before: above.before.map(|before| before.below(own)),
            now: above.now.below(own),
            in_force: node.entry().unwrap_or(above.in_force),
        }
    }

    /// Asks again for the answers below a place as far as they may differ. Cuts leaves until each
    /// lies in one region.
    pub(super) fn evaluate(&mut self, place: Place, state: State) {
        if state.is_settled() {
            return;
        }
        if let Some(region) = self.regions.containing(place.prefix) {
            if !self.agree(region, &state) {
                self.evaluate_in(region, place, state);
            }
            return;
        }
        let halves = self.trie.halve(place.index);
        for half in place.halves(halves) {
            self.evaluate(half, self.state(half.index, state));
        }
        self.join(place.index, halves);
    }

    /// The same for a place in one region.
    fn evaluate_in(&mut self, region: RegionId, place: Place, state: State) {
        if state.is_settled() {
            return;
        }
        let Some(halves) = self.trie.get(place.index).halves() else {
            let answer = self.answer_to_keep(region, &state);
            self.set(place.index, Set::one(answer));
            return;
        };
        for half in place.halves(halves) {
            self.evaluate_in(region, half, self.state(half.index, state));
        }
        self.join(place.index, halves);
    }

    /// Whether it makes no difference in a region which of two routes counts.
    fn agree(&mut self, region: RegionId, state: &State) -> bool {
        state.before.is_some_and(|before| {
            before.table == state.now.table
                && self.answer(region, before.hop) == self.answer(region, state.now.hop)
        })
    }

    /// The chooser's answer, unless the one in force is to be kept.
    fn answer_to_keep(&mut self, region: RegionId, state: &State) -> Id {
        let answer = self.answer(region, state.now.hop);
        if answer == state.in_force {
            return answer;
        }
        match (self.choices.get(state.in_force), self.choices.get(answer)) {
            (Choice::Source(_), Choice::NotUnicast) => answer,
            (Choice::Source(source), _) if self.chooser.keeps(source) => {
                self.kept = true;
                state.in_force
            }
            _ => answer,
        }
    }

    /// The chooser's answer.
    pub(super) fn answer(&mut self, region: RegionId, hop: HopId) -> Id {
        let Self { regions, routes, chooser, choices, .. } = self;
        regions.answer(region, hop, routes.hop(hop), chooser, choices)
    }

    /// Brings a node's set in line with its halves'.
    pub(super) fn join(&mut self, index: Index, [low, high]: [Index; 2]) {
        let (low, high) = (self.trie.get(low), self.trie.get(high));
        let stale = low.is_stale() || high.is_stale();
        let set = self.sets.join(low.set, high.set);
        self.set(index, set);
        if stale {
            self.trie.get_mut(index).set_stale();
        }
    }

    fn set(&mut self, index: Index, set: Set) {
        let node = self.trie.get_mut(index);
        if node.set != set {
            node.set = set;
            node.set_stale();
        }
    }
}
