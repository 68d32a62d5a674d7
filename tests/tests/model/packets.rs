//! Packets that mean something to the sessions there are, and packets that mean nothing.
mod fields;

use std::net::Ipv4Addr;

use nat_common::{flow::Direction, stats::Hook};
use nat_tests::{
    lab::topology::{EXTERNAL, INSIDE},
    model::{
        Model, Origin,
        flow::{Endpoint, Flow, Protocol},
        packet::tcp_flags::{ACK, FIN, RST, SYN},
    },
};

use super::{
    common::bench::EXTERNAL2,
    frames::{Plan, Transport},
    generate::{Generator, Kind, Step},
    world::{CLIENTS, ODD_DESTINATIONS, SERVERS, STRANGERS},
};

impl Generator {
    pub(super) fn packet(&mut self, model: &Model) -> Step {
        if self.choice.below(10) == 0
            && let Some((inbound, plan)) = self.next_part()
        {
            return self.step(inbound, &plan);
        }
        if let Some((flow, external)) = self.wanted {
            if self.choice.one_in(6) {
                self.wanted = None;
            }
            let plan = self.rival(flow, external);
            return self.step(false, &plan);
        }
        if let Some(client) = self.eager {
            if self.choice.one_in(12) {
                self.eager = None;
            }
            let plan = Plan { source: client, ..self.fresh() };
            return self.step(false, &plan);
        }
        if let Some((flow, external)) = self.followed
            && self.choice.one_in(3)
        {
            if self.choice.one_in(10) {
                self.followed = None;
            }
            let (inbound, plan) = self.late(flow, external, model);
            return self.step(inbound, &plan);
        }
        let one_in = if self.turned.is_some() { 3 } else { 12 };
        if self.choice.one_in(one_in)
            && let Some(plan) = self.hairpin(model)
        {
            let (hook, origin) = (Hook::TcInside, Origin::Link);
            return Step::Packet { hook, segments: 0, origin, frame: plan.build() };
        }
        let known = self.some_known();
        let mut quoted = None;
        let (inbound, mut plan) = match (self.choice.below(100), known) {
            (0..10, Some((flow, external))) => {
                let inbound = self.choice.one_in(2);
                let (plan, packet) = self.error(flow, external, inbound, model);
                quoted = Some(packet);
                (inbound, plan)
            }
            (10..34, Some((flow, external))) => {
                let plan = self.more(flow, model);
                self.follow(&plan, flow, external);
                (false, plan)
            }
            (34..62, Some((flow, external))) => {
                let plan = self.reply(flow, external, model);
                self.follow(&plan, flow, external);
                (true, plan)
            }
            (62..70, _) => (true, self.unsolicited()),
            (70..73, _) => (false, self.stray()),
            (73..78, _) if self.sends_own() => (false, self.of_the_gateway()),
            (78..82, Some((flow, external))) if self.sends_own() => {
                (false, self.more(flow.with_local(external), model))
            }
            _ => (false, self.fresh()),
        };
        self.dress(&mut plan);
        if let Some(packet) = quoted {
            plan.payload = packet;
        }
        if self.choice.below(15) == 0 {
            self.first_part(inbound, &mut plan);
        }
        self.step(inbound, &plan)
    }

    /// Lets more follow of a connection that a packet may end.
    fn follow(&mut self, plan: &Plan, flow: Flow, external: Endpoint) {
        if let Transport::Tcp { flags, .. } = plan.transport
            && flags & (FIN | RST) != 0
        {
            self.followed = Some((flow, external));
        }
    }

    fn step(&mut self, inbound: bool, plan: &Plan) -> Step {
        let mut frame = plan.build();
        self.mangle(&mut frame);
        let origin = self.origin(inbound, plan);
        let early = match self.kind {
            Kind::Tc => false,
            Kind::Xdp => true,
            Kind::Mixed => origin == Origin::Link && self.choice.one_in(2),
        };
        let hook = match (early, inbound) {
            (false, false) => Hook::TcEgress,
            (false, true) => Hook::TcIngress,
            (true, false) => Hook::XdpInside,
            (true, true) => Hook::XdpOutside,
        };
        let segments = if !early && self.choice.one_in(20) { 45 } else { 0 };
        Step::Packet { hook, segments, origin, frame }
    }

    /// Whether the gateway itself can send something: XDP does not see that.
    fn sends_own(&self) -> bool {
        self.kind != Kind::Xdp
    }

