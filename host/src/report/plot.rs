//! Steps over time as SVG. Written by hand rather than with a plotting library: the plots stretch with the page while their text
//! and strokes do not, lines are told apart by classes that a style sheet dashes and prints, marks carry tooltips and links, and a
//! step costs six bytes.

use std::fmt::Write as _;

use super::markup::escaped;
use super::numbers::hours_minutes;

/// Steps that a line is drawn in; longer series are drawn in fewer, longer ones.
const POINTS: usize = 1_000;
/// Heights are drawn to a thousandth of the plot's.
const HEIGHT: f64 = 1_000.0;

/// Moves up, and as many down, from which on a line is drawn thin.
const DENSE: usize = 75;

/// How several steps become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// Their mean.
    Mean,
    /// The largest.
    Most,
    /// The last.
    Last,
}

/// `values` in at most [`POINTS`] steps, and how many of the series' steps each stands for.
pub(super) fn merged(values: impl Iterator<Item = f64>, merge: Merge) -> (Vec<f64>, usize) {
    let values: Vec<f64> = values.collect();
    let each = values.len().div_ceil(POINTS).max(1);
    let merged = values.chunks(each).map(|part| match merge {
        Merge::Mean => part.iter().sum::<f64>() / part.len() as f64,
        Merge::Most => part.iter().copied().fold(0.0, f64::max),
        Merge::Last => part[part.len() - 1],
    });
    (merged.collect(), each)
}

/// One line of a plot, or the upper edge of an area.
pub(super) struct Line {
    /// The class that the style sheet draws it by.
    pub(super) class: String,
    /// Its value in each step.
    pub(super) values: Vec<f64>,
    /// Whether everything below is filled.
    pub(super) is_area: bool,
    /// Written into the area where there is room for it.
    pub(super) label: Option<String>,
}

/// A moment with a story.
pub(super) struct Mark {
    /// Seconds since the start.
    pub(super) at_s: f64,
    /// What stands above the plot there.
    pub(super) glyph: &'static str,
    /// The class that the style sheet draws it by.
    pub(super) class: &'static str,
    /// Its number in the list below.
    pub(super) number: usize,
    /// The id of its line there.
    pub(super) link: String,
    /// The tooltip.
    pub(super) story: String,
}

/// A plot over the whole run.
pub(super) struct Plot {
    /// What it shows, for those who do not see it.
    pub(super) alt: String,
    /// Height in CSS pixels.
    pub(super) height: u32,
    /// Length of a step of the lines. Seconds.
    pub(super) step_s: f64,
    /// Drawn in order, later ones above earlier ones.
    pub(super) lines: Vec<Line>,
    /// What there is, where that is worth comparing with.
    pub(super) limit: Option<f64>,
    /// Moments, in order of time.
    pub(super) marks: Vec<Mark>,
    /// Whether values are whole, so that the axis has whole numbers only.
    pub(super) is_whole: bool,
    /// How the numbers of the axis are written.
    pub(super) number: fn(f64) -> String,
    /// Whether the hours are written below.
    pub(super) has_hours: bool,
}

impl Plot {
    /// The SVG element.
    pub(super) fn svg(&self) -> String {
        let steps = self.lines.iter().map(|line| line.values.len()).max().unwrap_or(0).max(1);
        let span_s = (steps as f64 * self.step_s).max(1.0);
        let all = self.lines.iter().flat_map(|line| &line.values).copied();
        let most = all.chain(self.limit).filter(|value| value.is_finite()).fold(0.0, f64::max);
        let tick = nice(most / 3.0, self.is_whole);
        let top = ((most / tick).ceil() * tick).max(tick);
        let height = f64::from(self.height);
        let mut svg = format!(
            "<svg class=\"plot\" role=\"img\" aria-label=\"{}\" width=\"100%\" height=\"{height}\">",
            escaped(&self.alt)
        );
        self.grid(&mut svg, span_s, tick, top);
        let _ = write!(
            svg,
            "<svg class=\"ink\" viewBox=\"0 0 {steps} {HEIGHT}\" preserveAspectRatio=\"none\" width=\"100%\" height=\"{height}\">"
        );
        for line in &self.lines {
            let class = escaped(&line.class);
            let path = path(&line.values, top);
            // Where the line goes up and down all the time, a bold one would blot out the plot.
            let ups = path.matches("v-").count();
            let is_dense = ups.min(path.matches('v').count() - ups) > DENSE;
            let class = if is_dense { format!("{class} dense") } else { class };
            if line.is_area && !path.is_empty() {
                let _ = write!(svg, "<path class=\"area {class}\" d=\"{path}V{HEIGHT}H0z\"/>");
            }
            let _ = write!(svg, "<path class=\"line {class}\" d=\"{path}\"/>");
        }
        if let Some(limit) = self.limit {
            let y = scaled(limit, top);
            let _ = write!(svg, "<path class=\"line limit\" d=\"M0 {y}H{steps}\"/>");
        }
        svg.push_str("</svg>");
        self.labels(&mut svg, top);
        self.marks(&mut svg, span_s);
        svg.push_str("</svg>");
        svg
    }

