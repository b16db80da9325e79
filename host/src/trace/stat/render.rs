//! A load as text.

use std::fmt::Write;

use super::panels::{self, Unit};
use super::{Curve, Offered, Quantiles, Requests, Stat};

const PLOT_ROWS: usize = 5;
const LONGEST_NAME: usize = 28;
/// An eighth of a cell each.
pub(super) const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl Stat {
    /// As text for a terminal of so many columns.
    pub fn render(&self, width: usize) -> String {
        let mut text = String::new();
        text.push_str(&line("window", &duration(self.window_s)));
        if let Some(requests) = &self.requests {
            text.push_str(&requests.lines(self.services));
        }
        if let Some(offered) = &self.offered {
            text.push_str(&offered.lines(self.services));
        }
        if self.requests.is_none() && self.offered.is_none() {
            text.push_str(&line("requests", "none"));
        }
        if let Some(requests) = &self.requests {
            text.push_str(&plot("requests/s", &requests.rate, self.window_s, width));
        }
        if let Some(requests) = &self.requests {
            text.push_str(&requests.panels(width));
        }
        if let Some(offered) = &self.offered {
            text.push_str(&plot("in flight", &offered.concurrency, self.window_s, width));
        }
        if self.services > 1 {
            text.push_str(&self.table(width));
        }
        text
    }

    /// A line for each service, with its load over time in what the figures leave of the width.
    fn table(&self, width: usize) -> String {
        let has_requests = self.requests.is_some();
        let has_offered = self.offered.is_some();
        let is_expected = self.requests.as_ref().is_some_and(|requests| requests.are_expected);
        let names = self.top.iter().map(|service| service.name.chars().count());
        let longest = names.max().unwrap_or(0).max("7 services more".len()).min(LONGEST_NAME);
        let mut head = format!("{:<longest$}", "service");
        if has_requests {
            head.push_str("    requests");
            if !is_expected {
                head.push_str("  longest gap");
            }
        }
        if has_offered {
            head.push_str("  mean in flight  peak");
        }
        let peak = if has_requests { "  busiest" } else { "" };
        let left = width.saturating_sub(head.chars().count() + 2 + peak.len()).clamp(8, 64);
        let step = self.top.first().map_or(0.0, |service| service.curve.step_s);
        let head = format!("{head}  {:<left$}{peak}", "over time");
        let mut text = format!("\n{}\n", head.trim_end());
        for service in &self.top {
            let mut line = format!("{:<longest$}", short(&service.name));
            if has_requests {
                let _ = write!(line, "  {:>10}", grouped(service.requests));
                if !is_expected {
                    let gap = service.longest_gap_s.map_or(String::new(), duration);
                    let _ = write!(line, "  {gap:>11}");
                }
            }
            if has_offered {
                let (mean, peak) = (service.mean_offered, figure(service.peak_offered));
                let _ = write!(line, "  {mean:>14.2}  {peak:>4}");
            }
            let (curve, highest) = panels::line(&service.curve, left);
            let _ = write!(line, "  {curve:<left$}");
            if has_requests {
                let _ = write!(line, "  {:>5}/s", figure(highest));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if self.rest.services > 0 {
            let name = format!("{} services more", grouped(self.rest.services));
            let requests = if has_requests { grouped(self.rest.requests) } else { String::new() };
            text.push_str(format!("{name:<longest$}  {requests:>10}").trim_end());
            text.push('\n');
        }
        if has_requests {
            let _ = writeln!(
                text,
                "each to its own scale; busiest is its highest mean over {}",
                duration(step)
            );
        } else {
            text.push_str("each to its own scale\n");
        }
        text
    }
}

/// A name that leaves room for the rest.
fn short(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME - 1) {
        Some((end, _)) if name.chars().count() > LONGEST_NAME => format!("{}…", &name[..end]),
        Some(_) | None => name.to_owned(),
    }
}

impl Requests {
    /// How far arrivals are apart, and what they ask for.
    fn panels(&self, width: usize) -> String {
        let pictures = [
            ("between arrivals", Unit::Seconds, &self.gaps_s),
            ("prompt tokens", Unit::Tokens, &self.prompt_bars),
            ("output tokens", Unit::Tokens, &self.output_bars),
            ("duration", Unit::Seconds, &self.duration_bars),
        ];
        let there: Vec<_> = pictures
            .into_iter()
            .filter_map(|(name, unit, bars)| Some((name, unit, bars.as_ref()?)))
            .collect();
        if there.is_empty() { String::new() } else { panels::panels(&there, width) }
    }

    fn lines(&self, services: u64) -> String {
        let expected = match self.are_expected {
            true => " expected, as tables of rates say",
            false => "",
        };
        let mut text =
            line("requests", &format!("{}{}{expected}", grouped(self.count), of(services)));
        text.push_str(&line(
            "rate",
            &format!(
                "{} requests/s mean, {} in the busiest second, {} over the busiest minute",
                figure(self.mean_rps),
                figure(self.peak_rps_1s),
                figure(self.peak_rps_60s)
            ),
        ));
        text.push_str(&line(
            "dispersion",
            &format!(
                "{:.2} of seconds, {:.2} of minutes (1 is Poisson)",
                self.dispersion_1s, self.dispersion_60s
            ),
        ));
        let quantiles = |name, quantiles: Option<Quantiles>, unit: &str| match quantiles {
            Some(Quantiles { p50, p99 }) => {
                line(name, &format!("{}{unit} median, {}{unit} p99", grouped(p50), grouped(p99)))
            }
            None => String::new(),
        };
        text.push_str(&quantiles("prompt tokens", self.prompt_tokens, ""));
        text.push_str(&quantiles("output tokens", self.output_tokens, ""));
        text.push_str(&quantiles("duration", self.duration_ms, " ms"));
        text
    }
}

impl Offered {
    fn lines(&self, services: u64) -> String {
        let amounts = format!("{} mean, {} at most", figure(self.mean), figure(self.peak));
        line("in flight", &format!("{amounts}{}", of(services)))
    }
}

fn of(services: u64) -> String {
    match services {
        1 => String::new(),
        services => format!(", {} services", grouped(services)),
    }
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<14} {value}\n")
}

