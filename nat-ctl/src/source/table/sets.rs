//! Sets of answers, each kept once.
use std::{collections::HashMap, mem};

use super::choices::Id;

/// A set of answers: a single one, or a position in [`Sets`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Set(u32);

impl Set {
    const MANY: u32 = 1 << 31;

    pub const fn one(choice: Id) -> Self {
        Self(choice.number())
    }

    const fn many(self) -> Option<usize> {
        if self.0 & Self::MANY == 0 { None } else { Some((self.0 & !Self::MANY) as usize) }
    }
}

/// The sets of more than one answer.
pub struct Sets {
    /// Sorted, no two the same.
    many: Vec<Box<[u32]>>,
    numbers: HashMap<Box<[u32]>, u32>,
    /// What was asked for last, by a hash of the question.
    recent: Vec<Recent>,
}

#[derive(Clone, Copy)]
struct Recent {
    question: (u32, u32),
    answer: Set,
}

const RECENT: usize = 1 << 10;

impl Default for Sets {
    fn default() -> Self {
        // The two of a question differ: nobody asks this one.
        let nothing = Recent { question: (0, 0), answer: Set(0) };
        Self { many: Vec::new(), numbers: HashMap::new(), recent: vec![nothing; RECENT] }
    }
}

impl Sets {
    /// What two sets have in common; if that is nothing, both together.
    pub fn join(&mut self, a: Set, b: Set) -> Set {
        if a == b {
            return a;
        }
        let question = (a.0.min(b.0), a.0.max(b.0));
        let hash = (question.0 ^ question.1.rotate_left(16)).wrapping_mul(0x9e37_79b1) >> 22;
        let recent = self.recent[hash as usize % RECENT];
        if recent.question == question {
            return recent.answer;
        }
        let answer = self.compute(a, b);
        self.recent[hash as usize % RECENT] = Recent { question, answer };
        answer
    }

    pub fn has(&self, set: Set, choice: Id) -> bool {
        self.members(&set).binary_search(&choice.number()).is_ok()
    }

    /// The member that came up first.
    pub fn first(&self, set: Set) -> Id {
        Id::from_number(self.members(&set)[0])
    }

    fn members<'a>(&'a self, set: &'a Set) -> &'a [u32] {
        match set.many() {
            None => std::slice::from_ref(&set.0),
            Some(number) => &self.many[number],
        }
    }

    fn compute(&mut self, a: Set, b: Set) -> Set {
        let (one, other) = (self.members(&a), self.members(&b));
        let both = |member: &&u32| other.binary_search(member).is_ok();
        let mut members: Vec<_> = one.iter().filter(both).copied().collect();
        if members.is_empty() {
            members = [one, other].concat();
            members.sort_unstable();
        }
        self.number(members.into_boxed_slice())
    }

    fn number(&mut self, members: Box<[u32]>) -> Set {
        if let [one] = *members {
            return Set(one);
        }
        if let Some(number) = self.numbers.get(&members) {
            return Set(Set::MANY | number);
        }
        let number = self.many.len() as u32;
        self.many.push(members.clone());
        self.numbers.insert(members, number);
        Set(Set::MANY | number)
    }

    pub fn len(&self) -> usize {
        self.many.len()
    }

    /// Forgets every set that is not among those given, and gives these new numbers.
    pub fn retain<'a>(&mut self, used: impl Iterator<Item = &'a mut Set>) {
        let old = mem::take(self);
        for set in used {
            if let Some(number) = set.many() {
                *set = self.number(old.many[number].clone());
            }
        }
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        let members: usize = self.many.iter().map(|members| size_of_val(&**members)).sum();
        let entry = size_of::<Box<[u32]>>();
        2 * members
            + self.many.capacity() * entry
            + self.numbers.capacity() * (entry + size_of::<u32>() + 1)
            + self.recent.capacity() * size_of::<Recent>()
    }
}
