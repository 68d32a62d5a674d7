//! A laboratory whose gateway runs nat-ctl.
use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

use nat_tests::lab::{BpfFs, Controller, Lab, NatCtl, Offloads};
use tempfile::TempDir;

/// Long enough for anything that works.
pub const LIMIT: Duration = Duration::from_secs(5);
/// A client's socket, any address and port.
pub const ANY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// The rule of most tests.
pub const INTERNET: &str = r#"
[[rules]]
name = "internet"
from = ["10.77.0.0/24"]
to = ["0.0.0.0/0"]
action = "snat"
source = { addresses = ["203.0.113.1"] }
"#;

/// A hook and the offloads with which it works on veth (XDP sees no unfinished checksums).
pub const VARIANTS: [(&str, Offloads); 3] =
    [("tc", Offloads::Off), ("tc", Offloads::On), ("xdp", Offloads::Off)];

/// The variants that show whether checksums are right.
pub const WITHOUT_OFFLOADS: [&str; 2] = ["tc", "xdp"];

/// See the module.
pub struct Gateway {
    pub lab: Lab,
    pub nat: NatCtl,
    inside: &'static str,
    files: TempDir,
    bpffs: BpfFs,
}

impl Gateway {
    /// A laboratory with nothing running in it yet.
    pub fn new(offloads: Offloads) -> Self {
        Self::in_lab(Lab::new(offloads), "\"lan0\"")
    }

    /// The same with a second client behind a second inside interface.
    pub fn with_two_clients(offloads: Offloads) -> Self {
        let lab = Lab::builder(offloads).second_client().build();
        Self::in_lab(lab, "\"lan0\", \"lan1\"")
    }

    /// The same in a laboratory that is as a test needs it.
    pub fn in_lab(lab: Lab, inside: &'static str) -> Self {
        let bpffs = BpfFs::new();
        let nat = NatCtl::new(&lab.gateway, &bpffs);
        Self { nat, lab, inside, files: tempfile::tempdir().unwrap(), bpffs }
    }

    /// Another instance in the same namespace and file system.
    pub fn other_instance(&self) -> NatCtl {
        NatCtl::new(&self.lab.gateway, &self.bpffs)
    }

    /// The folder of the instance's pins.
    pub fn pins(&self) -> PathBuf {
        self.bpffs.path().join("nat-ctl").join(self.nat.instance())
    }

    /// The folder in it that this version makes.
    pub fn layout(&self) -> PathBuf {
        self.pins().join(format!("v{}", nat_common::instance::LAYOUT_VERSION))
    }

    /// Writes a configuration file with these interfaces and rules.
    pub fn config(&self, hook: &str, rules: impl Display) -> PathBuf {
        let text = format!(
            "[interfaces]\ninside = [{}]\noutside = [\"wan0\"]\nhook = \"{hook}\"\n{rules}",
            self.inside
        );
        let path = self.files.path().join("nat.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs nat-ctl with these rules, until it is ready.
    pub fn start(&self, hook: &str, rules: impl Display) -> Controller {
        self.nat.start(&self.config(hook, rules))
    }

    /// Packets by verdict, over all hooks.
    pub fn verdicts(&self) -> BTreeMap<String, u64> {
        let stats = self.nat.json(&["stats"]);
        assert_eq!(stats["schema"], "nat-ctl/stats/1");
        let mut verdicts = BTreeMap::new();
        for count in stats["verdicts"].as_array().unwrap() {
            let name = count["verdict"].as_str().unwrap().to_owned();
            *verdicts.entry(name).or_insert(0) += count["packets"].as_u64().unwrap();
        }
        verdicts
    }

    /// The elements of `sessions list -j`.
    pub fn sessions(&self) -> Vec<serde_json::Value> {
        let list = self.nat.json(&["sessions", "list"]);
        assert_eq!(list["schema"], "nat-ctl/sessions/1");
        list["sessions"].as_array().unwrap().clone()
    }
}

/// An endpoint of a server or client.
pub fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}
