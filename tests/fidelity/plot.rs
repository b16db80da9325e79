//! Ready replicas of both worlds over time, as an SVG for `docs/fidelity.md`.

use std::fmt::Write as _;

use super::story::{Steps, Story};
use super::worlds::LENGTH_S;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 70.0;
const ROW: f64 = 110.0;
const TOP: f64 = 40.0;

const HEAD: &str = r#"<style>
text { font: 13px system-ui, sans-serif; fill: #333 }
.grid { stroke: #8884; stroke-width: 1 }
.live { fill: #2a7ab033; stroke: #2a7ab0; stroke-width: 1.5 }
.simulated { fill: none; stroke: #d1495b; stroke-width: 1.5; stroke-dasharray: 5 3 }
@media (prefers-color-scheme: dark) { text { fill: #ccc } }
</style>
"#;

/// A row a service.
pub fn svg(live: &Story, simulated: &Story) -> String {
    let height = TOP + ROW * live.len() as f64 + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Ready replicas over time, live and simulated</title>\n{HEAD}"
    );
    let _ = write!(
        svg,
        "<path class=\"live\" d=\"M{LEFT},12h30v10h-30z\"/><text x=\"{}\" y=\"22\">ready, live</text>\n\
         <path class=\"simulated\" d=\"M{},17h30\"/><text x=\"{}\" y=\"22\">ready, simulated</text>\n",
        LEFT + 38.0,
        LEFT + 140.0,
        LEFT + 178.0
    );
    let mut bottom = TOP;
    for (name, service) in live {
        bottom += ROW;
        let other = &simulated[name];
        let most = f64::from(service.ready.most().max(other.ready.most()).max(1));
        let y = |value: f64| bottom - 12.0 - value / most * (ROW - 34.0);
        let _ = writeln!(svg, "<text x=\"8\" y=\"{:.0}\">{name}</text>", y(most / 2.0) + 4.0);
        for value in 0..=most as u32 {
            let at = y(f64::from(value));
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT},{at:.1}H{WIDTH}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                LEFT - 6.0,
                at + 4.0
            );
        }
        let line = |steps: &Steps| line(steps, &y);
        let _ = writeln!(
            svg,
            "<path class=\"live\" d=\"{}\"/>\n<path class=\"simulated\" d=\"{}\"/>",
            line(&service.ready),
            line(&other.ready)
        );
    }
    for second in (0..=LENGTH_S as u32).step_by(10) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{second} s</text>",
            x(f64::from(second)),
            bottom + 14.0
        );
    }
    svg + "</svg>\n"
}

fn x(at_s: f64) -> f64 {
    LEFT + at_s.clamp(0.0, LENGTH_S) / LENGTH_S * (WIDTH - LEFT - 20.0)
}

fn line(steps: &Steps, y: &dyn Fn(f64) -> f64) -> String {
    let mut path = format!("M{LEFT},{:.1}", y(0.0));
    for &(at_s, value) in steps.0.iter().filter(|step| step.0 <= LENGTH_S) {
        let _ = write!(path, "H{:.1}V{:.1}", x(at_s), y(f64::from(value)));
    }
    let _ = write!(path, "H{:.1}V{:.1}", x(LENGTH_S), y(0.0));
    path
}
