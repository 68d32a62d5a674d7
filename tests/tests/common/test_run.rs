//! BPF_PROG_TEST_RUN of the loaded programs.
use std::time::Duration;

use aya::{
    Ebpf,
    programs::{Program, TestRun, TestRunOptions},
};
use nat_common::{
    mark,
    stats::Hook,
    verdict::{Fate, Verdict},
};

/// Room for a frame that a program returns.
const OUTPUT_BYTES: usize = 4096;

/// Return codes of the programs: include/uapi/linux/bpf.h and pkt_cls.h.
mod code {
    pub const XDP_DROP: u32 = 1;
    pub const XDP_PASS: u32 = 2;
    pub const XDP_REDIRECT: u32 = 4;
    pub const TC_ACT_SHOT: u32 = 2;
    pub const TC_ACT_REDIRECT: u32 = 7;
    pub const TC_ACT_UNSPEC: u32 = u32::MAX;
}

/// Runs a program on a frame in this thread's namespace. Returns its return code, and the frame in
/// `out`.
pub fn run(
    ebpf: &Ebpf,
    program: &str,
    frame: &[u8],
    context: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> u32 {
    run_timed(ebpf, program, frame, context, out).0
}

/// The same, and how long the program took.
pub fn run_timed(
    ebpf: &Ebpf,
    program: &str,
    frame: &[u8],
    context: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> (u32, Duration) {
    *out = vec![0; OUTPUT_BYTES.max(frame.len())];
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.data_out = Some(out);
    options.ctx_in = context;
    let result = match ebpf.program(program).unwrap() {
        Program::Xdp(program) => program.test_run(options),
        Program::SchedClassifier(program) => program.test_run(options),
        other => panic!("no packet program: {other:?}"),
    };
    let result = result.unwrap();
    out.truncate(result.data_size_out as usize);
    (result.return_value, result.duration)
}

/// `struct xdp_md` or `struct __sk_buff` (include/uapi/linux/bpf.h) as a hook's packets have it.
pub fn context(hook: Hook, device: u32, length: usize, segments: u16) -> Vec<u8> {
    let mut context = match hook {
        Hook::XdpInside | Hook::XdpOutside => vec![0; 24],
        Hook::TcEgress | Hook::TcIngress | Hook::TcInside => vec![0; 192],
    };
    let mut put = |offset: usize, value: u32| {
        context[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    };
    match hook {
        Hook::XdpInside | Hook::XdpOutside => {
            put(4, u32::try_from(length).unwrap()); // data_end
            put(12, device); // ingress_ifindex
        }
        Hook::TcEgress | Hook::TcIngress | Hook::TcInside => {
            put(36, device); // ingress_ifindex
            put(40, device); // ifindex
            put(164, u32::from(segments)); // gso_segs
        }
    }
    context
}

/// Makes a packet of a TC hook one that this machine itself sends.
pub fn mark_own(context: &mut [u8]) {
    context[36..40].fill(0); // ingress_ifindex
}

/// Gives a packet of a TC hook the mark of one that has been turned back.
pub fn mark_turned(context: &mut [u8]) {
    context[8..12].copy_from_slice(&mark::TURNED.to_ne_bytes());
}

/// What `tc_ingress` returns for a verdict about a packet that has been turned back.
pub fn turned_code(verdict: Verdict) -> u32 {
    match verdict.fate() {
        Fate::Translated => code::TC_ACT_REDIRECT,
        _ => return_code(Hook::TcIngress, verdict),
    }
}

/// What a program returns for a verdict.
pub fn return_code(hook: Hook, verdict: Verdict) -> u32 {
    match (hook, verdict.fate()) {
        (Hook::XdpInside | Hook::XdpOutside, Fate::Translated) => code::XDP_REDIRECT,
        (Hook::XdpInside | Hook::XdpOutside, Fate::Dropped) => code::XDP_DROP,
        (Hook::XdpInside | Hook::XdpOutside, _) => code::XDP_PASS,
        (Hook::TcEgress | Hook::TcIngress | Hook::TcInside, Fate::Dropped) => code::TC_ACT_SHOT,
        // Turned back; nothing else is translated there.
        (Hook::TcInside, Fate::Translated) => code::TC_ACT_REDIRECT,
        (Hook::TcEgress | Hook::TcIngress | Hook::TcInside, _) => code::TC_ACT_UNSPEC,
    }
}
