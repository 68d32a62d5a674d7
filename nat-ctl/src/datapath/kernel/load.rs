//! The object and its programs.
use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError},
};

use nat_common::hint::{CHUNKS, WAYS};

use super::{
    maps::{COOLING_MAPS, PINNED_MAPS, SESSION_MAPS, Sizes},
    pins::Pins,
};
use crate::datapath::{
    Error,
    error::{AnyError, chain},
};

/// The eBPF object of this build; empty if it was built without an eBPF compiler.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/nat.o"));

/// How much the data path logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// Nothing; the verifier removes the code.
    Off,
    /// Every packet without a session.
    Trace,
}

/// A loader that makes the instance's pinned maps, or uses those that are there.
pub fn loader<'a>(pins: &Pins, sizes: Sizes, log: LogLevel) -> EbpfLoader<'a> {
    static OFF: u8 = 0;
    static TRACE: u8 = aya_log::Level::Trace as u8;
    let mut loader = EbpfLoader::new();
    let level = match log {
        LogLevel::Off => &OFF,
        LogLevel::Trace => &TRACE,
    };
    loader.override_global(aya_log::LEVEL, level, true);
    for name in SESSION_MAPS {
        loader.map_max_entries(name, sizes.sessions);
    }
    for name in COOLING_MAPS {
        loader.map_max_entries(name, sizes.cooling);
    }
    let sets = sizes.hint_sets();
    loader.map_max_entries("HINT_SETS", sets);
    loader.map_max_entries("HINT_PLACES", sets * WAYS);
    loader.map_max_entries("HINT_CHUNKS", sets * WAYS * CHUNKS);
    for name in PINNED_MAPS {
        loader.map_pin_path(name, pins.map(name));
    }
    loader
}

/// Loads the object and has the kernel verify every program. Attaches nothing.
pub fn load(loader: &mut EbpfLoader<'_>) -> Result<Ebpf, Error> {
    if OBJECT.is_empty() {
        return Err(Error::NoObject);
    }
    let refused = |error: aya::EbpfError| {
        Error::kernel("the kernel refused the data path's maps")(AnyError::from(error))
    };
    let mut ebpf = loader.load(OBJECT).map_err(refused)?;
    for (name, program) in ebpf.programs_mut() {
        let loaded = match program {
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            _ => Ok(()),
        };
        loaded.map_err(|error| Error::Load { program: name.to_owned(), cause: brief(&error) })?;
    }
    Ok(ebpf)
}

/// An error with no more of the verifier's log than says what was wrong: its end.
fn brief(error: &ProgramError) -> String {
    let text = chain(error);
    let lines: Vec<_> = text.lines().collect();
    match lines.len().checked_sub(VERIFIER_LINES_MAX) {
        Some(skipped) if skipped > 1 => {
            let end = lines.get(skipped..).unwrap_or_default().join("\n");
            let first = lines.first().copied().unwrap_or_default();
            format!("{first}\n[{} lines left out]\n{end}", skipped - 1)
        }
        _ => text,
    }
}

const VERIFIER_LINES_MAX: usize = 40;
