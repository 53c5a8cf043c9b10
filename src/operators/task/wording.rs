//! A wording: one line of `wordings.txt`, with alternatives in it.
//!
//! ```text
//! [Please add|Add] up column {{ column }} of {{ file }} [and save|, then save] the total in {{ out }}.
//! ```
//! `[a|b|c]` stands for one of its options, which may be empty (`[please |]`) but hold no further
//! alternatives. Brackets without a `|` are text, and so is all that stands in `{{ … }}` and
//! `{% … %}`, where `[` and `|` are minijinja's.
//!
//! A line with alternatives is many sentences, its *forms*. Which one a task takes is drawn place by
//! place from the seed, the grounding's id, the family's name, the line's number and the place, so
//! that it depends on no other line and on no text. The form's name is an id such as
//! `sum_where/3.021`: line 3 with option 0 at its first place, 2 at its second and 1 at its third
//! (base 36). A line without alternatives is `sum_where/3`. So an id names one exact sentence, and
//! what is held out by id is a sentence that no lesson used.
//!
//! Alternatives are settled before minijinja sees the line.

use crate::store::KeyHasher;

use super::words::Stream;

/// As many options as one base-36 digit can tell apart.
const MOST_OPTIONS: usize = 36;

/// One line of `wordings.txt`.
#[derive(Debug, Clone, PartialEq)]
pub struct Wording {
    line: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    /// At least two options.
    OneOf(Vec<String>),
}

/// A wording with all its alternatives settled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    /// `family/line`, or `family/line.options`: names this very sentence.
    pub id: String,
    /// The sentence, as a template.
    pub template: String,
}

