//! What a packet without a session asks for, and the memory for what is worked out of it.
//!
//! In a map: it would not fit on the 512 bytes of stack beside the established packet's path.
use core::ptr::write_volatile;

use aya_ebpf::{macros::map, maps::PerCpuArray};
use nat_common::{
    addr::Ipv4,
    flow::FlowKey,
    hint::Hint,
    limit::Client,
    mapping::Uses,
    port::Candidates,
    ports::Ports,
    session::{Birth, Session},
    tcp,
    verdict::Verdict,
};

use crate::{
    entry::Translation,
    hook::Weight,
    stage::{classify::Matched, port::Tried, pressure::Pressed},
};

/// Result of the kernel's map update for a key that is there already (`-EEXIST`).
pub const EXISTS: i32 = -17;

/// What a packet asks for, and the working memory for the answer.
pub struct Request {
    pub source: Ipv4,
    pub destination: Ipv4,
    /// IANA number.
    pub protocol: u8,
    pub flags: tcp::Flags,
    /// The session of this flow that is still in the maps.
    pub before: Before,
    /// Whether that is to be removed if its time is up: the packet is for a new one.
    pub instead: bool,
    /// Whether the hook is early: see [`crate::hook::Hook::EARLY`].
    pub early: bool,
    /// Whether this machine itself sends the packet.
    pub own: bool,
    /// Number of the [`Verdict`] that says why the packet cannot be translated, or
    /// [`TRANSLATABLE`].
    pub untranslatable: u8,
    /// The flow, if the packet can be translated.
    pub key: FlowKey,
    /// Index of the interface by which the packet leaves.
    pub egress: u32,
    pub weight: Weight,
    pub now_ns: u64,

    /// The answer.
    pub to: Translation,

    /// The rule that covers the packet.
    pub matched: Matched,

    /// The external address, and the walk over the rule's ports on it.
    pub external: Ipv4,
    /// Whether the packet takes part in the rule's pool with the address that it has, and is not
    /// covered by the rule otherwise: see [`own::pool`].
    pub joins: bool,
    /// Whether it is to keep its port, if nobody has it: see [`port::claim_port`].
    pub keeps: bool,
    /// A [`Pooling`].
    pub pooling: u8,
    pub candidates: Candidates,
    /// Number of the rule's ports: [`Rule::port_set`].
    pub port_set: u16,
    pub rule: u32,
    pub generation: u32,
    /// The [`nat_common::hint::destination`] of the external address.
    pub toward: u64,
    /// The external endpoint that is being claimed.
    pub claim: FlowKey,
    /// Whether another CPU has claimed it for this very flow, and makes the session.
    pub theirs: bool,
    /// What became of the last try, the result of its insertion, and why it failed.
    pub tried: Tried,
    pub result: i32,
    pub truth: Hint,
    /// Whether anybody asks why it failed: a search does, chance does not.
    pub learns: bool,
    pub pressed: Pressed,
    /// The session that holds [`Request::claim`] although its time is up.
    pub occupant: FlowKey,
    pub birth: Birth,
    /// The client, if it is a new one.
    pub client: Client,
    /// The entry that is being written. A way on is never written into this one.
    pub entry: Session,
}

impl Request {
    /// The ports of the rule that covers the packet. Not copied: they are larger than all that is looked
    /// at of them.
    #[inline(always)]
    pub fn ports(&self) -> Result<&'static Ports, Verdict> {
        self.matched.rule().map(|rule| &rule.ports)
    }

    /// Writes the entry that is the claim on [`Request::claim`].
    #[inline(always)]
    pub fn write_claim(&mut self) {
        let inside = (self.key.local, self.key.local_port);
        self.entry.begin(&self.claim, inside, &self.birth, self.now_ns);
        self.has_carried(0, 0);
    }

    /// Writes the outbound entry of what has been claimed, whose packets so far are of this weight.
    #[inline(always)]
    pub fn write_outbound(&mut self, packets: u64, bytes: u64) {
        let to = (self.claim.local, self.claim.local_port);
        self.entry.begin(&self.key, to, &self.birth, self.now_ns);
        self.has_carried(packets, bytes);
    }

    #[inline(always)]
    fn has_carried(&mut self, packets: u64, bytes: u64) {
        // Volatile, because two zeros side by side become a call of a function that writes them byte by
        // byte.
        // SAFETY: this CPU's own copy.
        unsafe {
            write_volatile(&raw mut self.entry.packets, packets);
            write_volatile(&raw mut self.entry.bytes, bytes);
        }
    }

    /// Whether what has been claimed is what a packet of this machine has anyway.
    #[inline(always)]
    pub fn keeps_its_port(&self) -> bool {
        self.keeps && self.claim.local_port == self.key.local_port
    }

    /// Whether its session uses a mapping.
    #[inline(always)]
    pub fn maps(&self) -> bool {
        self.birth.uses != Uses::NOTHING
    }
}

/// What is left of a flow's last session.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// Its time is up.
    Ended,
    /// Its connection is over, and this packet opens another one.
    Closing,
}

/// [`Request::untranslatable`] of a packet that can be translated.
pub const TRANSLATABLE: u8 = u8::MAX;

/// One request a CPU: the programs of a CPU do not interrupt each other.
#[map]
static REQUEST: PerCpuArray<Request> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's request. Take it anew after every call that takes it, too: there is one memory
/// behind all of these references.
#[inline(always)]
pub fn request() -> Result<&'static mut Request, Verdict> {
    // SAFETY: this CPU's own copy, and the references do not overlap in use, as said above.
    REQUEST.get_ptr_mut(0).map(|request| unsafe { &mut *request }).ok_or(Verdict::NotConfigured)
}

/// Why the kernel would not insert an entry: there is no room (`-E2BIG`, `-ENOMEM`), or its bucket
/// is busy.
#[inline(always)]
pub fn refused(error: i32) -> Verdict {
    match error {
        -7 | -12 => Verdict::TableFull,
        _ => Verdict::Contended,
    }
}