    /// Who sends a packet: what has an address of the gateway is its own, mostly.
    fn origin(&mut self, inbound: bool, plan: &Plan) -> Origin {
        let gateways = [EXTERNAL, EXTERNAL2, INSIDE].contains(&plan.source);
        let other_one_in = if gateways { 10 } else { 50 };
        let own = gateways != self.choice.one_in(other_one_in);
        if own && !inbound && self.sends_own() { Origin::Own } else { Origin::Link }
    }

    /// From the gateway: what it begins, or answers, from ports that rules use and others.
    fn of_the_gateway(&mut self) -> Plan {
        let server = self.choice.of(&SERVERS);
        let own = self.choice.of(&[EXTERNAL, EXTERNAL, EXTERNAL, EXTERNAL2, INSIDE]);
        let first = self.choice.of(&[1, 4000, 4000, 5000, 6000]);
        let from = first + self.choice.below(9) as u16;
        let to = self.choice.of(&[53, 80, 443, 3478]);
        let transport = match self.choice.below(10) {
            0..4 => Transport::Tcp { from, to, flags: SYN, place: self.anywhere() },
            4..7 => Transport::Udp { from, to },
            7 => Transport::Icmp { kind: 8, identifier: from },
            8 => Transport::Icmp { kind: 0, identifier: from },
            _ => Transport::Tcp { from, to, flags: self.flags(), place: self.anywhere() },
        };
        Plan::new(own, server, transport)
    }

    /// Makes a packet the first fragment of a longer one.
    fn first_part(&mut self, inbound: bool, plan: &mut Plan) {
        /// Packets in parts at a time.
        const PACKETS: u64 = 6;
        plan.fragment = 0x2000;
        plan.id = self.choice.below(3) as u16;
        plan.payload.truncate(40);
        if !self.choice.one_in(10) {
            plan.even();
        }
        if self.in_parts.len() < PACKETS as usize {
            self.in_parts.push((inbound, plan.clone()));
        } else {
            let at = self.choice.below(PACKETS) as usize;
            self.in_parts[at] = (inbound, plan.clone());
        }
    }

    /// Another fragment of a packet, behind the first one or over it.
    fn next_part(&mut self) -> Option<(bool, Plan)> {
        let count = self.in_parts.len() as u64;
        let at = if count == 0 { return None } else { self.choice.below(count) as usize };
        let (inbound, first) = self.in_parts[at].clone();
        let mut plan = first;
        if self.choice.one_in(8) {
            // The same again, or with less behind it.
            plan.payload.truncate(self.choice.of(&[0, 8, 16, 40]));
            return Some((inbound, plan));
        }
        plan.transport = Transport::Other(plan.protocol());
        let units = 1 + self.choice.below(3);
        plan.payload = vec![self.choice.bits() as u8; units as usize * 8];
        // Here and there: bytes that are not counted in eights, and parts far behind the others.
        if self.choice.one_in(6) {
            plan.payload.pop();
        }
        let offset = match self.choice.below(20) {
            0 => 8180 + self.choice.below(12),
            _ => 1 + self.choice.below(12),
        };
        let more = if self.choice.one_in(3) { 0 } else { 0x2000 };
        plan.fragment = more | offset as u16;
        Some((inbound, plan))
    }

