//! What is where on the screen, made for 80 × 24 and at home on larger ones.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};

use super::Top;
use crate::status::{Decision, Health, ReplicaPhase, RunPhase, ServiceStatus, Status, short};
use crate::time::Time;

/// The most rows that GPUs get beside services and decisions. Nodes.
const NODES_SHOWN: usize = 4;

const FAINT: Style = Style::new().fg(Color::DarkGray);
const ALARM: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const NOTICE: Style = Style::new().fg(Color::Yellow);
const GOOD: Style = Style::new().fg(Color::Green);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws the whole screen.
pub(super) fn draw(top: &Top, frame: &mut Frame<'_>) {
    let [body, foot] =
        Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    let keys = if top.is_near {
        "esc back   ↑↓ earlier decisions   q quit"
    } else {
        "↑↓ mark   enter one service   q quit"
    };
    let foot_line = match &top.error {
        Some(error) => Line::styled(format!("as it last was; {error}"), ALARM),
        None => Line::styled(keys, FAINT),
    };
    frame.render_widget(Paragraph::new(foot_line), foot);
    let Some(status) = &top.status else { return };
    match status.services.get(top.marked) {
        Some(service) if top.is_near => near(top, status, service, frame, body),
        Some(_) | None => all(top, status, frame, body),
    }
}

/// Draws all that one screen would not hold.
pub(super) fn draw_plain(top: &Top, frame: &mut Frame<'_>) {
    if let Some(status) = &top.status {
        all(top, status, frame, frame.area());
    }
}

fn all(top: &Top, status: &Status, frame: &mut Frame<'_>, area: Rect) {
    let banners = banners(status);
    let nodes: Vec<Line<'_>> = status.nodes.iter().map(node).collect();
    let is_plain = top.marked == usize::MAX;
    let nodes_shown = if is_plain { nodes.len() } else { nodes.len().min(NODES_SHOWN) };
    let services_height = (status.services.len() + 1) as u16;
    let policies_height = status.policies.len() as u16;
    let rooms = [
        Constraint::Length(1),
        Constraint::Length(banners.len() as u16),
        Constraint::Length(1),
        // As many as there are, and no more than leave room for some decisions.
        Constraint::Length(if is_plain {
            services_height
        } else {
            services_height.min(area.height.saturating_sub(9).max(3))
        }),
        Constraint::Length(if nodes_shown > 0 { nodes_shown as u16 + 1 } else { 0 }),
        Constraint::Length(if policies_height > 0 { policies_height + 1 } else { 0 }),
        Constraint::Min(3),
    ];
    let [head, banner, _, services, gpus, policies, decisions] =
        Layout::vertical(rooms).areas(area);
    frame.render_widget(Paragraph::new(headline(status)), head);
    frame.render_widget(Paragraph::new(banners), banner);
    frame.render_widget(service_table(top, status, services), services);
    if nodes_shown > 0 {
        frame.render_widget(Paragraph::new(nodes), below(gpus));
    }
    let lines: Vec<Line<'_>> =
        status.policies.iter().map(|policy| policy_line(status.at, policy)).collect();
    frame.render_widget(Paragraph::new(lines), below(policies));
    let list = status.decisions.iter().rev().map(|one| decision(status.at, one, true));
    let mut lines: Vec<Line<'_>> = list.collect();
    if lines.is_empty() {
        lines.push(Line::styled("nothing was decided yet", FAINT));
    }
    frame.render_widget(Paragraph::new(lines), below(decisions));
}

/// An area without its first line, which stays blank.
fn below(area: Rect) -> Rect {
    Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area }
}

fn headline(status: &Status) -> Line<'static> {
    let sum = |of: fn(&ServiceStatus) -> u32| status.services.iter().map(of).sum::<u32>();
    let (ready, desired) = (sum(|one| one.ready), sum(|one| one.desired));
    let (waiting, in_flight) = (sum(|one| one.waiting), sum(|one| one.in_flight));
    let gpus = status.nodes.iter().flat_map(|node| &node.gpus);
    let (mut count, mut used) = (0, 0.0);
    for gpu in gpus {
        count += 1;
        used += gpu.used_by.iter().map(|one| one.share).sum::<f64>().min(1.0);
    }
    let up = span(status.at.since(status.started_at));
    Line::from(vec![
        Span::styled("tidegate ", STRONG),
        Span::styled(format!("{} up {up}  ", status.version), FAINT),
        Span::raw(format!("{ready} ready of {desired}  ")),
        Span::styled(format!("{waiting} waiting"), if waiting > 0 { NOTICE } else { FAINT }),
        Span::raw(format!("  {in_flight} in flight  {used:.1} of {count} GPUs")),
    ])
}

