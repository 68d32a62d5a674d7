//! Bad input and bad hosts: what, where, what to do; and nothing half attached.
use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path};

use nat_tests::lab::{
    NatCtl, Offloads,
    process::{self, Finished},
};

use crate::gateway::{Gateway, INTERNET, LIMIT};

/// Runs `run` with a configuration that must be refused, and checks that it left nothing.
#[track_caller]
fn refused(gateway: &Gateway, nat: &NatCtl, config: &Path, exit: i32, says: &[&str]) {
    let config = config.to_str().unwrap();
    let finished = nat.run(&["run", "--config", config]);
    says_so(&finished, exit, says);
    let links = process::tool(&gateway.lab.gateway, "ip", &["-details", "link", "show"]);
    assert!(!links.contains("prog/xdp"), "{links}");
    let reading = nat.run(&["sessions", "list"]);
    says_so(&reading, 4, &["is not attached"]);
}

#[track_caller]
fn says_so(finished: &Finished, exit: i32, says: &[&str]) {
    assert_eq!(finished.status.code(), Some(exit), "{}", finished.stderr);
    for text in says {
        assert!(finished.stderr.contains(text), "`{text}` is missing in: {}", finished.stderr);
    }
}

#[test]
fn a_bad_configuration_is_exit_2_with_key_line_and_help() {
    let gateway = Gateway::new(Offloads::On);
    let config = gateway.config("tc", INTERNET.replace("action", "acton"));
    refused(&gateway, &gateway.nat, &config, 2, &["`acton`", "nat.toml:10:", "`action`"]);
    let config = gateway
        .config("tc", INTERNET.replace("{ addresses = [\"203.0.113.1\"] }", "\"strong-hots\""));
    refused(&gateway, &gateway.nat, &config, 2, &["strong-hots", "strong-host\""]);
    let config = gateway.config("tc", format!("{INTERNET}[listen]\nmetrics = \"[::1]:9100\"\n"));
    refused(&gateway, &gateway.nat, &config, 2, &["[listen]", "not available"]);
}

#[test]
fn an_interface_that_is_not_there_is_waited_for() {
    let gateway = Gateway::new(Offloads::On);
    let config = gateway.config("tc", INTERNET);
    let text = std::fs::read_to_string(&config).unwrap().replace("wan0", "wan7");
    std::fs::write(&config, text).unwrap();
    let controller = gateway.nat.start(&config);
    assert!(controller.log().contains("there is no interface `wan7`"), "{}", controller.log());
    process::ip(&gateway.lab.gateway, "link add wan7 type veth peer name peer7\n");
    let line = controller.wait_line(LIMIT, |line| line.contains("attached tc_egress to wan7"));
    assert!(line.is_some(), "{}", controller.log());
    // By flags it is a slip.
    drop(controller);
    gateway.nat.detach();
    let run = ["run", "--inside", "lan0", "--outside", "wan8"];
    says_so(&gateway.nat.run(&run), 4, &["no interface `wan8`", "lan0", "wan0"]);
}

#[test]
fn loopback_has_no_ethernet_header_and_is_exit_4() {
    let gateway = Gateway::new(Offloads::On);
    let config = gateway.config("tc", INTERNET);
    let text = std::fs::read_to_string(&config).unwrap().replace("wan0", "lo");
    std::fs::write(&config, text).unwrap();
    refused(&gateway, &gateway.nat, &config, 4, &["`lo` is not an Ethernet interface"]);
}

/// The program and a file, where everybody may read them, and somebody who may do nothing else.
struct Nobody {
    folder: tempfile::TempDir,
}

impl Nobody {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let binary = nat_tests::lab::nat_ctl::find_binary().unwrap();
        std::fs::copy(binary, folder.path().join("nat-ctl")).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn run(&self, gateway: &Gateway, arguments: &[&str]) -> Finished {
        let mut command = gateway.lab.gateway.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(self.folder.path().join("nat-ctl")).args(arguments);
        process::run(&mut command, LIMIT)
    }
}

#[test]
fn somebody_without_privileges_gets_exit_4() {
    let gateway = Gateway::new(Offloads::On);
    let finished = Nobody::new().run(&gateway, &["run", "--inside", "lan0", "--outside", "wan0"]);
    says_so(&finished, 4, &["not permitted", "CAP_BPF", "CAP_NET_ADMIN", "root"]);
}