    /// From inside to what may be a client's external endpoint, and now and then to anything else.
    fn hairpin(&mut self, model: &Model) -> Option<Plan> {
        let lately = self.turned;
        if self.choice.one_in(6) {
            self.turned = None;
        }
        let (flow, external) = lately.or_else(|| self.some_known())?;
        let protocol = flow.protocol;
        let client = if self.choice.one_in(6) { STRANGERS[0] } else { self.choice.of(&CLIENTS) };
        let anybody = (client, 5000 + self.choice.below(12) as u16);
        let mut mapped: Vec<_> = model.mappings.all().collect();
        mapped.retain(|(key, _)| key.protocol == protocol);
        mapped.sort_unstable_by_key(|(key, _)| (key.inside, key.address, key.range));
        let (source, mut to) = match self.choice.below(7) {
            0 => (anybody, external),
            1 => (self.some_known()?.0.local, external),
            2 => (flow.local, flow.remote),
            3 => (flow.local, self.some_known()?.1),
            4 | 5 if !mapped.is_empty() => {
                let (from, (key, mapping)) = (self.choice.of(&mapped).0, self.choice.of(&mapped));
                (from.inside, (key.address, mapping.port))
            }
            // The one that it has been sent to answers.
            _ => {
                let owner = model.mappings.owner(protocol, flow.remote);
                (owner.map_or(anybody, |owner| owner.inside), external)
            }
        };
        if self.choice.one_in(20) {
            to.1 = to.1.wrapping_add(1);
        }
        let flow = Flow { protocol, local: source, remote: to };
        let transport = match protocol {
            Protocol::Icmp => Transport::Icmp { kind: 8, identifier: source.1 },
            Protocol::Udp => Transport::Udp { from: source.1, to: to.1 },
            Protocol::Tcp => {
                let flags = if self.choice.one_in(2) { SYN } else { self.flags() };
                let place = self.place(model, &flow, Direction::Outbound, flags);
                Transport::Tcp { from: source.1, to: to.1, flags, place }
            }
        };
        let mut plan = Plan::new(source.0, to.0, transport);
        plan.payload = vec![7; self.choice.below(24) as usize];
        match self.choice.below(24) {
            0 => plan.ttl = self.choice.of(&[0, 1, 2]),
            1 | 4 => plan.payload.resize(self.choice.of(&[1360, 1364, 1365, 1376, 1377, 1400]), 1),
            2 => plan.damage.1 = self.choice.bits() as u16,
            3 => plan.no_checksum = true,
            _ => {}
        }
        Some(plan)
    }

    /// A flow from anybody to anybody, new or not.
    fn fresh(&mut self) -> Plan {
        let client = self.choice.of(&CLIENTS);
        let server = self.choice.of(&SERVERS);
        let from = 5000 + self.choice.below(12) as u16;
        let to = self.choice.of(&[53, 80, 443, 3478]);
        let transport = match self.choice.below(10) {
            0..4 => Transport::Tcp { from, to, flags: SYN, place: self.anywhere() },
            4..8 => Transport::Udp { from, to },
            8 => Transport::Icmp { kind: 8, identifier: from },
            _ => Transport::Tcp { from, to, flags: self.flags(), place: self.anywhere() },
        };
        Plan::new(client, server, transport)
    }

    /// Another flow to the same remote endpoint.
    fn rival(&mut self, flow: Flow, external: Endpoint) -> Plan {
        let client = self.choice.of(&CLIENTS);
        let from = 5000 + self.choice.below(60) as u16;
        let (client, from) =
            if self.sends_own() && self.choice.one_in(5) { external } else { (client, from) };
        let to = flow.remote.1;
        let transport = match flow.protocol {
            Protocol::Icmp => Transport::Icmp { kind: 8, identifier: from },
            Protocol::Tcp => Transport::Tcp { from, to, flags: SYN, place: self.anywhere() },
            Protocol::Udp => Transport::Udp { from, to },
        };
        Plan::new(client, flow.remote.0, transport)
    }

    /// More of a session from inside.
    fn more(&mut self, flow: Flow, model: &Model) -> Plan {
        let transport = match flow.protocol {
            Protocol::Icmp => Transport::Icmp { kind: 8, identifier: flow.local.1 },
            Protocol::Tcp => {
                let (from, to, flags) = (flow.local.1, flow.remote.1, self.flags());
                let place = self.place(model, &flow, Direction::Outbound, flags);
                Transport::Tcp { from, to, flags, place }
            }
            Protocol::Udp => Transport::Udp { from: flow.local.1, to: flow.remote.1 },
        };
        Plan::new(flow.local.0, flow.remote.0, transport)
    }

    /// An answer to a session, or what could be mistaken for one.
    fn reply(&mut self, flow: Flow, (address, port): Endpoint, model: &Model) -> Plan {
        let port = if self.choice.one_in(20) { port.wrapping_add(1) } else { port };
        let mut remote = flow.remote;
        // Somebody else, whom the filter may let in.
        if self.choice.one_in(12) {
            remote.0 = self.choice.of(&SERVERS);
        }
        if self.choice.one_in(8) && flow.protocol != Protocol::Icmp {
            remote.1 = self.choice.of(&[53, 80, 443, 3478, 4001, 4002]);
        }
        let kind = if self.choice.one_in(20) { 8 } else { 0 };
        let transport = match flow.protocol {
            Protocol::Icmp => Transport::Icmp { kind, identifier: port },
            Protocol::Tcp => {
                let flags = self.flags();
                let place = self.place(model, &flow, Direction::Inbound, flags);
                Transport::Tcp { from: remote.1, to: port, flags, place }
            }
            Protocol::Udp => Transport::Udp { from: remote.1, to: port },
        };
        Plan::new(remote.0, address, transport)
    }

