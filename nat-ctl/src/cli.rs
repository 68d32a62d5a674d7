//! The command line: every flag and its help text, no logic beyond reading single values.

mod address;
mod explain;
mod host;
mod rules;

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};
use ipnet::Ipv4Net;

pub use address::{AddressCommand, AddressSetArgs};
pub use explain::{ExplainArgs, Target};
pub use host::{HostCommand, ProbeArgs, ProbeTarget};
pub use rules::{
    EditedFile, PlaceArgs, RulesAddArgs, RulesCommand, RulesListArgs, RulesMoveArgs,
    RulesRemoveArgs,
};

use crate::config::{Hook, Protocol, check_interface_name};
use crate::output::ColorChoice;

const EXAMPLES: &str = "\
Examples:
  nat-ctl run --inside lan0 --outside wan0        translate with the address of wan0
  nat-ctl run --config /etc/nat-ctl/nat.toml      translate by the rules of a file
  nat-ctl check /etc/nat-ctl/nat.toml             is the file right, and does it suit this host
  nat-ctl rules move vpn --first                  change the order of rules
  nat-ctl sessions list --remote :443             who talks HTTPS
  nat-ctl status --check                          exit code 0 when all is well

Exit codes:
  0 ok   1 failed   2 usage or invalid input   3 unhealthy or differs   4 this host cannot";

/// Source-NAT gateway for Linux, in XDP and TC
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "nat-ctl", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes, before or after its name.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Which data path of this machine is meant
    #[arg(long, global = true, value_name = "NAME", default_value = "default")]
    pub instance: InstanceName,

    /// Work in this network namespace: a name of `ip netns` or a path
    #[arg(long, global = true, value_name = "NAME|PATH")]
    pub netns: Option<NetNs>,

    /// Where the BPF file system is mounted
    #[arg(long, global = true, value_name = "PATH", default_value = "/sys/fs/bpf")]
    pub bpffs: PathBuf,

    /// Where ports that cool are kept while there is no data path
    #[arg(long, global = true, value_name = "PATH", default_value = "/var/lib/nat-ctl")]
    pub state_dir: PathBuf,

    /// Print JSON
    #[arg(long, short, global = true)]
    pub json: bool,

    /// When to colour the output
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: ColorChoice,

    /// Log more: -v for debug, -vv for trace
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The configuration file where none is named.
pub const CONFIG_DEFAULT: &str = "/etc/nat-ctl/nat.toml";

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Load the data path and keep it in step with the configuration, in the foreground
    Run(RunArgs),
    /// Load the data path and apply the configuration, without a controller
    #[command(override_usage = ATTACH_USAGE, after_help = ATTACH_EXAMPLES)]
    Attach(RunArgs),
    /// Check a configuration file, also against this host
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Show what a configuration file changes, and put it in force
    #[command(after_help = APPLY_EXAMPLES)]
    Apply(ApplyArgs),
    /// Look at the rules and change them
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Look at external addresses and set their flags
    #[command(subcommand)]
    Address(AddressCommand),
    /// Which source a packet leaves with, and why
    #[command(after_help = explain::EXAMPLES)]
    Explain(ExplainArgs),
    /// Look at this machine as source selection sees it
    #[command(subcommand)]
    Host(HostCommand),
    /// Open a TCP connection and show by which interface and gateway it leaves
    #[command(after_help = host::PROBE_EXAMPLES)]
    Probe(ProbeArgs),
    /// Look at translated flows, and end them
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// How full external addresses are, and toward whom
    #[command(long_about = POOLS_ABOUT)]
    Pools,
    /// Count packets by verdict and by rule
    Stats,
    /// Interfaces, hooks, sessions and warnings on one screen
    Status(StatusArgs),
    /// Remove the data path: programs, pins and all sessions
    #[command(long_about = "Remove the data path: programs, pins and all sessions.\n\n\
        `run` leaves the data path in place when it ends, so that a restart loses nothing. \
        This takes it away: translated connections break, and packets of the inside networks \
        are routed with their own addresses from then on, or not at all.")]
    Detach,
}

const POOLS_ABOUT: &str = "\
How full external addresses are: ports in use, cooling and free, and the hottest destinations.

A port that is in use or cools toward one destination can serve another at the same time: the last \
columns name the destination toward which the fewest ports are left, and how many.";

const RUN_USAGE: &str = "\
nat-ctl run [OPTIONS] --config <FILE>
       nat-ctl run [OPTIONS] --inside <IF>... --outside <IF>... [--source <ADDR>...]";

