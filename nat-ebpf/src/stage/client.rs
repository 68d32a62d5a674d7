//! What a client may have: counted when a session opens, changes its state and ends.
//!
//! A session is counted exactly once from before its claim until its removal, by whoever makes and
//! whoever removes it; so a client that has none is not in the map, or on its way out of it.
use core::ptr::read_volatile;

use aya_ebpf::bindings::BPF_NOEXIST;
use nat_common::{
    addr::Ipv4,
    flow::Protocol,
    limit::{Bucket, Client, ClientLimits, Counts},
    verdict::Verdict,
};

use super::{
    classify,
    request::{EXISTS, Request, TRANSLATABLE, refused, request},
};
use crate::{atomic, maps::CLIENTS};

/// A word is tried to be changed so often: each try that fails is another CPU's success.
const TRIES: u32 = 4;

/// Counts one more session of this CPU's [`Request`]: [`TRANSLATABLE`], or the number of the verdict that
/// refuses it.
///
/// Exported, so that the verifier judges it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn admit_client(generation: u32) -> u32 {
    match request().and_then(|request| admitted(request, generation)) {
        Ok(()) => TRANSLATABLE.into(),
        Err(verdict) => verdict as u32,
    }
}

#[inline(always)]
fn admitted(request: &mut Request, generation: u32) -> Result<(), Verdict> {
    let limits = match request.own {
        // The gateway is nobody's client, and may work for many, as a proxy does.
        true => &ClientLimits::NONE,
        false => &classify::settings(generation)?.clients,
    };
    let (address, now_ns) = (request.key.local, request.now_ns);
    let half_open = is_tcp(request.key.protocol);
    if let Some(client) = CLIENTS.get_ptr_mut(&address) {
        return add(client, address, half_open, limits, now_ns);
    }
    request.client = Client::first(address, half_open, limits, now_ns);
    match CLIENTS.insert(&address, &request.client, BPF_NOEXIST as u64) {
        Ok(()) => Ok(()),
        // Another CPU was first.
        Err(EXISTS) => match CLIENTS.get_ptr_mut(&address) {
            Some(client) => add(client, address, half_open, limits, now_ns),
            None => Err(Verdict::Contended),
        },
        Err(error) => Err(refused(error)),
    }
}

/// Whether a new session of this protocol is half-open: IANA number.
#[inline(always)]
fn is_tcp(protocol: u8) -> bool {
    protocol == Protocol::Tcp as u8
}

#[inline(always)]
fn add(
    client: *mut Client,
    address: Ipv4,
    half_open: bool,
    limits: &ClientLimits,
    now_ns: u64,
) -> Result<(), Verdict> {
    let bucket = |before| Bucket(before).take(limits, now_ns).map(|bucket| bucket.0);
    // SAFETY: a field of a map value.
    let bucket_word = unsafe { (&raw mut (*client).bucket).cast() };
    change(bucket_word, |before| bucket(before).map_err(|exceeded| exceeded.verdict()))?;
    // SAFETY: likewise.
    let counts_word = unsafe { (&raw mut (*client).counts).cast() };
    change(counts_word, |before| match Counts(before) {
        counts if counts.gone() => Err(Verdict::Contended),
        counts => counts
            .open(half_open, limits)
            .map(|counts| counts.0)
            .map_err(|exceeded| exceeded.verdict()),
    })?;
    // SAFETY: likewise; volatile, because the element may belong to another client by now.
    if unsafe { read_volatile(&raw const (*client).address) }.to_be32() != address.to_be32() {
        // SAFETY: likewise.
        unsafe { atomic::fetch_add(counts_word, Counts::of_one(half_open).0.wrapping_neg()) };
        return Err(Verdict::Contended);
    }
    Ok(())
}

/// Changes a word of a map value, unless `new` refuses.
#[inline(always)]
fn change(word: *mut u64, new: impl Fn(u64) -> Result<u64, Verdict>) -> Result<(), Verdict> {
    // SAFETY: the callers' pointers are those of map look-ups, aligned and valid for as long as the
    // program runs.
    let mut before = unsafe { read_volatile(word) };
    for _ in 0..TRIES {
        let after = new(before)?;
        // SAFETY: as above.
        let found = unsafe { atomic::compare_exchange(word, before, after) };
        if found == before {
            return Ok(());
        }
        before = found;
    }
    Err(Verdict::Contended)
}

/// Takes a session back that [`admit_client`] has counted and that did not come to be.
#[inline(always)]
pub fn dismiss(request: &Request) {
    leave(&request.key.local, is_tcp(request.key.protocol), u64::MAX);
}

/// Counts one session less, and forgets a client that has none left and whose bucket is full.
///
/// Not inlined: as [`admit_client`]. Without a loop, since it is called from one.
#[inline(never)]
pub fn leave(address: &Ipv4, half_open: bool, now_ns: u64) {
    let Some(client) = CLIENTS.get_ptr_mut(address) else { return };
    // SAFETY: fields of a map value, aligned and valid for as long as the program runs.
    unsafe {
        let counts_word = (&raw mut (*client).counts).cast();
        let one = Counts::of_one(half_open).0;
        let left = atomic::fetch_add(counts_word, one.wrapping_neg()).wrapping_sub(one);
        let full = read_volatile(&raw const (*client).bucket).is_full(now_ns);
        if Counts(left).sessions() == 0
            && full
            && atomic::compare_exchange(counts_word, left, Counts::GONE.0) == left
        {
            let _ = CLIENTS.remove(address);
        }
    }
}

/// A connection is half-open no more, -1, or again, 1.
#[inline(always)]
pub fn add_half_open(address: &Ipv4, number: i64) {
    let Some(client) = CLIENTS.get_ptr_mut(address) else { return };
    let amount = Counts::HALF_OPEN.0.wrapping_mul(number as u64);
    // SAFETY: a field of a map value, as above.
    unsafe { atomic::fetch_add((&raw mut (*client).counts).cast(), amount) };
}
