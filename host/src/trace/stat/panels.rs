//! Small pictures: how often values of each size are, side by side; and a curve in one line.

use super::bars::Bars;
use super::curve::Curve;
use super::render::{BLOCKS, duration, figure};

const ROWS: usize = 3;
const GAP: usize = 3;

/// What the values of a picture are.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Tokens,
    Seconds,
}

impl Unit {
    fn label(self, value: f64) -> String {
        match self {
            Unit::Tokens if value >= 9_950.0 => format!("{:.0}k", value / 1e3),
            Unit::Tokens => figure(value.round()),
            Unit::Seconds if value >= 9.95 => {
                duration(value).split(' ').next().unwrap_or_default().to_owned()
            }
            Unit::Seconds if value >= 0.995 => format!("{value:.1}s"),
            Unit::Seconds if value >= 0.000_995 => format!("{}ms", (value * 1e3).round()),
            Unit::Seconds => format!("{}µs", (value * 1e6).round()),
        }
    }
}

/// Pictures beside each other, in so many columns. Nothing where there is nothing.
pub(super) fn panels(pictures: &[(&str, Unit, &Bars)], width: usize) -> String {
    let Some(most) = (width + GAP).checked_div(pictures.len()) else { return String::new() };
    let each = most.saturating_sub(GAP).clamp(16, 36);
    let columns: Vec<Vec<String>> =
        pictures.iter().map(|(name, unit, bars)| picture(name, *unit, bars, each)).collect();
    let mut text = String::from("\n");
    for row in 0..ROWS + 2 {
        let cells: Vec<String> =
            columns.iter().map(|column| format!("{:<each$}", column[row])).collect();
        text.push_str(cells.join(&" ".repeat(GAP)).trim_end());
        text.push('\n');
    }
    text
}

/// A title, rows of blocks, and an axis with where it begins and ends.
fn picture(name: &str, unit: Unit, bars: &Bars, width: usize) -> Vec<String> {
    let bins = bars.counts.len();
    // As many cells for each bin as fit, or as many bins for each cell as must.
    let (cells_a_bin, bins_a_cell) =
        ((width / bins.max(1)).clamp(1, 2), bins.div_ceil(width).max(1));
    let cells: Vec<u64> = bars
        .counts
        .chunks(bins_a_cell)
        .flat_map(|bins| std::iter::repeat_n(bins.iter().sum::<u64>(), cells_a_bin))
        .collect();
    let highest = cells.iter().copied().max().unwrap_or(0).max(1);
    let heights: Vec<usize> =
        cells.iter().map(|count| (count * 8 * ROWS as u64).div_ceil(highest) as usize).collect();
    let mut lines = vec![name.to_owned()];
    for row in (0..ROWS).rev() {
        lines.push(
            heights.iter().map(|height| BLOCKS[height.saturating_sub(8 * row).min(8)]).collect(),
        );
    }
    let from = unit.label(bars.from);
    let to = unit.label(bars.from * libm::pow(bars.ratio, bins as f64));
    let axis = cells.len().saturating_sub(from.chars().count()).max(to.chars().count() + 1);
    lines.push(match bins {
        0 => "all 0".to_owned(),
        _ => format!("{from}{to:>axis$}"),
    });
    lines
}

/// A curve in one line of so many cells, each as high as the highest mean in it; and that of all of it.
pub(super) fn line(curve: &Curve, width: usize) -> (String, f64) {
    let steps = curve.means.len();
    let highest = curve.means.iter().copied().fold(0.0, f64::max);
    let cells = (0..width.min(steps)).map(|cell| {
        let from = cell * steps / width.min(steps);
        let to = ((cell + 1) * steps / width.min(steps)).max(from + 1);
        let high = curve.means[from..to].iter().copied().fold(0.0, f64::max);
        let height = (8.0 * high / highest.max(f64::MIN_POSITIVE)).ceil() as usize;
        if height == 0 { '·' } else { BLOCKS[height.min(8)] }
    });
    (cells.collect(), highest)
}
