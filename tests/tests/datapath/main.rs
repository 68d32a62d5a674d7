//! Layer 2: the programs that ship, run packet by packet in the kernel (BPF_PROG_TEST_RUN), on a
//! clock that the tests move. Frames are built and checked by etherparse.
#![expect(clippy::unwrap_used, reason = "a test that cannot do what it says has failed")]

mod bench;
mod expiry;
mod fields;
mod frames;
mod hostile;
mod resources;
mod rules;
mod tcp;
mod verifier;
