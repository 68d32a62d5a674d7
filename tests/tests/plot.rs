//! The picture that `cargo xtask bench forwarding --svg` draws.
#![expect(clippy::unwrap_used, reason = "a test that cannot do what it says has failed")]

#[path = "../benches/forwarding/plot.rs"]
mod plot;

use std::fs;

use plot::Group;

fn group(name: &str, systems: &[(&str, f64)]) -> Group {
    let systems = systems.iter().map(|(system, ns)| ((*system).to_owned(), *ns)).collect();
    Group { name: name.to_owned(), systems }
}

/// Height of the bar that is drawn in this colour, without that of the legend.
fn heights(svg: &str, colour: &str) -> Vec<f64> {
    let field = |line: &str, name: &str| -> f64 {
        let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.parse().unwrap()
    };
    let lines = svg.lines().filter(|line| line.starts_with("<rect") && line.contains(colour));
    lines.map(|line| field(line, "height")).filter(|height| *height > 10.0).collect()
}

#[test]
fn every_system_has_a_bar_in_every_scenario_and_dearer_ones_are_higher() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.svg");
    let groups = [
        group("established 1", &[("floor", 78.0), ("nft masquerade", 1189.0)]),
        group("established 1k", &[("floor", 181.0), ("nft masquerade", 1489.0)]),
    ];
    plot::write(&path, &groups).unwrap();
    let svg = fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for text in ["established 1", "established 1k", "floor", "nft masquerade", "78", "1489"] {
        assert!(svg.lines().any(|line| line.trim() == text), "`{text}` is missing");
    }
    let (floor, masquerade) = (heights(&svg, "#56B4E9"), heights(&svg, "#D55E00"));
    assert_eq!((floor.len(), masquerade.len()), (2, 2), "{svg}");
    assert!(floor[0] < floor[1] && floor[1] < masquerade[0] && masquerade[0] < masquerade[1]);
}

#[test]
fn nothing_to_draw_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = plot::write(&folder.path().join("bench.svg"), &[]).unwrap_err().to_string();
    assert!(error.contains("--only established"), "{error}");
}
