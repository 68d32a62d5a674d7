//! The built program answers each test vector as it stands: no root, no network.
use std::{fs, process::Command};

use serde_json::{Value, json};

/// The vectors with their answers: see `nat-ctl/src/source/vector/tests.rs`.
const SAMPLE: &str = include_str!("../src/source/vectors.json");

#[test]
fn every_vector_is_answered_from_its_file() {
    let sample: Value = serde_json::from_str(SAMPLE).unwrap();
    let vectors = sample["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 67);
    let folder = tempfile::tempdir().unwrap();
    for vector in vectors {
        let file = folder.path().join("vector.json");
        fs::write(&file, vector.to_string()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_nat-ctl"))
            .args(["-j", "explain", "--host"])
            .arg(&file)
            .output()
            .unwrap();
        let place = format!("{} {}", vector["id"], vector["title"]);
        let expected = &vector["expected"];
        let fails = expected["error"].is_string();
        assert_eq!(output.status.code(), Some(if fails { 3 } else { 0 }), "{place}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{place}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["schema"], "nat-ctl/explain/1");
        assert_eq!(answer["destination"], vector["destination"], "{place}");
        assert_eq!(answer["error"], expected["error"], "{place}");
        match expected["source_in"].as_array() {
            Some(any) => assert!(any.contains(&answer["source"]), "{place}"),
            None => assert_eq!(answer["source"], expected["source"], "{place}"),
        }
        assert_eq!(answer["deciding_rule"], expected["rule"], "{place}");
        if !fails {
            assert_eq!(answer["dev"], expected["dev"], "{place}");
            assert_eq!(answer["next_hop"], expected["next_hop"], "{place}");
        }
    }
}

#[test]
fn a_file_that_is_no_host_is_refused_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("host.json");
    let refusal = |text: &str| {
        fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_nat-ctl"))
            .args(["explain", "203.0.113.9", "--host"])
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(2), Vec::new()));
        String::from_utf8(output.stderr).unwrap()
    };
    let options = json!({"interfaces": [], "options": {"candiates": "all"}}).to_string();
    let text = refusal(&options);
    assert!(text.contains("unknown field `candiates`, expected one of `tie_break`"), "{text}");
    let text = refusal("{\n  \"routes\": []\n}");
    assert!(text.contains("missing field `interfaces` at line 3 column 1"), "{text}");
    assert!(text.contains("help: it has `interfaces` and `routes`"), "{text}");
    fs::remove_file(&file).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_nat-ctl"))
        .args(["explain", "203.0.113.9", "--host"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No such file"));
}
