//! `address list|set`

use std::net::Ipv4Addr;

use clap::{ArgAction, Args, Subcommand};

use super::EditedFile;

const LIST_EXAMPLES: &str = "\
The order is the one that decides: addresses that [addresses] lists come first, as listed, the others
follow in the kernel's order. An address is a source for the rules whose model chooses it for some
destination, or that list it.

Examples:
  nat-ctl address list
  nat-ctl -j address list | jq '.interfaces[].addresses[] | select(.sessions > 0)'";

const SET_EXAMPLES: &str = "\
An address with the flag is a source only for rules that list it. The flag is written into
[addresses] of the configuration file: comments stay as they are, and a controller that runs from the
file reads it again. An address that is not listed there yet is listed together with all others of
its interface, in the order that they have now.

Examples:
  nat-ctl address set 203.0.113.8 --skip-as-source true
  nat-ctl address set 203.0.113.8 --skip-as-source false --config nat.toml";

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AddressCommand {
    /// List external addresses with order, flags and use
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Set a flag of an address in the configuration file and apply it
    #[command(after_help = SET_EXAMPLES)]
    Set(AddressSetArgs),
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AddressSetArgs {
    /// Address of an outside interface
    #[arg(value_name = "ADDR")]
    pub address: Ipv4Addr,

    /// Whether it is a source only where it is named
    #[arg(long, value_name = "true|false", action = ArgAction::Set, required = true)]
    #[arg(hide_possible_values = true)]
    pub skip_as_source: bool,

    #[command(flatten)]
    pub file: EditedFile,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Result<AddressCommand, clap::Error> {
        let line = format!("nat-ctl address {line}");
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Address(command) => Ok(command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flag_is_set_or_cleared() {
        for (word, expected) in [("true", true), ("false", false)] {
            let line = format!("set 203.0.113.8 --skip-as-source {word} -c nat.toml");
            let AddressCommand::Set(args) = parse(&line).unwrap() else { panic!() };
            assert_eq!(args.address, Ipv4Addr::new(203, 0, 113, 8));
            assert_eq!(args.skip_as_source, expected);
            assert_eq!(args.file.config, Some("nat.toml".into()));
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        use ErrorKind::{InvalidValue, MissingRequiredArgument, ValueValidation};
        for (line, kind) in [
            ("set 203.0.113.8", MissingRequiredArgument),
            ("set --skip-as-source true", MissingRequiredArgument),
            ("set 203.0.113.8 --skip-as-source", InvalidValue),
            ("set 203.0.113.8 --skip-as-source yes", InvalidValue),
            ("set 203.0.113.0/24 --skip-as-source true", ValueValidation),
            ("set ::1 --skip-as-source true", ValueValidation),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), kind, "{line}: {error}");
        }
    }
}
