//! Drawings for the page, as inline SVG.
//!
//! Ink and grid take their colours from the page's style sheet, so that one drawing serves light and
//! dark; the series' colours are chosen to be told apart on both.

use super::json::Run;
use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{Histogram, serialization::Deserializer};
use plotters::{prelude::*, style::text_anchor};
use std::error::Error;

type Drawn = Result<(), Box<dyn Error>>;

const SIZE: (u32, u32) = (860, 360);
const GRID: RGBColor = RGBColor(128, 128, 128);
const FAULT: RGBColor = RGBColor(204, 68, 68);

/// One hue a series, repeated when there are more.
const PALETTE: [(u8, u8, u8); 8] = [
    (51, 119, 204),
    (221, 119, 17),
    (34, 153, 85),
    (170, 85, 187),
    (187, 153, 0),
    (0, 153, 170),
    (204, 85, 136),
    (119, 119, 119),
];

/// The colour of a series as CSS writes it.
pub(super) fn color(series: usize) -> String {
    let (r, g, b) = PALETTE[series % PALETTE.len()];
    format!("rgb({r} {g} {b})")
}

fn ink(series: usize) -> RGBColor {
    let (r, g, b) = PALETTE[series % PALETTE.len()];
    RGBColor(r, g, b)
}

/// Response time over the percentile, with as much room for each further nine as for the one before.
/// `None` when no run has a histogram that can be read.
pub(super) fn latency(runs: &[(usize, &Run)]) -> Option<String> {
    let curves: Vec<_> = runs
        .iter()
        .filter_map(|(series, run)| Some((*series, quantiles(&run.histogram)?)))
        .collect();
    let points = || curves.iter().flat_map(|(_, points)| points.iter().copied());
    let top = points().map(|(_, y)| y).reduce(f64::max)?;
    let bottom = points().map(|(_, y)| y).reduce(f64::min)?;
    let right = points().map(|(x, _)| x).reduce(f64::max)?.max(100.0);
    svg("Response time by percentile", |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .margin_right(30)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(
                (1.0..right).log_scale(),
                (bottom.max(1.0) * 0.8..top.max(2.0) * 1.2).log_scale(),
            )?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.mix(0.3))
            .axis_style(GRID)
            .x_label_formatter(&|x| percentile(*x))
            .y_label_formatter(&|y| super::table::micros(*y))
            .draw()?;
        for (series, points) in curves {
            let line = LineSeries::new(points, ink(series).stroke_width(2));
            chart.draw_series(line)?;
        }
        Ok(())
    })
}

/// Operations done in each second, with a mark where a fault was injected.
pub(super) fn throughput(runs: &[(usize, &Run)]) -> Option<String> {
    let points = || runs.iter().flat_map(|(_, run)| &run.timeline);
    let top = points().map(|point| point.operations).max()?.max(1) as f64 * 1.1;
    let right = f64::from(points().map(|point| point.second).max()? + 1);
    svg("Operations a second over time, with the faults", |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .margin_right(30)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.mix(0.3))
            .axis_style(GRID)
            .x_labels((right as usize + 1).min(11))
            .x_label_formatter(&|x| format!("{x:.0} s"))
            .y_label_formatter(&|y| super::table::grouped(*y))
            .draw()?;
        for (series, run) in runs {
            // A second's count is drawn in its middle; the last one may have been cut short.
            let points = run.timeline.iter().map(|point| {
                let second = f64::from(point.second);
                let length = (run.seconds - second).clamp(0.1, 1.0);
                (second + length / 2.0, point.operations as f64 / length)
            });
            chart.draw_series(LineSeries::new(points, ink(*series).stroke_width(2)))?;
        }
        for (at, label) in marks(runs) {
            let line = vec![(at, 0.0), (at, top)];
            chart.draw_series(DashedLineSeries::new(line, 4, 4, FAULT.stroke_width(1)))?;
            let style = ("sans-serif", 12).into_font().color(&FAULT);
            let style = style.pos(text_anchor::Pos::new(
                text_anchor::HPos::Left,
                text_anchor::VPos::Top,
            ));
            chart.draw_series(std::iter::once(Text::new(label, (at, top), style)))?;
        }
        Ok(())
    })
}

