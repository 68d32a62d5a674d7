//! Atomic operations that the BPF target of Rust does not offer (`core::sync::atomic` has only
//! loads and stores there), as the kernel's instruction set documents them
//! (Documentation/bpf/standardization/instruction-set.rst, "Atomic operations").
use core::arch::asm;

/// Swaps in `new` if `*word` is `old`; returns what was there. A full barrier.
///
/// # Safety
///
/// `word` must point into a map value or the stack and be aligned to 8 bytes.
#[inline(always)]
pub unsafe fn compare_exchange(word: *mut u64, old: u64, new: u64) -> u64 {
    let mut found = old;
    // SAFETY: the caller vouches for the pointer; the verifier checks it again.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({word} + 0, r0, {new})",
            word = in(reg) word,
            new = in(reg) new,
            inout("r0") found,
        );
    }
    found
}

/// Swaps in `new` if `*word` is `old`; returns what was there. A full barrier.
///
/// # Safety
///
/// `word` must point into a map value or the stack and be aligned to 4 bytes.
#[inline(always)]
pub unsafe fn compare_exchange_32(word: *mut u32, old: u32, new: u32) -> u32 {
    let mut found = old;
    // SAFETY: the caller vouches for the pointer; the verifier checks it again.
    unsafe {
        asm!(
            "w0 = cmpxchg32_32({word} + 0, w0, {new})",
            word = in(reg) word,
            new = in(wreg) new,
            inout("w0") found,
        );
    }
    found
}

/// Swaps in `new`; returns what was there. A full barrier.
///
/// # Safety
///
/// As for [`compare_exchange_32`].
#[inline(always)]
pub unsafe fn exchange_32(word: *mut u32, new: u32) -> u32 {
    let mut swapped = new;
    // SAFETY: the caller vouches for the pointer; the verifier checks it again.
    unsafe {
        asm!(
            "{swapped} = xchg32_32({word} + 0, {swapped})",
            word = in(reg) word,
            swapped = inout(wreg) swapped,
        );
    }
    swapped
}

/// Adds to a word; returns what was there. A full barrier.
///
/// # Safety
///
/// As [`compare_exchange`].
#[inline(always)]
pub unsafe fn fetch_add(word: *mut u64, more: u64) -> u64 {
    let mut found = more;
    // SAFETY: as above.
    unsafe {
        asm!(
            "{found} = atomic_fetch_add((u64 *)({word} + 0), {found})",
            word = in(reg) word,
            found = inout(reg) found,
        );
    }
    found
}

/// Sets bits of a word; returns what was there. A full barrier.
///
/// # Safety
///
/// As [`compare_exchange`].
#[inline(always)]
pub unsafe fn fetch_or(word: *mut u64, bits: u64) -> u64 {
    let mut found = bits;
    // SAFETY: as above.
    unsafe {
        asm!(
            "{found} = atomic_fetch_or((u64 *)({word} + 0), {found})",
            word = in(reg) word,
            found = inout(reg) found,
        );
    }
    found
}
