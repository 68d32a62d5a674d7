//! Two threads on two CPUs.
use std::{
    hint,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nat_tests::lab::NetNs;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Runs `work(0)` and `work(1)` at once, each in its namespace and on a CPU of its own where there
/// are two.
pub fn both<T: Send>(namespaces: [&NetNs; 2], work: impl Fn(usize) -> T + Sync) -> [T; 2] {
    let start = Barrier::new(2);
    let one = &|which: usize| {
        namespaces[which].enter(|| {
            pin(which);
            start.wait();
            work(which)
        })
    };
    thread::scope(|scope| {
        [0, 1].map(|which| scope.spawn(move || one(which))).map(|thread| match thread.join() {
            Ok(value) => value,
            Err(payload) => std::panic::resume_unwind(payload),
        })
    })
}

/// Keeps this thread on one of the CPUs that the process may use.
fn pin(which: usize) {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let cpus: Vec<_> = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap()).collect();
    let mut own = CpuSet::new();
    own.set(cpus[which % cpus.len()]).unwrap();
    sched_setaffinity(this, &own).unwrap();
}

/// Lets two threads take every step at the same moment.
#[derive(Default)]
pub struct Lockstep(AtomicUsize);

impl Lockstep {
    /// Returns when the other thread has come to its step of this number, too, counted from 0.
    pub fn step(&self, number: usize) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        let mut turns = 0_u32;
        while self.0.load(Ordering::SeqCst) < 2 * (number + 1) {
            hint::spin_loop();
            turns += 1;
            if turns.is_multiple_of(1 << 14) {
                // The CPU may be somebody else's at this moment.
                thread::yield_now();
                assert!(start.elapsed() < Duration::from_secs(20), "the other thread is gone");
            }
        }
    }
}
