//! How a segment lies on disk: a line that says what it is, then frames, each with its length and checksum. The frames together are
//! one deflate stream that is flushed at the end of each, so that small ones compress well and a file that was torn loses nothing but
//! its last frame. What is in them are bytes: it knows nothing of entries.

use std::io::{self, Read, Write};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// The first bytes of a segment.
pub const MAGIC: &[u8] = b"tidegate journal 1\n";

/// A frame is written once so much waits for it. Bytes before compression.
const FRAME_BYTES: usize = 64 << 10;
/// No frame is longer: a length that was torn or altered asks for no memory. Bytes after compression.
const FRAME_AT_MOST: usize = 1 << 20;
/// What one frame may become, and with it one entry. Bytes; a snapshot of 5,000 services is a tenth of that.
const INFLATED_AT_MOST: usize = 256 << 20;
/// Length and checksum.
const HEAD_BYTES: usize = 8;

/// Writes a segment. [`Write::flush`] ends a frame; what was written since the last is lost with the process.
pub struct SegmentWriter<W> {
    to: W,
    deflate: Compress,
    pending: Vec<u8>,
    packed: Vec<u8>,
    written: u64,
}

impl<W: Write> SegmentWriter<W> {
    /// Begins a segment.
    ///
    /// # Errors
    ///
    /// When its first line cannot be written.
    pub fn new(mut to: W) -> io::Result<SegmentWriter<W>> {
        to.write_all(MAGIC)?;
        Ok(SegmentWriter {
            to,
            deflate: Compress::new(Compression::fast(), false),
            pending: Vec::new(),
            packed: Vec::new(),
            written: MAGIC.len() as u64,
        })
    }

    /// Bytes that went out so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that wait for the end of a frame.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What it writes to.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.to
    }

    /// Ends a frame, if there is anything to be in it.
    fn end_frame(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.packed.clear();
        let before = self.deflate.total_in();
        loop {
            self.packed.reserve(self.pending.len() / 4 + 256);
            let taken = (self.deflate.total_in() - before) as usize;
            self.deflate
                .compress_vec(&self.pending[taken..], &mut self.packed, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            let taken = (self.deflate.total_in() - before) as usize;
            // Room that is left over is how deflate says that it is done.
            if taken == self.pending.len() && self.packed.len() < self.packed.capacity() {
                break;
            }
        }
        self.pending.clear();
        for payload in self.packed.chunks(FRAME_AT_MOST) {
            let length = (payload.len() as u32).to_le_bytes();
            self.to.write_all(&length)?;
            self.to.write_all(&checksum(length, payload).to_le_bytes())?;
            self.to.write_all(payload)?;
            self.written += (HEAD_BYTES + payload.len()) as u64;
        }
        Ok(())
    }
}

impl<W: Write> Write for SegmentWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= FRAME_BYTES {
            self.end_frame()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end_frame()?;
        self.to.flush()
    }
}

/// Where a segment ends before its writer was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The end of the last good frame. Bytes from the start of the file.
    pub at: u64,
    /// What is wrong with what follows.
    pub why: &'static str,
}

/// Reads a segment, line by line, up to its last good frame.
pub struct SegmentReader<R> {
    from: R,
    inflate: Decompress,
    frame: Vec<u8>,
    /// What was inflated; what is before `used` was handed out.
    lines: Vec<u8>,
    used: usize,
    /// Where no end of a line is known to be yet.
    searched: usize,
    good: u64,
    torn: Option<Torn>,
    is_over: bool,
}

impl<R: Read> SegmentReader<R> {
    /// Reads on after [`MAGIC`], which was read already.
    pub fn after_magic(from: R) -> SegmentReader<R> {
        SegmentReader {
            from,
            inflate: Decompress::new(false),
            frame: Vec::new(),
            lines: Vec::new(),
            used: 0,
            searched: 0,
            good: MAGIC.len() as u64,
            torn: None,
            is_over: false,
        }
    }

