//! What an instance records about itself for commands that run without its controller.
use crate::{
    limits::{CONFIG_CHUNK_BYTES, INTERFACE_NAME_BYTES, INTERFACES_MAX, RULE_NAME_BYTES},
    rule::Action,
};

/// Version of everything in the maps. Part of the pin folder's name, so that programs of one
/// layout never meet maps of another.
pub const LAYOUT_VERSION: u32 = 11;

/// The single entry of the instance map.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instance {
    /// The network namespace: device and inode number of its file.
    pub netns_device: u64,
    pub netns_inode: u64,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub attached_ns: u64,
    /// CLOCK_MONOTONIC of the controller's last sweep, nanoseconds.
    pub heartbeat_ns: u64,
    /// Sessions there is room for.
    pub max_sessions: u32,
    /// Tuples that can rest at a time.
    pub max_cooling: u32,
    /// Process id of the controller; 0 when it has said good-bye.
    pub controller_pid: u32,
    /// [`COOLING_LOST`] and [`BUFFERS_TAKEN`], or 0.
    pub flags: u32,
    /// Which ways of this host are in force: another number, never 0, whenever a route, a neighbour, a
    /// link or an address has changed. See [`crate::hop`].
    pub ways: u32,
    /// 1 while a controller looks at changes of ways, unless its heartbeat says that it is gone.
    pub follows_ways: u32,
}

impl Instance {
    /// [`Instance::ways`], or 0 if nobody has looked at their changes of late.
    #[inline(always)]
    #[must_use]
    pub const fn ways_followed(&self, now_ns: u64) -> u32 {
        let silent_ns = now_ns.wrapping_sub(self.heartbeat_ns) as i64;
        if self.follows_ways == 0 || silent_ns > HEARTBEAT_MAX_NS { 0 } else { self.ways }
    }
}

/// A controller that has said nothing for longer is not there: it sweeps every two seconds.
pub const HEARTBEAT_MAX_NS: i64 = 10_000_000_000;

/// [`Instance::flags`]: which external tuples rested before the instance was made is not known, since
/// the file that says so could not be used.
pub const COOLING_LOST: u32 = 1;

/// [`Instance::flags`]: every interface with XDP takes redirected frames in several buffers. The kernel
/// drops them without a word where one does not.
pub const BUFFERS_TAKEN: u32 = 2;

/// Role of an interface.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Inside = 1,
    Outside = 2,
}

impl Role {
    /// The name in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
        }
    }
}

/// How packets of an interface reach the data path.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookMode {
    /// TC only.
    Tc = 1,
    /// Native XDP, and TC for what it passes on.
    Xdp = 2,
}

impl HookMode {
    /// The name in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }
}

/// Why packets of an interface reach the data path as they do.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookReason {
    /// The configuration says so.
    Configured = 1,
    /// Every interface can do XDP, as far as is known.
    Able,
    /// Packets come without whole checksums, and longer than any frame: veth, tap.
    PartialChecksums,
    /// Packets may be longer than XDP takes them.
    Mtu,
    /// Another XDP program is there.
    OtherProgram,
    /// The kernel does not say what the driver can (Linux 6.3 does).
    Unknown,
    /// The driver has no native XDP.
    NoNativeXdp,
    /// The driver takes no frames that are redirected from elsewhere.
    NoRedirect,
    /// The driver did not take the program.
    Refused,
    /// Another interface cannot: [`Interface::because_of`].
    OtherInterface,
    /// Forwarded packets are filtered.
    ForwardFilter,
    /// Whether forwarded packets are filtered is not known.
    ForwardFilterUnknown,
    /// A VLAN is on it: the driver may take off tags before XDP sees a frame.
    Vlan,
}

