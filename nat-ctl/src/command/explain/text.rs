//! The answer for people: the way, the bits, each rule in turn that removed somebody, the winner.
use std::net::IpAddr;

use clap::ValueEnum as _;

use super::{Answer, Behaviour, Fate, Matched, behaviour, bits};
use crate::{
    output::{Style, Tone, sanitise},
    source::{Eliminated, Explanation, Judged, Model, Route},
};

/// The whole answer.
pub fn render(answer: &Answer, style: Style) -> String {
    let mut text = fate(answer, style);
    for warning in &answer.warnings {
        let word = style.paint(Tone::Warning, "warning");
        text.push_str(&format!("\n{word}: {}\n", sanitise(warning)));
    }
    text
}

fn fate(answer: &Answer, style: Style) -> String {
    let Answer { destination, rule, fate, .. } = answer;
    match fate {
        Fate::Chosen(told) => chosen(told, rule.as_ref(), style),
        Fate::Routed(Some((dev, next_hop))) => {
            let text =
                format!("packets to {destination} leave as they are, by {}\n\n", sanitise(dev));
            text + &by(rule.as_ref()) + &hop(*next_hop, *destination)
        }
        Fate::Routed(None) => {
            let error = style.paint(Tone::Bad, "no-route");
            format!("{destination} is not reached: {error}\n\n{}", by(rule.as_ref()))
        }
        Fate::Dropped => format!("packets to {destination} are dropped\n\n{}", by(rule.as_ref())),
    }
}

fn chosen(told: &Explanation, rule: Option<&Matched>, style: Style) -> String {
    let mut text = headline(told, style);
    text.push_str(&by(rule));
    text.push_str(&ports(behaviour(rule)));
    text.push_str(&line("model", &about(told.model)));
    if let (Some(route), Some(next_hop)) = (&told.route, told.next_hop) {
        text.push_str(&line("route", &way(route)));
        text.push_str(&hop(next_hop, told.destination));
    }
    text.push_str(&bits::tables(told, style));
    text.push_str(&fates(told, style));
    text
}

fn headline(told: &Explanation, style: Style) -> String {
    let destination = told.destination;
    let outcome = match told.outcome {
        Ok((source, _)) => {
            format!("is reached from {}", style.paint(Tone::Good, &source.to_string()))
        }
        Err(error) => format!("is not reached: {}", style.paint(Tone::Bad, error.as_str())),
    };
    format!("{destination} {outcome}\n\n{}", line("why", &told.because()))
}

/// What a line is about, and that.
fn line(about: &str, text: &str) -> String {
    format!("{about:<9} {}\n", sanitise(text))
}

fn by(rule: Option<&Matched>) -> String {
    let text = |rule: &Matched| {
        let name = rule.name.as_deref().unwrap_or("none covers it");
        line("rule", &format!("{name} ({})", rule.action.as_str()))
    };
    rule.map(text).unwrap_or_default()
}

/// How ports are given out, and to whom they are open: protocols of which the same holds together.
fn ports(behaviour: &[Behaviour]) -> String {
    let same = |one: &&Behaviour, other: &Behaviour| {
        (one.mapping, one.filtering) == (other.mapping, other.filtering)
    };
    let mut text = String::new();
    let mut rest: Vec<&Behaviour> = behaviour.iter().collect();
    while let Some(first) = rest.first().copied() {
        let (alike, others): (Vec<_>, _) = rest.iter().partition(|one| same(one, first));
        let names: Vec<&str> = alike.iter().map(|one: &&Behaviour| one.proto.as_str()).collect();
        let Behaviour { mapping, filtering, .. } = first;
        let about = format!("{}: mapping {mapping}, filtering {filtering}", names.join(", "));
        text.push_str(&line("ports", &about));
        rest = others;
    }
    text
}

/// A model's name and what it is.
fn about(model: Model) -> String {
    let value = model.to_possible_value();
    let help = value.and_then(|value| value.get_help().map(ToString::to_string));
    format!("{model} ({})", help.unwrap_or_default())
}

/// A route as `ip route` writes it.
fn way(route: &Route) -> String {
    let mut text = route.dst.to_string();
    if let Some(via) = route.via {
        text.push_str(&format!(" via {via}"));
    }
    text.push_str(&format!(" dev {}", route.dev));
    if route.metric > 0 {
        text.push_str(&format!(" metric {}", route.metric));
    }
    if let Some(src) = route.src {
        text.push_str(&format!(" src {src}"));
    }
    text
}

fn hop(next_hop: IpAddr, destination: IpAddr) -> String {
    let what = if next_hop == destination { "the destination itself" } else { "the gateway" };
    line("next hop", &format!("{next_hop}, {what}"))
}

/// What became of each candidate, in the order in which they went; nothing where there was only
/// one.
fn fates(told: &Explanation, style: Style) -> String {
    if told.candidates.len() < 2 && told.source().is_some() {
        return String::new();
    }
    let mut judged: Vec<&Judged> = told.candidates.iter().collect();
    // The winner, who has fallen by nothing, last.
    judged.sort_by_key(|judged| (judged.eliminated_by.is_none(), judged.eliminated_by));
    let word = |judged: &Judged| match judged.eliminated_by {
        Some(by) => by.as_str(),
        None if told.source().is_some() => "wins",
        None => "-",
    };
    let width = judged.iter().map(|judged| word(judged).len()).max().unwrap_or(0);
    let mut text = String::new();
    for judged in judged {
        let Judged { address, reason, eliminated_by, .. } = judged;
        let line = format!("{:<width$}  {address} {}", word(judged), sanitise(reason));
        let tone = match eliminated_by {
            Some(Eliminated::KeptOut(_)) => Some(Tone::Dim),
            None if told.source().is_some() => Some(Tone::Good),
            _ => None,
        };
        let line = line.trim_end();
        text.push_str(&tone.map_or_else(|| line.to_owned(), |tone| style.paint(tone, line)));
        text.push('\n');
    }
    if text.is_empty() {
        return text;
    }
    let heading = if told.source().is_some() { "Rules in turn" } else { "Addresses" };
    format!("\n{}\n{text}", style.paint(Tone::Heading, heading))
}
