//! A frame of [`FRAME`] bytes, field by field, as it stands in the packet: big-endian.
use aya_ebpf::programs::XdpContext;

use crate::layout::FRAME;

pub const UDP: u8 = 17;
pub const TCP: u8 = 6;
/// Ethernet's number of IPv4.
pub const IPV4: u16 = 0x0800;
pub const IPV4_OFFSET: usize = 14;
pub const TRANSPORT_OFFSET: usize = 34;

#[repr(C, packed)]
#[derive(Clone, Copy)]
pub struct Headers {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    pub ethertype: u16,
    pub version: u8,
    pub tos: u8,
    pub total_length: u16,
    pub id: u16,
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub header_check: u16,
    pub source: u32,
    pub destination: u32,
    pub source_port: u16,
    pub destination_port: u16,
    pub transport: Transport,
}

/// What follows the ports.
#[repr(C, packed)]
#[derive(Clone, Copy)]
pub union Transport {
    pub udp: Udp,
    pub tcp: Tcp,
}

#[repr(C, packed)]
#[derive(Clone, Copy)]
pub struct Udp {
    pub length: u16,
    pub check: u16,
    pub payload: [u8; 20],
}

#[repr(C, packed)]
#[derive(Clone, Copy)]
pub struct Tcp {
    pub sequence: u32,
    pub acknowledged: u32,
    /// Length of the header, and flags.
    pub flags: u16,
    pub window: u16,
    pub check: u16,
    pub urgent: u16,
    pub options: [u8; 8],
}

const _: () = assert!(size_of::<Headers>() == FRAME);

/// A frame that is large enough for [`Headers`].
#[derive(Clone, Copy)]
pub struct Packet(*mut Headers);

impl Packet {
    #[inline(always)]
    pub fn of(ctx: &XdpContext) -> Option<Self> {
        let (start, end) = (ctx.data(), ctx.data_end());
        if start + FRAME > end {
            return None;
        }
        Some(Self(start as *mut Headers))
    }

    #[inline(always)]
    pub fn headers(&mut self) -> &mut Headers {
        // SAFETY: `of` checked the bounds; packed fields need no alignment, and all are integers.
        unsafe { &mut *self.0 }
    }

    /// The 16-bit word at an even offset.
    #[inline(always)]
    pub fn word(&self, offset: usize) -> u16 {
        if offset + 2 > FRAME {
            return 0;
        }
        // SAFETY: within the frame, as `of` and the line above have checked.
        unsafe { self.0.byte_add(offset).cast::<u16>().read_unaligned() }
    }
}

/// Adds what was carried out of 16 bits, and leaves the Internet checksum's sum (RFC 1071).
#[inline(always)]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// A 32-bit field's part of a checksum.
#[inline(always)]
pub fn halves(field: u32) -> u64 {
    u64::from(field & 0xffff) + u64::from(field >> 16)
}

/// What the sum of all words of a checksummed header becomes by a change of its fields (RFC 1624):
/// `gained` is the sum of what is new and of the complement of what was there.
#[inline(always)]
pub fn updated(check: u16, gained: u64) -> u16 {
    !fold(u64::from(!check) + gained)
}
