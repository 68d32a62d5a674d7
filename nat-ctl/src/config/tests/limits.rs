//! `[limits]`

use super::{accept, good_and, refuse};
use crate::config::{Limits, NEW_PER_SECOND_MAX, SESSIONS_MAX};

fn limits(lines: &str) -> Limits {
    accept(&good_and(&format!("[limits]\n{lines}"))).limits
}

#[test]
fn rfc6888_req4_limits_of_a_client() {
    assert_eq!(limits(""), Limits::default());
    let default = Limits::default();
    assert_eq!((default.sessions_per_client, default.half_open_per_client), (8192, 512));
    assert_eq!(default.new_per_second_per_client, 2000);
    assert_eq!(
        limits(
            "sessions_per_client = 3\nhalf_open_per_client = 2\nnew_per_second_per_client = 1\n\
             max_sessions = 16"
        ),
        Limits {
            max_sessions: 16,
            sessions_per_client: 3,
            half_open_per_client: 2,
            new_per_second_per_client: 1,
        }
    );
}

#[test]
fn bounds() {
    for (key, most) in [
        ("sessions_per_client", SESSIONS_MAX),
        ("half_open_per_client", SESSIONS_MAX),
        ("new_per_second_per_client", NEW_PER_SECOND_MAX),
    ] {
        let value = |limits: Limits| match key {
            "sessions_per_client" => limits.sessions_per_client,
            "half_open_per_client" => limits.half_open_per_client,
            _ => limits.new_per_second_per_client,
        };
        assert_eq!(value(limits(&format!("{key} = 0"))), 0);
        assert_eq!(value(limits(&format!("{key} = {most}"))), most);
        for wrong in [-1, i64::from(most) + 1, i64::from(u32::MAX) + 1, i64::MIN] {
            refuse(
                &good_and(&format!("[limits]\n{key} = {wrong}")),
                &format!(
                    "`{key}` in [limits] cannot be {wrong} \n :12:{} \n \
                     it can be from 0 to {most}; 0 is no limit",
                    key.len() + 4
                ),
            );
        }
    }
    // Without sessions there is no gateway.
    let text = good_and("[limits]\nmax_sessions = 15");
    refuse(&text, "cannot be 15 \n it can be from 16 to 16777216\n");
}

#[test]
fn limits_that_cannot_be_reached() {
    let warnings = |lines: &str| {
        let config = accept(&good_and(&format!("[limits]\n{lines}")));
        let shown: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        shown.join("\n")
    };
    assert_eq!(
        warnings("max_sessions = 100\nsessions_per_client = 101"),
        "warning: `sessions_per_client` in [limits] has no effect: `max_sessions` is 100, which is \
         less\n  --> nat.toml:13:23\n  help: lower it; 0 is no limit"
    );
    let half_open = warnings("sessions_per_client = 100\nhalf_open_per_client = 101");
    assert!(half_open.contains("`half_open_per_client` in [limits] has no effect: `sessions_per"));
    for lines in [
        // What nobody wrote is no mistake.
        "max_sessions = 16",
        "sessions_per_client = 100",
        "sessions_per_client = 100\nhalf_open_per_client = 100",
        "sessions_per_client = 0\nhalf_open_per_client = 100000",
        "max_sessions = 100\nsessions_per_client = 0",
    ] {
        assert_eq!(warnings(lines), "", "{lines}");
    }
}