const RUN_EXAMPLES: &str = "\
Examples:
  nat-ctl run --config /etc/nat-ctl/nat.toml
  nat-ctl run --inside lan0 lan1 --outside wan0
  nat-ctl run --inside lan0 --outside wan0 --source 203.0.113.7 203.0.113.8 --hook tc

Signals:
  SIGHUP reads the file again; SIGTERM ends the controller and leaves the data path in place.";

const ATTACH_USAGE: &str = "\
nat-ctl attach [OPTIONS] --config <FILE>
       nat-ctl attach [OPTIONS] --inside <IF>... --outside <IF>... [--source <ADDR>...]";

const ATTACH_EXAMPLES: &str = "\
The data path works on its own: translation and timeouts need no controller. But nothing follows
changes of this host's interfaces and addresses until `nat-ctl run` takes over.

Examples:
  nat-ctl attach --config /etc/nat-ctl/nat.toml
  nat-ctl attach --inside lan0 --outside wan0
  nat-ctl detach";

const CHECK_EXAMPLES: &str = "\
Errors are in the file: it would be refused. Warnings are about this host or the file: it would be
used, but probably not work as meant. Notes are worth knowing. The exit code is 2 with errors, else 0.

Examples:
  nat-ctl check /etc/nat-ctl/nat.toml
  nat-ctl check nat.toml --no-host                in CI, where the interfaces are not
  nat-ctl --netns router check nat.toml
  nat-ctl -j check nat.toml | jq .warnings";

/// `check`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// Configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Look at the file only, not at this host
    #[arg(long)]
    pub no_host: bool,
}

const APPLY_EXAMPLES: &str = "\
Packets see the old rules or the new ones, never a mixture. Sessions go on. A configuration that is
refused changes nothing.

Lines start with + for what is new, - for what goes, ~ for what changes, > for what moves.

Examples:
  nat-ctl apply nat.toml --dry-run
  nat-ctl apply nat.toml";

/// `apply`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ApplyArgs {
    /// Configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Only show what would change
    #[arg(long)]
    pub dry_run: bool,
}

/// `run` and `attach`: either from a file or from flags alone.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = RUN_USAGE,
    after_help = RUN_EXAMPLES,
    group = ArgGroup::new("form").required(true).args(["config", "inside"]),
)]
pub struct RunArgs {
    /// Configuration file
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Interfaces where clients live
    #[arg(long, value_name = "IF", num_args = 1.., value_delimiter = ',', requires = "outside")]
    #[arg(value_parser = interface_name)]
    pub inside: Vec<String>,

    /// Interfaces that translated packets leave by
    #[arg(long, value_name = "IF", num_args = 1.., value_delimiter = ',')]
    #[arg(requires = "inside", conflicts_with = "config", value_parser = interface_name)]
    pub outside: Vec<String>,

    /// External addresses [default: chosen by routes and addresses, as the model strong-host does]
    #[arg(long, value_name = "ADDR", num_args = 1.., value_delimiter = ',')]
    #[arg(requires = "inside", conflicts_with = "config")]
    pub source: Vec<Ipv4Addr>,

    /// Where packets are taken [default: auto]
    #[arg(long, value_name = "HOOK", value_enum)]
    #[arg(requires = "inside", conflicts_with = "config")]
    pub hook: Option<Hook>,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum SessionsCommand {
    /// List sessions
    #[command(after_help = FILTER_EXAMPLES)]
    List(SessionFilter),
    /// Count sessions
    #[command(after_help = FILTER_EXAMPLES)]
    Count(SessionFilter),
    /// End sessions: their connections break, or open anew with another external port
    #[command(after_help = FLUSH_EXAMPLES)]
    Flush(FlushArgs),
}

const FLUSH_EXAMPLES: &str = "\
Sessions that all filters match are ended.

Examples:
  nat-ctl sessions flush --inside 10.0.0.5
  nat-ctl sessions flush --rule internet --proto udp --yes
  nat-ctl sessions flush --all";

/// `sessions flush`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(FLUSH_WHICH))]
pub struct FlushArgs {
    /// End every session
    #[arg(long, conflicts_with_all = FLUSH_FILTERS)]
    pub all: bool,

    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,

