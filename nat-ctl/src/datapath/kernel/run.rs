//! Programs that are not attached but run (BPF_PROG_TEST_RUN).
use std::io;

use aya::{
    Ebpf,
    programs::{ProgramError, TestRun, TestRunOptions, Xdp},
};
use nat_common::{flow::FlowKey, limits::SWEEP_SESSIONS_MAX};

use crate::datapath::Error;

/// Runs a program that takes outbound keys as its packet; returns the sum of its answers.
pub(super) fn run_on_keys(ebpf: &Ebpf, program: &str, keys: &[FlowKey]) -> Result<u32, Error> {
    let mut sum = 0;
    for keys in keys.chunks(SWEEP_SESSIONS_MAX as usize) {
        let packet: Vec<u8> = keys.iter().flat_map(FlowKey::to_bytes).collect();
        sum += run(ebpf, program, &packet)?;
    }
    Ok(sum)
}

/// The shortest packet that the kernel takes for one: a program that needs none gets it.
pub(super) const EMPTY_PACKET: [u8; 14] = [0; 14];

/// Runs a program on a packet; returns its answer.
fn run(ebpf: &Ebpf, program: &str, packet: &[u8]) -> Result<u32, Error> {
    run_often(ebpf, program, packet, 1)
}

/// The same so many times; returns the last answer.
pub(super) fn run_often(
    ebpf: &Ebpf,
    program: &str,
    packet: &[u8],
    times: u32,
) -> Result<u32, Error> {
    let failed = |error: ProgramError| {
        Error::kernel(format!("cannot run the program `{program}`"))(error.into())
    };
    let xdp: &Xdp = ebpf.program(program).ok_or(Error::NoObject)?.try_into().map_err(failed)?;
    loop {
        let mut options = TestRunOptions::new();
        options.data_in = Some(packet);
        options.repeat = times;
        match xdp.test_run(options) {
            // Between two runs, by a signal that this process will handle.
            Err(ProgramError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::Interrupted => {}
            result => return Ok(result.map_err(failed)?.return_value),
        }
    }
}
