//! The controller's life between `ready` and the end: it sweeps, and waits to be told to stop.
use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{
    clock,
    datapath::{Datapath, Error},
    exit::Failure,
};

/// How often ended sessions are removed. Nothing waits for it: the data path itself takes an ended
/// session for absent, and removes it where it is in the way.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Signals that mean something to the controller.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
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

    /// Waits until the process is told to stop; returns the signal's name.
    async fn stop(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => tracing::warn!(
                    "SIGHUP: this version does not read the configuration again while it runs"
                ),
            }
        }
    }
}

/// Keeps the data path until a signal says stop, and leaves it in place. `ready` is called once
/// everything is in force.
pub async fn control(
    datapath: &mut impl Datapath,
    signals: &mut Signals,
    ready: impl FnOnce(),
) -> Result<(), Error> {
    let pid = std::process::id();
    datapath.record_controller(pid, clock::now_ns())?;
    ready();
    let mut sweeps = interval(SWEEP_INTERVAL);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped_by = loop {
        tokio::select! {
            name = signals.stop() => break name,
            _ = sweeps.tick() => {
                let swept = datapath.sweep()?;
                if swept > 0 {
                    tracing::debug!(swept, "removed ended sessions");
                }
                datapath.record_controller(pid, clock::now_ns())?;
            }
        }
    };
    tracing::info!("{stopped_by}: leaving the data path in place; `nat-ctl detach` removes it");
    datapath.record_controller(0, clock::now_ns())
}

#[cfg(test)]
mod tests {
    use nat_common::{
        addr::{Ipv4, Port},
        flow::{FlowKey, Protocol},
        session::Session,
        settings::Lifetime,
    };
    use nix::sys::signal::{self, raise};

    use super::*;
    use crate::datapath::{SessionPair, fake::Fake};

    fn session(port: u16, timeout_ns: u64) -> SessionPair {
        let inside = (Ipv4::new([10, 0, 0, 5]), Port::new(port));
        let remote = (Ipv4::new([198, 51, 100, 9]), Port::new(53));
        let key = FlowKey::new(Protocol::Udp, inside, remote);
        let external = (Ipv4::new([203, 0, 113, 7]), Port::new(port));
        let outbound = Session::new(Protocol::Udp, &key, external, 0, Lifetime::Udp, 0, timeout_ns);
        SessionPair { key, outbound, inbound: None }
    }

    /// The whole life: says when it is ready, sweeps, ignores SIGHUP, ends on SIGTERM and signs
    /// off.
    #[tokio::test]
    async fn sweeps_until_it_is_told_to_stop() {
        let mut fake = Fake {
            sessions: vec![session(1, 1), session(2, 1_000_000_000_000)],
            now_ns: 60_000_000_000,
            ..Fake::default()
        };
        let mut signals = Signals::take().unwrap();
        raise(signal::Signal::SIGHUP).unwrap();
        let mut was_ready = false;
        control(&mut fake, &mut signals, || {
            was_ready = true;
            // Its turn comes after the first sweep: a tick that is due wins no earlier than a
            // signal, and the loop ends only on the latter.
            tokio::spawn(async { raise(signal::Signal::SIGTERM).unwrap() });
        })
        .await
        .unwrap();
        assert!(was_ready);
        assert_eq!(fake.instance.controller_pid, 0);
        assert_ne!(fake.instance.heartbeat_ns, 0);
    }

    #[test]
    fn the_fake_sweeps_what_has_ended() {
        let mut fake = Fake {
            sessions: vec![session(1, 1), session(2, 1_000_000_000_000)],
            now_ns: 60_000_000_000,
            ..Fake::default()
        };
        assert_eq!(fake.sweep().unwrap(), 1);
        assert_eq!(fake.sessions[0].key.local_port, Port::new(2));
    }
}
