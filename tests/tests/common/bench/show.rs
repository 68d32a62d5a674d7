//! Frames that are shown to the programs.
use std::time::Duration;

use nat_common::{
    stats::{Counter, Hook},
    verdict::Verdict,
};
use nat_ctl::datapath::{State as _, VerdictState};

use super::{
    super::test_run::{self, return_code, turned_code},
    Bench, Seen,
};

impl Bench {
    /// Shows a frame to the program of a hook. Checks that exactly one verdict was counted, once,
    /// and that the return code is the verdict's.
    pub fn send(&self, hook: Hook, frame: &[u8]) -> Seen {
        self.counted(hook, return_code, || self.run(hook, frame))
    }

    /// Shows a frame from inside to `tc_inside`, and one that is turned back to `tc_ingress`, as the
    /// kernel does; `None` if it does not come there.
    pub fn turn(&self, frame: &[u8]) -> (Seen, Option<Seen>) {
        let first = self.send(Hook::TcInside, frame);
        let back = matches!(first.verdict, Verdict::Hairpin).then(|| {
            let code = |_: Hook, verdict| turned_code(verdict);
            self.send_as(Hook::TcIngress, test_run::mark_turned, code, &first.frame)
        });
        (first, back)
    }

    /// Shows a frame to `tc_egress` that the gateway itself sends.
    pub fn send_own(&self, frame: &[u8]) -> Seen {
        self.send_as(Hook::TcEgress, test_run::mark_own, return_code, frame)
    }

    /// Shows a frame to XDP of which the first buffer has only so many bytes.
    pub fn send_in_buffers(&self, hook: Hook, first: usize, frame: &[u8]) -> Seen {
        let device = if hook == Hook::XdpInside { self.devices.0 } else { self.devices.1 };
        let context = test_run::context(hook, device, first, 0);
        self.counted(hook, return_code, || {
            let mut out = Vec::new();
            let run = || test_run::run(&self.ebpf, hook.name(), frame, Some(&context), &mut out);
            let code = self.lab.gateway.enter(run);
            (code, out)
        })
    }

    /// Shows a frame to a hook of the outside interface, in another context than the usual one.
    fn send_as(
        &self,
        hook: Hook,
        change: fn(&mut [u8]),
        expected: fn(Hook, Verdict) -> u32,
        frame: &[u8],
    ) -> Seen {
        let mut context = test_run::context(hook, self.devices.1, frame.len(), 0);
        change(&mut context);
        self.counted(hook, expected, || {
            let mut out = Vec::new();
            let run = || test_run::run(&self.ebpf, hook.name(), frame, Some(&context), &mut out);
            let code = self.lab.gateway.enter(run);
            (code, out)
        })
    }

    /// Runs a program, and checks what it has counted and returned.
    fn counted(
        &self,
        hook: Hook,
        expected: fn(Hook, Verdict) -> u32,
        run: impl FnOnce() -> (u32, Vec<u8>),
    ) -> Seen {
        let before = self.counters();
        let (code, frame) = run();
        let after = self.counters();
        let changed: Vec<_> = after.iter().filter(|state| !before.contains(state)).collect();
        let [&counted] = changed[..] else { panic!("not one verdict was counted: {changed:?}") };
        let old = before
            .iter()
            .find(|state| (state.hook, state.verdict) == (counted.hook, counted.verdict))
            .map_or(Counter::default(), |state| state.counter);
        assert_eq!(counted.hook, hook);
        assert_eq!(counted.counter.packets, old.packets + 1, "{counted:?}");
        assert_eq!(code, expected(hook, counted.verdict), "{counted:?}");
        Seen { verdict: counted.verdict, frame }
    }

    /// Shows frames to the program of a hook, many in little time: their verdicts are not looked
    /// at. Returns them as they leave.
    pub fn send_all(&self, hook: Hook, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let send = |frame: &Vec<u8>| {
            let mut out = Vec::new();
            self.send_here(hook, 0, frame, &mut out);
            out
        };
        self.lab.gateway.enter(|| frames.iter().map(send).collect())
    }

    fn counters(&self) -> Vec<VerdictState> {
        self.state().verdicts().unwrap()
    }

    fn run(&self, hook: Hook, frame: &[u8]) -> (u32, Vec<u8>) {
        let mut out = Vec::new();
        let code = self.lab.gateway.enter(|| self.send_here(hook, 0, frame, &mut out));
        (code, out)
    }

    /// Shows a frame to the program of a hook, as a super-frame if it has segments. For a thread in
    /// the gateway's namespace; several may do it at once. Returns the program's return code, and
    /// the frame in `out`.
    pub fn send_here(&self, hook: Hook, segments: u16, frame: &[u8], out: &mut Vec<u8>) -> u32 {
        self.send_changed_here(hook, segments, |_| {}, frame, out)
    }

    /// The same in another context than the usual one.
    pub fn send_changed_here(
        &self,
        hook: Hook,
        segments: u16,
        change: fn(&mut [u8]),
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> u32 {
        let device = match hook {
            Hook::XdpInside | Hook::TcInside => self.devices.0,
            Hook::XdpOutside | Hook::TcEgress | Hook::TcIngress => self.devices.1,
        };
        let mut context = test_run::context(hook, device, frame.len(), segments);
        change(&mut context);
        test_run::run(&self.ebpf, hook.name(), frame, Some(&context), out)
    }

    /// The same as [`Self::send_here`] with a plain frame; returns its code and how long the program
    /// took.
    pub fn time_here(&self, hook: Hook, frame: &[u8]) -> (u32, Duration) {
        let device = match hook {
            Hook::XdpInside | Hook::TcInside => self.devices.0,
            Hook::XdpOutside | Hook::TcEgress | Hook::TcIngress => self.devices.1,
        };
        let context = test_run::context(hook, device, frame.len(), 0);
        test_run::run_timed(&self.ebpf, hook.name(), frame, Some(&context), &mut Vec::new())
    }
}
