//! What the controller sets and the data path reads for every new session or refresh.
use crate::{
    cooldown::Cooldown,
    external::Span,
    flow::{Direction, Protocol},
    limit::ClientLimits,
    tcp,
};

/// The single entry of the control map: which rule table is in force.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Control {
    /// Grows by one with each table; 0 before the first. Tables are stored at [`slot`].
    pub generation: u32,
    pub zero: u32,
}

/// Tables stored side by side: the one in force and the one being written.
pub const SLOTS: u32 = 2;

/// Where the per-table maps hold a generation's table.
#[inline(always)]
#[must_use]
pub const fn slot(generation: u32) -> u32 {
    generation % SLOTS
}

/// Settings of a rule table.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Idle time after which a session ends, in nanoseconds, by [`Lifetime`].
    pub timeout_ns: [u64; Lifetime::COUNT],
    pub cooldown: Cooldown,
    pub clients: ClientLimits,
    /// The [`crate::rule::Action`] for packets that no rule matches; `snat` is not allowed here.
    pub unmatched: u8,
    /// Whether some network names its interfaces, so that sources are looked at: see
    /// [`crate::guard`]. 0 or 1.
    pub guarded: u8,
    /// What happens to packets that this machine sends with another interface's address. 0: they
    /// are counted. 1: they are dropped.
    pub enforce_strong_send: u8,
    pub zero: [u8; 7],
    /// The [`crate::rule::Rule::port_set`] that was given last.
    pub port_sets: u16,
    /// The table from which on what is known of ports ([`crate::hint`]) holds under these settings, too:
    /// no wait and no timeout has become shorter since.
    pub hints_since: u32,
    /// The addresses of [`crate::external`].
    pub externals: Span,
}

/// Remote UDP port of DNS, whose exchanges are over after one answer.
pub const DNS_PORT: u16 = 53;

/// Which timeout a session has.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// `tcp_opening`: RFC 5382 REQ-5 and RFC 7857 section 2.1, at least 4 minutes.
    TcpOpening = 0,
    /// `tcp_established`: RFC 5382 REQ-5, at least 2 hours 4 minutes.
    TcpEstablished = 1,
    /// `tcp_closing`: RFC 7857 section 2.1 and 2.2, at least 4 minutes.
    TcpClosing = 2,
    /// `udp`: RFC 4787 REQ-5, at least 2 minutes, 5 or more recommended.
    Udp = 3,
    /// `udp_dns`: RFC 4787 REQ-5a allows less for well-known ports.
    UdpDns = 4,
    /// `icmp`: RFC 5508 REQ-2, at least 60 seconds.
    Icmp = 5,
}

impl Lifetime {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// The lifetime of a new session.
    #[inline(always)]
    #[must_use]
    pub const fn initial(protocol: Protocol, remote_port: u16) -> Self {
        match protocol {
            Protocol::Tcp => Self::TcpOpening,
            Protocol::Udp if remote_port == DNS_PORT => Self::UdpDns,
            Protocol::Udp => Self::Udp,
            Protocol::Icmp => Self::Icmp,
        }
    }

    /// The lifetime of a TCP session in a state.
    #[inline(always)]
    #[must_use]
    pub const fn of_tcp(state: tcp::State) -> Self {
        match state {
            tcp::State::Init => Self::TcpOpening,
            // Half-closed connections may carry data for hours.
            tcp::State::Established | tcp::State::ClientFin | tcp::State::ServerFin => {
                Self::TcpEstablished
            }
            tcp::State::BothFin | tcp::State::Transitory => Self::TcpClosing,
        }
    }

    /// The lifetime of a stored number; unknown numbers give the shortest.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::TcpOpening,
            1 => Self::TcpEstablished,
            2 => Self::TcpClosing,
            3 => Self::Udp,
            5 => Self::Icmp,
            _ => Self::UdpDns,
        }
    }

    /// Whether a packet of this direction moves the deadline. An inbound packet alone keeps no UDP
    /// or ICMP session open: it could come from an attacker (RFC 4787 REQ-6, RFC 7857 section 7).
    #[inline(always)]
    #[must_use]
    pub const fn refreshed_by(self, direction: Direction) -> bool {
        match direction {
            Direction::Outbound => true,
            Direction::Inbound => {
                matches!(self, Self::TcpOpening | Self::TcpEstablished | Self::TcpClosing)
            }
        }
    }
}

impl Settings {
    /// Idle time of a lifetime, nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn timeout_ns(&self, lifetime: Lifetime) -> u64 {
        self.timeout_ns[lifetime as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_the_lifetimes_they_are() {
        for number in 0..Lifetime::COUNT as u8 {
            assert_eq!(Lifetime::from_number(number) as u8, number);
        }
        assert_eq!(Lifetime::from_number(200), Lifetime::UdpDns);
    }

    #[test]
    fn rfc4787_req6_inbound_packets_alone_refresh_only_tcp() {
        for lifetime in (0..Lifetime::COUNT as u8).map(Lifetime::from_number) {
            let tcp = (lifetime as u8) < Lifetime::Udp as u8;
            assert_eq!(lifetime.refreshed_by(Direction::Inbound), tcp, "{lifetime:?}");
            assert!(lifetime.refreshed_by(Direction::Outbound));
        }
    }

    #[test]
    fn only_udp_to_port_53_is_dns() {
        assert_eq!(Lifetime::initial(Protocol::Udp, 53), Lifetime::UdpDns);
        assert_eq!(Lifetime::initial(Protocol::Udp, 54), Lifetime::Udp);
        assert_eq!(Lifetime::initial(Protocol::Tcp, 53), Lifetime::TcpOpening);
    }
}
