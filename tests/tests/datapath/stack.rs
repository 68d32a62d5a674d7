//! How much stack a program uses, from its code: the kernel says it only in a log that aya keeps to
//! itself. What is counted is what instructions reach below a frame's pointer.
use std::collections::{BTreeMap, BTreeSet, HashSet};

use aya_obj::{Object, generated::bpf_insn};

/// Opcodes: Documentation/bpf/standardization/instruction-set.rst.
const LD_IMM64: u8 = 0x18;
const ADD64_IMM: u8 = 0x07;
const MOV64_REG: u8 = 0xbf;
const JA: [u8; 2] = [0x05, 0x06];
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// `src_reg` of a call of the program's own function, and of an address of one.
const PSEUDO_CALL: u8 = 1;
const PSEUDO_FUNC: u8 = 4;

const FRAME_POINTER: usize = 10;

/// To this the kernel rounds frames up where programs are compiled (kernel/bpf/verifier.c).
const FRAME_BYTES: u64 = 16;

/// Bytes of stack on the deepest chain of calls of each program in the object.
pub fn of_programs(object: &[u8]) -> BTreeMap<String, u64> {
    let mut object = Object::parse(object).unwrap();
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections).unwrap();
    let programs = object.programs.iter();
    programs
        .map(|(name, program)| {
            let linked = &object.functions[&program.function_key()].instructions;
            (name.clone(), chain(&frames(linked), 0))
        })
        .collect()
}

/// A function of a program.
#[derive(Debug, Default)]
struct Frame {
    bytes: u64,
    calls: BTreeSet<usize>,
}

/// The functions of a linked program by their first instruction.
fn frames(code: &[bpf_insn]) -> BTreeMap<usize, Frame> {
    let callees = code.iter().enumerate().filter_map(|(at, instruction)| callee(at, instruction));
    let starts: BTreeSet<usize> = callees.chain([0]).collect();
    let ends = starts.iter().skip(1).copied().chain([code.len()]);
    starts.iter().zip(ends).map(|(start, end)| (*start, frame(code, *start, end))).collect()
}

/// The function that an instruction calls, or hands to the kernel to be called.
fn callee(at: usize, instruction: &bpf_insn) -> Option<usize> {
    let refers = (instruction.code == CALL && instruction.src_reg() == PSEUDO_CALL)
        || (instruction.code == LD_IMM64 && instruction.src_reg() == PSEUDO_FUNC);
    refers.then(|| at.checked_add_signed(instruction.imm as isize + 1).unwrap())
}

/// Follows the registers that hold an address in the frame.
fn frame(code: &[bpf_insn], start: usize, end: usize) -> Frame {
    const NONE: [Option<i64>; FRAME_POINTER + 1] = {
        let mut registers = [None; FRAME_POINTER + 1];
        registers[FRAME_POINTER] = Some(0);
        registers
    };
    let (mut registers, mut deepest, mut calls) = (NONE, 0, BTreeSet::new());
    let mut at = start;
    while at < end {
        let instruction = &code[at];
        calls.extend(callee(at, instruction));
        let (to, from) = (usize::from(instruction.dst_reg()), usize::from(instruction.src_reg()));
        let reached = match (instruction.code, instruction.code & 7) {
            (LD_IMM64, _) => {
                registers[to] = None;
                at += 1;
                None
            }
            (MOV64_REG, _) if instruction.off == 0 => {
                registers[to] = registers[from];
                None
            }
            (ADD64_IMM, _) => {
                registers[to] = registers[to].map(|offset| offset + i64::from(instruction.imm));
                registers[to]
            }
            (CALL, _) => {
                registers[..6].fill(None);
                None
            }
            (EXIT, _) => {
                registers = NONE;
                None
            }
            (code, _) if JA.contains(&code) => {
                registers = NONE;
                None
            }
            // A load.
            (_, 1) => {
                let base = registers[from];
                registers[to] = None;
                base.map(|base| base + i64::from(instruction.off))
            }
            // A store.
            (_, 2 | 3) => registers[to].map(|base| base + i64::from(instruction.off)),
            // A conditional jump.
            (_, 5 | 6) => None,
            _ => {
                registers[to] = None;
                None
            }
        };
        deepest = deepest.min(reached.unwrap_or(0));
        at += 1;
    }
    Frame { bytes: deepest.unsigned_abs(), calls }
}

fn chain(frames: &BTreeMap<usize, Frame>, start: usize) -> u64 {
    let frame = &frames[&start];
    let below = frame.calls.iter().map(|callee| chain(frames, *callee)).max();
    frame.bytes.next_multiple_of(FRAME_BYTES) + below.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(code: u8, to: u8, from: u8, off: i16, imm: i32) -> bpf_insn {
        let registers = bpf_insn::new_bitfield_1(to, from);
        bpf_insn { code, _bitfield_align_1: [], _bitfield_1: registers, off, imm }
    }

    /// Two functions, of which the first calls the second by the kernel, from a frame of 20 bytes.
    #[test]
    fn frames_of_a_chain_are_rounded_and_added() {
        const STORE: u8 = 0x7b;
        let exit = instruction(EXIT, 0, 0, 0, 0);
        let code = [
            instruction(MOV64_REG, 2, 10, 0, 0),
            instruction(ADD64_IMM, 2, 0, 0, -20),
            instruction(LD_IMM64, 3, PSEUDO_FUNC, 0, 3),
            instruction(0, 0, 0, 0, 0),
            instruction(CALL, 0, 0, 0, 181),
            exit,
            instruction(STORE, 10, 1, -40, 0),
            // No address of the frame any more.
            instruction(STORE, 2, 1, -200, 0),
            exit,
        ];
        let frames = frames(&code);
        let bytes: Vec<_> = frames.iter().map(|(start, frame)| (*start, frame.bytes)).collect();
        assert_eq!(bytes, [(0, 20), (6, 40)]);
        assert_eq!(chain(&frames, 0), 32 + 48);
    }
}
