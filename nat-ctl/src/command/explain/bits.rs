//! Addresses under each other in binary, as the article prints them, where shared bits were counted.
use std::net::IpAddr;

use crate::{
    output::{Style, Tone},
    source::{Eliminated, Explanation, Judged, Model, Rule},
};

/// A table for each of rules 8a and 8 that was asked.
pub fn tables(told: &Explanation, style: Style) -> String {
    let mut text = String::new();
    let capped = told.options.caps_common_prefix(told.model, told.destination);
    let limit = if capped { ", no further than the subnet's prefix" } else { "" };
    let next_hop = told.next_hop.filter(|_| told.model == Model::Strong);
    if let Some(next_hop) = next_hop {
        let own = next_hop == told.destination;
        let what = if own { "destination, which is the next hop" } else { "next hop" };
        let bits = |judged: &Judged| judged.common_prefix_next_hop;
        let judged = reached(told, Rule::NextHop);
        text.push_str(&table(&format!("{what}{limit}"), next_hop, &judged, bits, style));
    }
    if next_hop != Some(told.destination) {
        let bits = |judged: &Judged| judged.common_prefix_destination;
        let judged = reached(told, Rule::Longest);
        text.push_str(&table(
            &format!("destination{limit}"),
            told.destination,
            &judged,
            bits,
            style,
        ));
    }
    text
}

/// The candidates that were still there when `rule` was asked; none if it was not.
fn reached(told: &Explanation, rule: Rule) -> Vec<&Judged> {
    let fell = |by| told.candidates.iter().any(|one| one.eliminated_by == Some(by));
    let counted = |by: &Rule| *by >= rule && *by <= Rule::Tie;
    let rules = [Rule::NextHop, Rule::Longest, Rule::Tie];
    if !rules.into_iter().filter(counted).any(|by| fell(Eliminated::Rule(by))) {
        return Vec::new();
    }
    let there = |judged: &&Judged| match judged.eliminated_by {
        None => true,
        Some(Eliminated::Rule(by)) => counted(&by),
        Some(Eliminated::KeptOut(_)) => false,
    };
    told.candidates.iter().filter(there).collect()
}

fn table(
    what: &str,
    other: IpAddr,
    judged: &[&Judged],
    bits: impl Fn(&Judged) -> u8,
    style: Style,
) -> String {
    if judged.is_empty() {
        return String::new();
    }
    let names = judged.iter().map(|judged| judged.address).chain([other]);
    let width = names.map(|ip| ip.to_string().len()).max().unwrap_or(0);
    let heading = format!("Bits shared with the {what}");
    let mut text = format!("\n{}\n", style.paint(Tone::Heading, &heading));
    text.push_str(&format!("{:<width$}  {}\n", other.to_string(), digits(other)));
    for judged in judged {
        let (ip, bits) = (judged.address, bits(judged));
        let digits = painted(ip, bits, style);
        text.push_str(&format!("{:<width$}  {digits}  {bits}\n", ip.to_string()));
    }
    text
}

/// An address in binary; IPv6, which would not fit into a line, in full hexadecimal.
fn digits(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.octets().map(|octet| format!("{octet:08b}")).join(" "),
        IpAddr::V6(ip) => ip.segments().map(|group| format!("{group:04x}")).join(":"),
    }
}

/// [`digits`], with those that are shared apart from the rest.
fn painted(ip: IpAddr, bits: u8, style: Style) -> String {
    let digits = digits(ip);
    let (per_group, shared) = if ip.is_ipv4() { (8, bits) } else { (4, bits / 4) };
    let shared = usize::from(shared);
    // A separator after each full group.
    let split = (shared + shared / per_group).min(digits.len());
    let (shared, rest) = digits.split_at(split);
    style.paint(Tone::Good, shared) + &style.paint(Tone::Dim, rest)
}
