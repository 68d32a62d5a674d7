//! Answers by number.
use std::collections::HashMap;

use super::Choice;

/// The number of an answer in [`Choices`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Id(u32);

impl Id {
    /// What holds where no prefix matches.
    pub const NO_ROUTE: Self = Self(0);

    pub const fn number(self) -> u32 {
        self.0
    }

    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }
}

/// Every answer that was given so far. None is forgotten: there are as many as the interface had
/// addresses.
pub struct Choices {
    list: Vec<Choice>,
    ids: HashMap<Choice, Id>,
}

impl Default for Choices {
    fn default() -> Self {
        let mut choices = Self { list: Vec::new(), ids: HashMap::new() };
        choices.id(Choice::NoRoute);
        choices
    }
}

impl Choices {
    pub fn id(&mut self, choice: Choice) -> Id {
        let next = Id(self.list.len() as u32);
        let id = *self.ids.entry(choice).or_insert(next);
        if id == next {
            self.list.push(choice);
        }
        id
    }

    pub fn get(&self, id: Id) -> Choice {
        self.list[id.0 as usize]
    }
}
