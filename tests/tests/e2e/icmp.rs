//! What ICMP errors are for, through the gateway: a closed port is refused at once, the path's MTU is
//! found, and traceroute shows the way.
use std::{
    io::{ErrorKind, IoSliceMut, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use nat_tests::lab::{
    NetNs, Offloads, Sniffer,
    process::{ip, tool},
    topology::{EXTERNAL, INSIDE, SERVER},
    traffic::{HttpServer, UdpEcho, download, tcp_connect},
    wait,
};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};

use crate::gateway::{Gateway, INTERNET, LIMIT, VARIANTS, at};

/// A host behind the router that the server is here.
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
/// That router's address on the way to it.
const NEAR_FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// What the link between them carries.
const NARROW: u32 = 1280;

/// Hooks, and how the two ends of every link treat checksums.
fn each(test: impl Fn(&str, &Gateway)) {
    for (hook, offloads) in VARIANTS {
        let gateway = Gateway::new(offloads);
        // The limits on errors are for floods, and a test is one.
        for router in [&gateway.lab.gateway, &gateway.lab.server] {
            router.sysctl("net/ipv4/icmp_ratelimit", "0");
        }
        test(hook, &gateway);
    }
}

/// Puts a host behind the server, over a link that carries little.
fn far_host(gateway: &Gateway) -> NetNs {
    let (router, far) = (&gateway.lab.server, NetNs::new());
    router.sysctl("net/ipv4/ip_forward", "1");
    let path = far.path();
    ip(
        router,
        &format!(
            "link add f1 index 30 mtu {NARROW} type veth peer name f0 netns {}\n\
             addr add {NEAR_FAR}/24 dev f1\n",
            path.display()
        ),
    );
    if gateway.lab.offloads() == Offloads::Off {
        for (host, device) in [(router, "f1"), (&far, "f0")] {
            let off = ["-K", device, "rx", "off", "tx", "off", "tso", "off", "gso", "off"];
            tool(host, "ethtool", &[&off[..], &["gro", "off"]].concat());
        }
    }
    ip(&far, &format!("addr add {FAR}/24 dev f0\nlink set f0 up\n"));
    ip(router, "link set f1 up\n");
    // It would take full packets, and says so: only the way there does not carry them.
    ip(&far, &format!("route add default via {NEAR_FAR} mtu lock {NARROW} advmss 1460\n"));
    let there = wait::until(LIMIT, || {
        let ping = tool(router, "ip", &["-br", "link", "show", "dev", "f1"]);
        ping.contains("LOWER_UP").then_some(())
    });
    assert!(there.is_some(), "no link to the far host");
    far
}

/// What a host has learnt of the way to an address.
fn learnt(host: &NetNs, to: Ipv4Addr) -> String {
    tool(host, "ip", &["route", "get", &to.to_string()])
}

/// A client's UDP socket that knows only one peer, and so hears of errors.
fn connected(client: &NetNs, to: SocketAddrV4) -> UdpSocket {
    let socket = client.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

#[test]
fn rfc4787_req12b_a_closed_port_is_refused_at_once() {
    each(|hook, gateway| {
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let inside = Sniffer::start(&lab.client, "c0");
        let socket = connected(&lab.client, at(SERVER, 9));
        for payload in [&b"anybody?"[..], &[7; 1400]] {
            socket.send(payload).unwrap();
            let error = socket.recv(&mut [0; 100]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{hook}");
        }
        // The mapping is still there, and good.
        let port = gateway.sessions()[0]["outside"]["port"].as_u64().unwrap();
        let echo = UdpEcho::start(&lab.server, at(SERVER, 9));
        socket.send(b"hello").unwrap();
        assert_eq!(socket.recv(&mut [0; 100]).unwrap(), 5, "{hook}");
        assert_eq!(u64::from(echo.peers()[0].port()), port, "{hook}");
        let inside = inside.stop();
        if lab.offloads() == Offloads::Off {
            // tcpdump looks at what errors quote, too.
            assert!(inside.checksums().assert_correct() >= 3, "{hook}");
        }
    });
}

/// The client sends full packets, and a router far behind the gateway asks for smaller ones.
#[test]
fn rfc5382_req9_a_client_learns_the_path_mtu_and_its_upload_completes() {
    each(|hook, gateway| {
        let far = far_host(gateway);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let outside = Sniffer::start(&lab.server, "s0");
        let inside = Sniffer::start(&lab.client, "c0");
        let listener = far.enter(|| TcpListener::bind((FAR, 80))).unwrap();
        let sent: Vec<u8> = (0..300_000_u32).map(|n| (n * 7 + n / 251) as u8).collect();
        let upload = sent.clone();
        let mut client = tcp_connect(&lab.client, None, at(FAR, 80), LIMIT).unwrap();
        let (mut server, peer) = listener.accept().unwrap();
        server.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(peer.ip(), EXTERNAL, "{hook}");
        let received = std::thread::scope(|scope| {
            scope.spawn(move || client.write_all(&upload).unwrap());
            let mut received = vec![0; sent.len()];
            server.read_exact(&mut received).unwrap();
            received
        });
        assert!(received == sent, "{hook}: the upload is damaged");
        let route = learnt(&lab.client, FAR);
        assert!(route.contains(&format!("mtu {NARROW}")), "{hook}: {route}");
        // The gateway itself, whose socket it was not, has learnt nothing.
        let route = learnt(&lab.gateway, FAR);
        assert!(!route.contains("mtu"), "{hook}: {route}");
        let (outside, inside) = (outside.stop(), inside.stop());
        assert_eq!(outside.private_sources(), [], "{hook}");
        if lab.offloads() == Offloads::Off {
            let _ = (outside.checksums().assert_correct(), inside.checksums().assert_correct());
        }
    });
}

/// The gateway's own stack asks the server for smaller packets; it quotes what the gateway had
/// translated already.
#[test]
fn rfc5508_req5_a_server_learns_the_mtu_of_the_inside() {
    each(|hook, gateway| {
        let lab = &gateway.lab;
        ip(&lab.gateway, &format!("link set lan0 mtu {NARROW}\n"));
        let _controller = gateway.start(hook, INTERNET);
        let outside = Sniffer::start(&lab.server, "s0");
        let http = HttpServer::start(&lab.server, at(SERVER, 80), 300_000);
        let file = download(&lab.client, None, http.address(), LIMIT).unwrap();
        assert_eq!(file.sha256, http.sha256(), "{hook}");
        let route = learnt(&lab.server, EXTERNAL);
        assert!(route.contains(&format!("mtu {NARROW}")), "{hook}: {route}");
        let outside = outside.stop();
        // What errors quote is not told to anybody outside either.
        let inside_address = file_inside(&outside.frames);
        assert_eq!(inside_address, 0, "{hook}");
        if lab.offloads() == Offloads::Off {
            assert!(outside.checksums().assert_correct() > 100, "{hook}");
        }
    });
}

/// Frames with ICMP that have an inside address anywhere.
fn file_inside(frames: &[nat_tests::lab::Frame]) -> usize {
    let icmp = frames.iter().filter(|frame| frame.bytes.get(23) == Some(&1));
    icmp.filter(|frame| frame.bytes.windows(3).any(|bytes| bytes == [10, 77, 0])).count()
}

/// The router that a probe's time ran out at, or its target: address, type and code of the error.
fn hop(client: &NetNs, ttl: u32) -> (Ipv4Addr, u8, u8) {
    // The ports of traceroute.
    let socket = connected(client, at(FAR, 33433 + ttl as u16));
    socket.set_ttl(ttl).unwrap();
    setsockopt(&socket, sockopt::Ipv4RecvErr, &true).unwrap();
    socket.send(b"where am I?").unwrap();
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut buffer = [0; 100];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let read = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags);
        let Ok(message) = read else {
            let left = deadline.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("no answer with a time to live of {ttl}"));
            let _ = wait::readable([socket.as_fd()], left.min(Duration::from_millis(20)));
            continue;
        };
        for control in message.cmsgs().unwrap() {
            if let ControlMessageOwned::Ipv4RecvErr(error, Some(from)) = control {
                let from = Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr));
                return (from, error.ee_type, error.ee_code);
            }
        }
    }
}

/// Each of the probe's errors reaches its own socket: the kernel looks it up by what is quoted, so
/// that is the packet as the client sent it.
#[test]
fn rfc5508_req10a_traceroute_shows_the_gateway_the_next_router_and_the_target() {
    each(|hook, gateway| {
        let _far = far_host(gateway);
        let lab = &gateway.lab;
        let _controller = gateway.start(hook, INTERNET);
        let inside = Sniffer::start(&lab.client, "c0");
        let hops: Vec<_> = (1..=3).map(|ttl| hop(&lab.client, ttl)).collect();
        assert_eq!(hops, [(INSIDE, 11, 0), (SERVER, 11, 0), (FAR, 3, 3)], "{hook}");
        let inside = inside.stop();
        if lab.offloads() == Offloads::Off {
            assert!(inside.checksums().assert_correct() >= 3, "{hook}");
        }
        let verdicts = gateway.verdicts();
        assert_eq!(verdicts["translated_in"], 2, "{hook}: {verdicts:?}");
        // The probe that ended here has made no session.
        assert_eq!(gateway.sessions().len(), 2, "{hook}");
    });
}
