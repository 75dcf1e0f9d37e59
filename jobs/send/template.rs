//! Templates: merge fields and spintax, and nothing else.
//!
//! * `{{name}}` is a merge field, `{{name|default('there')}}` one that may be missing.
//! * `{Hi|Hello|Dear}` is one of its alternatives; alternatives may hold fields and further choices.
//! * `\{`, `\}` and `\|` are the characters themselves. Braces around text without a `|` are just
//!   braces, so that a style sheet in an HTML part stays what it is.
//!
//! A template is parsed once into a tree and the values are put in afterwards: nothing that a lead's
//! data contains can be taken for template syntax.

mod parser;

use std::collections::BTreeMap;

use self::parser::Parser;
use super::spintax::Spinner;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Node>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Text(String),
    Field { name: String, default: Option<String> },
    Choice(Vec<Vec<Node>>),
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The character at which it is, from 1.
    pub(super) position: usize,
    /// What is wrong there.
    pub(super) message: &'static str,
}

/// How values are written into a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// As they are.
    None,
    /// As text inside HTML.
    Html,
}

/// Why a template gave no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RenderError {
    /// A field that has neither a value nor a default.
    Missing(String),
    /// The text would be longer than allowed.
    TooLong,
}

impl Template {
    /// Parses a template.
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        Parser::new(text).template().map(Self)
    }

    /// Every field that some alternative needs and that has no default, in the order of the text.
    pub(super) fn required(&self) -> Vec<&str> {
        let mut names = Vec::new();
        visit(&self.0, &mut |name, default| {
            if default.is_none() && !names.contains(&name) {
                names.push(name);
            }
        });
        names
    }

    /// Every field that some alternative may show.
    pub(super) fn fields(&self) -> Vec<&str> {
        let mut names = Vec::new();
        visit(&self.0, &mut |name, _| names.push(name));
        names
    }

    /// The text, with alternatives chosen by `spinner` and fields filled from `values`; at most
    /// `limit` bytes of it.
    pub(super) fn render(
        &self,
        mut spinner: Spinner,
        values: &BTreeMap<String, String>,
        escape: Escape,
        limit: usize,
    ) -> Result<String, RenderError> {
        let mut out = String::new();
        write(&self.0, &mut spinner, values, escape, limit, &mut out)?;
        Ok(out)
    }
}

fn visit<'t>(nodes: &'t [Node], see: &mut impl FnMut(&'t str, Option<&'t str>)) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Field { name, default } => see(name, default.as_deref()),
            Node::Choice(branches) => branches.iter().for_each(|branch| visit(branch, see)),
        }
    }
}

fn write(
    nodes: &[Node],
    spinner: &mut Spinner,
    values: &BTreeMap<String, String>,
    escape: Escape,
    limit: usize,
    out: &mut String,
) -> Result<(), RenderError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Field { name, default } => {
                let value = values.get(name).or(default.as_ref());
                let value = value.ok_or_else(|| RenderError::Missing(name.clone()))?;
                push_escaped(value, escape, out);
            }
            Node::Choice(branches) => {
                let branch = &branches[spinner.pick(branches.len())];
                write(branch, spinner, values, escape, limit, out)?;
            }
        }
        if out.len() > limit {
            return Err(RenderError::TooLong);
        }
    }
    Ok(())
}

