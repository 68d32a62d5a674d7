//! Reading a whole hash map in batches: BPF_MAP_LOOKUP_BATCH, which aya lacks and which costs a
//! fifth of reading entry by entry.
use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd},
};

use aya::{
    Pod,
    maps::{HashMap, IterableMap, MapData, MapError},
};

/// `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd` (include/uapi/linux/bpf.h).
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;

/// Entries a call. A call returns whole hash buckets, so it must hold the fullest one.
const ENTRIES: usize = 1024;

/// The `batch` member of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// A hash map that is read as a whole.
pub struct BatchMap<K: Pod, V> {
    map: HashMap<MapData, K, V>,
}

impl<K: Pod, V: Pod> BatchMap<K, V> {
    pub const fn new(map: HashMap<MapData, K, V>) -> Self {
        Self { map }
    }

    /// Writes an entry, whether it is there or not.
    pub fn set(&mut self, key: &K, value: &V) -> Result<(), MapError> {
        self.map.insert(key, value, 0)
    }

    /// Calls `visit` with every entry. An entry that is added or removed meanwhile may or may not
    /// be seen.
    pub fn for_each(&self, visit: impl FnMut(&K, &V)) -> io::Result<()> {
        for_each(self.map.map().fd().as_fd().as_raw_fd(), visit)
    }
}

fn for_each<K: Pod, V: Pod>(fd: libc::c_int, mut visit: impl FnMut(&K, &V)) -> io::Result<()> {
    // SAFETY: `Pod` types are valid for all bit patterns.
    let (mut keys, mut values): (Vec<K>, Vec<V>) =
        unsafe { (vec![mem::zeroed(); ENTRIES], vec![mem::zeroed(); ENTRIES]) };
    // The kernel's cursor: the number of the next bucket.
    let mut cursor = 0_u32;
    let mut first = true;
    loop {
        let mut attributes = Attributes {
            in_batch: if first { 0 } else { &raw const cursor as u64 },
            out_batch: &raw mut cursor as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: keys.len() as u32,
            map_fd: fd as u32,
            ..Attributes::default()
        };
        // SAFETY: the buffers hold `count` keys and values; all outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_BATCH,
                &raw mut attributes,
                size_of::<Attributes>(),
            )
        };
        let error = (result < 0).then(io::Error::last_os_error);
        let last = match error.as_ref().map(io::Error::raw_os_error) {
            None => false,
            // The end; what was found before it counts.
            Some(Some(libc::ENOENT)) => true,
            // A bucket larger than the buffers.
            Some(Some(libc::ENOSPC)) => {
                // SAFETY: as above.
                unsafe {
                    keys.resize(keys.len() * 2, mem::zeroed());
                    values.resize(values.len() * 2, mem::zeroed());
                }
                continue;
            }
            Some(_) => return Err(error.unwrap_or_else(|| io::ErrorKind::Other.into())),
        };
        let found = attributes.count as usize;
        keys.iter().zip(&values).take(found).for_each(|(key, value)| visit(key, value));
        if last {
            return Ok(());
        }
        first = false;
    }
}