fn banners(status: &Status) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut say = |text: String| lines.push(Line::styled(text, NOTICE));
    if status.is_dry_run {
        say("dry run: it decides, and starts or stops nothing".into());
    }
    match status.phase {
        RunPhase::Starting => say("it starts".into()),
        RunPhase::Running => {}
        RunPhase::Stopping => say("it stops: what it has is answered".into()),
    }
    let pins = status.services.iter().filter_map(|service| {
        let pin = service.pin?;
        let left = span(pin.until.since(status.at));
        Some(format!("{} to {} for {left}", service.name, pin.replicas))
    });
    let pins: Vec<String> = pins.collect();
    if !pins.is_empty() {
        say(format!("pinned by hand: {}", pins.join("; ")));
    }
    if let Some(error) = status.journal.as_ref().and_then(|journal| journal.error.as_ref()) {
        say(format!("the journal is not written: {error}"));
    }
    lines
}

fn service_table(top: &Top, status: &Status, area: Rect) -> Table<'static> {
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    let first = match top.marked {
        usize::MAX => 0,
        marked => (marked + 1).saturating_sub(room),
    };
    let rows = status.services.iter().enumerate().skip(first).take(room).map(|(at, service)| {
        let is_marked = at == top.marked;
        let wait = match service.waiting {
            0 => Span::raw(""),
            _ => Span::raw(span(service.oldest_wait_ms)),
        };
        let state = |is: bool, style| if is { style } else { Style::new() };
        let cells = [
            Line::styled(service.name.clone(), STRONG),
            Line::styled(service.ready.to_string(), state(service.ready > 0, GOOD)).right_aligned(),
            Line::raw(service.desired.to_string()).right_aligned(),
            Line::styled(coming(service), state(service.starting > 0, NOTICE)),
            Line::styled(dash(service.waiting), state(service.waiting > 0, ALARM)).right_aligned(),
            Line::from(wait).right_aligned(),
            Line::raw(dash(service.in_flight)).right_aligned(),
            why(service),
        ];
        let row = Row::new(cells);
        if is_marked { row.style(Style::new().add_modifier(Modifier::REVERSED)) } else { row }
    });
    let right = |text: &'static str| Line::raw(text).right_aligned();
    let head = Row::new([
        Line::raw("SERVICE"),
        right("READY"),
        right("WANT"),
        Line::raw("CHANGES"),
        right("WAIT"),
        right("OLDEST"),
        right("FLIGHT"),
        Line::raw("WHY"),
    ]);
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(5),
        Constraint::Length(4),
        Constraint::Length(8),
        Constraint::Length(5),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Fill(5),
    ];
    Table::new(rows, widths).header(head.style(FAINT)).column_spacing(2)
}

fn dash(count: u32) -> String {
    if count == 0 { "–".to_owned() } else { count.to_string() }
}

/// Replicas that come and go: `+2 −1`, and those that failed.
fn coming(service: &ServiceStatus) -> String {
    let parts = [("+", service.starting), ("−", service.draining), ("!", service.failed)];
    let parts = parts.iter().filter(|(_, count)| *count > 0);
    parts.map(|(sign, count)| format!("{sign}{count}")).collect::<Vec<_>>().join(" ")
}

fn why(service: &ServiceStatus) -> Line<'static> {
    let marks = [
        ("pinned", service.pin.is_some()),
        ("made room", service.is_evicted),
        ("fake", service.is_fake),
    ];
    let mut line = Line::default();
    for (mark, _) in marks.iter().filter(|(_, is)| *is) {
        line.push_span(Span::styled(format!("[{mark}] "), NOTICE));
    }
    let last = service.targets.iter().filter_map(|target| target.decision.as_ref());
    if let Some(last) = last.max_by_key(|decision| decision.number) {
        line.push_span(Span::raw(last.reason.clone()));
    }
    line
}

fn node(node: &crate::status::NodeStatus) -> Line<'static> {
    let mut line = Line::from(vec![Span::styled(node.name.clone(), STRONG), Span::raw("  ")]);
    let mut class = "";
    for gpu in &node.gpus {
        if gpu.class != class {
            class = &gpu.class;
            line.push_span(Span::styled(format!("{class} "), FAINT));
        }
        let used: f64 = gpu.used_by.iter().map(|one| one.share).sum();
        let cell = match used {
            used if used <= 0.0 => "□ ",
            used if used < 0.99 => "◧ ",
            _ => "■ ",
        };
        line.push_span(Span::raw(cell));
    }
    if node.gpus.is_empty() {
        line.push_span(Span::styled("no GPU", FAINT));
    }
    line
}

fn policy_line(at: Time, policy: &crate::status::PolicyStatus) -> Line<'static> {
    let (word, style) = match policy.health {
        Health::Healthy => ("healthy", GOOD),
        Health::Failing => ("failing", NOTICE),
        Health::Quarantined => ("put aside", ALARM),
    };
    let mut line = Line::from(vec![
        Span::raw(format!("{:<14} ", policy.stage)),
        Span::styled(format!("{word:<9} "), style),
        Span::raw(format!("{} ", short(&policy.digest))),
        Span::styled(format!("{}, for {}", policy.source, span(at.since(policy.since))), FAINT),
    ]);
    if let Some(shadow) = &policy.shadow {
        let (differing, compared) = (shadow.differing, shadow.compared);
        line.push_span(Span::styled(
            format!("; shadow differs in {differing} of {compared}"),
            NOTICE,
        ));
    } else if let Some(message) = policy.last_failure.as_ref().filter(|_| policy.failures > 0) {
        line.push_span(Span::styled(format!("; {message}"), NOTICE));
    }
    line
}

