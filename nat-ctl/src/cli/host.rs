//! `host` and `probe`: this machine, looked at without the data path.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};

const SNAPSHOT_EXAMPLES: &str = "\
JSON in any case, one line with -j: interfaces, addresses with their flags, and routes, of IPv4 and
IPv6. Needs neither the data path nor root.

Examples:
  nat-ctl host snapshot > router.json
  nat-ctl --netns router host snapshot
  nat-ctl -j host snapshot | jq '.routes[] | select(.dst == \"0.0.0.0/0\")'";

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum HostCommand {
    /// Print this machine's interfaces, addresses and routes as JSON
    #[command(after_help = SNAPSHOT_EXAMPLES)]
    Snapshot,
}

pub(super) const PROBE_EXAMPLES: &str = "\
What TELNET and NETSTAT tell together: by which interface and gateway a connection leaves this
machine, with which address, and how far it gets. `syn-sent` means that nothing has answered: the
packet has probably left by the wrong interface, or a firewall has dropped it.

The exit code is 0 when the connection is established, else 1.

Examples:
  nat-ctl probe sip.example.net:5061
  nat-ctl probe 10.20.0.9:443 --bind 10.0.0.1
  nat-ctl --netns router -j probe 198.51.100.9:443 --timeout 1";

/// `probe`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ProbeArgs {
    /// Name or address, and TCP port; an address of IPv6 in brackets
    #[arg(value_name = "HOST:PORT")]
    pub destination: ProbeTarget,

    /// Connect from this address of this machine
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<IpAddr>,

    /// Wait for an answer so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub timeout: Duration,
}

/// `HOST:PORT`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    /// Name or address, without brackets.
    pub host: String,
    pub port: u16,
}

impl FromStr for ProbeTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err("expected HOST:PORT".to_owned());
        };
        let port = match port.parse() {
            Ok(0) | Err(_) => return Err(format!("`{port}` is not a port: 1 to 65535")),
            Ok(port) => port,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare.unwrap_or(host) {
            "" => Err("expected HOST:PORT".to_owned()),
            host if bare.is_none() && host.contains(':') => {
                Err(format!("an address of IPv6 is written in brackets: [{host}]:{port}"))
            }
            host => Ok(Self { host: host.to_owned(), port }),
        }
    }
}

/// A wait that ends within the hour.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.001..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected 0.001 to 3600 seconds".to_owned())
}
