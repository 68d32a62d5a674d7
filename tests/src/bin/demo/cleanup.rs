//! Leaves nothing behind, whether the demo ends, fails or is interrupted.
//!
//! Namespaces, links and the bpffs disappear with the process and its children are killed with it,
//! in any case. What remains to be done is the orderly part: to let nat-ctl end by itself, so that
//! it removes its control socket, and to remove the folder with the configuration.

use std::{
    os::fd::AsFd as _,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nat_tests::lab::{Controller, NatCtl, wait};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::SignalFd,
};
use tempfile::TempDir;

/// Idle time between two looks at what poll() reports anyway.
const POLL_LIMIT: Duration = Duration::from_secs(60);

/// What has to be undone if the demo ends here and now.
#[derive(Default)]
pub struct Cleanup(Mutex<Things>);

#[derive(Default)]
struct Things {
    controller: Option<Controller>,
    attached: Option<NatCtl>,
    folder: Option<TempDir>,
}

impl Cleanup {
    fn things(&self) -> MutexGuard<'_, Things> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A folder for the configuration and the captures of one run.
    pub fn folder(&self) -> impl AsRef<Path> + use<> {
        let folder = TempDir::with_prefix("nat-ctl-demo-").expect("create a temporary folder");
        let path = folder.path().to_owned();
        self.things().folder = Some(folder);
        path
    }

    /// Takes care of a running controller.
    pub fn started(&self, nat_ctl: &NatCtl, controller: Controller) {
        let mut things = self.things();
        things.attached = Some(nat_ctl.clone());
        things.controller = Some(controller);
    }

    /// What the controller has logged.
    pub fn log(&self) -> String {
        self.things().controller.as_ref().map(Controller::log).unwrap_or_default()
    }

    /// Stops the controller, removes the data path, then the folder. What the removal printed, if
    /// there was anything to remove and it failed.
    pub fn undo(&self) -> Result<(), String> {
        let (controller, attached, folder) = {
            let mut things = self.things();
            (things.controller.take(), things.attached.take(), things.folder.take())
        };
        drop(controller);
        let detached = attached.map(|nat_ctl| nat_ctl.run(&["detach"]));
        drop(folder);
        match detached {
            Some(detached) if !detached.status.success() => Err(detached.to_string()),
            _ => Ok(()),
        }
    }
}

/// Runs the demo; undoes everything at its end, also when it panics, and on SIGINT and SIGTERM,
/// which end the process.
pub fn guard(demo: impl FnOnce(&Cleanup) -> bool + Send + 'static) -> bool {
    // Blocked here, before there is any other thread, and thereby in all threads.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block().expect("block SIGINT and SIGTERM");
    let arrived = SignalFd::new(&signals).expect("create a signalfd");

    let cleanup = Arc::new(Cleanup::default());
    let interrupted = Arc::new(AtomicBool::new(false));
    let report = panic::take_hook();
    panic::set_hook(Box::new({
        let interrupted = Arc::clone(&interrupted);
        move |info| {
            // Steps that fail because everything is being taken away are not worth a message.
            if !interrupted.load(Ordering::Relaxed) {
                report(info);
            }
        }
    }));

    let (done, finished) = std::io::pipe().expect("create a pipe");
    let thread = thread::Builder::new().name("demo".to_owned());
    let thread = thread.spawn({
        let (cleanup, interrupted) = (Arc::clone(&cleanup), Arc::clone(&interrupted));
        move || {
            // Closed at the end, whatever it is.
            let _finished = finished;
            let held = panic::catch_unwind(AssertUnwindSafe(|| demo(&cleanup)));
            if held.is_err() && !interrupted.load(Ordering::Relaxed) {
                eprintln!("{}", cleanup.log());
            }
            // In this thread: nat-ctl is killed when the one that started it ends.
            let undone = cleanup.undo();
            held.unwrap_or(false) && undone.is_ok()
        }
    });
    let thread = thread.expect("start a thread");
    loop {
        let [signal, ended] = wait::readable([arrived.as_fd(), done.as_fd()], POLL_LIMIT);
        if signal {
            interrupted.store(true, Ordering::Relaxed);
            eprintln!("\nInterrupted: cleaning up.");
            if let Err(message) = cleanup.undo() {
                eprintln!("{message}");
            }
            crate::exit(130);
        }
        if ended {
            break;
        }
    }
    thread.join().unwrap_or(false)
}
