//! The picture beside the tables: what a packet of an established flow costs with each system.
use std::{error::Error, path::Path};

use plotters::prelude::*;

const SIZE: (u32, u32) = (1200, 600);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(60, 60, 60);

/// Of the systems in the order of the report; told apart by everybody (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(153, 153, 153),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(240, 228, 66),
];

/// Of the space of a scenario, the bars take so much.
const GROUP: f64 = 0.86;

/// A scenario: what each system's packets cost in it, nanoseconds.
pub struct Group {
    pub name: String,
    pub systems: Vec<(String, f64)>,
}

/// The bars of one system: the place of its scenario, and nanoseconds.
struct Series<'g> {
    system: &'g str,
    bars: Vec<(usize, f64)>,
}

/// Writes the plot of these scenarios.
pub fn write(path: &Path, groups: &[Group]) -> Result<(), Box<dyn Error>> {
    let series = series(groups);
    let values = || series.iter().flat_map(|one| one.bars.iter().map(|(_, ns)| *ns));
    if values().next().is_none() {
        return Err(
            "there is nothing to draw: measure established flows (`--only established`)".into()
        );
    }
    // The scale has no zero: a decade below the least is where bars begin.
    let least = values().filter(|ns| *ns > 0.0).fold(f64::INFINITY, f64::min);
    let bottom = 10_f64.powf(least.log10().floor()).max(1.0);
    let top = values().fold(bottom, f64::max) * 1.6;
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let count = groups.len();
    let mut chart = ChartBuilder::on(&area)
        .caption("CPU time for each forwarded packet, without the generator's", (FONT, 20, &INK))
        .margin(16)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.5..count as f64 - 0.5, (bottom..top).log_scale())?;
    let label = |place: &f64| {
        let near = (place - place.round()).abs() < 0.01 && *place > -0.5;
        let group = groups.get(place.round() as usize).filter(|_| near);
        group.map_or(String::new(), |group| group.name.clone())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * count + 1)
        .x_label_formatter(&label)
        .y_label_formatter(&|ns| format!("{ns:.0}"))
        .y_desc("ns, log scale")
        .label_style((FONT, 13, &INK))
        .light_line_style(BLACK.mix(0.06))
        .bold_line_style(BLACK.mix(0.16))
        .draw()?;
    let width = GROUP / series.len() as f64;
    for (number, one) in series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let left = |place: usize| place as f64 - GROUP / 2.0 + number as f64 * width;
        let bars = one.bars.iter().map(|(place, ns)| {
            let corners = [(left(*place), bottom), (left(*place) + width * 0.9, ns.max(bottom))];
            Rectangle::new(corners, colour.filled())
        });
        chart
            .draw_series(bars)?
            .label(one.system)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled()));
        let style = (FONT, 10, &INK).into_text_style(&area);
        chart.draw_series(one.bars.iter().map(|(place, ns)| {
            // Above its bar.
            let at = (left(*place), ns.max(bottom) * 1.09);
            Text::new(format!("{ns:.0}"), at, style.clone())
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .label_font((FONT, 13, &INK))
        .draw()?;
    area.present()?;
    Ok(())
}

/// By system, in the order in which they come.
fn series(groups: &[Group]) -> Vec<Series<'_>> {
    let mut all: Vec<Series> = Vec::new();
    for (place, group) in groups.iter().enumerate() {
        for (system, ns) in &group.systems {
            match all.iter_mut().find(|one| one.system == *system) {
                Some(one) => one.bars.push((place, *ns)),
                None => all.push(Series { system, bars: vec![(place, *ns)] }),
            }
        }
    }
    all
}