/// Where faults were injected, each once although the runs differ by milliseconds.
fn marks(runs: &[(usize, &Run)]) -> Vec<(f64, String)> {
    let mut marks: Vec<(f64, String)> = Vec::new();
    for fault in runs.iter().flat_map(|(_, run)| &run.faults) {
        let (at, name) = (fault.at_s, format!("{} {}", fault.kind, fault.target));
        let known = |(other, as_well): &(f64, String)| (other - at).abs() < 0.1 && *as_well == name;
        if !marks.iter().any(known) {
            marks.push((at, name));
        }
    }
    marks
}

/// What one algorithm did under one load: operations a second, the median and the 99th percentile of
/// response time in microseconds.
pub(super) type Point = (f64, f64, f64);

/// Response time over throughput: a dot for the median, and up to the 99th percentile a line. Loads of
/// one series are joined in the order of their throughput. `None` when there is no point.
pub(super) fn load(series: &[(usize, Vec<Point>)]) -> Option<String> {
    let points = || series.iter().flat_map(|(_, points)| points);
    let right = points().map(|point| point.0).reduce(f64::max)? * 1.1;
    let top = points().map(|point| point.2).reduce(f64::max)?;
    let bottom = points().map(|point| point.1).reduce(f64::min)?;
    let across = 0.0..right.max(1.0);
    let up = (bottom.max(1.0) * 0.6..top.max(2.0) * 1.6).log_scale();
    svg("Response time over throughput", |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .margin_right(30)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.mix(0.3))
            .axis_style(GRID)
            .x_label_formatter(&|x| format!("{} /s", super::table::grouped(*x)))
            .y_label_formatter(&|y| super::table::micros(*y))
            .draw()?;
        for (series, points) in series {
            let color = ink(*series);
            let mut sorted = points.clone();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            let medians: Vec<_> = sorted.iter().map(|(x, median, _)| (*x, *median)).collect();
            chart.draw_series(LineSeries::new(medians.clone(), color.stroke_width(1)))?;
            for (x, median, slow) in sorted {
                let whisker = vec![(x, median), (x, slow)];
                chart.draw_series(LineSeries::new(whisker, color.mix(0.6).stroke_width(2)))?;
            }
            let dots = medians
                .into_iter()
                .map(|at| Circle::new(at, 5, color.filled()));
            chart.draw_series(dots)?;
        }
        Ok(())
    })
}

/// Points (1 ÷ share that is slower, microseconds); `None` when the histogram is empty or damaged.
fn quantiles(encoded: &str) -> Option<Vec<(f64, f64)>> {
    let bytes = STANDARD.decode(encoded).ok()?;
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).ok()?;
    let count = histogram.len();
    let points = histogram.iter_quantiles(8).map(|value| {
        // The slowest one stands at the share that it is itself.
        let slower = (1.0 - value.quantile()).max(1.0 / count as f64);
        (1.0 / slower, value.value_iterated_to() as f64)
    });
    (count > 0).then(|| points.collect())
}

/// 1 → `0 %`, 10 → `90 %`, 1000 → `99.9 %`.
fn percentile(inverse: f64) -> String {
    let nines = inverse.log10().round() as usize;
    format!(
        "{:.*} %",
        nines.saturating_sub(2),
        100.0 * (1.0 - 1.0 / inverse)
    )
}

/// A drawing that says its name to whoever cannot see it; the figures stand in the page's tables.
fn svg(
    name: &str,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Drawn,
) -> Option<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&root).ok()?;
        root.present().ok()?;
    }
    let label = format!(" role=\"img\" aria-label=\"{name}\"");
    // Inside a page a drawing needs no name space, and without it the page names no address at all.
    let text = text.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", &label, 1);
    let (width, height) = SIZE;
    Some(text.replacen(&format!("width=\"{width}\" height=\"{height}\""), "", 1))
}
