//! The tables that people read, and the JSON that programs do.
use serde_json::{Value, json};

use super::{Figures, Set};
use crate::{measure::spread, system::System};

/// What is printed, in this order: its title, its digits after the point, and its figures.
type Column = (&'static str, usize, fn(&Figures) -> Vec<f64>);

const COLUMNS: [Column; 4] = [
    ("TCP throughput of one stream, Mbit/s", 0, |figures| figures.throughput.clone()),
    ("request latency p50, us", 2, |figures| {
        figures.latency.iter().map(|latency| latency.median).collect()
    }),
    ("request latency p99, us", 2, |figures| {
        figures.latency.iter().map(|latency| latency.p99).collect()
    }),
    ("short connections in a second", 0, |figures| figures.connections.clone()),
];

/// Prints the tables of a set.
pub fn print(set: &Set, all: &[Figures]) {
    for (index, (title, digits, values)) in COLUMNS.iter().enumerate() {
        println!("\n{}: {title}", set.name);
        println!(
            "{:22} {:>9} {:>19} {:>9} {:>9} {:>9}",
            "", "median", "least to greatest", "x fwd", "x nft", "failed"
        );
        let median_of = |system: System| {
            let figures = all.iter().find(|figures| figures.system == system)?;
            Some(spread(&values(figures))[1])
        };
        let (forwarding, masquerade) =
            (median_of(System::Forwarding), median_of(System::Masquerade));
        for figures in all {
            let [least, median, greatest] = spread(&values(figures));
            let ratio = |other: Option<f64>| {
                other.map_or(String::new(), |other| format!("{:.3}", median / other))
            };
            // Only connections are counted one by one: the others succeed or end the benchmark.
            let failed = if index == 3 { figures.failed.to_string() } else { String::new() };
            println!(
                "{:22} {median:>9.digits$} {:>19} {:>9} {:>9} {failed:>9}",
                figures.system.name(),
                format!("{least:.digits$} to {greatest:.digits$}"),
                ratio(forwarding),
                ratio(masquerade),
            );
        }
    }
}

/// A set's figures, round by round.
pub fn json(set: &Set, all: &[Figures]) -> Value {
    let systems: Vec<Value> = all
        .iter()
        .map(|figures| {
            let [throughput, median, p99, connections] = COLUMNS.map(|column| column.2(figures));
            json!({
                "system": figures.system.name(),
                "throughput_mbit_s": throughput,
                "latency_p50_us": median,
                "latency_p99_us": p99,
                "connections_per_s": connections,
                "failed": figures.failed,
            })
        })
        .collect();
    json!({ "scenario": set.name, "systems": systems })
}