fn decision(at: Time, decision: &Decision, names_service: bool) -> Line<'static> {
    let from = decision.from.map_or_else(|| "–".to_owned(), |from| from.to_string());
    let mut line =
        Line::from(vec![Span::styled(format!("{:>8} ago  ", span(at.since(decision.at))), FAINT)]);
    if names_service {
        line.push_span(Span::raw(format!("{:<16} ", cut(&decision.service, 16))));
    }
    line.push_span(Span::styled(format!("{from:>3} → {:<3} ", decision.to), STRONG));
    line.push_span(Span::raw(format!("{} ", decision.reason)));
    for clamp in &decision.clamps {
        line.push_span(Span::styled(format!("({clamp}) "), NOTICE));
    }
    line.push_span(Span::styled(format!("{} {}", decision.stage, short(&decision.digest)), FAINT));
    line
}

fn cut(text: &str, at_most: usize) -> String {
    if text.chars().count() <= at_most {
        return text.to_owned();
    }
    text.chars().take(at_most - 1).chain(['…']).collect()
}

fn near(top: &Top, status: &Status, service: &ServiceStatus, frame: &mut Frame<'_>, area: Rect) {
    let most = if service.max == 0 { "no limit".to_owned() } else { service.max.to_string() };
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("{} ", service.name), STRONG),
        Span::raw(format!(
            "{} ready of {}, from {} to {most}; {} waiting, {} in flight",
            service.ready, service.desired, service.min, service.waiting, service.in_flight
        )),
    ])];
    if let Some(pin) = service.pin {
        let left = span(pin.until.since(status.at));
        let told = format!("pinned to {} by hand for {left}", pin.replicas);
        lines.push(Line::styled(told, NOTICE));
    }
    for target in &service.targets {
        if let Some(reason) = &target.unplaced {
            lines.push(Line::styled(format!("no place: {reason}"), NOTICE));
        }
        if let Some(until) = target.back_off_until {
            let left = span(until.since(status.at));
            let told = format!("{} failures in a row, waits {left} more", target.failed);
            lines.push(Line::styled(told, NOTICE));
        }
    }
    let replicas = service.replicas.iter().map(|replica| {
        let style = match replica.phase {
            ReplicaPhase::Ready => GOOD,
            ReplicaPhase::Failed => ALARM,
            ReplicaPhase::Pending
            | ReplicaPhase::Placed
            | ReplicaPhase::Pulling
            | ReplicaPhase::Loading
            | ReplicaPhase::Draining => NOTICE,
        };
        let mut place = replica.node.clone().unwrap_or_else(|| "–".to_owned());
        if !replica.gpus.is_empty() {
            let gpus: Vec<String> = replica.gpus.iter().map(u32::to_string).collect();
            place += &format!(" GPU {}", gpus.join(","));
        }
        Row::new([
            Line::raw(format!("#{}", replica.ordinal)),
            Line::styled(replica.phase.name(), style),
            Line::raw(span(status.at.since(replica.since))).right_aligned(),
            Line::raw(place),
            Line::raw(replica.port.map_or_else(String::new, |port| port.to_string())),
            Line::raw(replica.pid.map_or_else(String::new, |pid| pid.to_string())),
            Line::raw(dash(replica.in_flight)).right_aligned(),
            Line::raw(replica.reason.clone()),
        ])
    });
    let widths = [
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Fill(2),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Fill(3),
    ];
    let head = ["REPLICA", "PHASE", "SINCE", "WHERE", "PORT", "PID", "FLIGHT", "WHY"];
    let table = Table::new(replicas, widths).header(Row::new(head).style(FAINT)).column_spacing(1);
    let table_height = (service.replicas.len() as u16 + 1).min(area.height / 2);
    let rooms = [
        Constraint::Length(lines.len() as u16 + 1),
        Constraint::Length(table_height),
        Constraint::Min(3),
    ];
    let [head, middle, rest] = Layout::vertical(rooms).areas(area);
    frame.render_widget(Paragraph::new(lines), head);
    frame.render_widget(table, middle);
    let own = status.decisions.iter().rev().filter(|one| one.service == service.name);
    let mut lines: Vec<Line<'_>> =
        own.skip(top.passed).map(|one| decision(status.at, one, false)).collect();
    if lines.is_empty() {
        lines.push(Line::styled("no decision of the last 200 is about it", FAINT));
    }
    frame.render_widget(Paragraph::new(lines), below(rest));
}

/// A span of time in one unit, rounded down: `45 s`, `12 min`, `3 h`.
fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..120 => format!("{s} s"),
        120..7_200 => format!("{} min", s / 60),
        7_200..172_800 => format!("{} h", s / 3_600),
        172_800.. => format!("{} d", s / 86_400),
    }
}
