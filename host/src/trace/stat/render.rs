//! A load as text.

use std::fmt::Write;

use super::{Curve, Offered, Quantiles, Requests, Service, Stat};

const PLOT_ROWS: usize = 5;
/// An eighth of a cell each.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

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
        if let Some(offered) = &self.offered {
            text.push_str(&plot("in flight", &offered.concurrency, self.window_s, width));
        }
        if self.services > 1 {
            text.push_str(&self.table());
        }
        text
    }

    fn table(&self) -> String {
        let has_requests = self.requests.is_some();
        let has_offered = self.offered.is_some();
        let names = self.top.iter().map(|service| service.name.chars().count());
        let width = names.max().unwrap_or(0).max("7 services more".len());
        let mut text = format!("\n{:<width$}", "service");
        if has_requests {
            text.push_str("   requests  longest gap");
        }
        if has_offered {
            text.push_str("  mean in flight  peak");
        }
        text.push('\n');
        let mut row = |name: &str, service: Option<&Service>, requests: u64| {
            let mut line = format!("{name:<width$}");
            if has_requests {
                let gap = service.and_then(|service| service.longest_gap_s);
                let gap = gap.map_or(String::new(), duration);
                let _ = write!(line, " {:>10}  {gap:>11}", grouped(requests));
            }
            if let (true, Some(service)) = (has_offered, service) {
                let _ = write!(
                    line,
                    "  {:>14.2}  {:>4}",
                    service.mean_offered,
                    figure(service.peak_offered)
                );
            }
            text.push_str(line.trim_end());
            text.push('\n');
        };
        for service in &self.top {
            row(&service.name, Some(service), service.requests);
        }
        if self.rest.services > 0 {
            let name = format!("{} services more", grouped(self.rest.services));
            row(&name, None, self.rest.requests);
        }
        text
    }
}

impl Requests {
    fn lines(&self, services: u64) -> String {
        let mut text = line("requests", &format!("{}{}", grouped(self.count), of(services)));
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
fn figure(value: f64) -> String {
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
fn duration(seconds: f64) -> String {
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
