//! Results on standard output: tables and lines for people, one JSON document for programs.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use jobs::contract::Moment;
use serde::Serialize;
use serde_json::json;

use super::Failure;

/// Where results go, and in which form.
pub struct Out<'a> {
    to: &'a mut (dyn Write + Send),
    json: bool,
}

impl<'a> Out<'a> {
    /// Results to `to`; as JSON if wished.
    pub fn new(to: &'a mut (dyn Write + Send), json: bool) -> Self {
        Self { to, json }
    }

    /// Whether programs read this.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Where results go, for what prints by itself.
    pub fn writer(&mut self) -> &mut (dyn Write + Send) {
        self.to
    }

    /// One JSON document, on a line of its own.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, value)?;
        self.to.write_all(b"\n")?;
        self.to.flush()
    }

    /// The line that says that the façade serves; nothing, when there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn ready(&mut self, address: Option<SocketAddr>, key: Option<&str>) -> Result<(), Failure> {
        let Some(address) = address else { return Ok(()) };
        let url = format!("http://{address}");
        let key_word = key.map(|key| format!(" key={key}")).unwrap_or_default();
        Ok(if self.json {
            self.json(&json!({"ready": true, "url": url, "key": key}))
        } else {
            self.line(format!("ready url={url}{key_word}"))
        }?)
    }

    /// One line for people.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.to, "{}", text.as_ref())?;
        self.to.flush()
    }

    /// Names and values below one another; a value of several lines is indented.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn fields(&mut self, fields: &[(&str, String)]) -> io::Result<()> {
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields {
            for (index, line) in value.lines().enumerate() {
                let name = if index == 0 { *name } else { "" };
                writeln!(self.to, "{name:width$}  {}", printable(line))?;
            }
        }
        self.to.flush()
    }

    /// A table with aligned columns.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn table<const N: usize>(
        &mut self,
        head: [&str; N],
        rows: &[[String; N]],
    ) -> io::Result<()> {
        let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|c| printable(c))).collect();
        let mut widths = head.map(|cell| cell.chars().count());
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        self.row(&head.map(str::to_owned), &widths)?;
        for row in &rows {
            self.row(row, &widths)?;
        }
        self.to.flush()
    }

    fn row(&mut self, cells: &[String], widths: &[usize]) -> io::Result<()> {
        let padded: Vec<_> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(self.to, "{}", padded.join("  ").trim_end())
    }
}

/// Text from elsewhere, without what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A moment for people: to the second.
pub(super) fn when(moment: Moment) -> String {
    let text = moment.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{}Z", seconds.replace('T', " ")),
        None => text,
    }
}

/// A moment for people, or a dash.
pub(super) fn when_known(moment: Option<Moment>) -> String {
    moment.map_or_else(|| "-".to_owned(), when)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(write: impl FnOnce(&mut Out<'_>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut Out::new(&mut bytes, false)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn columns_are_aligned_and_lines_end_with_text() {
        let rows = [["a".into(), "long one".into()], ["ümläut".into(), "b".into()]];
        let text = said(|out| out.table(["ID", "NAME"], &rows));
        assert_eq!(text, "ID      NAME\na       long one\nümläut  b\n");
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        let rows = [["\u{1b}[2Jgone".into()]];
        assert!(!said(|out| out.table(["X"], &rows)).contains('\u{1b}'));
        let fields = [("error", "\u{1b}]0;title\u{7}".to_owned())];
        assert!(!said(|out| out.fields(&fields)).contains('\u{1b}'));
    }

    #[test]
    fn moments_are_shown_to_the_second() {
        assert_eq!(when(Moment::from_millis(1_781_082_000_123)), "2026-06-10 09:00:00Z");
        assert_eq!(when_known(None), "-");
    }
}