/// A curve as columns of blocks, the highest step of each. What is not 0 shows.
fn plot(name: &str, curve: &Curve, window_s: f64, width: usize) -> String {
    let highest = curve.means.iter().copied().fold(0.0, f64::max);
    let label = figure(highest);
    let margin = label.chars().count().max(1);
    let columns = width.saturating_sub(margin + 2).clamp(10, 120).min(curve.means.len().max(1));
    let per_column = curve.means.len() as f64 / columns as f64;
    let heights: Vec<usize> = (0..columns)
        .map(|column| {
            let from = (column as f64 * per_column) as usize;
            let to =
                (((column + 1) as f64 * per_column) as usize).clamp(from + 1, curve.means.len());
            let high = curve.means[from..to].iter().copied().fold(0.0, f64::max);
            let eighths = (8 * PLOT_ROWS) as f64;
            (eighths * high / highest.max(f64::MIN_POSITIVE)).ceil() as usize
        })
        .collect();
    let step = duration(curve.step_s);
    let mut text = format!("\n{name}, the highest mean over {step} in each column\n");
    for row in (0..PLOT_ROWS).rev() {
        let label = match row {
            0 => "0",
            _ if row == PLOT_ROWS - 1 => &label,
            _ => "",
        };
        let cells = heights.iter().map(|height| BLOCKS[height.saturating_sub(8 * row).min(8)]);
        let line = format!("{label:>margin$} ┤{}", cells.collect::<String>());
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let end = duration(window_s);
    let axis = (columns - 1).max(end.chars().count() + 1);
    let _ = writeln!(text, "{:>margin$}  0{end:>axis$}", "");
    text
}

/// Three significant digits, and all of what stands before the point.
pub(super) fn figure(value: f64) -> String {
    let decimals = match value {
        value if value >= 99.95 || value == value.trunc() => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    match text.split_once('.') {
        Some(_) => text,
        None => grouped(value.round() as u64),
    }
}

/// `131,332`.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The two largest units that count, rounded: `7d`, `22h 5m`, `8m 36s`, `0.25s`.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        let text = format!("{seconds:.2}");
        return format!("{}s", text.trim_end_matches('0').trim_end_matches('.'));
    }
    let step: u32 = match seconds {
        seconds if seconds >= 86_400.0 => 3600,
        seconds if seconds >= 3600.0 => 60,
        _ => 1,
    };
    let whole = (seconds / f64::from(step)).round() as u64 * u64::from(step);
    let units = [
        (whole / 86_400, "d"),
        (whole / 3600 % 24, "h"),
        (whole / 60 % 60, "m"),
        (whole % 60, "s"),
    ];
    let shown = units.iter().filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_and_are_rounded() {
        for (seconds, expected) in [
            (0.0, "0s"),
            (0.25, "0.25s"),
            (9.999, "10s"),
            (59.6, "1m"),
            (456.0, "7m 36s"),
            (3600.4, "1h"),
            (14_375.0, "4h"),
            (79_501.0, "22h 5m"),
            (604_799.0, "7d"),
            (90_000.0, "1d 1h"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn figures_have_three_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (0.2171, "0.217"),
            (0.9999, "1.00"),
            (67.0, "67"),
            (10.533, "10.5"),
            (1604.2, "1,604"),
        ] {
            assert_eq!(figure(value), expected, "{value}");
        }
    }

    #[test]
    fn a_plot_fits_any_width() {
        let curve = Curve { step_s: 1.0, means: vec![0.0, 0.001, 5.0] };
        for width in [0, 1, 10, 40, 1000] {
            let plotted = plot("x", &curve, 3.0, width);
            assert_eq!(plotted.lines().count(), 3 + PLOT_ROWS, "{plotted}");
            assert!(plotted.contains('▁'), "what is not 0 shows: {plotted}");
        }
        plot("x", &Curve { step_s: 1.0, means: vec![0.0] }, 1.0, 80);
    }
}