    /// Why it ended before its writer was done; `None`: it did not, or it is not read to its end.
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// The next line, without its end.
    ///
    /// # Errors
    ///
    /// When the file cannot be read. One that was torn is no error: it ends there, and [`SegmentReader::torn`] says so.
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let found = self.lines[self.searched..].iter().position(|&byte| byte == b'\n');
            if let Some(length) = found {
                let (begin, end) = (self.used, self.searched + length);
                (self.used, self.searched) = (end + 1, end + 1);
                return Ok(Some(&self.lines[begin..end]));
            }
            self.searched = self.lines.len();
            if self.is_over {
                if self.used < self.lines.len() {
                    let why = "an entry is cut off";
                    self.torn.get_or_insert(Torn { at: self.good, why });
                }
                return Ok(None);
            }
            self.lines.drain(..self.used);
            self.searched -= self.used;
            self.used = 0;
            if let Err(why) = self.next_frame()? {
                self.is_over = true;
                self.torn = why.map(|why| Torn { at: self.good, why });
            }
        }
    }

    /// Takes in a frame. `Err(None)`: there is none, as it should be at the end.
    fn next_frame(&mut self) -> io::Result<Result<(), Option<&'static str>>> {
        let mut head = [0; HEAD_BYTES];
        match read_up_to(&mut self.from, &mut head)? {
            0 => return Ok(Err(None)),
            HEAD_BYTES => {}
            _ => return Ok(Err(Some("the head of a frame is cut off"))),
        }
        let [a, b, c, d, rest @ ..] = head;
        let (length, expected) = ([a, b, c, d], u32::from_le_bytes(rest));
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes == 0 || bytes > FRAME_AT_MOST {
            return Ok(Err(Some("the length of a frame cannot be")));
        }
        self.frame.resize(bytes, 0);
        if read_up_to(&mut self.from, &mut self.frame)? < bytes {
            return Ok(Err(Some("a frame is cut off")));
        }
        if checksum(length, &self.frame) != expected {
            return Ok(Err(Some("a checksum does not fit")));
        }
        let before = self.inflate.total_in();
        loop {
            let taken = (self.inflate.total_in() - before) as usize;
            self.lines.reserve((bytes - taken) * 4 + 256);
            let inflated = self.inflate.decompress_vec(
                &self.frame[taken..],
                &mut self.lines,
                FlushDecompress::None,
            );
            if inflated.is_err() {
                return Ok(Err(Some("a frame cannot be inflated")));
            }
            if self.lines.len() > INFLATED_AT_MOST {
                return Ok(Err(Some("an entry is larger than any can be")));
            }
            let taken = (self.inflate.total_in() - before) as usize;
            if taken == bytes && self.lines.len() < self.lines.capacity() {
                break;
            }
        }
        self.good += (HEAD_BYTES + bytes) as u64;
        Ok(Ok(()))
    }
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// Fills `to` as far as there is something to fill it with.
pub(super) fn read_up_to(from: &mut impl Read, to: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < to.len() {
        match from.read(&mut to[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment with a frame for each group of lines.
    fn segment(frames: &[Vec<String>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = SegmentWriter::new(&mut bytes).expect("memory takes it");
        for lines in frames {
            for line in lines {
                writeln!(writer, "{line}").expect("memory takes it");
            }
            writer.flush().expect("memory takes it");
        }
        bytes
    }

    fn lines(bytes: &[u8]) -> (Vec<String>, Option<Torn>) {
        let mut reader = SegmentReader::after_magic(&bytes[MAGIC.len()..]);
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line().expect("memory can be read") {
            lines.push(String::from_utf8(line.to_vec()).expect("text was written"));
        }
        (lines, reader.torn())
    }

    fn frames() -> Vec<Vec<String>> {
        let line = |at: usize| format!("{{\"at\":{at},\"text\":\"{}\"}}", "größer ".repeat(at % 7));
        (0..6).map(|frame| (0..=frame).map(|at| line(frame * 10 + at)).collect()).collect()
    }

    #[test]
    fn wherever_one_of_the_last_three_frames_is_cut_the_frames_before_it_are_read() {
        let frames = frames();
        let ends: Vec<usize> = (0..=frames.len()).map(|n| segment(&frames[..n]).len()).collect();
        let whole = segment(&frames);
        for cut in ends[frames.len() - 3]..=whole.len() {
            let (found, torn) = lines(&whole[..cut]);
            let kept =
                ends.iter().rposition(|&end| end <= cut).expect("the cut is after the magic");
            assert_eq!(found, frames[..kept].concat(), "cut at {cut}");
            assert_eq!(torn.map(|torn| torn.at), (ends[kept] < cut).then_some(ends[kept] as u64));
        }
    }

    #[test]
    fn a_byte_that_was_altered_ends_it_before_its_frame() {
        let frames = frames();
        let end = segment(&frames[..5]).len();
        let whole = segment(&frames);
        for at in end..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 0x20;
            let (found, torn) = lines(&altered);
            assert_eq!(found, frames[..5].concat(), "altered at {at}");
            assert_eq!(torn.map(|torn| torn.at), Some(end as u64), "altered at {at}");
        }
    }

    #[test]
    fn a_line_longer_than_a_frame_may_be_comes_back_whole() {
        let mut seed = 7u64;
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + ((seed >> 40) % 90) as u8)
        });
        let long: String = noise.take(3 * FRAME_AT_MOST).collect();
        let frames = vec![vec!["before".to_owned()], vec![long], vec!["after".to_owned()]];
        assert_eq!(lines(&segment(&frames)), (frames.concat(), None));
        let whole = segment(&frames);
        let (found, torn) = lines(&whole[..whole.len() / 2]);
        assert_eq!(found, ["before"]);
        assert!(torn.is_some());
    }
}