fn push_escaped(value: &str, escape: Escape, out: &mut String) {
    if escape == Escape::None {
        out.push_str(value);
        return;
    }
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn render(text: &str, pairs: &[(&str, &str)], escape: Escape) -> String {
        let template = Template::parse(text).unwrap();
        template.render(Spinner::seeded("key"), &values(pairs), escape, 1_000).unwrap()
    }

    #[test]
    fn fields_defaults_and_escapes() {
        let rows = [
            ("Hi {{name}}!", "Hi Ada!"),
            ("Hi {{ name }}!", "Hi Ada!"),
            ("Hi {{nick|default('you')}}", "Hi you"),
            ("Hi {{ nick | default( \"o'you\" ) }}", "Hi o'you"),
            ("Hi {{name|default('you')}}", "Hi Ada"),
            ("{same|same} {{name}}", "same Ada"),
            ("{{{name}}|{{name}}}", "Ada"),
            ("a|b}", "a|b}"),
            (r"\{a\|b\} \n", r"{a|b} \n"),
            ("p{color:red} @media{a{b:c}}", "p{color:red} @media{a{b:c}}"),
            ("{}", "{}"),
            ("", ""),
        ];
        for (template, expected) in rows {
            assert_eq!(render(template, &[("name", "Ada")], Escape::None), expected, "{template}");
        }
    }

    #[test]
    fn html_parts_escape_values_and_not_the_template() {
        let html = render("<b>{{x}}</b>", &[("x", "<i>\"&'")], Escape::Html);
        assert_eq!(html, "<b>&lt;i&gt;&quot;&amp;&#39;</b>");
    }

    #[test]
    fn choices_depend_on_the_key_and_reach_every_alternative() {
        let template = Template::parse("{a|b|{c|d}}").unwrap();
        let render = |key: &str| {
            template.render(Spinner::seeded(key), &BTreeMap::new(), Escape::None, 10).unwrap()
        };
        assert_eq!(render("k"), render("k"));
        let mut seen: Vec<String> = (0..200).map(|n| render(&n.to_string())).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["a", "b", "c", "d"]);
    }

    #[test]
    fn mistakes_say_where_they_are() {
        let deep = "{a|".repeat(17);
        let rows = [
            ("abc {{", 5),
            ("{{}}", 1),
            ("{{1a}}", 1),
            ("ab {{name", 4),
            ("ab {{name|upper}}", 4),
            ("{{name|default(you)}}", 1),
            ("{{name|default('you}}", 1),
            ("ä {a|b", 3),
            (deep.as_str(), 49),
        ];
        for (template, position) in rows {
            let error = Template::parse(template).unwrap_err();
            assert_eq!(error.position, position, "{template}: {}", error.message);
        }
    }

    #[test]
    fn a_missing_field_and_a_long_text_are_errors() {
        let render = |text: &str| {
            let template = Template::parse(text).unwrap();
            let values = values(&[("x", "1234567890")]);
            template.render(Spinner::seeded("k"), &values, Escape::None, 25)
        };
        assert_eq!(render("{{y}}"), Err(RenderError::Missing("y".into())));
        assert_eq!(render("{{x}}{{x}}{{x}}"), Err(RenderError::TooLong));
    }

    proptest! {
        /// Whatever is typed, parsing and rendering end with a text or an error.
        #[test]
        fn nothing_makes_it_panic(text in "([{}|\\\\'\"a ä\n]|\\{\\{|\\}\\}|default\\(){0,60}", key in "[a-z]{0,5}") {
            if let Ok(template) = Template::parse(&text) {
                let _ = template.render(Spinner::seeded(&key), &values(&[("a", "b")]), Escape::Html, 100);
            }
        }

        /// A value comes out as it went in, whatever it looks like.
        #[test]
        fn values_are_never_template(value in "[{}|\\\\a-c'()]{0,40}", key in "[a-z]{0,5}") {
            let template = Template::parse("{x|y}{{v}}{{v}}").unwrap();
            let got = template.render(Spinner::seeded(&key), &values(&[("v", &value)]), Escape::None, 1_000).unwrap();
            prop_assert_eq!(&got[1..], format!("{value}{value}"));
        }

        /// Text without braces and backslashes is left alone.
        #[test]
        fn plain_text_is_itself(text in "[^{}\\\\]{0,80}") {
            prop_assert_eq!(render(&text, &[], Escape::Html), text);
        }

        /// No markup survives from a value into HTML.
        #[test]
        fn html_is_never_injected(value in any::<String>()) {
            let template = Template::parse("{{v}}").unwrap();
            let got = template.render(Spinner::seeded("k"), &values(&[("v", &value)]), Escape::Html, 100_000).unwrap();
            prop_assert!(!got.contains(['<', '>', '"', '\'']));
        }
    }
}
