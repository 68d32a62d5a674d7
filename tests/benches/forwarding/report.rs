//! The table that people read, and the JSON that programs do.
use serde_json::{Value, json};

use crate::{
    measure::{Figures, spread},
    plot::Group,
    scenario::Scenario,
    system::System,
};

/// Whatever stands in the place of a ratio: elapsed time where CPUs work side by side.
fn values<'a>(scenario: &Scenario, figures: &'a Figures) -> &'a [f64] {
    if scenario.cpus_are_compared() { &figures.elapsed } else { &figures.net }
}

/// The median of a system's figures in a scenario.
fn median_of(scenario: &Scenario, all: &[Figures], system: System) -> Option<f64> {
    let figures = all.iter().find(|figures| figures.system == system)?;
    Some(spread(values(scenario, figures))[1])
}

/// Prints the table of a scenario.
pub fn print(scenario: &Scenario, all: &[Figures]) {
    println!("\n{}: ns for each {}", scenario.name, scenario.unit);
    println!(
        "{:22} {:>9} {:>19} {:>9} {:>9} {:>9} {:>7}",
        "", "median", "least to greatest", "x floor", "x nft", "lost", "wrong"
    );
    let floor = median_of(scenario, all, System::Floor);
    let masquerade = median_of(scenario, all, System::Masquerade);
    for figures in all {
        let own = figures.system == System::Generator;
        // The generator's own cost is what the others are without.
        let [least, median, greatest] =
            spread(if own { &figures.gross } else { values(scenario, figures) });
        let ratio = |other: Option<f64>| match other {
            Some(other) if !own => format!("{:.2}", median / other),
            _ => String::new(),
        };
        println!(
            "{:22} {median:>9.0} {:>19} {:>9} {:>9} {:>9} {:>7}",
            figures.system.name(),
            format!("{least:.0} to {greatest:.0}"),
            ratio(floor),
            ratio(masquerade),
            figures.lost,
            figures.wrong,
        );
    }
}

/// A scenario as it is drawn: medians, the generator left out.
pub fn group(scenario: &Scenario, all: &[Figures]) -> Group {
    let others = all.iter().filter(|figures| figures.system != System::Generator);
    let median = |figures: &Figures| {
        (figures.system.name().to_owned(), spread(values(scenario, figures))[1])
    };
    Group { name: scenario.name.to_owned(), systems: others.map(median).collect() }
}

/// A scenario's figures, as they are printed and round by round.
pub fn json(scenario: &Scenario, all: &[Figures]) -> Value {
    let systems: Vec<Value> = all
        .iter()
        .map(|figures| {
            json!({
                "system": figures.system.name(),
                "gross_ns": figures.gross,
                "net_ns": figures.net,
                "elapsed_ns": figures.elapsed,
                "lost": figures.lost,
                "wrong": figures.wrong,
                "sampled": figures.sampled,
            })
        })
        .collect();
    json!({
        "scenario": scenario.name,
        "unit": scenario.unit,
        "flows": scenario.flows,
        "cpus": scenario.cpus,
        "systems": systems,
    })
}
