//! Resting tuples ↔ maps.
use std::collections::BTreeSet;

use aya::maps::MapError;
use nat_common::{
    cooldown::{Cooldown, Rested, Resting, Scope},
    flow::FlowKey,
    settings::{Settings, slot},
};

use super::{maps::Maps, table};
use crate::{cooling::Widening, datapath::Error};

impl Maps {
    /// The settings in force; none before the first.
    pub fn settings_in_force(&self) -> Result<Option<Settings>, Error> {
        match table::generation(self)? {
            0 => Ok(None),
            generation => {
                let settings = self.settings.get(&slot(generation), 0);
                settings
                    .map(Some)
                    .map_err(|error| Error::kernel("cannot read the settings")(error.into()))
            }
        }
    }

    /// Calls `visit` with every tuple that rests, or whose rest nobody has ended yet.
    pub fn each_resting(&self, visit: impl FnMut(&FlowKey, &Resting)) -> Result<(), Error> {
        self.cooling
            .for_each(visit)
            .map_err(|error| Error::kernel("cannot read the resting tuples")(error.into()))
    }

    /// Lets tuples rest, in this order; what rests already does so as given here.
    pub fn rest(&mut self, tuples: &[(FlowKey, Resting)]) -> Result<Lacking, Error> {
        let failed = |error: MapError| Error::kernel("cannot let a tuple rest")(error.into());
        // First, because the data path does not look for what is not noted here.
        let protocols: BTreeSet<u8> = tuples.iter().map(|(tuple, _)| tuple.protocol).collect();
        for protocol in protocols {
            self.cooled.set(protocol.into(), 1, 0).map_err(failed)?;
        }
        for (index, (tuple, resting)) in tuples.iter().enumerate() {
            // An element of the queue without its tuple is a rest and does no harm; a tuple without
            // its element would never be forgotten.
            let element = Rested { tuple: *tuple, closed_ns: resting.closed_ns };
            let written =
                self.cooling_order.push(element, 0).and_then(|()| self.cooling.set(tuple, resting));
            match written {
                Ok(()) => {}
                Err(error) if is_full(&error) => return Ok(Lacking(tuples.len() - index)),
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(Lacking(0))
    }

    /// Where ports rest toward everybody, lets those do so whose tuples rest already.
    pub fn widen(&mut self, settings: &Cooldown) -> Result<Lacking, Error> {
        if settings.enabled == 0 || settings.scope != Scope::Port as u8 {
            return Ok(Lacking(0));
        }
        let mut widening = Widening::new(settings);
        self.each_resting(|tuple, resting| widening.see(tuple, resting))?;
        self.rest(&widening.finish())
    }
}

/// For how many tuples there was no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lacking(pub usize);

fn is_full(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error)
        if error.io_error.raw_os_error() == Some(libc::E2BIG))
}
