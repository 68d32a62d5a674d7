use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::source::{Error, Explanation, Query, TieBreak, select};

/// Cases whose answers were derived by hand, bit by bit (`why`), and where `basis` says so printed by
/// Microsoft or in an RFC; none of them was computed by this program.
const SAMPLE: &str = include_str!("../vectors.json");

#[derive(Deserialize)]
struct Sample {
    vectors: Vec<Value>,
}

#[derive(Deserialize)]
struct Expected {
    source: Option<IpAddr>,
    source_in: Option<Vec<IpAddr>>,
    rule: Option<String>,
    dev: Option<String>,
    next_hop: Option<IpAddr>,
    error: Option<String>,
}

fn ask(vector: &Vector, options: Options) -> Explanation {
    let rule = vector.nat_rule.clone();
    let query = Query {
        options,
        bind: vector.bind,
        named: rule.map(|rule| rule.addresses).unwrap_or_default(),
        ..Query::new(vector.destination.unwrap(), vector.model().unwrap())
    };
    select(&vector.host(), &query)
}

#[test]
fn every_vector_has_its_answer() {
    let sample: Sample = serde_json::from_str(SAMPLE).unwrap();
    assert_eq!(sample.vectors.len(), 67);
    for value in sample.vectors {
        let vector = Vector::read(&value.to_string()).unwrap();
        let expected = Expected::deserialize(&value["expected"]).unwrap();
        let told = ask(&vector, vector.options.unwrap_or_default());
        let place = format!("{} {}: {told:#?}", value["id"], value["title"]);
        assert_eq!(told.error().map(Error::as_str), expected.error.as_deref(), "{place}");
        match (expected.source, expected.source_in) {
            (None, Some(any)) => assert!(any.contains(&told.source().unwrap()), "{place}"),
            (source, _) => assert_eq!(told.source(), source, "{place}"),
        }
        if expected.error.is_none() {
            assert_eq!(told.rule().map(|rule| rule.as_str()), expected.rule.as_deref(), "{place}");
            assert_eq!(told.dev(), expected.dev.as_deref(), "{place}");
            assert_eq!(told.next_hop, expected.next_hop, "{place}");
        }
    }
}

#[test]
fn other_options_have_the_other_answers() {
    let sample: Sample = serde_json::from_str(SAMPLE).unwrap();
    let mut asked = 0;
    for value in sample.vectors {
        let vector = Vector::read(&value.to_string()).unwrap();
        for (option, source) in value["also"].as_object().into_iter().flatten() {
            assert_eq!(option, "tie_break=lowest");
            let options =
                Options { tie_break: TieBreak::Lowest, ..vector.options.unwrap_or_default() };
            let source = source.as_str().unwrap().parse().unwrap();
            assert_eq!(ask(&vector, options).source(), Some(source), "{}", value["id"]);
            asked += 1;
        }
    }
    assert_eq!(asked, 3);
}

const HOST: &str = r#"{"interfaces":[{"name":"wan0","addresses":[{"ip":"192.0.2.2","prefix":24}]}],
                       "routes":[{"dst":"0.0.0.0/0","via":"192.0.2.1","dev":"wan0"}]"#;

fn read(more: &str) -> Result<Vector, String> {
    Vector::read(&format!("{HOST}{more}}}"))
}

#[test]
fn a_host_alone_is_a_file() {
    let vector = read("").unwrap();
    assert_eq!((vector.destination, vector.model(), vector.options), (None, None, None));
    assert_eq!(vector.host().interfaces[0].name, "wan0");
}

#[test]
fn the_nat_rule_gives_the_model_unless_one_is_named() {
    let model = |more: &str| read(more).unwrap().model();
    for (selection, expected) in [
        ("default", Model::TmgDefault),
        ("specified", Model::Specified),
        ("multiple", Model::Multiple),
    ] {
        let rule = format!(r#","nat_rule":{{"selection":"{selection}","addresses":null}}"#);
        assert_eq!(model(&rule), Some(expected));
        assert_eq!(model(&format!(r#"{rule},"model":"web_proxy""#)), Some(Model::WebProxy));
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    for (more, part) in [
        (r#","options":{"tie_brake":"first"}"#, "unknown field `tie_brake`, expected one of"),
        (r#","options":{"tie_break":"last"}"#, "unknown variant `last`, expected `first` or"),
        (r#","model":"strnog""#, "did you mean `strong`?"),
        (r#","destination":"192.0.2.256""#, "invalid IP address syntax at line 2 column"),
        (
            r#","nat_rule":{"selection":"multiple","addresses":["192.0.2.2","192.0.2.2"]}"#,
            "nat_rule names 192.0.2.2 twice",
        ),
        (
            r#","nat_rule":{"selection":"specified","addresses":["192.0.2.2","192.0.2.3"]}"#,
            "nat_rule specifies 2 addresses: name one, or select \"multiple\"",
        ),
    ] {
        let error = read(more).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    for (wrong, part) in [
        (HOST.replace("24", "33"), "192.0.2.2 on `wan0` cannot have a prefix of 33 bits"),
        (
            HOST.replace("0.0.0.0/0", "10.0.0.1/8"),
            "the route to 10.0.0.1/8 by `wan0` has host bits: write 10.0.0.0/8",
        ),
        (
            HOST.replace(r#"[{"name":"#, r#"[{"name":"wan0"},{"name":"#),
            "there are two interfaces `wan0`",
        ),
    ] {
        let error = Vector::read(&format!("{wrong}}}")).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}
