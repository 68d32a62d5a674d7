//! The form in which resting tuples outlive the data path, and the machine's boots. Pure.
//!
//! ```text
//! offset bytes
//!      0    16  "nat-ctl cooling\n"
//!     16     4  version: 2
//!     20     4  number of records
//!     24    16  boot that wrote it
//!     40     8  the data path's clock then, ns
//!     48     8  the wall clock then, ns since 1970 in UTC
//!     56    24  each record: external address 4, remote address 4, external port 2, remote port 2,
//!               protocol 1, reason 1, 1 if the session was live 1, owned 1, end by the wall clock 8
//!      …     8  sum of all bytes before
//! ```
//! Numbers are big-endian. A tuple that rests toward everybody has remote address and port 0; or, with
//! 1 as owned, those of the inside endpoint that may use it again. Version 1 had no owners.
use nat_common::{
    addr::{Ipv4, Port},
    cooldown::{Clocks, Reason},
    flow::{FlowKey, Protocol},
};

use super::snapshot::{Boot, End, Kept, NOBODY, Snapshot};

const MAGIC: &[u8; 16] = b"nat-ctl cooling\n";
const VERSION: u32 = 2;
/// The oldest that is read.
const VERSION_OLDEST: u32 = 1;
const HEADER_BYTES: usize = 56;
const RECORD_BYTES: usize = 24;
const SUM_BYTES: usize = 8;

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    #[error("it is not a file of resting ports")]
    Foreign,
    #[error("it has the form {0}, and this nat-ctl knows form {VERSION}")]
    Version(u32),
    #[error("it is {found} bytes long instead of {expected}")]
    Length { found: usize, expected: usize },
    #[error("its sum is wrong: it has been changed")]
    Sum,
    #[error("port {0} in it has no protocol that is translated")]
    Record(usize),
}

/// The bytes of a file.
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let records = snapshot.tuples.len().min(u32::MAX as usize);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + records * RECORD_BYTES + SUM_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend((records as u32).to_be_bytes());
    bytes.extend(snapshot.boot.0);
    bytes.extend(snapshot.written.monotonic_ns.to_be_bytes());
    bytes.extend(snapshot.written.wall_ns.to_be_bytes());
    for Kept { tuple, reason, end, owner } in snapshot.tuples.iter().take(records) {
        let owned = *owner != NOBODY;
        let (other, other_port) = if owned { *owner } else { (tuple.remote, tuple.remote_port) };
        bytes.extend(tuple.local.octets());
        bytes.extend(other.octets());
        bytes.extend(tuple.local_port.number().to_be_bytes());
        bytes.extend(other_port.number().to_be_bytes());
        let (live, wall_ns) = match end {
            End::Live => (1, snapshot.written.wall_ns),
            End::At { wall_ns } => (0, *wall_ns),
        };
        bytes.extend([tuple.protocol, *reason as u8, live, owned.into()]);
        bytes.extend(wall_ns.to_be_bytes());
    }
    let sum = sum(&bytes);
    bytes.extend(sum.to_be_bytes());
    bytes
}

/// What a file says.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, Damage> {
    let mut rest = bytes;
    let magic: [u8; 16] = take(&mut rest).ok_or(Damage::Foreign)?;
    if magic != *MAGIC {
        return Err(Damage::Foreign);
    }
    let expected = HEADER_BYTES + SUM_BYTES;
    let short = Damage::Length { found: bytes.len(), expected };
    let version = u32::from_be_bytes(take(&mut rest).ok_or(short.clone())?);
    if !(VERSION_OLDEST..=VERSION).contains(&version) {
        return Err(Damage::Version(version));
    }
    let (records, boot, written) = header(&mut rest).ok_or(short)?;
    let expected = expected.saturating_add((records as usize).saturating_mul(RECORD_BYTES));
    if bytes.len() != expected {
        return Err(Damage::Length { found: bytes.len(), expected });
    }
    let (content, stored) = bytes.split_at(bytes.len() - SUM_BYTES);
    if stored != sum(content).to_be_bytes() {
        return Err(Damage::Sum);
    }
    let records = rest.chunks_exact(RECORD_BYTES).take(records as usize).enumerate();
    let tuples = records.map(|(index, bytes)| record(bytes).ok_or(Damage::Record(index + 1)));
    Ok(Snapshot { boot, written, tuples: tuples.collect::<Result<_, _>>()? })
}

/// What follows the version: number of records, boot, clocks.
fn header(bytes: &mut &[u8]) -> Option<(u32, Boot, Clocks)> {
    let records = u32::from_be_bytes(take(bytes)?);
    let boot = Boot(take(bytes)?);
    let monotonic_ns = u64::from_be_bytes(take(bytes)?);
    let wall_ns = u64::from_be_bytes(take(bytes)?);
    Some((records, boot, Clocks { monotonic_ns, wall_ns }))
}

