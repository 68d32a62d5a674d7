//! `address list` and `address set`, and what the server sees of it.
use std::{fs, net::Ipv4Addr, process::Command, time::Duration};

use nat_tests::lab::{Offloads, nat_ctl::find_binary, process::run};
use serde_json::{Value, json};

use crate::uplink::{FAR, Uplink, rule};

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

/// Two addresses of which rule 8a prefers .68, without `[addresses]`.
fn uplink() -> Uplink {
    Uplink::new(Offloads::On, &["192.168.1.14/24", "192.168.1.68/24"], host(127), &[])
}

const COMMENT: &str = "\n# the rule that matters\n";

/// The addresses of `wan0`.
fn listed(list: &Value) -> &Vec<Value> {
    assert_eq!(list["schema"], "nat-ctl/address/1");
    assert_eq!(list["interfaces"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["interfaces"][0]["name"], "wan0");
    list["interfaces"][0]["addresses"].as_array().unwrap()
}

#[test]
fn a_flag_moves_the_source_and_the_file_keeps_its_comments() {
    let uplink = uplink();
    let nat = &uplink.gateway.nat;
    let text = format!("{COMMENT}{}# the end\n", rule("\"strong-host\"", "# no more"));
    let file = uplink.gateway.config("tc", text);
    let before = fs::read_to_string(&file).unwrap();
    let _controller = nat.start(&file);
    assert_eq!(uplink.seen(FAR), Some(host(68)));

    // The file does not list it: it is found on the host, and its file is the controller's.
    let set = |skip| nat.text(&["address", "set", "192.168.1.68", "--skip-as-source", skip]);
    let said = set("true");
    assert!(said.contains("→ 192.168.1.14 192.168.1.68(skip_as_source)"), "{said}");
    assert_eq!(uplink.seen(FAR), Some(host(14)));
    let flagged = fs::read_to_string(&file).unwrap();
    let section = "\n[addresses]\nwan0 = [\"192.168.1.14\", { address = \"192.168.1.68\", \
                   skip_as_source = true }]\n";
    assert!(flagged.contains(section) && flagged.replace(section, "") == before, "{flagged}");
    assert!(set("true").contains("no changes"));
    assert_eq!(fs::read_to_string(&file).unwrap(), flagged);

    drop(set("false"));
    assert_eq!(uplink.seen(FAR), Some(host(68)));
    let cleared = fs::read_to_string(&file).unwrap();
    let section = "\n[addresses]\nwan0 = [\"192.168.1.14\", \"192.168.1.68\"]\n";
    assert!(cleared.contains(section) && cleared.replace(section, "") == before, "{cleared}");
    drop(set("true"));
    assert_eq!(fs::read_to_string(&file).unwrap(), flagged);
}

#[test]
fn what_is_refused_changes_neither_file_nor_source() {
    let uplink = uplink();
    let nat = &uplink.gateway.nat;
    let file = uplink.gateway.config("tc", rule("\"strong-host\"", ""));
    let before = fs::read_to_string(&file).unwrap();
    let _controller = nat.start(&file);
    for (address, expected) in
        [("10.77.0.1", "is on `lan0`"), ("192.168.1.1", "no interface of this host has it")]
    {
        let refused = nat.run(&["address", "set", address, "--skip-as-source", "true"]);
        assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert_eq!(uplink.seen(FAR), Some(host(68)));

    // The last one can have it, but what that means is said.
    let set = |address| nat.run(&["address", "set", address, "--skip-as-source", "true"]);
    assert_eq!(set("192.168.1.14").status.code(), Some(0));
    let last = set("192.168.1.68");
    assert_eq!(last.status.code(), Some(0), "{}", last.stderr);
    assert!(last.stderr.contains("rule `internet` is out of service on `wan0`"), "{}", last.stderr);
    assert!(uplink.silent(FAR));
}

#[test]
fn addresses_are_listed_with_their_use() {
    let uplink = uplink();
    let nat = &uplink.gateway.nat;
    let order = "[addresses]\nwan0 = [\"192.168.1.68\", \"192.168.1.99\"]";
    let controller = uplink.start_with("tc", "\"strong-host\"", order);
    assert_eq!(uplink.seen(FAR), Some(host(68)));
    controller.kill();
    uplink.ip("addr change 192.168.1.14/24 dev wan0 valid_lft forever preferred_lft 0\n");

    let list = nat.json(&["address", "list"]);
    assert_eq!(list["warnings"], json!([]));
    let first = &listed(&list)[0];
    assert_eq!((&first["address"], &first["prefix"]), (&json!("192.168.1.68"), &json!(24)));
    assert_eq!((&first["order"], &first["listed"]), (&json!(1), &json!(true)));
    assert_eq!((&first["rules"], &first["sessions"]), (&json!(["internet"]), &json!(1)));
    let shown: Vec<_> = listed(&list).iter().map(|one| (&one["address"], &one["flags"])).collect();
    let expected = [
        (json!("192.168.1.68"), json!(["secondary"])),
        (json!("192.168.1.99"), json!([])),
        (json!("192.168.1.14"), json!(["deprecated"])),
    ];
    assert_eq!(shown, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    assert_eq!(listed(&list)[1]["present"], false);
    let text = nat.text(&["address", "list"]);
    assert!(text.contains("192.168.1.99     not on the interface"), "{text}");

    // In another namespace wan0 is another interface, or none.
    let bpffs = uplink.gateway.pins().ancestors().nth(2).unwrap().to_owned();
    let mut elsewhere = Command::new(find_binary().unwrap());
    elsewhere.arg("--bpffs").arg(bpffs).args(["--instance", nat.instance()]);
    elsewhere.args(["-j", "address", "list"]);
    let list: Value =
        serde_json::from_str(&run(&mut elsewhere, Duration::from_secs(20)).ok()).unwrap();
    assert!(list["warnings"][0].as_str().unwrap().contains("--netns"), "{list}");
    let first = &listed(&list)[0];
    assert_eq!((&first["present"], &first["order"]), (&Value::Null, &Value::Null));
    assert_eq!((&first["rules"], &first["sessions"]), (&json!(["internet"]), &json!(1)));
}
