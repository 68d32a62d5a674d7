//! `nat-ctl probe`
use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    os::fd::AsRawFd as _,
    time::Duration,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
use serde::{Serialize, Serializer};
use tokio::{net::TcpStream, time::timeout};

use super::{block_on, enter_namespace};
use crate::{
    cli::{Global, ProbeArgs, ProbeTarget},
    exit::{Exit, Failure},
    host::{RouteTo, look_up},
    output::{Out, Style, Tone, sanitise},
};

/// `probe -j`
#[derive(Serialize)]
struct Probe {
    schema: &'static str,
    version: &'static str,
    #[serde(serialize_with = "endpoint")]
    destination: SocketAddr,
    /// None if the kernel did not get so far as to choose one.
    #[serde(serialize_with = "optional_endpoint")]
    local: Option<SocketAddr>,
    interface: Option<String>,
    /// None on-link, and without a route.
    gateway: Option<IpAddr>,
    state: State,
    /// What the kernel says.
    error: Option<String>,
    #[serde(skip)]
    waited: Duration,
}

/// How far a connection got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Established,
    /// No answer in time.
    SynSent,
    /// The server has answered that it does not listen.
    Refused,
    /// The kernel or a router says that there is no way.
    Unreachable,
}

impl State {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED | libc::ECONNRESET) => Self::Refused,
            Some(libc::ETIMEDOUT) => Self::SynSent,
            _ => Self::Unreachable,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn-sent",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

#[derive(Serialize)]
struct Endpoint {
    addr: IpAddr,
    port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { addr: address.ip(), port: address.port() }
    }
}

fn endpoint<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
    Endpoint::from(*address).serialize(serializer)
}

fn optional_endpoint<S: Serializer>(
    address: &Option<SocketAddr>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    address.map(Endpoint::from).serialize(serializer)
}

/// Opens a connection and tells how far it got, and by which way.
pub fn run(global: &Global, args: &ProbeArgs, out: Out) -> Result<Exit, Failure> {
    enter_namespace(global)?;
    let destination = resolve(&args.destination, args.bind)?;
    let probe = block_on(probe(destination, args))?;
    out.answer(&probe, text)?;
    Ok(if probe.state == State::Established { Exit::Ok } else { Exit::Failed })
}

/// The first address of a name, IPv4 before IPv6, of the family of the address to bind to.
fn resolve(target: &ProbeTarget, bind: Option<IpAddr>) -> Result<SocketAddr, Failure> {
    let ProbeTarget { host, port } = target;
    let shown = sanitise(host);
    let addresses = (host.as_str(), *port).to_socket_addrs().map_err(|error| {
        Failure::failed(format!("cannot find the address of `{shown}`\n  caused by: {error}"))
            .with_help("give the address instead of the name")
    })?;
    let fits = |address: &SocketAddr| bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4());
    addresses.filter(fits).min_by_key(SocketAddr::is_ipv6).ok_or_else(|| {
        Failure::usage(format!("`{shown}` has no address of the family of --bind"))
            .with_help("--bind and HOST are both of IPv4 or both of IPv6")
    })
}

async fn probe(destination: SocketAddr, args: &ProbeArgs) -> Result<Probe, Failure> {
    let (local, state, error) = match open(destination, args.bind)? {
        Ok((stream, local)) => {
            let (state, error) = wait(stream, args.timeout).await;
            (Some(local), state, error)
        }
        Err(error) => (None, State::of(&error), Some(error)),
    };
    let source = local.map(|local| local.ip()).or(args.bind);
    let way = look_up(destination.ip(), source).await?;
    let (interface, gateway) = match way {
        Some(RouteTo { interface, gateway, .. }) => (Some(interface), gateway),
        None => (None, None),
    };
    Ok(Probe {
        schema: "nat-ctl/probe/1",
        version: env!("CARGO_PKG_VERSION"),
        destination,
        local,
        interface,
        gateway,
        state,
        error: error.map(|error| error.to_string()),
        waited: args.timeout,
    })
}

/// A connection on its way, and the address that it has here: the kernel knows it before anyone has
/// answered. The inner error is of the connection itself.
fn open(
    destination: SocketAddr,
    from: Option<IpAddr>,
) -> Result<io::Result<(TcpStream, SocketAddr)>, Failure> {
    let cannot = |error: io::Error| {
        Failure::failed(format!("cannot open a TCP connection\n  caused by: {error}"))
    };
    let family = if destination.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Stream, flags, None).map_err(|e| cannot(e.into()))?;
    if let Some(from) = from {
        let address = SockaddrStorage::from(SocketAddr::new(from, 0));
        bind(socket.as_raw_fd(), &address).map_err(|errno| {
            Failure::failed(format!("cannot connect from {from}\n  caused by: {errno}"))
                .with_help("`ip -brief address` shows the addresses of this machine")
        })?;
    }
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(destination)) {
        Ok(()) | Err(nix::Error::EINPROGRESS) => {}
        Err(errno) => return Ok(Err(errno.into())),
    }
    let stream = TcpStream::from_std(socket.into()).map_err(cannot)?;
    let local = stream.local_addr().map_err(cannot)?;
    Ok(Ok((stream, local)))
}

/// Waits for the end of the handshake.
async fn wait(stream: TcpStream, limit: Duration) -> (State, Option<io::Error>) {
    let done = async {
        stream.writable().await?;
        stream.take_error()?.map_or(Ok(()), Err)
    };
    match timeout(limit, done).await {
        Ok(Ok(())) => (State::Established, None),
        Ok(Err(error)) => (State::of(&error), Some(error)),
        Err(_) => (State::SynSent, None),
    }
}

