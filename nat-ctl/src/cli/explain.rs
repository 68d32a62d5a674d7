//! `explain`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::config::Protocol;
use crate::source::Model;

pub(super) const EXAMPLES: &str = "\
With --host the answer is that of another machine, or of this one as it might be. The file has
interfaces and routes, and may have a destination and all else that is asked, which flags override.
Without --model it is asked by the strong-host model then. The exit code is 3 if there is no source.

Examples:
  nat-ctl explain 203.0.113.9:443 --from 10.0.0.5 --proto tcp
  nat-ctl explain 203.0.113.9 --model weak-host   what Windows Server 2003 would have done
  nat-ctl explain 203.0.113.9 --host host.json --bind 192.168.1.14
  nat-ctl -j explain --host vector.json | jq .deciding_rule";

/// `explain`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ExplainArgs {
    /// Destination [default: that of --host FILE]
    #[arg(value_name = "DST[:PORT]")]
    pub destination: Option<Target>,

    /// Who sends the packet
    #[arg(long, value_name = "SRC")]
    pub from: Option<IpAddr>,

    /// Protocol
    #[arg(long, value_name = "PROTO", value_enum)]
    pub proto: Option<Protocol>,

    /// The source that a program asks for (bind)
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<IpAddr>,

    /// How the source is chosen [default: as the rule says]
    #[arg(long, value_name = "MODEL", value_enum)]
    pub model: Option<Model>,

    /// Answer for the host of this file, instead of this machine
    #[arg(long, value_name = "FILE")]
    pub host: Option<PathBuf>,

    /// Take the rules of this configuration file [default: the rules in force]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `ADDR`, `ADDR:PORT` or `[IPV6]:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub address: IpAddr,
    pub port: Option<u16>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self { address, port: None });
        }
        match text.parse::<SocketAddr>() {
            Ok(socket) => Ok(Self { address: socket.ip(), port: Some(socket.port()) }),
            Err(_) => Err("expected ADDR, ADDR:PORT or [IPV6]:PORT".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (text, address, port) in [
            ("203.0.113.9", "203.0.113.9", None),
            ("203.0.113.9:443", "203.0.113.9", Some(443)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]:443", "2001:db8::1", Some(443)),
        ] {
            let expected = Target { address: address.parse().unwrap(), port };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "example.org", "203.0.113.9:", "203.0.113.9:70000", "10.0.0.0/8", ":443"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
