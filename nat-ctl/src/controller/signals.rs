//! Signals that mean something to the controller.
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// The signals, taken over from the system.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// End; the signal's name.
    Stop(&'static str),
    /// Read the configuration again.
    Reload,
}

impl Signals {
    /// Takes the signals over, so that from here on none ends the process half-way.
    pub fn take() -> Result<Self, Failure> {
        let take = |kind| {
            signal(kind).map_err(|error| {
                Failure::failed(format!("cannot wait for signals\n  caused by: {error}"))
            })
        };
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    /// The next order.
    pub async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Order::Stop("SIGINT"),
            _ = self.hangup.recv() => Order::Reload,
        }
    }
}
