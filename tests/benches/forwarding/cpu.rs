//! What a CPU does in a stretch of time.
use std::{fs, time::Duration};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// Keeps this thread, and the processes that it starts, on one CPU.
pub fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a CPU's number");
    sched_setaffinity(Pid::from_raw(0), &set).expect("stay on one CPU");
}

/// Does something on one CPU, where also the processes stay that it starts.
pub fn on<R>(cpu: usize, what: impl FnOnce() -> R) -> R {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).expect("this thread's CPUs");
    pin(cpu);
    let done = what();
    sched_setaffinity(this, &before).expect("go on as before");
    done
}

/// The CPU time of this thread and of the kernel's thread that goes on with packets where there are
/// too many to be forwarded in between. Interrupts of others are in it: hence medians.
pub struct Busy {
    softirqd: String,
    before: Duration,
}

impl Busy {
    /// Begins to count, on the CPU to which this thread is pinned.
    pub fn begin(cpu: usize) -> Self {
        let mut busy = Self { softirqd: softirqd(cpu), before: Duration::ZERO };
        busy.before = busy.total();
        busy
    }

    pub fn so_far(&self) -> Duration {
        self.total() - self.before
    }

    fn total(&self) -> Duration {
        let own = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("this thread's clock");
        Duration::from(own) + runtime(&self.softirqd)
    }
}

/// The /proc folder of a CPU's ksoftirqd.
fn softirqd(cpu: usize) -> String {
    let name = format!("ksoftirqd/{cpu}\n");
    let folders = fs::read_dir("/proc").expect("read /proc").flatten();
    let mut paths = folders.map(|entry| entry.path().display().to_string());
    let is_it =
        |path: &String| fs::read_to_string(format!("{path}/comm")).is_ok_and(|it| it == name);
    paths.find(is_it).unwrap_or_else(|| panic!("no {name}"))
}

/// How long a process has run: the first number of its schedstat, in nanoseconds (Documentation/
/// scheduler/sched-stats.rst).
fn runtime(folder: &str) -> Duration {
    let text = fs::read_to_string(format!("{folder}/schedstat")).expect("read a schedstat");
    let ns = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(ns.expect("a number of nanoseconds"))
}
