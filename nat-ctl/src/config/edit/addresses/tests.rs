//! Text in, text out.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const INTERFACES: &str = "[interfaces] # both\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n";

/// Lists with comments wherever TOML allows one.
const COMMENTED: &str = r#"# Gateway.
[interfaces]
inside = ["lan0"]
outside = ["wan0"] # to the provider

# order matters
[addresses] # as bought
# the old line
wan0 = [ # three
  "192.0.2.1", # mail
  # for the tunnel
  { address = '192.0.2.2', skip_as_source = true }, # Ann's

  '192.0.2.3' # last
  # end
]
# the new line
wan1 = []

[limits]
max_sessions = 16
"#;

/// `192.0.2.1 !192.0.2.2`: a mark means the flag.
fn wanted(interface: &str, addresses: &str) -> InterfaceAddresses {
    let address = |word: &str| ConfiguredAddress {
        address: word.trim_start_matches('!').parse().unwrap(),
        skip_as_source: word.starts_with('!'),
    };
    let addresses = addresses.split_whitespace().map(address).collect();
    InterfaceAddresses { interface: interface.to_owned(), addresses }
}

fn set(text: &str, interface: &str, addresses: &str) -> String {
    list(text, "nat.toml", &wanted(interface, addresses))
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Lines that are new, and those that are gone.
fn difference(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
    let without = |a: &str, b: &str| {
        let lines: Vec<&str> = b.lines().collect();
        a.lines().filter(|line| !lines.contains(line)).map(str::to_owned).collect()
    };
    (without(new, old), without(old, new))
}

#[test]
fn flags_change_where_they_stand() {
    let flagged = set(COMMENTED, "wan0", "!192.0.2.1 !192.0.2.2 !192.0.2.3");
    assert_eq!(
        difference(COMMENTED, &flagged),
        (
            vec![
                "  { address = \"192.0.2.1\", skip_as_source = true }, # mail".to_owned(),
                "  { address = '192.0.2.3', skip_as_source = true } # last".to_owned()
            ],
            vec!["  \"192.0.2.1\", # mail".to_owned(), "  '192.0.2.3' # last".to_owned()]
        )
    );
    let cleared = set(COMMENTED, "wan0", "192.0.2.1 192.0.2.2 192.0.2.3");
    assert_eq!(difference(COMMENTED, &cleared).0, ["  '192.0.2.2', # Ann's"]);
    assert_eq!(set(&flagged, "wan0", "192.0.2.1 !192.0.2.2 192.0.2.3"), COMMENTED);
    assert_eq!(set(COMMENTED, "wan0", "192.0.2.1 !192.0.2.2 192.0.2.3"), COMMENTED);
}

#[test]
fn a_flag_may_be_written_in_several_ways() {
    let file = |list: &str| format!("{INTERFACES}[addresses]\nwan0 = {list}\n");
    for (before, address, after) in [
        ("[\"192.0.2.1\"]", "!192.0.2.1", "[{ address = \"192.0.2.1\", skip_as_source = true }]"),
        (
            "[{address=\"192.0.2.1\"}]",
            "!192.0.2.1",
            "[{address=\"192.0.2.1\", skip_as_source = true}]",
        ),
        (
            "[{skip_as_source=false,address=\"192.0.2.1\"}]",
            "!192.0.2.1",
            "[{skip_as_source=true,address=\"192.0.2.1\"}]",
        ),
        ("[ {skip_as_source=true,address=\"192.0.2.1\"} ]", "192.0.2.1", "[ \"192.0.2.1\" ]"),
        (
            "[{ skip_as_source = true, # why\naddress = \"192.0.2.1\" }]",
            "192.0.2.1",
            "[{ skip_as_source = false, # why\naddress = \"192.0.2.1\" }]",
        ),
    ] {
        assert_eq!(set(&file(before), "wan0", address), file(after));
    }
}

#[test]
fn addresses_are_added_at_the_end() {
    let more = set(COMMENTED, "wan0", "192.0.2.1 192.0.2.2 192.0.2.3 !192.0.2.4 192.0.2.5");
    let (new, _) = difference(COMMENTED, &more);
    assert_eq!(
        new,
        [
            "  '192.0.2.2', # Ann's",
            "  '192.0.2.3', # last",
            "  { address = \"192.0.2.4\", skip_as_source = true },",
            "  \"192.0.2.5\"",
        ]
    );
    let first = set(COMMENTED, "wan1", "192.0.2.9 !192.0.2.10");
    let expected = "wan1 = [\"192.0.2.9\", { address = \"192.0.2.10\", skip_as_source = true }]";
    assert_eq!(difference(COMMENTED, &first).0, [expected]);
}

#[test]
fn an_interface_without_a_list_gets_one() {
    let line = "wan0 = [\"192.0.2.1\", { address = \"192.0.2.2\", skip_as_source = true }]";
    let section = format!("\n[addresses]\n{line}\n");
    let rest = "\n# first match wins\n[limits]\nmax_sessions = 16\n";
    let others = "[addresses] # order\nwan9 = [\n  \"192.0.2.9\"\n] # nine\n\n[source]\n";
    let inline = "interfaces = { inside = [\"lan0\"], outside = [\"wan0\"] }\n";
    for (before, after) in [
        (format!("{INTERFACES}{rest}"), format!("{INTERFACES}{section}{rest}")),
        (INTERFACES.to_owned(), format!("{INTERFACES}{section}")),
        (
            format!("[limits]\nmax_sessions = 16\n{}", INTERFACES.trim_end()),
            format!("[limits]\nmax_sessions = 16\n{INTERFACES}{}", section.trim_end()),
        ),
        (format!("{inline}{rest}"), format!("{inline}{rest}{section}")),
        (
            format!("{INTERFACES}{others}"),
            format!("{INTERFACES}{}", others.replace("# nine\n", &format!("# nine\n{line}\n"))),
        ),
        (
            format!("{INTERFACES}[addresses] # none yet"),
            format!("{INTERFACES}[addresses] # none yet\n{line}"),
        ),
        (
            format!("addresses.wan9 = [] # nine\n{INTERFACES}"),
            format!("addresses.wan9 = [] # nine\naddresses.{line}\n{INTERFACES}"),
        ),
        (
            format!("addresses = {{ wan9 = [] }} # nine\n{INTERFACES}"),
            format!("addresses = {{ wan9 = [], {line} }} # nine\n{INTERFACES}"),
        ),
        (
            format!("addresses = {{}} # none\n{INTERFACES}"),
            format!("addresses = {{ {line} }} # none\n{INTERFACES}"),
        ),
    ] {
        assert_eq!(set(&before, "wan0", "192.0.2.1 !192.0.2.2"), after);
        let (before, after) = (before.replace('\n', "\r\n"), after.replace('\n', "\r\n"));
        assert_eq!(set(&before, "wan0", "192.0.2.1 !192.0.2.2"), after);
    }
}

#[test]
fn names_are_quoted_and_long_lists_have_lines() {
    let many: Vec<String> = (1..9).map(|last| format!("192.0.2.{last}")).collect();
    let edited = set(INTERFACES, "eth0.100", &many.join(" "));
    assert!(
        edited.ends_with(
            "\"eth0.100\" = [\n  \"192.0.2.1\",\n  \"192.0.2.2\",\n  \"192.0.2.3\",\n  \"192.0.2.4\",\
             \n  \"192.0.2.5\",\n  \"192.0.2.6\",\n  \"192.0.2.7\",\n  \"192.0.2.8\",\n]\n"
        ),
        "{edited}"
    );
    let flagged = set(&edited, "eth0.100", &many.join(" ").replace("2.8", "2.8 !192.0.2.9"));
    assert!(flagged.ends_with("skip_as_source = true },\n]\n"), "{flagged}");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let tables = format!("{INTERFACES}[[addresses.wan0]]\naddress = \"192.0.2.1\"\n");
    for (text, interface, addresses) in [
        (tables.as_str(), "wan0", "!192.0.2.1"),
        (tables.as_str(), "wan1", "192.0.2.2"),
        // Another order, or fewer.
        (COMMENTED, "wan0", "192.0.2.2 192.0.2.1 192.0.2.3"),
        (COMMENTED, "wan0", "192.0.2.1"),
    ] {
        let result = list(text, "nat.toml", &wanted(interface, addresses));
        assert_eq!(result, Err(EditError::TooIntricate), "{addresses}");
    }
    for (text, interface, addresses, expected) in [
        (COMMENTED, "wan2", "192.0.2.1", "lists 192.0.2.1 twice"),
        ("[addresses", "wan0", "192.0.2.1", "not valid TOML"),
    ] {
        let error = list(text, "nat.toml", &wanted(interface, addresses)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// A list of addresses with this space before, between and behind them.
fn file(space: &[&str], flags: &[bool], crlf: bool) -> String {
    let mut text = format!("{INTERFACES}[addresses]\nwan0 = [");
    for (last, flag) in flags.iter().enumerate() {
        let at = |index: usize| space[index % space.len()];
        let address = match flag {
            true => format!("{{ address = \"192.0.2.{last}\", skip_as_source = true }}"),
            false => format!("\"192.0.2.{last}\""),
        };
        let comma = if last + 1 < flags.len() { "," } else { "" };
        text.push_str(&format!("{}{address}{}{comma}", at(2 * last), at(2 * last + 1)));
    }
    text.push_str("] # end\n[limits]\nmax_sessions = 16\n");
    if crlf { text.replace('\n', "\r\n") } else { text }
}

proptest! {
    /// Whatever the list looks like, a flag that is changed and changed back leaves no trace.
    #[test]
    fn there_and_back(
        space in proptest::collection::vec(
            prop_oneof![Just(""), Just(" "), Just("\n  "), Just(" # so\n"), Just("\n# so\n\t")], 1..8),
        flags in proptest::collection::vec(any::<bool>(), 1..6),
        index in any::<prop::sample::Index>(),
        crlf in any::<bool>(),
    ) {
        let text = file(&space, &flags, crlf);
        let lists = |flags: &[bool]| InterfaceAddresses {
            interface: "wan0".to_owned(),
            addresses: flags.iter().zip(0..).map(|(flag, last)| ConfiguredAddress {
                address: Ipv4Addr::new(192, 0, 2, last),
                skip_as_source: *flag,
            }).collect(),
        };
        let mut other = flags.clone();
        let index = index.index(flags.len());
        other[index] = !other[index];
        let changed = list(&text, "nat.toml", &lists(&other)).unwrap();
        prop_assert_eq!(&changed, &file(&space, &other, crlf));
        prop_assert_eq!(list(&changed, "nat.toml", &lists(&flags)).unwrap(), text);
    }
}
