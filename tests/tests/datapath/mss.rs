//! Maximum segment sizes are lowered where a rule says so, in both directions.
use std::net::Ipv4Addr;

use etherparse::{PacketBuilder, TcpHeader, TcpHeaderSlice, TcpOptionElement as Element};
use nat_common::{stats::Hook, verdict::Verdict};
use nat_ctl::config::{Action, Mss};

use super::{
    bench::{BOTH, Bench, Hooks, INTERNET},
    frames::{self, ACK, CLIENT, GATEWAY, GATEWAY_MAC, SERVER, SYN},
};

/// The usual rule with this limit. The bench says of its outside interface that it carries 1400 bytes.
fn bench(mss: Mss) -> Bench {
    let mut bench = Bench::without_rules(64);
    bench.apply_changed(INTERNET, Vec::new(), |config| {
        let Action::Snat(snat) = &mut config.rules[0].action else { panic!("no snat rule") };
        snat.mss = mss;
    });
    bench
}

/// A TCP frame with these options.
fn tcp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: u8, options: &[Element]) -> Vec<u8> {
    let mut header = TcpHeader::new(from.1, to.1, 1000, 1024);
    (header.syn, header.ack) = (flags & SYN != 0, flags & ACK != 0);
    header.set_options(options).unwrap();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], GATEWAY_MAC)
        .ipv4(from.0.octets(), to.0.octets(), frames::TTL)
        .tcp_header(header)
        .write(&mut frame, b"")
        .unwrap();
    frame
}

/// The options of a frame whose checksums are right.
fn options(frame: &[u8]) -> Vec<Element> {
    frames::read(frame);
    let tcp = TcpHeaderSlice::from_slice(&frame[34..]).unwrap();
    tcp.options_iterator().map(Result::unwrap).collect()
}

/// What a client's SYN and the server's answer look like on the other side.
fn handshake(bench: &Bench, hooks: Hooks, sent: &[Element]) -> [Vec<Element>; 2] {
    let seen = bench.send(hooks.out, &tcp((CLIENT, 5000), (SERVER, 80), SYN, sent));
    assert_eq!(seen.verdict, Verdict::TranslatedOut);
    let external = frames::read(&seen.frame).source;
    let answer = tcp((SERVER, 80), external, SYN | ACK, sent);
    let answered = bench.send(hooks.inbound, &answer);
    assert_eq!(answered.verdict, Verdict::TranslatedIn);
    [options(&seen.frame), options(&answered.frame)]
}

#[test]
fn a_syn_and_its_answer_say_no_more_than_the_rule() {
    for hooks in BOTH {
        for (limit, mss, expected) in [
            (Mss::Clamp(1300), 1460, 1300),
            (Mss::Clamp(1300), 1300, 1300),
            (Mss::Clamp(1300), 536, 536),
            (Mss::Auto, 1460, 1360),
            (Mss::Auto, 1200, 1200),
            (Mss::Off, 65535, 65535),
        ] {
            let seen = handshake(&bench(limit), hooks, &[Element::MaximumSegmentSize(mss)]);
            let expected = vec![Element::MaximumSegmentSize(expected)];
            assert_eq!(seen, [expected.clone(), expected], "{limit:?}, {mss}, {hooks:?}");
        }
    }
}

/// Also where it stands between two words of the checksum, and behind all others.
#[test]
fn the_option_is_found_among_others_which_stay() {
    let mss = Element::MaximumSegmentSize;
    let lists: [&dyn Fn(u16) -> Vec<Element>; 4] = [
        &|value| {
            let times = Element::Timestamp(0x0204_ffff, 7);
            vec![
                mss(value),
                Element::SelectiveAcknowledgementPermitted,
                times,
                Element::Noop,
                Element::WindowScale(7),
            ]
        },
        &|value| vec![Element::Noop, mss(value)],
        &|value| vec![Element::WindowScale(7), mss(value)],
        &|value| [vec![Element::Noop; 36], vec![mss(value)]].concat(),
    ];
    for hooks in BOTH {
        for (number, list) in lists.iter().enumerate() {
            let seen = handshake(&bench(Mss::Clamp(1234)), hooks, &list(1460));
            assert_eq!(seen, [list(1234), list(1234)], "list {number}, {hooks:?}");
        }
    }
}

#[test]
fn a_syn_without_the_option_stays_without() {
    for hooks in BOTH {
        for list in [vec![], vec![Element::Noop; 4], vec![Element::WindowScale(7)]] {
            let seen = handshake(&bench(Mss::Clamp(1234)), hooks, &list);
            assert_eq!(seen, [list.clone(), list]);
        }
    }
}

/// Options that end in the middle of nothing. A header that ends behind the packet is no header.
#[test]
fn broken_options_pass_as_they_are() {
    for hooks in BOTH {
        let bench = bench(Mss::Clamp(1234));
        let good = tcp((CLIENT, 5000), (SERVER, 80), SYN, &[Element::MaximumSegmentSize(1460)]);
        for (what, length) in [("a length of 3", 3), ("no length", 0)] {
            let mut frame = good.clone();
            frame[55] = length;
            let seen = bench.send(hooks.out, &frame);
            assert_eq!(seen.verdict, Verdict::TranslatedOut, "{what}");
            assert_eq!(seen.frame[54..], frame[54..], "{what}");
        }
        let mut frame = good.clone();
        frame[46] = 0x70;
        // What XDP cannot translate it leaves to TC.
        let refused = match hooks.out {
            Hook::XdpInside => Verdict::LeftUntranslatable,
            _ => Verdict::Truncated,
        };
        assert_eq!(bench.send(hooks.out, &frame).verdict, refused);
    }
}

/// A connection keeps its limit when the rule changes, as it keeps everything else.
#[test]
fn only_syns_are_looked_at() {
    for hooks in BOTH {
        let mut bench = bench(Mss::Clamp(1234));
        let list = [Element::MaximumSegmentSize(1460)];
        handshake(&bench, hooks, &list);
        let late = tcp((CLIENT, 5000), (SERVER, 80), ACK, &list);
        let seen = bench.send(hooks.out, &late);
        assert_eq!(options(&seen.frame), list);
        assert_eq!(frames::read(&seen.frame).source.0, GATEWAY);
        bench.apply(INTERNET);
        let again = bench.send(hooks.out, &tcp((CLIENT, 5000), (SERVER, 80), SYN, &list));
        assert_eq!(options(&again.frame), [Element::MaximumSegmentSize(1234)]);
    }
}
