use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn run(line: &str) -> RunArgs {
    match parse(line).unwrap().command {
        Command::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

#[test]
fn definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn global_flags_go_before_and_after() {
    for line in [
        "nat-ctl --instance a --netns r1 --bpffs /b -j --color never -vv sessions list",
        "nat-ctl sessions --instance a --netns r1 list --bpffs /b -j --color never -vv",
        "nat-ctl sessions list --instance a --netns r1 --bpffs /b --json --color=never -v -v",
    ] {
        let global = parse(line).unwrap().global;
        assert_eq!(global.instance.as_str(), "a", "{line}");
        assert_eq!(global.netns.unwrap().path(), PathBuf::from("/run/netns/r1"));
        assert_eq!(global.bpffs, PathBuf::from("/b"));
        assert!(global.json);
        assert_eq!(global.color, ColorChoice::Never);
        assert_eq!(global.verbose, 2);
    }
}

#[test]
fn global_flags_have_defaults() {
    let global = parse("nat-ctl status --check").unwrap().global;
    assert_eq!(global.instance.as_str(), "default");
    assert_eq!((global.netns, global.bpffs), (None, PathBuf::from("/sys/fs/bpf")));
    assert_eq!((global.json, global.color, global.verbose), (false, ColorChoice::Auto, 0));
}

#[test]
fn run_takes_a_file_or_interfaces() {
    assert_eq!(run("nat-ctl run --config a.toml").config, Some(PathBuf::from("a.toml")));
    let args = run("nat-ctl run --inside lan0 lan1 --outside wan0,wan1 --inside lan2 \
                    --source 203.0.113.7 203.0.113.8 --hook xdp");
    assert_eq!(args.config, None);
    assert_eq!(args.inside, ["lan0", "lan1", "lan2"]);
    assert_eq!(args.outside, ["wan0", "wan1"]);
    assert_eq!(args.source.len(), 2);
    assert_eq!(args.hook, Some(Hook::Xdp));
}

#[test]
fn attach_takes_what_run_takes() {
    for flags in ["--config f", "--inside a --outside b --source 203.0.113.7 --hook tc"] {
        let Command::Attach(attach) = parse(&format!("nat-ctl attach {flags}")).unwrap().command
        else {
            panic!("{flags}")
        };
        assert_eq!(attach, run(&format!("nat-ctl run {flags}")));
    }
    let mut cli = Cli::command();
    let help = |cli: &mut clap::Command, name: &str| {
        cli.find_subcommand_mut(name).unwrap().render_help().to_string()
    };
    assert!(help(&mut cli, "run").contains("Usage: nat-ctl run "));
    let attach = help(&mut cli, "attach");
    assert!(attach.contains("Usage: nat-ctl attach "), "{attach}");
    assert!(!attach.contains("nat-ctl run [") && !attach.contains("SIGHUP"), "{attach}");
}

#[test]
fn files_are_checked_and_applied() {
    let Command::Check(check) = parse("nat-ctl check f --no-host").unwrap().command else {
        panic!()
    };
    assert_eq!(check, CheckArgs { file: PathBuf::from("f"), no_host: true });
    let Command::Apply(apply) = parse("nat-ctl apply f --dry-run").unwrap().command else {
        panic!()
    };
    assert_eq!(apply, ApplyArgs { file: PathBuf::from("f"), dry_run: true });
}

#[test]
fn flush_wants_to_know_which() {
    let flush = |flags: &str| match parse(&format!("nat-ctl sessions flush {flags}"))?.command {
        Command::Sessions(SessionsCommand::Flush(args)) => Ok(args),
        other => panic!("{other:?}"),
    };
    assert!(flush("--all").unwrap().all);
    let args = flush("--proto tcp --remote :443 --yes").unwrap();
    assert_eq!((args.all, args.yes, args.filter.proto), (false, true, Some(Protocol::Tcp)));
    for (flags, kind) in [
        ("", ErrorKind::MissingRequiredArgument),
        ("--yes", ErrorKind::MissingRequiredArgument),
        ("--all --proto tcp", ErrorKind::ArgumentConflict),
        ("--rule a --all", ErrorKind::ArgumentConflict),
    ] {
        let error: clap::Error = flush(flags).unwrap_err();
        assert_eq!(error.kind(), kind, "{flags}: {error}");
    }
}

#[test]
fn wrong_usage_is_refused() {
    use ErrorKind::{
        ArgumentConflict, InvalidSubcommand, InvalidValue, MissingRequiredArgument,
        UnknownArgument, ValueValidation,
    };
    for (line, kind) in [
        ("nat-ctl run", MissingRequiredArgument),
        ("nat-ctl run --inside lan0", MissingRequiredArgument),
        ("nat-ctl run --outside wan0", MissingRequiredArgument),
        ("nat-ctl run --config f --inside a --outside b", ArgumentConflict),
        ("nat-ctl run --config f --outside b", ArgumentConflict),
        ("nat-ctl run --config f --source 203.0.113.7", ArgumentConflict),
        ("nat-ctl run --config f --hook tc", ArgumentConflict),
        ("nat-ctl run --inside a --outside b --hook tcx", InvalidValue),
        ("nat-ctl run --inside a --outside b --source ::1", ValueValidation),
        ("nat-ctl run --inside a/b --outside b", ValueValidation),
        ("nat-ctl --instance .a status", ValueValidation),
        ("nat-ctl --instance a/b status", ValueValidation),
        ("nat-ctl --color blue status", InvalidValue),
        ("nat-ctl sessions list --remote ::1", ValueValidation),
        ("nat-ctl sessions list --proto sctp", InvalidValue),
        ("nat-ctl sessions list --state open", InvalidValue),
        ("nat-ctl sesions list", InvalidSubcommand),
        ("nat-ctl stats --rule x", UnknownArgument),
        ("nat-ctl attach", MissingRequiredArgument),
        ("nat-ctl attach --config f --inside a --outside b", ArgumentConflict),
        ("nat-ctl check", MissingRequiredArgument),
        ("nat-ctl check f g", UnknownArgument),
        ("nat-ctl apply --dry-run", MissingRequiredArgument),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.kind(), kind, "{line}: {error}");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn endpoints() {
    let address = Ipv4Addr::new(10, 0, 0, 5);
    for (text, matching, not_matching) in [
        ("10.0.0.5", (address, 1), (Ipv4Addr::new(10, 0, 0, 6), 1)),
        ("10.0.0.0/24", (address, 1), (Ipv4Addr::new(10, 0, 1, 5), 1)),
        ("10.0.0.9/24", (address, 1), (Ipv4Addr::new(10, 0, 1, 5), 1)),
        ("10.0.0.5:443", (address, 443), (address, 444)),
        ("10.0.0.0/24:443", (address, 443), (address, 444)),
        (":443", (address, 443), (address, 444)),
        ("0.0.0.0/0", (address, 1), (address, 1)),
    ] {
        let filter: EndpointFilter = text.parse().unwrap();
        assert!(filter.matches(matching.0, matching.1), "{text}");
        if matching != not_matching {
            assert!(!filter.matches(not_matching.0, not_matching.1), "{text}");
        }
    }
    for text in ["", ":", "x", "10.0.0.0/33", "10.0.0.5:", "10.0.0.5:65536", "fe80::1", "10.0.0"] {
        assert!(text.parse::<EndpointFilter>().is_err(), "{text}");
    }
}

#[test]
fn states_are_called_alike_everywhere() {
    for state in SessionState::value_variants() {
        let flag = state.to_possible_value().unwrap();
        assert_eq!(flag.get_name(), state.as_str());
    }
}

#[test]
fn instance_names() {
    for name in ["default", "a", "net-1_b", "-x", &"n".repeat(32)] {
        assert_eq!(name.parse::<InstanceName>().unwrap().as_str(), name);
    }
    for name in ["", ".", "..", "net.1", "a b", "a/b", "ä", &"n".repeat(33)] {
        assert!(name.parse::<InstanceName>().is_err(), "{name}");
    }
}

#[test]
fn namespaces() {
    let path = |text: &str| text.parse::<NetNs>().unwrap().path();
    assert_eq!(path("r1"), PathBuf::from("/run/netns/r1"));
    assert_eq!(path("/proc/1/ns/net"), PathBuf::from("/proc/1/ns/net"));
    assert!("..".parse::<NetNs>().is_err());
}

#[test]
fn probe_takes_a_name_or_an_address_with_a_port() {
    let target = |text: &str| {
        let line = format!("nat-ctl probe {text} --timeout 0.5");
        match parse(&line).map(|cli| cli.command) {
            Ok(Command::Probe(args)) => Ok((args.destination.host, args.destination.port)),
            other => Err(format!("{other:?}")),
        }
    };
    assert_eq!(target("sip.example.net:5061"), Ok(("sip.example.net".to_owned(), 5061)));
    assert_eq!(target("192.0.2.1:80"), Ok(("192.0.2.1".to_owned(), 80)));
    assert_eq!(target("[2001:db8::1]:80"), Ok(("2001:db8::1".to_owned(), 80)));
    for bad in ["host", "host:", "host:0", "host:65536", ":80", "[]:80"] {
        assert!(target(bad).is_err(), "{bad}");
    }
    assert!(target("2001:db8::1:80").unwrap_err().contains("[2001:db8::1]:80"));
    for bad in ["0", "-1", "nan", "3601", "x"] {
        assert!(parse(&format!("nat-ctl probe a:1 --timeout={bad}")).is_err(), "{bad}");
    }
}
