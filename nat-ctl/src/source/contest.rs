//! The contest: rule after rule removes candidates until one is left.
use super::{
    Error, TieBreak,
    candidates::Candidate,
    rules::{Rule, Terms, loses},
};

/// The winner's index and the rule that left it alone.
///
/// `removed` has a place for each candidate, and None in it at the start; each loser's rule is put
/// there.
pub(super) fn contest(
    rules: &[Rule],
    terms: &Terms,
    tie_break: TieBreak,
    candidates: &[Candidate],
    removed: &mut [Option<Rule>],
) -> Result<(usize, Rule), Error> {
    let mut left = candidates.len();
    let mut decided = Rule::OnlyCandidate;
    for &rule in rules {
        if left <= 1 {
            break;
        }
        let gone = remove(rule, terms, candidates, removed);
        if gone > 0 {
            left -= gone;
            decided = rule;
        }
    }
    if left > 1 {
        decided = Rule::Tie;
    }
    let winner = preferred(tie_break, candidates, removed).ok_or(Error::NoSource)?;
    for (index, why) in removed.iter_mut().enumerate() {
        if index != winner {
            why.get_or_insert(Rule::Tie);
        }
    }
    Ok((winner, decided))
}

/// Applies one rule, and says how many it removed.
fn remove(
    rule: Rule,
    terms: &Terms,
    candidates: &[Candidate],
    removed: &mut [Option<Rule>],
) -> usize {
    let there = candidates.iter().zip(&*removed).filter(|(_, why)| why.is_none());
    let best = there.map(|(candidate, _)| terms.merit(rule, candidate)).max().unwrap_or(0);
    let mut gone = 0;
    for (candidate, why) in candidates.iter().zip(removed) {
        if why.is_none() && loses(rule, terms.merit(rule, candidate), best) {
            *why = Some(rule);
            gone += 1;
        }
    }
    gone
}

/// The one of those left that the tie-break takes.
fn preferred(
    tie_break: TieBreak,
    candidates: &[Candidate],
    removed: &[Option<Rule>],
) -> Option<usize> {
    let mut left = candidates
        .iter()
        .enumerate()
        .filter(|(index, _)| removed.get(*index).is_some_and(Option::is_none));
    let winner = match tie_break {
        TieBreak::First => left.next(),
        TieBreak::Lowest => left.min_by_key(|(_, candidate)| candidate.ip),
    };
    winner.map(|(index, _)| index)
}