fn record(mut bytes: &[u8]) -> Option<Kept> {
    let bytes = &mut bytes;
    let (local, other) = (Ipv4::new(take(bytes)?), Ipv4::new(take(bytes)?));
    let mut port = || Some(Port::new(u16::from_be_bytes(take(bytes)?)));
    let (local, other) = ((local, port()?), (other, port()?));
    let [protocol, reason, live, owned] = take(bytes)?;
    let wall_ns = u64::from_be_bytes(take(bytes)?);
    let tuple = FlowKey::new(Protocol::from_number(protocol)?, local, other);
    let (tuple, owner) =
        if owned == 0 { (tuple, NOBODY) } else { (tuple.toward_everybody(), other) };
    let end = if live == 0 { End::At { wall_ns } } else { End::Live };
    Some(Kept { tuple, reason: Reason::from_number(reason), end, owner })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

/// FNV-1a. Against accidents, not against forgery: whoever can write the file is root.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshot() -> Snapshot {
        let tuple = |port, remote: [u8; 4], remote_port| {
            FlowKey::new(
                Protocol::Tcp,
                (Ipv4::new([203, 0, 113, 7]), Port::new(port)),
                (Ipv4::new(remote), Port::new(remote_port)),
            )
        };
        let at = |tuple, reason, wall_ns| {
            let end = End::At { wall_ns };
            Kept { tuple, reason, end, owner: NOBODY }
        };
        let udp = FlowKey::new(
            Protocol::Udp,
            (Ipv4::new([203, 0, 113, 8]), Port::new(4000)),
            (Ipv4::new([192, 0, 2, 1]), Port::new(53)),
        );
        Snapshot {
            boot: Boot(*b"0123456789abcdef"),
            written: Clocks { monotonic_ns: 77, wall_ns: 1_700_000_000_000_000_000 },
            tuples: vec![
                at(tuple(4001, [198, 51, 100, 9], 443), Reason::Fin, 1_699_999_999_000_000_000),
                at(tuple(4002, [0; 4], 0), Reason::HalfOpen, 1_699_999_999_500_000_000),
                Kept { tuple: udp, reason: Reason::UdpIcmp, end: End::Live, owner: NOBODY },
                Kept {
                    tuple: udp.toward_everybody(),
                    reason: Reason::UdpIcmp,
                    end: End::Live,
                    owner: (Ipv4::new([10, 0, 0, 5]), Port::new(5000)),
                },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(decode(&encode(&snapshot())), Ok(snapshot()));
        let empty = Snapshot { tuples: Vec::new(), ..snapshot() };
        assert_eq!(decode(&encode(&empty)), Ok(empty));
    }

    /// The form, byte by byte: another version of this program has to read it.
    #[test]
    fn the_form_is_that_of_the_description() {
        let bytes = encode(&snapshot());
        assert_eq!(bytes.len(), 56 + 4 * 24 + 8);
        assert_eq!(bytes[..24], *b"nat-ctl cooling\n\0\0\0\x02\0\0\0\x04");
        assert_eq!(bytes[24..40], *b"0123456789abcdef");
        let first = [203, 0, 113, 7, 198, 51, 100, 9, 0x0f, 0xa1, 0x01, 0xbb, 6, 2, 0, 0];
        assert_eq!(bytes[56..72], first);
        assert_eq!(bytes[104..120], [203, 0, 113, 8, 192, 0, 2, 1, 0x0f, 0xa0, 0, 53, 17, 3, 1, 0]);
        assert_eq!(
            bytes[128..144],
            [203, 0, 113, 8, 10, 0, 0, 5, 0x0f, 0xa0, 0x13, 0x88, 17, 3, 1, 1]
        );
    }

    /// From before there were owners.
    #[test]
    fn the_form_before_is_read() {
        let mut before = snapshot();
        before.tuples.pop();
        let mut bytes = encode(&before);
        bytes[19] = 1;
        let end = bytes.len() - SUM_BYTES;
        let sum = sum(&bytes[..end]).to_be_bytes();
        bytes[end..].copy_from_slice(&sum);
        assert_eq!(decode(&bytes), Ok(before));
    }

    #[test]
    fn every_damage_is_said() {
        let good = encode(&snapshot());
        assert_eq!(decode(b""), Err(Damage::Foreign));
        assert_eq!(decode(b"[cooldown]\nenabled = true\n"), Err(Damage::Foreign));
        let mut newer = good.clone();
        for version in [0, 3] {
            newer[19] = version;
            assert_eq!(decode(&newer), Err(Damage::Version(version.into())));
        }
        for length in 16..good.len() {
            let found = Err(Damage::Length { found: length, expected: good.len() });
            let header = Err(Damage::Length { found: length, expected: 64 });
            assert_eq!(decode(&good[..length]), if length < 56 { header } else { found });
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(decode(&longer), Err(Damage::Length { .. })));
        // Each single byte.
        for index in 24..good.len() {
            let mut changed = good.clone();
            changed[index] ^= 0x10;
            assert_eq!(decode(&changed), Err(Damage::Sum), "{index}");
        }
        let mut sctp = good;
        sctp[56 + 12] = 132;
        let end = sctp.len() - SUM_BYTES;
        let sum = sum(&sctp[..end]).to_be_bytes();
        sctp[end..].copy_from_slice(&sum);
        assert_eq!(decode(&sctp), Err(Damage::Record(1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, count in 0_u32..5) {
            let _ = decode(&bytes);
            let mut framed = MAGIC.to_vec();
            framed.extend(VERSION.to_be_bytes());
            framed.extend(count.to_be_bytes());
            framed.extend(bytes);
            let _ = decode(&framed);
        }
    }
}