impl HookReason {
    pub const ALL: [Self; 13] = [
        Self::Configured,
        Self::Able,
        Self::PartialChecksums,
        Self::Mtu,
        Self::OtherProgram,
        Self::Unknown,
        Self::NoNativeXdp,
        Self::NoRedirect,
        Self::Refused,
        Self::OtherInterface,
        Self::ForwardFilter,
        Self::ForwardFilterUnknown,
        Self::Vlan,
    ];

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Able => "able",
            Self::PartialChecksums => "partial-checksums",
            Self::Mtu => "mtu",
            Self::OtherProgram => "other-program",
            Self::Unknown => "unknown",
            Self::NoNativeXdp => "no-native-xdp",
            Self::NoRedirect => "no-redirect",
            Self::Refused => "refused",
            Self::OtherInterface => "other-interface",
            Self::ForwardFilter => "forward-filter",
            Self::ForwardFilterUnknown => "forward-filter-unknown",
            Self::Vlan => "vlan",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Configured => "`hook` says so",
            Self::Able => "every interface can do native XDP",
            Self::PartialChecksums => {
                "a veth or tap hands over packets without whole checksums, which XDP cannot see"
            }
            Self::Mtu => "its MTU is larger than XDP takes",
            Self::OtherProgram => "another XDP program is attached to it",
            Self::Unknown => "this kernel does not say what its driver can (Linux 6.3 does)",
            Self::NoNativeXdp => "its driver has no native XDP",
            Self::NoRedirect => "its driver takes no redirected frames",
            Self::Refused => "its driver refused the XDP program",
            Self::OtherInterface => "XDP needs all interfaces, and another one cannot",
            Self::ForwardFilter => "netfilter filters forwarded packets, which XDP would bypass",
            Self::ForwardFilterUnknown => {
                "whether netfilter filters forwarded packets cannot be read (`nft` can)"
            }
            Self::Vlan => {
                "a VLAN is on it, whose tags its driver may take off before XDP sees a frame"
            }
        }
    }

    /// The reason of this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }
}

/// Value of the interface map, by interface index.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Zero-terminated.
    pub name: [u8; INTERFACE_NAME_BYTES],
    /// A [`Role`].
    pub role: u8,
    /// A [`HookMode`].
    pub hook: u8,
    /// Link-layer address: XDP takes frames for this one only.
    pub mac: [u8; 6],
    /// Index of the interface that is the reason; 0 for none.
    pub because_of: u32,
    /// A [`HookReason`].
    pub why: u8,
    pub zero: [u8; 3],
}

/// Value of the device map, by [`Device::place`]: what XDP has to know of an interface for every
/// packet. A place is that of one interface; where two have the same, one of them is not in the map,
/// and the interface map has to be asked.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device {
    /// 0 for none.
    pub ifindex: u32,
    /// A [`Role`].
    pub role: u8,
    pub zero: u8,
    /// Link-layer address.
    pub mac: [u8; 6],
}

impl Device {
    /// Nothing is there.
    pub const NONE: Self = Self { ifindex: 0, role: 0, zero: 0, mac: [0; 6] };

    /// Where an interface is in the map, if it is.
    #[inline(always)]
    #[must_use]
    pub const fn place(ifindex: u32) -> u32 {
        ifindex % INTERFACES_MAX
    }
}

/// Value of the rule name map, by rule identity: zero-terminated UTF-8, empty when free.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleName(pub [u8; RULE_NAME_BYTES]);

/// Value of the configuration info map, by slot: what the configuration map holds there.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigInfo {
    /// Length of the text; 0 for none.
    pub bytes: u32,
    /// Where the text came from, zero-terminated UTF-8.
    pub name: [u8; CONFIG_NAME_BYTES],
}

/// Bytes of a configuration's name: the longest path, and its end.
pub const CONFIG_NAME_BYTES: usize = 4096;

/// Value of the configuration map: a part of the text.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigChunk(pub [u8; CONFIG_CHUNK_BYTES]);

/// The text before the first zero byte; what is not UTF-8 reads as empty.
#[must_use]
pub fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    bytes.get(..end).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// A name as stored, or nothing if it leaves no room for the terminating zero.
#[must_use]
pub fn stored<const N: usize>(name: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if name.len() >= N {
        return None;
    }
    bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    Some(bytes)
}

impl Action {
    /// The name in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Drop => "drop",
            Self::Snat => "snat",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_numbers_and_names_of_their_own() {
        for (at, reason) in HookReason::ALL.into_iter().enumerate() {
            assert_eq!(HookReason::from_number(at as u8 + 1), Some(reason));
            let same = HookReason::ALL.iter().filter(|one| one.name() == reason.name());
            assert_eq!(same.count(), 1, "{reason:?}");
        }
        assert_eq!(HookReason::from_number(0), None);
        assert_eq!(HookReason::from_number(14), None);
    }

    #[test]
    fn names_come_back_and_need_room_for_their_end() {
        assert_eq!(text(&stored::<16>("wan0").unwrap()), "wan0");
        assert_eq!(text(&stored::<5>("wan0").unwrap()), "wan0");
        assert_eq!(stored::<4>("wan0"), None);
        assert_eq!(text(b"\xff\0"), "");
    }
}
