//! The grammar of templates.

use super::{Node, SyntaxError};

/// The deepest nesting of choices.
const DEEPEST: usize = 16;
/// The longest field name, in characters.
const LONGEST_NAME: usize = 64;

/// Reads a template, character by character.
pub(super) struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    /// A parser at the beginning of `text`.
    pub(super) fn new(text: &str) -> Self {
        Self { chars: text.chars().collect(), at: 0 }
    }

    /// Reads everything.
    pub(super) fn template(mut self) -> Result<Vec<Node>, SyntaxError> {
        let (mut branches, _) = self.branches(0)?;
        Ok(branches.pop().unwrap_or_default())
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Whether a field starts here. Of `{{{` the first brace opens a choice: `{{{a}}|b}`.
    fn field_starts(&self) -> bool {
        self.peek(0) == Some('{') && self.peek(1) == Some('{') && self.peek(2) != Some('{')
    }

    /// Reads alternatives up to the closing brace (at depth 0: to the end); says whether a `|` was
    /// among them.
    fn branches(&mut self, depth: usize) -> Result<(Vec<Vec<Node>>, bool), SyntaxError> {
        let opened = self.at; // the character after the brace, which is the brace's number from 1
        let mut branches = vec![Vec::new()];
        let mut split = false;
        while let Some(c) = self.peek(0) {
            let branch = branches.last_mut().expect("it starts with one and only grows");
            match c {
                '\\' if matches!(self.peek(1), Some('{' | '}' | '|')) => {
                    push_char(branch, self.chars[self.at + 1]);
                    self.at += 2;
                }
                '{' if self.field_starts() => branch.push(self.field()?),
                '{' => self.choice(branch, depth)?,
                '|' if depth > 0 => {
                    branches.push(Vec::new());
                    split = true;
                    self.at += 1;
                }
                '}' if depth > 0 => {
                    self.at += 1;
                    return Ok((branches, split));
                }
                c => {
                    push_char(branch, c);
                    self.at += 1;
                }
            }
        }
        if depth > 0 {
            return Err(SyntaxError { position: opened, message: "this { is never closed" });
        }
        Ok((branches, split))
    }

    fn choice(&mut self, into: &mut Vec<Node>, depth: usize) -> Result<(), SyntaxError> {
        if depth == DEEPEST {
            let message = "choices are nested more than 16 deep";
            return Err(SyntaxError { position: self.at + 1, message });
        }
        self.at += 1;
        let (mut branches, split) = self.branches(depth + 1)?;
        if split {
            into.push(Node::Choice(branches));
        } else {
            push_char(into, '{');
            into.append(&mut branches.pop().unwrap_or_default());
            push_char(into, '}');
        }
        Ok(())
    }

    fn field(&mut self) -> Result<Node, SyntaxError> {
        let position = self.at + 1;
        let wrong = |message| SyntaxError { position, message };
        self.at += 2;
        self.spaces();
        let name = self.name();
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(wrong("expected {{name}}: a letter or _, then letters, digits, _, . or -"));
        }
        self.spaces();
        let default = if self.eat("|") { Some(self.default(position)?) } else { None };
        self.spaces();
        if self.eat("}}") {
            Ok(Node::Field { name, default })
        } else {
            Err(wrong("expected {{name}} or {{name|default('text')}}"))
        }
    }

    fn name(&mut self) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(|c| {
            c == '_'
                || c.is_ascii_alphabetic()
                || (self.at > start && (c.is_ascii_digit() || c == '.' || c == '-'))
        }) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn default(&mut self, position: usize) -> Result<String, SyntaxError> {
        let message = "expected {{name|default('text')}}";
        let wrong = SyntaxError { position, message };
        self.spaces();
        let open = self.eat("default(");
        self.spaces();
        let Some(quote @ ('\'' | '"')) = self.peek(0).filter(|_| open) else { return Err(wrong) };
        let start = self.at + 1;
        let length = self.chars[start..].iter().position(|c| *c == quote);
        let Some(length) = length else { return Err(wrong) };
        self.at = start + length + 1;
        self.spaces();
        if !self.eat(")") {
            return Err(wrong);
        }
        Ok(self.chars[start..start + length].iter().collect())
    }

    fn spaces(&mut self) {
        while self.peek(0) == Some(' ') {
            self.at += 1;
        }
    }

    fn eat(&mut self, text: &str) -> bool {
        let fits = text.chars().enumerate().all(|(n, c)| self.peek(n) == Some(c));
        if fits {
            self.at += text.chars().count();
        }
        fits
    }
}

fn push_char(nodes: &mut Vec<Node>, c: char) {
    if let Some(Node::Text(text)) = nodes.last_mut() {
        text.push(c);
    } else {
        nodes.push(Node::Text(c.to_string()));
    }
}
