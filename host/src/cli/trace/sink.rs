//! Where a written trace goes: a file, plain or gzip by its name, whole or not at all; or stdout.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::cli::failure::{Exit, Failure};

/// An open file or stdout.
pub(super) struct Sink {
    to: Option<Out>,
    /// The neighbour that is written, and the name it takes at the end.
    names: Option<(PathBuf, PathBuf)>,
}

enum Out {
    Stdout(BufWriter<io::Stdout>),
    Plain(BufWriter<File>),
    /// Without a time or a name in its header, so that equal loads are equal bytes.
    Gzip(GzEncoder<BufWriter<File>>),
}

impl Sink {
    pub(super) fn open(path: Option<&Path>) -> Result<Sink, Failure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let to = Out::Stdout(BufWriter::with_capacity(1 << 16, io::stdout()));
            return Ok(Sink { to: Some(to), names: None });
        };
        if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let what = format!("cannot write {}: it is there and no file", path.display());
            return Err(Failure::plain(Exit::Environment, what));
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".part");
        let part = path.with_file_name(name);
        let file = File::create(&part).map_err(|error| cannot_write(path, &error))?;
        let file = BufWriter::with_capacity(1 << 16, file);
        let to = match path.extension().is_some_and(|ending| ending == "gz") {
            true => Out::Gzip(GzEncoder::new(file, Compression::default())),
            false => Out::Plain(file),
        };
        Ok(Sink { to: Some(to), names: Some((part, path.to_owned())) })
    }

    /// Closes it; a file takes its name.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let done = match self.to.take().expect("it is closed once") {
            Out::Stdout(mut stdout) => return flushed(stdout.flush()),
            Out::Plain(mut file) => file.flush(),
            Out::Gzip(encoder) => encoder.finish().and_then(|mut file| file.flush()),
        };
        let Some((part, path)) = self.names.take() else { return Ok(()) };
        done.and_then(|()| std::fs::rename(&part, &path)).map_err(|error| {
            let _ = std::fs::remove_file(&part);
            cannot_write(&path, &error)
        })
    }
}

/// A reader that has gone away, as `head` does, is no error.
fn flushed(done: io::Result<()>) -> Result<(), Failure> {
    match done {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Environment, "cannot write to stdout", &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Environment, format!("cannot write {}", path.display()), error)
        .hint("does the folder exist, and may you write to it?")
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.to.as_mut().expect("it is open until it is finished") {
            Out::Stdout(to) => to.write(bytes),
            Out::Plain(to) => to.write(bytes),
            Out::Gzip(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.to.as_mut().expect("it is open until it is finished") {
            Out::Stdout(to) => to.flush(),
            Out::Plain(to) => to.flush(),
            Out::Gzip(to) => to.flush(),
        }
    }
}

impl Drop for Sink {
    /// What was not finished leaves nothing behind.
    fn drop(&mut self) {
        if let Some((part, _)) = &self.names {
            let _ = std::fs::remove_file(part);
        }
    }
}