fn text(probe: &Probe, style: Style) -> String {
    let tone = match probe.state {
        State::Established => Tone::Good,
        State::SynSent => Tone::Warning,
        State::Refused | State::Unreachable => Tone::Bad,
    };
    let mut lines = vec![("destination", probe.destination.to_string())];
    let local = probe.local.map(|local| local.to_string());
    lines.push(("local", local.unwrap_or_else(|| "-".to_owned())));
    lines.push(("way out", way_out(probe)));
    let state = style.paint(tone, probe.state.as_str()).to_string();
    lines.push(match &probe.error {
        Some(error) => ("state", format!("{state}: {error}")),
        None => ("state", state),
    });
    let lines = lines.iter().map(|(name, value)| format!("{name:<13}{value}\n"));
    let mut text: String = lines.collect();
    text.extend(hint(probe).map(|hint| format!("\nhint: {hint}\n")));
    text
}

fn way_out(probe: &Probe) -> String {
    let Some(interface) = &probe.interface else {
        return "no route".to_owned();
    };
    let interface = sanitise(interface);
    match probe.gateway {
        Some(gateway) => format!("{interface}, gateway {gateway}"),
        None => format!("{interface}, on-link"),
    }
}

/// What to look at when nothing has answered.
fn hint(probe: &Probe) -> Option<String> {
    let interface = sanitise(probe.interface.as_deref()?);
    let way = match probe.gateway {
        Some(gateway) => format!("by {interface} via {gateway}"),
        None => format!("by {interface}, straight to the destination"),
    };
    (probe.state == State::SynSent).then(|| {
        format!(
            "nothing has answered within {} s. The packet left {way}: if that is the wrong way, a \
             more specific route is missing; else something beyond it drops",
            probe.waited.as_secs_f64()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn args(port: u16) -> ProbeArgs {
        let destination = ProbeTarget { host: "127.0.0.1".to_owned(), port };
        ProbeArgs { destination, bind: None, timeout: Duration::from_secs(3) }
    }

    async fn probed(args: &ProbeArgs) -> Probe {
        let destination = resolve(&args.destination, args.bind).unwrap();
        probe(destination, args).await.unwrap()
    }

    #[tokio::test]
    async fn somebody_listens_or_refuses() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = probed(&args(port)).await;
        assert_eq!((seen.state, seen.error.as_deref()), (State::Established, None));
        assert_eq!(seen.interface.as_deref(), Some("lo"));
        assert_eq!(seen.local.unwrap().ip(), Ipv4Addr::LOCALHOST);
        drop(listener);
        let seen = probed(&args(port)).await;
        assert_eq!(seen.state, State::Refused);
        assert!(seen.error.unwrap().contains("refused"));
    }

    #[tokio::test]
    async fn from_an_address_of_this_machine() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut args = args(listener.local_addr().unwrap().port());
        args.bind = Some(Ipv4Addr::new(127, 0, 0, 9).into());
        assert_eq!(probed(&args).await.local.unwrap().ip(), Ipv4Addr::new(127, 0, 0, 9));
        args.bind = Some(Ipv4Addr::new(192, 0, 2, 1).into());
        let destination = resolve(&args.destination, args.bind).unwrap();
        let failure = probe(destination, &args).await.err().unwrap();
        assert!(failure.to_string().contains("cannot connect from 192.0.2.1"), "{failure}");
        args.bind = Some(std::net::Ipv6Addr::LOCALHOST.into());
        assert_eq!(resolve(&args.destination, args.bind).unwrap_err().exit, Exit::Usage);
    }

    fn sample(state: State, gateway: Option<IpAddr>) -> Probe {
        Probe {
            schema: "nat-ctl/probe/1",
            version: "0",
            destination: "198.51.100.9:443".parse().unwrap(),
            local: Some("192.0.2.1:40000".parse().unwrap()),
            interface: Some("wan0".to_owned()),
            gateway,
            state,
            error: None,
            waited: Duration::from_secs(3),
        }
    }

    #[test]
    fn json_has_the_documented_fields() {
        let probe = sample(State::SynSent, Some(Ipv4Addr::new(192, 0, 2, 254).into()));
        let expected = r#"{"schema":"nat-ctl/probe/1","version":"0","destination":{"addr":"198.51.100.9","port":443},"local":{"addr":"192.0.2.1","port":40000},"interface":"wan0","gateway":"192.0.2.254","state":"syn-sent","error":null}"#;
        assert_eq!(serde_json::to_string(&probe).unwrap(), expected);
        let probe = Probe { local: None, ..probe };
        assert!(serde_json::to_string(&probe).unwrap().contains(r#""local":null"#));
    }

    #[test]
    fn people_are_told_by_which_way_a_packet_left_that_nobody_answered() {
        let gateway = Some(Ipv4Addr::new(192, 0, 2, 254).into());
        let plain = Style::new(false);
        let answer = text(&sample(State::SynSent, gateway), plain);
        assert!(answer.contains("state        syn-sent\n"), "{answer}");
        assert!(answer.contains("left by wan0 via 192.0.2.254"), "{answer}");
        let answer = text(&sample(State::Established, None), plain);
        let expected = "destination  198.51.100.9:443\nlocal        192.0.2.1:40000\n\
                        way out      wan0, on-link\nstate        established\n";
        assert_eq!(answer, expected);
    }
}