    #[command(flatten)]
    pub filter: SessionFilter,
}

const FLUSH_FILTERS: [&str; 6] = ["proto", "inside", "outside", "remote", "state", "rule"];
/// What can say which sessions are meant: without any of it, a slip would end all of them.
const FLUSH_WHICH: [&str; 7] = ["all", "proto", "inside", "outside", "remote", "state", "rule"];

const FILTER_EXAMPLES: &str = "\
Addresses are written ADDR, PREFIX, ADDR:PORT, PREFIX:PORT or :PORT. A session is shown when all
filters match it.

Examples:
  nat-ctl sessions list --inside 10.0.0.0/24 --proto tcp
  nat-ctl sessions list --outside 203.0.113.7:50711
  nat-ctl sessions count --remote :53 --rule internet
  nat-ctl sessions list --state cooling --remote 198.51.100.9:443";

/// Which sessions are meant; without a filter, all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Filters")]
pub struct SessionFilter {
    /// Protocol
    #[arg(long, value_name = "PROTO", value_enum)]
    pub proto: Option<Protocol>,

    /// Client; for ICMP the port is the identifier
    #[arg(long, value_name = "ENDPOINT")]
    pub inside: Option<EndpointFilter>,

    /// External address and port
    #[arg(long, value_name = "ENDPOINT")]
    pub outside: Option<EndpointFilter>,

    /// Server
    #[arg(long, value_name = "ENDPOINT")]
    pub remote: Option<EndpointFilter>,

    /// State
    #[arg(long, value_name = "STATE", value_enum)]
    pub state: Option<SessionState>,

    /// Name of the rule that made the session
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
}

/// States of sessions, as `sessions list` calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SessionState {
    /// TCP: the handshake is not over
    Opening,
    /// TCP: after the handshake; UDP and ICMP: answered
    Established,
    /// TCP: after a FIN or RST
    Closing,
    /// UDP and ICMP: no answer yet
    OneWay,
    /// External ports that rest after their session
    Cooling,
}

impl SessionState {
    /// The name, as in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::OneWay => "one-way",
            Self::Cooling => "cooling",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StatusArgs {
    /// Only tell by the exit code: 0 healthy, 3 not
    #[arg(long)]
    pub check: bool,
}

/// The name of an instance: a part of paths, hence the few characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceName(String);

impl InstanceName {
    const BYTES_MAX: usize = 32;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InstanceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            Err(format!("an instance name has 1 to {} characters", Self::BYTES_MAX))
        } else if !text.bytes().all(allowed) {
            // A dot is what the BPF file system refuses in names.
            Err("an instance name has letters, digits, `_` and `-` only".to_owned())
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// A network namespace, as the user calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetNs {
    /// As in `ip netns`.
    Name(String),
    /// Such as /proc/1234/ns/net.
    Path(PathBuf),
}

impl NetNs {
    /// The file to open.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Name(name) => PathBuf::from("/run/netns").join(name),
            Self::Path(path) => path.clone(),
        }
    }
}

impl FromStr for NetNs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "." | ".." => Err("neither a name nor a path".to_owned()),
            path if path.contains('/') => Ok(Self::Path(PathBuf::from(path))),
            name => Ok(Self::Name(name.to_owned())),
        }
    }
}

/// `ADDR`, `PREFIX`, `ADDR:PORT`, `PREFIX:PORT` or `:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointFilter {
    /// A single address is a /32.
    pub net: Option<Ipv4Net>,
    pub port: Option<u16>,
}

impl EndpointFilter {
    pub fn matches(&self, address: Ipv4Addr, port: u16) -> bool {
        self.net.is_none_or(|net| net.contains(&address))
            && self.port.is_none_or(|wanted| wanted == port)
    }
}

impl FromStr for EndpointFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.matches(':').count() > 1 {
            return Err("IPv6 is not translated".to_owned());
        }
        let (net, port) = match text.split_once(':') {
            Some((net, port)) => (net, Some(port)),
            None => (text, None),
        };
        let net = match net {
            "" if port.is_some() => None,
            net => Some(parse_net(net)?),
        };
        let port = port
            .map(|port| port.parse().map_err(|_| format!("`{port}` is not a port")))
            .transpose()?;
        Ok(Self { net, port })
    }
}

/// Host bits do not matter in a filter: `10.0.0.5/24` is everything near 10.0.0.5.
fn parse_net(text: &str) -> Result<Ipv4Net, String> {
    let net = text.parse::<Ipv4Net>().map(|net| net.trunc());
    net.or_else(|_| text.parse().map(|address: Ipv4Addr| Ipv4Net::from(address)))
        .map_err(|_| "expected ADDR, PREFIX, ADDR:PORT or :PORT".to_owned())
}

fn interface_name(text: &str) -> Result<String, String> {
    check_interface_name(text).map(|()| text.to_owned())
}

#[cfg(test)]
mod tests;