    /// More of a connection, and mostly what counts.
    fn late(&mut self, flow: Flow, external: Endpoint, model: &Model) -> (bool, Plan) {
        let session = model.sessions.get(&flow);
        let connection = session.and_then(|session| session.connection);
        let (inbound, flags) = match connection {
            // The answer to the SYN that there was.
            Some(connection) if !connection.answered && !self.choice.one_in(8) => {
                let flags = self.choice.weighted(&[(6, SYN | ACK), (1, SYN), (1, RST | ACK)]);
                (!connection.from_outside, flags)
            }
            _ => {
                let flags = self.choice.weighted(&[(4, FIN | ACK), (4, ACK), (1, RST)]);
                (self.choice.one_in(2), flags)
            }
        };
        let from = if inbound { Direction::Inbound } else { Direction::Outbound };
        let mut place = self.anywhere();
        if let Some((own, peer)) = session.and_then(|session| session.streams(from)) {
            place.sequence = own.next.or(peer.heard).unwrap_or(place.sequence);
            place.acknowledgement = peer.next.or(own.heard).unwrap_or(place.acknowledgement);
        }
        let (near, remote) = (flow.local, flow.remote);
        let (source, destination) = if inbound { (remote, external) } else { (near, remote) };
        let transport = Transport::Tcp { from: source.1, to: destination.1, flags, place };
        (inbound, Plan::new(source.0, destination.0, transport))
    }

    /// An error about a packet of a session, as the error's sender saw it; and what it quotes.
    fn error(
        &mut self,
        flow: Flow,
        external: Endpoint,
        inbound: bool,
        model: &Model,
    ) -> (Plan, Vec<u8>) {
        let mut packet = if inbound {
            self.more(flow.with_local(external), model)
        } else {
            self.reply(flow, flow.local, model)
        };
        if self.choice.one_in(20) {
            packet.transport = self.any_transport();
        }
        self.dress(&mut packet);
        let mut quoted = packet.build().split_off(14);
        let keep = match self.choice.below(8) {
            0 => self.choice.below(60) as usize,
            1..4 => 28,
            _ => 28 + self.choice.below(600) as usize,
        };
        quoted.truncate(keep);
        if self.choice.one_in(20) && !quoted.is_empty() {
            let at = self.choice.below(quoted.len() as u64) as usize;
            quoted[at] ^= 1 << self.choice.below(8);
        }
        // The length field of RFC 4884 stands where an echo has its identifier.
        let identifier = match self.choice.below(12) {
            0 => self.choice.below(40) as u16,
            1 => {
                quoted.resize(140, 0);
                32
            }
            _ => 0,
        };
        let kind = self.choice.of(&[3, 3, 3, 3, 11, 11, 12, 4, 5]);
        let mut to = packet.source;
        if self.choice.one_in(20) {
            to = self.choice.of(&SERVERS);
        }
        let senders: &[Ipv4Addr] = if inbound { &SERVERS } else { &CLIENTS };
        let mut from = self.choice.of(senders);
        // The gateway's own stack.
        if !inbound && self.choice.one_in(4) {
            from = EXTERNAL;
        }
        (Plan::new(from, to, Transport::Icmp { kind, identifier }), quoted)
    }

    /// From outside to wherever.
    fn unsolicited(&mut self) -> Plan {
        let server = self.choice.of(&SERVERS);
        let destination = match self.choice.below(4) {
            0 => self.choice.of(&CLIENTS),
            1 => self.choice.of(&[EXTERNAL, EXTERNAL2]),
            2 => self.choice.of(&ODD_DESTINATIONS),
            _ => self.choice.of(&SERVERS),
        };
        let transport = self.any_transport();
        Plan::new(server, destination, transport)
    }

    /// From inside by those, or to those, that no rule knows.
    fn stray(&mut self) -> Plan {
        let clients: [&[Ipv4Addr]; 2] = [&CLIENTS, &STRANGERS];
        let servers: [&[Ipv4Addr]; 2] = [&SERVERS, &ODD_DESTINATIONS];
        let (clients, servers) = (self.choice.of(&clients), self.choice.of(&servers));
        let (client, server) = (self.choice.of(clients), self.choice.of(servers));
        let transport = self.any_transport();
        Plan::new(client, server, transport)
    }
}
