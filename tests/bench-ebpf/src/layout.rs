//! What the programs and the benchmark agree on. All numbers are in host byte order.

/// Bytes of every frame: an IPv4 packet of 48 bytes. As UDP it carries 20 bytes, as TCP 8 bytes of options.
pub const FRAME: usize = 62;

/// What the generator sends.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plan {
    /// The source of flow number 0.
    pub client: u32,
    /// The destination of flow number 0.
    pub server: u32,
    /// Packet `n` belongs to flow `n % flows` (with `kind` [`TCP`]: see there), from flow `first` on.
    pub flows: u32,
    pub first: u32,
    pub kind: u32,
    /// Whether flows beyond [`CLIENT_PORTS`] go from the next client, rather than to the next server.
    pub one_server: u32,
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
}

/// [`Plan::kind`]: every packet is a UDP packet of its flow.
pub const UDP: u32 = 0;
/// Every flow is a connection: the SYNs of [`CHUNK`] of them, then their ACKs, then their FINs. The
/// reflector answers SYN and FIN.
pub const TCP: u32 = 1;

/// So many connections are opened before the first one goes on, so that the answers are there.
pub const CHUNK: u32 = 4096;

/// An address of a client has flows from this port ...
pub const CLIENT_PORT: u16 = 1024;
/// ... on, so many.
pub const CLIENT_PORTS: u32 = 32_768;
pub const SERVER_PORT: u16 = 9;

/// What a sink expects of every packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Expectation {
    pub source: u32,
    pub source_mask: u32,
    pub destination: u32,
    pub destination_mask: u32,
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    pub ttl: u32,
    /// Whether what came is to be answered, rather than only counted: by a packet with source and
    /// destination exchanged. TCP: see [`TCP`].
    pub reflects: u32,
}

/// The places of a sink: index of its expectation, and of its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Place {
    /// In the gateway's stead, for the cost of all that is not the gateway.
    Gateway = 0,
    Server = 1,
    Client = 2,
}

impl Place {
    pub const COUNT: u32 = 3;
}

/// What became of a packet at a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    Right = 0,
    /// Of these, one in [`SAMPLE`]: with the right checksums.
    Sampled = 1,
    WrongFrame = 2,
    WrongAddress = 3,
    WrongTtl = 4,
    WrongChecksum = 5,
}

impl Outcome {
    pub const COUNT: u32 = 6;
}

/// One packet in so many has its checksums computed.
pub const SAMPLE: u64 = 64;

/// What the floor translates to, and where to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Floor {
    pub external: u32,
    pub outside: Hop,
    pub inside: Hop,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Hop {
    pub ifindex: u32,
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
}

/// Entries of each of the floor's two tables.
pub const FLOOR_SESSIONS: u32 = 1 << 20;
/// The floor hands out ports from this one on, in order, to so many.
pub const FLOOR_PORT: u16 = 1024;
pub const FLOOR_PORTS: u32 = 64_512;