/// The control socket is open to everybody; who may change what is decided by who they are.
#[test]
fn somebody_else_may_not_change_what_the_controller_does() {
    let gateway = Gateway::new(Offloads::On);
    let controller = gateway.start("tc", INTERNET);
    let nobody = Nobody::new();
    let file = nobody.folder.path().join("nat.toml");
    std::fs::copy(gateway.config("tc", "[defaults]\nunmatched = \"drop\"\n"), &file).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let apply = ["--instance", gateway.nat.instance(), "apply", file.to_str().unwrap()];
    for dry_run in [&[][..], &["--dry-run"]] {
        let finished = nobody.run(&gateway, &[&apply[..], dry_run].concat());
        says_so(&finished, 4, &["user 65534 may not change this instance"]);
    }
    assert_eq!(gateway.nat.json(&["status"])["rules"].as_array().unwrap().len(), 1);
    assert!(!controller.log().contains("applied"), "{}", controller.log());
}

#[test]
fn no_bpffs_is_exit_4_with_the_command_that_mounts_it() {
    let gateway = Gateway::new(Offloads::On);
    let config = gateway.config("tc", INTERNET);
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["--bpffs", folder.path().to_str().unwrap(), "run", "--config", config.to_str().unwrap()];
    let mut command = gateway.lab.gateway.command(nat_tests::lab::nat_ctl::find_binary().unwrap());
    let finished = process::run(command.args(arguments), LIMIT);
    says_so(&finished, 4, &["is not on a BPF file system", "mount -t bpf"]);
}

#[test]
fn another_xdp_program_is_exit_4_and_nothing_stays_attached() {
    for taken in ["lan0", "wan0"] {
        let gateway = Gateway::new(Offloads::Off);
        let first = gateway.start("xdp", INTERNET);
        // Somebody else's program on one of the two: that of another instance, left there.
        let other = if taken == "lan0" { "wan0-" } else { "lan0-" };
        let layout = gateway.layout();
        drop(first);
        for link in std::fs::read_dir(layout.join("links")).unwrap() {
            let link = link.unwrap();
            let name = link.file_name().into_string().unwrap();
            if name.starts_with(other) || !name.contains("xdp") {
                std::fs::remove_file(link.path()).unwrap();
            }
        }
        let second = gateway.other_instance();
        let config = gateway.config("xdp", INTERNET);
        let finished = second.run(&["run", "--config", config.to_str().unwrap()]);
        says_so(&finished, 4, &[&format!("cannot attach to {taken}"), "another XDP program"]);
        says_so(&second.run(&["status"]), 4, &["is not attached"]);
        // The other one's program is untouched, and ours is nowhere.
        let links = process::tool(&gateway.lab.gateway, "ip", &["-details", "link", "show"]);
        assert_eq!(links.matches("prog/xdp").count(), 1, "{links}");
    }
}

#[test]
fn a_second_instance_on_the_same_interfaces_is_exit_4() {
    let gateway = Gateway::new(Offloads::On);
    let _controller = gateway.start("tc", INTERNET);
    let config = gateway.config("tc", INTERNET);
    let config = config.to_str().unwrap();
    let same = gateway.nat.run(&["run", "--config", config]);
    says_so(&same, 4, &["is in use", "apply"]);
    let other = gateway.other_instance();
    says_so(&other.run(&["run", "--config", config]), 4, &["another instance of nat-ctl"]);
    says_so(&other.run(&["status"]), 4, &["is not attached"]);
    // The first one has noticed nothing.
    assert_eq!(gateway.nat.run(&["status", "--check"]).status.code(), Some(0));
}

#[test]
fn an_instance_of_another_namespace_is_exit_4() {
    let gateway = Gateway::new(Offloads::On);
    let _controller = gateway.start("tc", INTERNET);
    let folder = gateway.pins();
    let bpffs = folder.parent().unwrap().parent().unwrap();
    let client = gateway.lab.client.path();
    let ask = |netns: Option<&Path>| {
        let mut command =
            gateway.lab.client.command(nat_tests::lab::nat_ctl::find_binary().unwrap());
        command.arg("--bpffs").arg(bpffs).args(["--instance", gateway.nat.instance()]);
        if let Some(netns) = netns {
            command.arg("--netns").arg(netns);
        }
        process::run(command.args(["sessions", "count"]), LIMIT)
    };
    says_so(&ask(Some(&client)), 4, &["another network namespace"]);
    // Reading needs no namespace: maps are everybody's.
    assert_eq!(ask(None).status.code(), Some(0));
}
