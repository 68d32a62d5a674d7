//! What nat-ctl's data path and control plane agree on: the types in the BPF maps and every
//! decision that needs no packet, pointer or system call.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | inside, outside | where clients live; where translated packets leave |
//! | outbound, inbound | a packet's direction: from inside to outside, and back |
//! | local endpoint | the gateway's side of a flow as a packet shows it: the inside endpoint outbound, the external endpoint inbound |
//! | remote endpoint | the server's side, the same in both directions |
//! | session | one translated flow: two [`session::Session`] entries, one a direction |
//! | rule | ordered, first match wins; see [`rule`] |
//! | pool | the external addresses that a rule may use on one outside interface |
//! | verdict | the one named way in which a packet ends; see [`verdict`] |
//!
//! Everything here compiles for the BPF target: no allocation, no panic, no 128-bit arithmetic.
//! Addresses and ports are kept in network byte order behind accessors ([`addr`]).
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(feature = "user"), forbid(unsafe_code))]

pub mod addr;
pub mod checksum;
pub mod cooldown;
pub mod external;
pub mod flow;
pub mod fragment;
pub mod guard;
pub mod hint;
pub mod hop;
pub mod icmp;
pub mod instance;
pub mod limit;
pub mod limits;
pub mod mapping;
pub mod mark;
pub mod mss;
pub mod packet;
pub mod pool;
pub mod port;
pub mod ports;
pub mod refusal;
pub mod rewrite;
pub mod rule;
pub mod session;
pub mod settings;
pub mod source;
pub mod stats;
pub mod tcp;
pub mod verdict;

/// Marks shared types as plain bytes for aya: `#[repr(C)]`, no padding, every bit pattern valid.
#[cfg(feature = "user")]
macro_rules! pod {
    ($($type:ty),+ $(,)?) => {
        $(
            // SAFETY: the type is `repr(C)` or `repr(transparent)` over integers and arrays of
            // them, without implicit padding (tests/layout.rs adds up its fields).
            unsafe impl aya::Pod for $type {}
        )+
    };
}

#[cfg(feature = "user")]
pod!(
    addr::Ipv4,
    cooldown::Cooldown,
    cooldown::CooldownCounters,
    cooldown::Rested,
    cooldown::Resting,
    external::ExternalKey,
    external::ExternalPorts,
    flow::FlowKey,
    fragment::Datagram,
    fragment::FragmentKey,
    guard::Guard,
    guard::LocalKey,
    hint::Chunk,
    hint::Place,
    instance::ConfigChunk,
    instance::ConfigInfo,
    instance::Device,
    instance::Instance,
    instance::Interface,
    instance::RuleName,
    limit::Bucket,
    limit::Client,
    limit::ClientLimits,
    limit::Counts,
    mapping::Mapping,
    mapping::Owner,
    mapping::Shared,
    pool::Pool,
    pool::PoolKey,
    ports::Ports,
    rule::PrefixKey,
    rule::Rule,
    rule::RuleBits,
    session::Session,
    settings::Control,
    settings::Settings,
    source::ChoiceKey,
    source::Choice,
    stats::Counter,
    stats::RuleCounters,
);
