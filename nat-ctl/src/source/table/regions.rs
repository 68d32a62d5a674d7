//! The parts of the address space in which answers do not depend on the destination.
use ipnet::Ipv4Net;

use super::{Chooser, choices::Choices, choices::Id, prefix::Prefix, routes::Hop, routes::HopId};

/// A partition of the address space into the fewest prefixes of which none strictly contains a
/// point (see [`Chooser::points`]). In each of them one question for each next hop is enough.
pub struct Regions {
    /// Ascending.
    list: Vec<Region>,
}

/// A region of [`Regions`].
#[derive(Clone, Copy)]
pub struct RegionId(usize);

struct Region {
    prefix: Prefix,
    /// What is known, by next hop, sorted. Holds every next hop that counts somewhere in the
    /// region, and perhaps some that did.
    answers: Vec<(HopId, Id)>,
}

impl Regions {
    pub fn new(points: Vec<Ipv4Net>) -> Self {
        let mut points: Vec<Prefix> = points.into_iter().map(Prefix::from).collect();
        points.sort_unstable_by_key(|point| (point.bits, point.len));
        let mut list = Vec::new();
        divide(Prefix::ROOT, &points, &mut list);
        Self { list }
    }

    /// The region that a prefix lies in, unless it is divided.
    pub fn containing(&self, prefix: Prefix) -> Option<RegionId> {
        let position = self.position(prefix.bits);
        (self.list[position].prefix.len <= prefix.len).then_some(RegionId(position))
    }

    /// The answer for a next hop.
    pub fn answer(
        &mut self,
        RegionId(region): RegionId,
        id: HopId,
        hop: Hop,
        chooser: &impl Chooser,
        choices: &mut Choices,
    ) -> Id {
        let region = &mut self.list[region];
        match region.answers.binary_search_by_key(&id, |(hop, _)| *hop) {
            Ok(position) => region.answers[position].1,
            Err(position) => {
                let destination = region.prefix.address();
                let choice = choices.id(match hop {
                    Hop::None => chooser.unrouted(destination),
                    Hop::OnLink => chooser.choose(destination, destination),
                    Hop::Gateway(gateway) => chooser.choose(gateway, destination),
                });
                region.answers.insert(position, (id, choice));
                choice
            }
        }
    }

    /// What is known by now.
    pub fn known(&self, RegionId(region): RegionId) -> &[(HopId, Id)] {
        &self.list[region].answers
    }

    fn position(&self, bits: u32) -> usize {
        self.list.partition_point(|region| region.prefix.bits <= bits) - 1
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        let answers: usize = self.list.iter().map(|region| region.answers.capacity()).sum();
        answers * size_of::<(HopId, Id)>() + self.list.capacity() * size_of::<Region>()
    }
}

/// Appends the regions of a prefix, given the sorted points in it.
fn divide(prefix: Prefix, points: &[Prefix], regions: &mut Vec<Region>) {
    // Those equal to the prefix come first.
    if points.last().is_none_or(|point| point.len <= prefix.len) {
        regions.push(Region { prefix, answers: Vec::new() });
        return;
    }
    let upper = prefix.half(1);
    let (low, high) = points.split_at(points.partition_point(|point| point.bits < upper.bits));
    divide(prefix.half(0), low, regions);
    divide(upper, high, regions);
}
