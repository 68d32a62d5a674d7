//! Flags of `rules add` that say how the rule translates.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::config::edit::NewBehaviour;
use crate::config::{Filtering, Mapping, Protocol, nearest};
use crate::exit::Failure;

/// How the new rule translates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct BehaviourArgs {
    /// External ports that are not used, of those above
    #[arg(long, value_name = "PORT|FIRST-LAST", num_args = 1.., value_delimiter = ',')]
    pub exclude_ports: Vec<String>,

    /// What decides a flow's external port: endpoint-independent or address-and-port-dependent,
    /// for all protocols or as PROTO=MAPPING [default: endpoint-independent for udp and icmp]
    #[arg(long, value_name = "[PROTO=]MAPPING", num_args = 1.., value_delimiter = ',')]
    #[arg(value_parser = behaviour_arg::<Mapping>)]
    pub mapping: Vec<BehaviourArg<Mapping>>,

    /// Who may send to a client's external port: endpoint-independent, address-dependent or
    /// address-and-port-dependent, likewise [default: address-and-port-dependent]
    #[arg(long, value_name = "[PROTO=]FILTERING", num_args = 1.., value_delimiter = ',')]
    #[arg(value_parser = behaviour_arg::<Filtering>)]
    pub filtering: Vec<BehaviourArg<Filtering>>,

    /// Let a client whose own address is full use another one, of several paired ones
    #[arg(long)]
    pub spill: bool,

    /// Largest TCP segment to be agreed on: off, auto or bytes [default: off]
    #[arg(long, value_name = "SIZE")]
    pub mss: Option<String>,
}

impl BehaviourArgs {
    /// As it is to be written.
    pub fn mapping(&self) -> Result<Option<NewBehaviour<Mapping>>, Failure> {
        behaviour("--mapping", &self.mapping)
    }

    /// As it is to be written.
    pub fn filtering(&self) -> Result<Option<NewBehaviour<Filtering>>, Failure> {
        behaviour("--filtering", &self.filtering)
    }
}

/// One value of `--mapping` or `--filtering`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BehaviourArg<T> {
    /// None for all.
    pub protocol: Option<Protocol>,
    pub word: T,
}

fn behaviour_arg<T: ValueEnum>(text: &str) -> Result<BehaviourArg<T>, String> {
    let (protocol, word) = match text.split_once('=') {
        Some((protocol, word)) => (Some(value_of::<Protocol>(protocol)?), word),
        None => (None, text),
    };
    Ok(BehaviourArg { protocol, word: value_of(word)? })
}

/// The variant of a word.
fn value_of<T: ValueEnum>(word: &str) -> Result<T, String> {
    let values: Vec<_> = T::value_variants().iter().filter_map(T::to_possible_value).collect();
    T::from_str(word, false).map_err(|_| {
        let known = || values.iter().map(PossibleValue::get_name);
        match nearest(word, known()) {
            Some(known) => format!("did you mean {known}?"),
            None => format!("not one of {}", known().collect::<Vec<_>>().join(", ")),
        }
    })
}

/// One word for all protocols, or one for each of some.
fn behaviour<T: Copy>(
    flag: &str,
    values: &[BehaviourArg<T>],
) -> Result<Option<NewBehaviour<T>>, Failure> {
    let each: Vec<(Protocol, T)> =
        values.iter().filter_map(|value| Some((value.protocol?, value.word))).collect();
    let twice = |(index, (protocol, _)): (usize, &(Protocol, T))| {
        each.iter().skip(index + 1).any(|(other, _)| other == protocol)
    };
    match values {
        [] => Ok(None),
        [BehaviourArg { protocol: None, word }] => Ok(Some(NewBehaviour::All(*word))),
        _ if each.len() < values.len() => {
            Err(Failure::usage(format!("{flag} has a word for all protocols and another one"))
                .with_help("write one word, or PROTO=WORD for each protocol"))
        }
        _ if each.iter().enumerate().any(twice) => {
            Err(Failure::usage(format!("{flag} names a protocol twice"))
                .with_help("name each of tcp, udp and icmp once at most"))
        }
        _ => Ok(Some(NewBehaviour::Each(each))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BehaviourArgs,
    }

    fn parse(line: &str) -> Result<BehaviourArgs, String> {
        let words = ["test"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_word_is_for_all_protocols_or_for_one() {
        use Mapping::{AddressAndPortDependent, EndpointIndependent};
        let mapping = |line: &str| parse(line).unwrap().mapping().unwrap();
        assert_eq!(mapping(""), None);
        assert_eq!(
            mapping("--mapping endpoint-independent"),
            Some(NewBehaviour::All(EndpointIndependent))
        );
        let each = Some(NewBehaviour::Each(vec![
            (Protocol::Udp, EndpointIndependent),
            (Protocol::Tcp, AddressAndPortDependent),
        ]));
        let (udp, tcp) = ("udp=endpoint-independent", "tcp=address-and-port-dependent");
        assert_eq!(mapping(&format!("--mapping {udp},{tcp}")), each);
        assert_eq!(mapping(&format!("--mapping {udp} {tcp}")), each);
        let filtering = parse("--filtering icmp=address-dependent").unwrap().filtering().unwrap();
        assert_eq!(
            filtering,
            Some(NewBehaviour::Each(vec![(Protocol::Icmp, Filtering::AddressDependent)]))
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (line, expected) in [
            ("endpoint-independent tcp=endpoint-independent", "a word for all protocols and"),
            ("endpoint-independent,endpoint-independent", "a word for all protocols and another"),
            ("tcp=endpoint-independent tcp=endpoint-independent", "names a protocol twice"),
        ] {
            let args = parse(&format!("--mapping {line}")).unwrap();
            let message = args.mapping().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert!(message.contains("--mapping"), "{message}");
        }
    }

    #[test]
    fn words_that_nobody_knows() {
        for (line, expected) in [
            ("--mapping endpoint-indepedent", "did you mean endpoint-independent?"),
            ("--mapping address-dependent", "did you mean"),
            ("--mapping udb=endpoint-independent", "did you mean udp?"),
            ("--mapping sctp=endpoint-independent", "not one of tcp, udp, icmp"),
            ("--filtering none", "not one of endpoint-independent, address-dependent, address-"),
        ] {
            let message = parse(line).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
