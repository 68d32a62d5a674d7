//! A ring by which the data path hands records to the controller.
use std::io;

use aya::{
    Ebpf,
    maps::{MapData, RingBuf, ring_buf::RingBufItem},
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::datapath::Error;

/// See the module.
pub struct Ring(AsyncFd<RingBuf<MapData>>);

impl Ring {
    /// Takes a ring out of the object, so at most once. To be called within a tokio runtime. `what` is
    /// what cannot be done without it.
    pub fn take(ebpf: &mut Ebpf, name: &str, what: &str) -> Result<Self, Error> {
        let map = ebpf.take_map(name).ok_or(Error::NoObject)?;
        let ring = RingBuf::try_from(map)
            .map_err(|error| Error::kernel(format!("{what}: its ring"))(error.into()))?;
        // SAFETY: the ring owns its descriptor and keeps it open for as long as it lives.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let failed = |error: io::Error| Error::kernel(format!("{what}: its ring"))(error.into());
        ring.map(Self).map_err(|error| failed(error.into_parts().1))
    }

    /// Waits until there may be records. All of them are then to be taken: what comes later makes it
    /// ready anew.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.0.readable_mut().await?.clear_ready();
        Ok(())
    }

    /// The next record, if there is one.
    pub fn next(&mut self) -> Option<RingBufItem<'_>> {
        self.0.get_mut().next()
    }
}
