//! Where results, remarks and progress go: results to stdout, the rest to stderr, colour and progress only on a terminal.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Color;
use super::failure::{Exit, Failure};

/// The two streams of the process.
pub(super) struct Terminal {
    /// Whether stdout takes colours.
    pub(super) has_colors: bool,
    is_quiet: bool,
}

impl Terminal {
    /// As the arguments and the environment have it.
    pub(super) fn new(color: Color, is_quiet: bool) -> Terminal {
        #[expect(
            clippy::disallowed_methods,
            reason = "the edge: NO_COLOR is a convention of terminals"
        )]
        let is_plain = std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
        let has_colors = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !is_plain && std::io::stdout().is_terminal(),
        };
        Terminal { has_colors, is_quiet }
    }

    /// Whether nothing but results and errors is wanted.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Prints a result. A reader that has gone away, as `head` does, is no error.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Environment, "cannot write to stdout", &error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Says something that is not a result. That it cannot be said is nothing to fail for.
    pub(super) fn say(&self, text: &str) {
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// A remark, unless nobody wants any.
    pub(super) fn remark(&self, text: &str) {
        if !self.is_quiet {
            self.say(text);
        }
    }

    /// Columns of the terminal that stdout is; 100 where it is none.
    pub(super) fn width(&self) -> usize {
        let columns = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        columns.map_or(100, |size| usize::from(size.ws_col)).clamp(60, 160)
    }

    /// A bar for `length` seconds of virtual time; it shows on a terminal only, and only what takes longer than a blink.
    pub(super) fn progress(&self, length: Option<u64>) -> ProgressBar {
        let target = if self.is_quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(8)
        };
        let bar = ProgressBar::with_draw_target(length, target);
        let style = if length.is_some() {
            "{elapsed:>4} {bar:32} {percent:>3} %  {msg}"
        } else {
            "{elapsed:>4} {spinner} {msg}"
        };
        bar.set_style(ProgressStyle::with_template(style).expect("the template is in order"));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// Writes a file whole, or not at all: to a neighbour first, which then takes its name.
pub(super) fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    let fails = |error: std::io::Error| {
        Failure::new(Exit::Environment, format!("cannot write {}", path.display()), &error)
            .hint("does the folder exist, and may you write to it?")
    };
    // A name that stands for a device or a folder is a slip; renaming over it would destroy it.
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let what = format!("cannot write {}: it is there and no file", path.display());
        return Err(Failure::plain(Exit::Environment, what));
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = path.with_file_name(name);
    std::fs::write(&part, text).map_err(fails)?;
    std::fs::rename(&part, path).map_err(|error| {
        let _ = std::fs::remove_file(&part);
        fails(error)
    })
}