impl Wording {
    /// Reads a line.
    ///
    /// # Errors
    /// When alternatives are not closed, stand in one another, or have more than 36 options.
    pub(crate) fn read(line: &str) -> Result<Wording, String> {
        let mut parts = Vec::new();
        let mut rest = line;
        let mut text = String::new();
        while let Some(c) = rest.chars().next() {
            let span = slot(rest);
            if span > 0 {
                text.push_str(&rest[..span]);
                rest = &rest[span..];
                continue;
            }
            let options = if c == '[' { options(rest)? } else { None };
            match options {
                Some((options, length)) => {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::OneOf(options));
                    rest = &rest[length..];
                }
                None => {
                    text.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        parts.push(Part::Text(text));
        Ok(Wording { line: line.to_string(), parts })
    }

    /// The line as it was written.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// How many options each of its alternatives has, from left to right.
    pub fn places(&self) -> Vec<usize> {
        let count = |part: &Part| match part {
            Part::Text(_) => None,
            Part::OneOf(options) => Some(options.len()),
        };
        self.parts.iter().filter_map(count).collect()
    }

    /// The form that takes the option (from 0) that `choose` names for each place (from 0); past
    /// the last option, the last.
    pub fn form(&self, family: &str, n: usize, choose: impl Fn(usize) -> usize) -> Form {
        let mut id = format!("{family}/{n}");
        let mut template = String::new();
        let mut place = 0;
        for part in &self.parts {
            match part {
                Part::Text(text) => template.push_str(text),
                Part::OneOf(options) => {
                    let at = choose(place).min(options.len() - 1);
                    if place == 0 {
                        id.push('.');
                    }
                    id.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[at] as char);
                    template.push_str(&options[at]);
                    place += 1;
                }
            }
        }
        Form { id, template }
    }

    /// The form that a task takes.
    pub(crate) fn form_of(&self, family: &str, n: usize, grounding: &str, seed: i64) -> Form {
        let places = self.places();
        self.form(family, n, |place| {
            let mut hasher = KeyHasher::new("claw task phrase 1");
            hasher
                .number(seed as u64)
                .text(grounding)
                .text(family)
                .number(n as u64)
                .number(place as u64);
            Stream::new(&hasher.finish()).below(places[place] as u64) as usize
        })
    }

    /// As few forms as hold every option of every place.
    pub(crate) fn cover(&self, family: &str, n: usize) -> Vec<Form> {
        let most = self.places().into_iter().max().unwrap_or(1);
        (0..most).map(|at| self.form(family, n, |_| at)).collect()
    }
}

/// The length of the slot that `text` begins with, 0 when it begins with none. What is wrong with
/// one that does not end is for minijinja to say.
fn slot(text: &str) -> usize {
    [("{{", "}}"), ("{%", "%}"), ("{#", "#}")]
        .iter()
        .find(|(open, _)| text.starts_with(open))
        .map_or(0, |(_, close)| text.find(close).map_or(text.len(), |at| at + close.len()))
}

/// The options of the bracket that `text` begins with, and its length; none when it is only text.
fn options(text: &str) -> Result<Option<(Vec<String>, usize)>, String> {
    let wrong = |what: &str| {
        let shown: String = text.chars().take(40).collect();
        Err(format!("the alternatives `{shown}` {what}"))
    };
    let mut options = vec![String::new()];
    let mut at = 1;
    while let Some(c) = text[at..].chars().next() {
        let last = options.len() - 1;
        let span = slot(&text[at..]);
        if span > 0 {
            options[last].push_str(&text[at..at + span]);
            at += span;
            continue;
        }
        match c {
            '|' => options.push(String::new()),
            ']' if options.len() > MOST_OPTIONS => {
                return wrong(&format!("are {}; at most 36 can be told apart", options.len()));
            }
            ']' => return Ok((options.len() > 1).then_some((options, at + 1))),
            '[' if options.len() == 1 => return Ok(None),
            '[' => return wrong("hold a further `[`; close them with `]` first"),
            c => options[last].push(c),
        }
        at += c.len_utf8();
    }
    if options.len() > 1 {
        return wrong("are not closed; write `]` behind the last one");
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Form, Wording};

    fn form(line: &str, chosen: &[usize]) -> Form {
        let wording = Wording::read(line).expect(line);
        assert_eq!(wording.places().len(), chosen.len(), "{line}");
        wording.form("f", 3, |place| chosen[place])
    }

    #[test]
    fn options_are_chosen_and_named() {
        let line = "[Sum|Add up|Total] {{ a|upper }}[ please|] [in|to {{ out[0]|x }}].";
        let Form { id, template } = form(line, &[0, 1, 1]);
        assert_eq!(id, "f/3.011");
        assert_eq!(template, "Sum {{ a|upper }} to {{ out[0]|x }}.");
        assert_eq!(form(line, &[2, 0, 0]).template, "Total {{ a|upper }} please in.");
        let wide = format!("[{}|z]", vec!["a"; 35].join("|"));
        assert_eq!(form(&wide, &[35]).id, "f/3.z");
    }

    #[test]
    fn brackets_without_options_are_text() {
        for line in ["", "plain", "a [b] {{ c[1] }}", "x [", "{% if a[0]|b %}y{% endif %}", "é ["]
        {
            let Form { id, template } = form(line, &[]);
            assert_eq!((id.as_str(), template.as_str()), ("f/3", line));
        }
        assert_eq!(form("[a [b|c]", &[1]).template, "[a c");
    }

    #[test]
    fn faults_say_where_and_what() {
        for (line, says) in [
            ("go [a|b", "`[a|b` are not closed"),
            ("[a|b [c|d]]", "further `["),
            (&format!("[{}]", "|".repeat(36)), "are 37; at most 36"),
            ("[a|{{ b ]", "not closed"),
        ] {
            let err = Wording::read(line).expect_err(line);
            assert!(err.contains(says), "{err}");
        }
    }

    #[test]
    fn a_choice_depends_on_who_asks_and_the_line_alone() {
        let read = |line: &str| Wording::read(line).expect(line);
        let (here, reworded) = (read("[a|b|c] [d|e]"), read("[A|B|C] and [D|E]"));
        let mut ids = BTreeSet::new();
        for n in 0..200 {
            let of = |wording: &Wording, line| wording.form_of("f", line, &format!("p.{n}"), 7).id;
            assert_eq!(of(&here, 1), of(&reworded, 1));
            ids.insert(of(&here, 1));
        }
        assert_eq!(ids.len(), 6, "every form is in use");
        let cover = here.cover("f", 1);
        let templates: Vec<&str> = cover.iter().map(|form| form.template.as_str()).collect();
        assert_eq!(templates, ["a d", "b e", "c e"]);
    }
}
