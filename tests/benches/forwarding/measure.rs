//! Rounds of a scenario, in each of which every system has its turn.
use crate::{
    layout::{CHUNK, TCP},
    rig::{Load, Outturn, Rig},
    scenario::{Before, Scenario},
    system::System,
};

/// What a system cost in a scenario.
#[derive(Clone, Debug)]
pub struct Figures {
    pub system: System,
    /// Nanoseconds of CPU time for each unit, by round.
    pub gross: Vec<f64>,
    /// The same without the generator's.
    pub net: Vec<f64>,
    /// Nanoseconds of elapsed time for each unit.
    pub elapsed: Vec<f64>,
    /// Of all rounds.
    pub lost: u64,
    pub wrong: u64,
    pub sampled: u64,
}

/// The rule that nat-ctl has in force.
pub fn rules(mapping: &str) -> String {
    format!(
        "[[rules]]\nname = \"bench\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"external\"]\n\
         action = \"snat\"\nsource = {{ addresses = [\"203.0.113.1\"] }}\nmapping = \"{mapping}\"\n"
    )
}

/// Runs a scenario so many times with each of its systems that have `name` in theirs, in turn, and with
/// the generator.
pub fn measure(scenario: &Scenario, name: &str, rounds: usize) -> Vec<Figures> {
    let wanted = |it: &System| *it == System::Generator || it.name().contains(name);
    let systems: Vec<System> = scenario.systems.iter().copied().filter(wanted).collect();
    let new = |system: &System| {
        Rig::new(*system, scenario.reflects, scenario.cpus, &rules(scenario.mapping))
    };
    let mut rigs: Vec<Rig> = match scenario.before {
        Before::Same => systems.iter().map(new).collect(),
        Before::Others(_) => Vec::new(),
    };
    for rig in &mut rigs {
        rig.run(load(scenario, 0, scenario.flows.max(scenario.units / 4)), scenario.cpus);
    }
    let mut all: Vec<Figures> = systems.into_iter().map(Figures::new).collect();
    for _ in 0..rounds {
        for (index, figures) in all.iter_mut().enumerate() {
            let outturn = match rigs.get_mut(index) {
                Some(rig) => rig.run(load(scenario, 0, scenario.units), scenario.cpus),
                None => fresh(new(&figures.system), scenario),
            };
            figures.add(scenario, &outturn);
        }
    }
    let generator = all.first().map(|figures| figures.gross.clone()).unwrap_or_default();
    for figures in &mut all {
        let pairs = figures.gross.iter().zip(&generator);
        figures.net = pairs.map(|(gross, generator)| gross - generator).collect();
    }
    all
}

/// New flows, in a laboratory of their own with those that are to be there before.
fn fresh(mut rig: Rig, scenario: &Scenario) -> Outturn {
    let Before::Others(before) = scenario.before else { unreachable!("or the rigs are kept") };
    if before > 0 {
        let filling = load(scenario, 0, before);
        rig.run(Load { flows: before, ..filling }, scenario.cpus);
    }
    rig.run(load(scenario, before, scenario.units), scenario.cpus)
}

fn load(scenario: &Scenario, first: u32, units: u32) -> Load {
    // Connections go on in chunks.
    let units = if scenario.kind == TCP { units.next_multiple_of(CHUNK) } else { units };
    Load {
        kind: scenario.kind,
        flows: if scenario.kind == TCP { units } else { scenario.flows },
        first,
        packets: units * scenario.packets,
        one_server: scenario.one_server,
    }
}

impl Figures {
    fn new(system: System) -> Self {
        let none = Vec::new;
        Self { system, gross: none(), net: none(), elapsed: none(), lost: 0, wrong: 0, sampled: 0 }
    }

    fn add(&mut self, scenario: &Scenario, outturn: &Outturn) {
        let units = (outturn.delivered as f64 / f64::from(scenario.packets)).max(1.0);
        self.gross.push(outturn.busy.as_nanos() as f64 / units);
        self.elapsed.push(outturn.elapsed.as_nanos() as f64 / units);
        let due = match scenario.kind {
            _ if !scenario.reflects => 0,
            // Every packet but the ACK.
            TCP => outturn.delivered * 2 / 3,
            _ => outturn.delivered,
        };
        self.lost += outturn.sent.saturating_sub(outturn.delivered);
        self.lost += due.saturating_sub(outturn.answered);
        self.wrong += outturn.wrong;
        self.sampled += outturn.sampled;
    }
}

/// Least, median and greatest.
pub fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    [at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1))]
}
