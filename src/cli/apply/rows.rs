//! The rows of a CSV file with the lines they begin in, whatever program wrote it.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use csv::ByteRecord;

/// The longest row. A quote that is not closed makes one row of the rest of the file: it is refused
/// before it fills the memory.
const LONGEST_ROW: u64 = 1 << 20;
const BUFFER: usize = 1 << 16;

/// Why there is nothing to be had from a file.
#[derive(Debug)]
pub(super) enum Unusable {
    /// What is wrong with it as a whole.
    Problem(String),
    /// It cannot be read on.
    Unreadable(io::Error),
    /// Whoever takes the people has stopped taking them.
    NobodyListens,
}

/// The rows of a file, one at a time.
pub(super) struct Rows<R> {
    csv: csv::Reader<Source<R>>,
    read: Rc<SinceRow>,
    /// The row.
    pub(super) record: ByteRecord,
    /// The line in which the row begins.
    pub(super) line: u64,
}

impl<R: Read> Rows<BufReader<R>> {
    pub(super) fn open(from: R) -> Result<Self, Unusable> {
        let mut from = BufReader::with_capacity(BUFFER, from);
        let start = from.fill_buf().map_err(Unusable::Unreadable)?;
        refuse_utf16(start)?;
        let old_mac = start.contains(&b'\r') && !start.contains(&b'\n');
        let read = Rc::new(SinceRow::default());
        let from = Source { from, old_mac, last: None, read: Rc::clone(&read) };
        // Only LF ends a row: the CR of a CRLF is trimmed off the last cell, and lines count right.
        let csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(from);
        Ok(Self { csv, read, record: ByteRecord::new(), line: 1 })
    }

    /// Reads the next row that is not blank.
    pub(super) fn next(&mut self) -> Result<bool, Unusable> {
        loop {
            self.read.bytes.set(0);
            let before = self.csv.position().line();
            let more =
                self.csv.read_byte_record(&mut self.record).map_err(|e| failed(e, before))?;
            if !more {
                return Ok(false);
            }
            // Blank lines are skipped before a row; what it holds and its own end come after.
            let inside =
                self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
            self.line = self.csv.position().line().saturating_sub(inside + 1);
            if self.read.ended.get() {
                // A row ends before its file does, unless a quote holds everything to the end.
                let words = format!("line {before}: a quote in or after this line is not closed");
                return Err(Unusable::Problem(words));
            }
            if self.record.iter().any(|cell| !cell.trim_ascii().is_empty()) {
                return Ok(true);
            }
        }
    }
}

fn failed(error: csv::Error, line: u64) -> Unusable {
    match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Unusable::Problem(format!(
                "line {line}: the row that begins here is longer than 1 MiB; is a quote not closed?"
            ))
        }
        csv::ErrorKind::Io(error) => Unusable::Unreadable(error),
        other => Unusable::Problem(format!("line {line}: {other:?}")),
    }
}

fn refuse_utf16(start: &[u8]) -> Result<(), Unusable> {
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return Err(Unusable::Problem(
            "expected UTF-8, got UTF-16; save it as \"CSV UTF-8\"".into(),
        ));
    }
    Ok(())
}

/// What was read since the last row ended.
#[derive(Default)]
struct SinceRow {
    bytes: Cell<u64>,
    /// Whether the end of the file was seen.
    ended: Cell<bool>,
}

/// A file whose lines all end, that refuses to go on past the longest row.
struct Source<R> {
    from: R,
    /// Lines end with CR alone, as nobody writes any more but some programs still export.
    old_mac: bool,
    last: Option<u8>,
    read: Rc<SinceRow>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read.bytes.get() > LONGEST_ROW {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut count = self.from.read(into)?;
        if count == 0 && self.last.is_some_and(|last| last != b'\n') && !into.is_empty() {
            into[0] = b'\n';
            count = 1;
        }
        let got = &mut into[..count];
        if self.old_mac {
            got.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
        }
        self.last = got.last().copied().or(self.last);
        self.read.ended.set(count == 0);
        self.read.bytes.set(self.read.bytes.get() + count as u64);
        Ok(count)
    }
}