    fn grid(&self, svg: &mut String, span_s: f64, tick: f64, top: f64) {
        let height = f64::from(self.height);
        for i in 0..=(top / tick).round() as u32 {
            let value = f64::from(i) * tick;
            let y = height * (1.0 - value / top);
            let label = (self.number)((value * 1e6).round() / 1e6);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"y\" x=\"-7\" y=\"{:.1}\">{label}</text>",
                y + 3.5
            );
        }
        let hour = hours(span_s);
        let mut at_s = 0.0;
        while at_s <= span_s {
            let x = at_s / span_s * 100.0;
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"{height}\"/>"
            );
            if self.has_hours {
                let label = hours_minutes(at_s);
                let y = self.height + 15;
                let _ = write!(svg, "<text class=\"x\" x=\"{x:.2}%\" y=\"{y}\">{label}</text>");
            }
            at_s += hour;
        }
    }

    /// Names in the areas, where a layer is thickest, if there is room for them.
    fn labels(&self, svg: &mut String, top: f64) {
        for (i, line) in self.lines.iter().enumerate() {
            let Some(label) = &line.label else { continue };
            let below =
                self.lines.get(i + 1).map(|next| next.values.as_slice()).unwrap_or_default();
            let floor = |step: usize| below.get(step).copied().unwrap_or(0.0);
            let thickness = |step: usize| line.values[step] - floor(step);
            // A name needs room to both sides: it goes where the layer is thick for a while.
            let side = line.values.len() / 50;
            let room = |step: usize| {
                (step - side..=step + side).map(thickness).fold(f64::INFINITY, f64::min)
            };
            let inside = side..line.values.len().saturating_sub(side);
            let rooms = inside.map(|step| (step, room(step)));
            let most = rooms.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            let Some((step, room)) = most else { continue };
            let height = f64::from(self.height);
            if room / top * height < 14.0 {
                continue;
            }
            let x = (step as f64 + 0.5) / line.values.len() as f64 * 100.0;
            let y = height * (1.0 - (floor(step) + thickness(step) / 2.0) / top) + 4.0;
            let label = escaped(label);
            let _ = write!(svg, "<text class=\"name\" x=\"{x:.1}%\" y=\"{y:.1}\">{label}</text>");
        }
    }

    fn marks(&self, svg: &mut String, span_s: f64) {
        let height = self.height;
        let mut numbered_until = f64::MIN;
        for mark in &self.marks {
            let x = (mark.at_s / span_s * 100.0).clamp(0.0, 100.0);
            let Mark { glyph, class, number, link, story, .. } = mark;
            let story = escaped(story);
            let _ = write!(
                svg,
                "<a href=\"#{link}\" class=\"mark {class}\"><title>{number}: {story}</title>\
                 <line x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"-3\" y2=\"{height}\"/>\
                 <text x=\"{x:.2}%\" y=\"-4\">{glyph}</text>"
            );
            // Numbers that would lie on each other are left to the tooltip and the list.
            if x >= numbered_until {
                let _ =
                    write!(svg, "<text class=\"number\" x=\"{x:.2}%\" y=\"-15\">{number}</text>");
                numbered_until = x + 2.0;
            }
            svg.push_str("</a>");
        }
    }
}

/// The steps as a path: right, then up or down where the value changes.
fn path(values: &[f64], top: f64) -> String {
    let mut path = String::new();
    let (mut run, mut before) = (0, 0);
    for (i, &value) in values.iter().enumerate() {
        let y = scaled(value, top);
        if i == 0 {
            let _ = write!(path, "M0 {y}");
        } else if y != before {
            let _ = write!(path, "h{run}v{}", y - before);
            run = 0;
        }
        before = y;
        run += 1;
    }
    if run > 0 {
        let _ = write!(path, "h{run}");
    }
    path
}

/// A value as a distance from the plot's top.
fn scaled(value: f64, top: f64) -> i64 {
    (HEIGHT * (1.0 - value / top)).round() as i64
}

/// The smallest of 1, 2, 5, 10, 20, 50 … (and their like below 1) that is not below `least`.
fn nice(least: f64, is_whole: bool) -> f64 {
    let mut power = if is_whole { 1.0 } else { 0.001 };
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if factor * power >= least || power > 1e15 {
                return factor * power;
            }
        }
        power *= 10.0;
    }
}

/// Between two hours on the axis: at most eight of them, a minute at least. Seconds.
fn hours(span_s: f64) -> f64 {
    const STEPS_MIN: [f64; 12] =
        [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 180.0, 360.0, 720.0, 1_440.0];
    let fits =
        STEPS_MIN.into_iter().map(|minutes| minutes * 60.0).find(|step| span_s / step <= 8.0);
    fits.unwrap_or_else(|| (span_s / 86_400.0 / 8.0).ceil() * 86_400.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_moves_only_where_the_value_changes() {
        assert_eq!(path(&[0.0, 0.0, 1.0, 1.0, 0.5], 1.0), "M0 1000h2v-1000h2v500h1");
        assert_eq!(path(&[], 1.0), "");
    }

    #[test]
    fn axes_have_round_numbers() {
        let ticks = [0.0, 0.3, 1.0, 7.0, 26.0].map(|most| (nice(most, false), nice(most, true)));
        assert_eq!(ticks, [(0.001, 1.0), (0.5, 1.0), (1.0, 1.0), (10.0, 10.0), (50.0, 50.0)]);
        let hours = [30.0, 480.0, 4_320.0, 86_400.0, 604_800.0, 2_592_000.0].map(hours);
        assert_eq!(hours, [60.0, 60.0, 600.0, 10_800.0, 86_400.0, 345_600.0]);
    }

    #[test]
    fn a_spike_survives_merging_and_counts_stay_counts() {
        let mut values = vec![0.0; 10_500];
        values[7] = 5.0;
        let (most, each) = merged(values.iter().copied(), Merge::Most);
        assert_eq!((most.len(), each, most[0]), (955, 11, 5.0));
        assert_eq!(merged(values.iter().copied(), Merge::Last).0[0], 0.0);
        assert_eq!(merged(values.iter().copied(), Merge::Mean).0[0], 5.0 / 11.0);
    }
}
