//! Keys of the documented format that this version refuses by name.

use super::{good_and, refuse};

#[test]
fn keys_of_rules() {
    for (key, value) in [
        ("mapping", "{ udp = \"endpoint-independent\" }"),
        ("filtering", "\"address-and-port-dependent\""),
        ("exclude_ports", "[]"),
        ("spill", "false"),
        ("mss", "\"off\""),
    ] {
        refuse(
            &good_and(&format!("{key} = {value}")),
            &format!(
                "`{key}` is not available in this version \n nat.toml:11:1 \n remove the line"
            ),
        );
    }
}

#[test]
fn keys_of_limits() {
    for key in ["sessions_per_client", "half_open_per_client", "new_per_second_per_client"] {
        refuse(
            &good_and(&format!("[limits]\nmax_sessions = 16\n  {key} = 0")),
            &format!(
                "`{key}` is not available in this version \n nat.toml:13:3 \n remove the line"
            ),
        );
    }
}

#[test]
fn sections() {
    for section in ["[cooldown]", "[listen]", "[log]"] {
        refuse(
            &good_and(&format!("{section}\nanything = 1979-05-27")),
            &format!("{section} is not available in this version \n nat.toml:11:1 \n remove the"),
        );
    }
}

/// The documented sample, with every key there is.
#[test]
fn the_full_sample_is_refused_for_these_keys_only() {
    let error = super::parse(super::accepted::FULL_SAMPLE).unwrap_err();
    for diagnostic in error.diagnostics() {
        assert!(diagnostic.message.contains("is not available in this version"), "{diagnostic}");
    }
    assert_eq!(error.diagnostics().len(), 11, "{error}");
}
