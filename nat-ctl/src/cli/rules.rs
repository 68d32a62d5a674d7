//! `rules list|add|remove|move`

mod behaviour;

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

pub use behaviour::BehaviourArgs;

use crate::config::edit::{At, NewRule, NewSource};
use crate::config::{ActionWord, OnAddressRemoved, Pooling, Protocol, SourceModel, nearest};
use crate::exit::Failure;

const LIST_EXAMPLES: &str = "\
Without --config the rules in force are shown, from the data path itself, with their counters.

Examples:
  nat-ctl rules list
  nat-ctl rules list --config /etc/nat-ctl/nat.toml
  nat-ctl -j rules list | jq '.rules[].name'";

const ADD_EXAMPLES: &str = "\
The configuration file is edited: comments and order stay as they are, and what would not be a valid
configuration is not written. A controller that runs from the file reads it again.

Examples:
  nat-ctl rules add --name vpn --from internal --to 10.20.0.0/16 --action route --first
  nat-ctl rules add --name web --from internal --to external --protocols tcp --action snat \\
      --source 203.0.113.7 203.0.113.8 --pooling paired --ports 1024-65535 --before internet
  nat-ctl rules add --name rest --from internal --to external --action snat --source lowest --sticky";

const REMOVE_EXAMPLES: &str = "\
The rule's comments go with it. Its sessions go on until they end.

Example:
  nat-ctl rules remove vpn --config /etc/nat-ctl/nat.toml";

const MOVE_EXAMPLES: &str = "\
The first rule that matches decides. The rule's comments and counters move with it.

