//! The object and its programs.
use aya::{Ebpf, EbpfLoader, programs::Program};

use super::{
    maps::{PINNED_MAPS, SESSION_MAPS},
    pins::Pins,
};
use crate::datapath::{
    Error,
    error::{AnyError, chain},
};

/// The eBPF object of this build; empty if it was built without an eBPF compiler.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/nat.o"));

/// Loads the object: makes the instance's pinned maps, or uses those that are there, and has the
/// kernel verify every program. Attaches nothing.
pub fn load(pins: &Pins, max_sessions: u32) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    for name in SESSION_MAPS {
        loader.map_max_entries(name, max_sessions);
    }
    for name in PINNED_MAPS {
        loader.map_pin_path(name, pins.map(name));
    }
    load_with(&mut loader)
}

/// [`load`] with what the caller has set on the loader.
pub fn load_with(loader: &mut EbpfLoader<'_>) -> Result<Ebpf, Error> {
    if OBJECT.is_empty() {
        return Err(Error::NoObject);
    }
    let loading = |error: aya::EbpfError| {
        Error::kernel("the kernel refused the data path's maps")(AnyError::from(error))
    };
    let mut ebpf = loader.load(OBJECT).map_err(loading)?;
    for (name, program) in ebpf.programs_mut() {
        let loaded = match program {
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            _ => Ok(()),
        };
        loaded.map_err(|error| Error::Load { program: name.to_owned(), cause: chain(&error) })?;
    }
    Ok(ebpf)
}
