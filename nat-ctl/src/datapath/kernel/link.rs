//! What aya does not offer for links: their interface (BPF_OBJ_GET_INFO_BY_FD), and an end at once
//! (BPF_LINK_DETACH).
use std::{io, os::fd::AsRawFd, path::Path};

use aya::programs::links::{FdLink, PinnedLink};

/// `BPF_OBJ_GET_INFO_BY_FD` of `enum bpf_cmd` (include/uapi/linux/bpf.h).
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;

/// `BPF_LINK_DETACH`, likewise.
const BPF_LINK_DETACH: libc::c_int = 34;

/// The `info` member of `union bpf_attr`.
#[repr(C)]
struct Attributes {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The start of `struct bpf_link_info`. XDP and TCX links both have the interface first in the
/// union that follows.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    prog_id: u32,
    union_alignment: u32,
    ifindex: u32,
    rest: [u32; 11],
}

/// Opens a pinned link.
pub fn open(path: &Path) -> Option<FdLink> {
    Some(PinnedLink::from_pin(path).ok()?.into())
}

/// Index of the interface that a pinned link is attached to; 0 if that is gone.
pub fn interface_index(path: &Path) -> io::Result<u32> {
    // A descriptor of our own: aya's links do not show theirs.
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    let fd = object(&path)?;
    let mut info = Info::default();
    let mut attributes = Attributes {
        bpf_fd: fd.as_raw_fd() as u32,
        info_len: size_of::<Info>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw mut attributes,
            size_of::<Attributes>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(info.ifindex) }
}

/// Takes the program of a pinned XDP link away at once. Removing the pin alone does so when the kernel
/// gets round to it, and until then no other program can be attached.
pub fn detach(path: &Path) -> io::Result<()> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    let fd = object(&path)?;
    let link_fd = fd.as_raw_fd() as u32;
    // SAFETY: the kernel reads the four bytes of the descriptor, which outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_LINK_DETACH, &raw const link_fd, size_of::<u32>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `BPF_OBJ_GET`: the object behind a pin.
fn object(path: &std::ffi::CStr) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;

    const BPF_OBJ_GET: libc::c_int = 7;
    #[repr(C)]
    struct Attributes {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    let mut attributes = Attributes { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the path is a string with an end and outlives the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw mut attributes, size_of::<Attributes>())
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd as libc::c_int) })
}