Examples:
  nat-ctl rules move vpn --first
  nat-ctl rules move web --before internet
  nat-ctl rules move web --at 3";

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum RulesCommand {
    /// List rules: those in force, or those of a file
    #[command(after_help = LIST_EXAMPLES)]
    List(RulesListArgs),
    /// Add a rule to the configuration file and apply it
    #[command(after_help = ADD_EXAMPLES)]
    Add(Box<RulesAddArgs>),
    /// Remove a rule from the configuration file and apply it
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove(RulesRemoveArgs),
    /// Move a rule within the configuration file and apply it
    #[command(after_help = MOVE_EXAMPLES)]
    Move(RulesMoveArgs),
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RulesListArgs {
    /// Configuration file [default: the rules in force]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The file that is edited.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct EditedFile {
    /// Configuration file [default: that of the running controller, else /etc/nat-ctl/nat.toml]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RulesAddArgs {
    #[command(flatten)]
    pub file: EditedFile,

    /// Name of the rule
    #[arg(long, value_name = "NAME")]
    pub name: String,

    /// Sources: names of networks, `external`, `local-host`, or prefixes
    #[arg(long, value_name = "NETWORK", num_args = 1.., value_delimiter = ',', required = true)]
    pub from: Vec<String>,

    /// Destinations, in the same words
    #[arg(long, value_name = "NETWORK", num_args = 1.., value_delimiter = ',', required = true)]
    pub to: Vec<String>,

    /// What to do with the packets
    #[arg(long, value_name = "ACTION", value_enum)]
    pub action: ActionWord,

    /// For `snat`: external addresses, or how one is chosen: strong-host, weak-host, first or
    /// lowest [default: strong-host]
    #[arg(long, value_name = "ADDR|MODEL", num_args = 1.., value_delimiter = ',')]
    #[arg(value_parser = source_arg)]
    pub source: Vec<SourceArg>,

    /// How one of several external addresses is picked [default: paired]
    #[arg(long, value_name = "POOLING", value_enum, requires = "source")]
    pub pooling: Option<Pooling>,

    /// Keep the chosen address while it is valid, also when the model would choose another
    #[arg(long)]
    pub sticky: bool,

    /// What becomes of sessions whose external address is taken away [default: drain]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub on_address_removed: Option<OnAddressRemoved>,

    /// Protocols that are translated [default: all]
    #[arg(long, value_name = "PROTO", value_enum, num_args = 1.., value_delimiter = ',')]
    pub protocols: Vec<Protocol>,

    /// External ports, for `snat` [default: 1024-65535]
    #[arg(long, value_name = "FIRST-LAST")]
    pub ports: Option<String>,

    #[command(flatten)]
    pub behaviour: BehaviourArgs,

    #[command(flatten)]
    pub place: PlaceArgs,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RulesRemoveArgs {
    /// Name of the rule
    #[arg(value_name = "NAME")]
    pub name: String,

    #[command(flatten)]
    pub file: EditedFile,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(group = ArgGroup::new("where").required(true).args(PLACES))]
pub struct RulesMoveArgs {
    /// Name of the rule
    #[arg(value_name = "NAME")]
    pub name: String,

    #[command(flatten)]
    pub file: EditedFile,

    #[command(flatten)]
    pub place: PlaceArgs,
}

const PLACES: [&str; 5] = ["at", "before", "after", "first", "last"];

/// Where a rule goes: one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Place")]
pub struct PlaceArgs {
    /// To this position, counted from 1
    #[arg(long, value_name = "N")]
    pub at: Option<NonZeroUsize>,

    /// Directly before this rule
    #[arg(long, value_name = "NAME")]
    pub before: Option<String>,

    /// Directly after this rule
    #[arg(long, value_name = "NAME")]
    pub after: Option<String>,

    /// Before all others
    #[arg(long)]
    pub first: bool,

    /// After all others; where a new rule goes by default
    #[arg(long)]
    pub last: bool,
}

impl PlaceArgs {
    /// The place, by default the last.
    pub fn at(&self) -> At {
        if let Some(position) = self.at {
            At::Position(position)
        } else if let Some(name) = &self.before {
            At::Before(name.clone())
        } else if let Some(name) = &self.after {
            At::After(name.clone())
        } else if self.first {
            At::First
        } else {
            At::Last
        }
    }
}

/// One value of `--source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceArg {
    Address(Ipv4Addr),
    Model(SourceModel),
}

fn source_arg(text: &str) -> Result<SourceArg, String> {
    if let Ok(address) = text.parse() {
        return Ok(SourceArg::Address(address));
    }
    if let Ok(model) = SourceModel::from_str(text, false) {
        return Ok(SourceArg::Model(model));
    }
    let models: Vec<&str> = SourceModel::value_variants().iter().map(|one| one.as_str()).collect();
    Err(match nearest(text, models.iter().copied()) {
        Some(model) => format!("did you mean {model}?"),
        None => format!("neither an IPv4 address nor one of {}", models.join(", ")),
    })
}

impl RulesAddArgs {
    /// The rule as it is to be written.
    pub fn rule(&self) -> Result<NewRule, Failure> {
        Ok(NewRule {
            name: self.name.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            protocols: self.protocols.clone(),
            action: self.action,
            source: self.source()?,
            sticky: self.sticky,
            on_address_removed: self.on_address_removed,
            ports: self.ports.clone(),
            exclude_ports: self.behaviour.exclude_ports.clone(),
            mapping: self.behaviour.mapping()?,
            filtering: self.behaviour.filtering()?,
            spill: self.behaviour.spill,
            mss: self.behaviour.mss.clone(),
        })
    }

    /// A model alone, or addresses.
    fn source(&self) -> Result<Option<NewSource>, Failure> {
        let addresses: Vec<Ipv4Addr> = self
            .source
            .iter()
            .filter_map(|one| match one {
                SourceArg::Address(address) => Some(*address),
                SourceArg::Model(_) => None,
            })
            .collect();
        match self.source.as_slice() {
            [] => Ok(None),
            [SourceArg::Model(model)] if self.pooling.is_none() => {
                Ok(Some(NewSource::Model(*model)))
            }
            [SourceArg::Model(model)] => Err(Failure::usage(format!(
                "--pooling picks one of several addresses, but --source {model} chooses one"
            ))
            .with_help("leave --pooling out, or list the addresses")),
            all if addresses.len() == all.len() => {
                Ok(Some(NewSource::Addresses { addresses, pooling: self.pooling }))
            }
            _ => Err(Failure::usage("--source has a model and something else")
                .with_help("name one model, or addresses only")),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::Mapping;
    use crate::config::edit::NewBehaviour;

    fn parse(line: &str) -> Result<RulesCommand, clap::Error> {
        let line = format!("nat-ctl rules {line}");
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Rules(command) => Ok(command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rule_from_flags() {
        let line = "add --config f.toml --name web --from internal,10.0.0.0/8 --to external 8.8.8.8 \
                    --action snat --source 203.0.113.7 203.0.113.8 --pooling random --protocols \
                    tcp,udp --ports 1-9 --exclude-ports 5,7-8 --mapping endpoint-independent \
                    --spill --mss 1400 --before internet";
        let RulesCommand::Add(args) = parse(line).unwrap() else { panic!() };
        assert_eq!(args.file.config, Some(PathBuf::from("f.toml")));
        assert_eq!(args.place.at(), At::Before("internet".to_owned()));
        assert_eq!(
            args.rule().unwrap(),
            NewRule {
                name: "web".to_owned(),
                from: vec!["internal".to_owned(), "10.0.0.0/8".to_owned()],
                to: vec!["external".to_owned(), "8.8.8.8".to_owned()],
                protocols: vec![Protocol::Tcp, Protocol::Udp],
                action: ActionWord::Snat,
                source: Some(NewSource::Addresses {
                    addresses: vec![[203, 0, 113, 7].into(), [203, 0, 113, 8].into()],
                    pooling: Some(Pooling::Random),
                }),
                sticky: false,
                on_address_removed: None,
                ports: Some("1-9".to_owned()),
                exclude_ports: vec!["5".to_owned(), "7-8".to_owned()],
                mapping: Some(NewBehaviour::All(Mapping::EndpointIndependent)),
                filtering: None,
                spill: true,
                mss: Some("1400".to_owned()),
            }
        );
    }

    #[test]
    fn a_source_is_a_model_or_addresses() {
        let rule = |flags: &str| {
            let line = format!("add --name a --from b --to c --action snat {flags}");
            match parse(&line).unwrap() {
                RulesCommand::Add(args) => args.rule(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(rule("").unwrap().source, None);
        for model in SourceModel::value_variants() {
            let source = rule(&format!("--source {model}")).unwrap().source;
            assert_eq!(source, Some(NewSource::Model(*model)));
        }
        let rule_of_all = rule("--source first --sticky --on-address-removed end").unwrap();
        assert!(rule_of_all.sticky);
        assert_eq!(rule_of_all.on_address_removed, Some(OnAddressRemoved::End));
        for (flags, expected) in [
            ("--source first lowest", "--source has a model and something else"),
            ("--source first,203.0.113.7", "name one model, or addresses only"),
            ("--source lowest --pooling paired", "but --source lowest chooses one"),
        ] {
            let message = rule(flags).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn places() {
        let at = |flags: &str| match parse(&format!("move x {flags}")).unwrap() {
            RulesCommand::Move(args) => args.place.at(),
            other => panic!("{other:?}"),
        };
        assert_eq!(at("--at 3"), At::Position(NonZeroUsize::new(3).unwrap()));
        assert_eq!(at("--before y"), At::Before("y".to_owned()));
        assert_eq!(at("--after y"), At::After("y".to_owned()));
        assert_eq!(at("--first"), At::First);
        assert_eq!(at("--last"), At::Last);
        let line = "add --name a --from b --to c --action drop";
        let RulesCommand::Add(args) = parse(line).unwrap() else { panic!() };
        assert_eq!(args.place.at(), At::Last);
    }

    #[test]
    fn wrong_usage_is_refused() {
        use ErrorKind::{ArgumentConflict, InvalidValue, MissingRequiredArgument, ValueValidation};
        let add = "add --name a --from b --to c";
        for (line, kind) in [
            ("move x".to_owned(), MissingRequiredArgument),
            ("move x --first --last".to_owned(), ArgumentConflict),
            ("move x --at 0".to_owned(), ValueValidation),
            ("move --first".to_owned(), MissingRequiredArgument),
            ("remove".to_owned(), MissingRequiredArgument),
            (add.to_owned(), MissingRequiredArgument),
            ("add --name a --from b --action drop".to_owned(), MissingRequiredArgument),
            (format!("{add} --action nat"), InvalidValue),
            (format!("{add} --action drop --first --at 1"), ArgumentConflict),
            (format!("{add} --action snat --pooling paired"), MissingRequiredArgument),
            (format!("{add} --action snat --source ::1"), ValueValidation),
            (format!("{add} --action snat --source strong"), ValueValidation),
            (format!("{add} --action snat --on-address-removed keep"), InvalidValue),
            (format!("{add} --action snat --protocols gre"), InvalidValue),
        ] {
            let error = parse(&line).unwrap_err();
            assert_eq!(error.kind(), kind, "{line}: {error}");
        }
    }
}
