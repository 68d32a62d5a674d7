//! The only pointer arithmetic on packets.
use core::ptr;

use nat_common::verdict::Verdict;

/// A frame that a program may read and write directly. Offsets are bytes from its first byte.
pub trait Frame {
    /// Address of the first byte.
    fn start(&self) -> usize;

    /// Address after the last byte that can be read directly.
    fn end(&self) -> usize;

    /// Whether the frame carries the tag of a VLAN beside its bytes.
    fn tagged(&self) -> bool {
        false
    }

    /// Whether there is a tag beside its bytes that names no VLAN, only a priority.
    fn prioritised(&self) -> bool {
        false
    }

    /// Bytes of the frame, those included that cannot be read directly.
    fn length(&self) -> usize;

    /// What becomes of a frame whose network header cannot be read directly in full.
    #[inline(always)]
    fn cut(&self) -> Verdict {
        Verdict::Malformed
    }

    /// Where a `T` stands in the frame, or nothing if it is not there in full.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let address = opaque(self.start() + offset);
        if address + size_of::<T>() > self.end() {
            return None;
        }
        Some(address as *mut T)
    }

    /// Copies a `T` out of the frame.
    #[inline(always)]
    fn load<T: Copy>(&self, offset: usize) -> Option<T> {
        // SAFETY: `at` checked the bounds; `T` is plain bytes in every caller.
        self.at(offset).map(|field| unsafe { ptr::read_unaligned(field) })
    }

    /// Copies a `T` into the frame; false if it has no room there.
    #[inline(always)]
    fn store<T: Copy>(&self, offset: usize, value: T) -> bool {
        match self.at(offset) {
            Some(field) => {
                // SAFETY: `at` checked the bounds.
                unsafe { ptr::write_unaligned(field, value) };
                true
            }
            None => false,
        }
    }
}

/// The same address, of unknown origin to the compiler.
///
/// LLVM would otherwise compute an address with a variable offset once for the bounds check and
/// once for the access, and the verifier cannot tell that both are the same. So it is with lengths.
#[inline(always)]
pub fn opaque(address: usize) -> usize {
    let mut same = address;
    // SAFETY: a move to itself. (Without any instruction the kernel refuses the line information,
    // which would have two entries for one place.)
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) same, options(pure, nomem, nostack)) };
    same
}
