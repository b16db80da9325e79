//! `tidegate top`: the status drawn in a terminal. It fetches what the admin port tells and draws it; nothing here changes anything.

mod fetch;
mod view;

#[cfg(test)]
mod tests;

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

pub use fetch::{Address, FetchError, fetch};

use crate::status::Status;

/// How often the status is fetched.
const REFRESH: Duration = Duration::from_secs(1);
/// How many lines of a status in plain text are decisions.
const PLAIN_DECISIONS: usize = 10;

/// What is looked at.
#[derive(Debug, Default)]
pub struct Top {
    /// The last that was heard.
    status: Option<Status>,
    /// Why nothing is heard now.
    error: Option<String>,
    /// Which service is marked, by position.
    marked: usize,
    /// Whether only that is shown, with all there is to tell.
    is_near: bool,
    /// Lines of decisions that are passed over.
    passed: usize,
}

/// What comes after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Looking on.
    Stay,
    /// That was all.
    Quit,
}

impl Top {
    /// Takes in what was heard.
    pub fn hear(&mut self, heard: Result<Status, String>) {
        match heard {
            Ok(status) => {
                self.marked = self.marked.min(status.services.len().saturating_sub(1));
                self.status = Some(status);
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
    }

    /// Takes in a key.
    pub fn press(&mut self, key: KeyEvent) -> After {
        if key.kind == KeyEventKind::Release {
            return After::Stay;
        }
        let services = self.status.as_ref().map_or(0, |status| status.services.len());
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return After::Quit;
            }
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Esc if !self.is_near => return After::Quit,
            KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => {
                (self.is_near, self.passed) = (false, 0);
            }
            KeyCode::Enter | KeyCode::Right => {
                (self.is_near, self.passed) = (services > 0, 0);
            }
            KeyCode::Up | KeyCode::Char('k') if self.is_near => {
                self.passed = self.passed.saturating_sub(1);
            }
            KeyCode::Down | KeyCode::Char('j') if self.is_near => {
                let decisions = self.status.as_ref().map_or(0, |status| status.decisions.len());
                self.passed = (self.passed + 1).min(decisions.saturating_sub(1));
            }
            KeyCode::Up | KeyCode::Char('k') => self.marked = self.marked.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => {
                self.marked = (self.marked + 1).min(services.saturating_sub(1));
            }
            KeyCode::Home => self.marked = 0,
            KeyCode::End => self.marked = services.saturating_sub(1),
            // Other keys are the terminal's own many; they mean nothing here.
            _ => {}
        }
        After::Stay
    }
}

/// Draws until a person has seen enough.
///
/// # Errors
///
/// When the terminal does not work.
pub fn watch(
    address: &Address,
    first: Status,
    runtime: &tokio::runtime::Runtime,
) -> std::io::Result<()> {
    let mut top = Top::default();
    top.hear(Ok(first));
    let mut terminal = ratatui::try_init()?;
    let done = look(&mut terminal, &mut top, address, runtime);
    ratatui::restore();
    done
}

fn look(
    terminal: &mut ratatui::DefaultTerminal,
    top: &mut Top,
    address: &Address,
    runtime: &tokio::runtime::Runtime,
) -> std::io::Result<()> {
    let clock = crate::clock::Clock::start();
    let mut due_us = clock.now_us() + REFRESH.as_micros() as u64;
    loop {
        terminal.draw(|frame| view::draw(top, frame))?;
        if event::poll(clock.until_us(due_us))?
            && let Event::Key(key) = event::read()?
            && top.press(key) == After::Quit
        {
            return Ok(());
        }
        if clock.until_us(due_us).is_zero() {
            due_us = clock.now_us() + REFRESH.as_micros() as u64;
            top.hear(runtime.block_on(fetch(address)).map_err(|error| told(&error)));
        }
    }
}

/// An error with what led to it, in a line.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// The same as text, once, `width` columns wide.
pub fn plain(status: Status, width: u16) -> String {
    let gpus = status.nodes.len().max(1);
    let decisions = status.decisions.len().clamp(1, PLAIN_DECISIONS);
    // What stands between and around: the head, banners, headings and blank lines.
    let height = status.services.len() + gpus + decisions + status.policies.len() + 14;
    let mut top = Top::default();
    top.hear(Ok(status));
    top.marked = usize::MAX;
    let height = u16::try_from(height).unwrap_or(u16::MAX).min(u16::MAX / width.max(1));
    let backend = TestBackend::new(width, height);
    let Ok(mut terminal) = Terminal::new(backend);
    let Ok(_) = terminal.draw(|frame| view::draw_plain(&top, frame));
    text_of(&terminal)
}

/// What a terminal in memory shows: lines without blanks at their ends, and none at the end.
fn text_of(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    text
}
