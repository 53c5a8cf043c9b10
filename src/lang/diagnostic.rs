//! What the language says about a program: one [`Diagnostic`] a mistake.
//!
//! A diagnostic has a stable code (see [`super::explain`]), a message that names the thing, a label
//! on each place that matters (the first one is the mistake itself) and, where there is one, a way
//! out.

use super::source::{SourceMap, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The program cannot run.
    Error,
    /// The program can run, but something looks wrong.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One thing to say about a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its code, such as `E0304`; those of warnings start with `W`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Places and what to say at each; the first is the mistake itself. Empty for a mistake that
    /// stands nowhere in the text, such as a missing file.
    pub labels: Vec<(Span, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error that stands nowhere yet.
    pub fn error(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            help: None,
        }
    }

    /// A warning that stands nowhere yet.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, message) }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, span: Span, label: impl Into<String>) -> Diagnostic {
        self.labels.push((span, label.into()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Says what to do, if there is something.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Diagnostic {
        self.help = help.or(self.help);
        self
    }

    /// For programs, in the shape that docs/diagnostics.md promises.
    pub fn to_json(&self, sources: &SourceMap) -> serde_json::Value {
        let position = |file, offset| {
            let (line, column) = sources.position(file, offset);
            serde_json::json!({ "line": line, "column": column, "offset": offset })
        };
        let labels: Vec<serde_json::Value> = self
            .labels
            .iter()
            .map(|(span, label)| {
                serde_json::json!({
                    "file": sources.path(span.file),
                    "start": position(span.file, span.start),
                    "end": position(span.file, span.end),
                    "message": label,
                })
            })
            .collect();
        serde_json::json!({
            "code": self.code,
            "severity": self.severity.word(),
            "message": self.message,
            "help": self.help,
            "explain": format!("claw explain {}", self.code),
            "labels": labels,
        })
    }
}

/// How many diagnostics of a program are told. Nobody reads more, and a file of a megabyte can have
/// one in every few bytes.
const MOST: usize = 200;

/// Whether there is so much to tell that looking for more is a waste. What is found late may stand
/// early in a file, so the search goes on for a while after what can be told is found.
pub(crate) fn is_enough(found: &[Diagnostic]) -> bool {
    found.len() > 5 * MOST
}

/// The diagnostics that are told: all, or the first so many with a word about the others. Errors
/// come before warnings when there is no room for both.
pub(crate) fn told(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    if found.len() <= MOST {
        return found;
    }
    let all = found.len();
    let mut room = MOST;
    for severity in [Severity::Error, Severity::Warning] {
        found.retain(|diagnostic| {
            let counts = diagnostic.severity == severity;
            let stays = !counts || room > 0;
            room -= usize::from(counts && stays);
            stays
        });
    }
    // What stopped the search is not all that there is, so the number would be a guess past that.
    let count = all - found.len();
    let more = if all > 5 * MOST { "many".to_string() } else { count.to_string() };
    found.push(
        Diagnostic::error("E0008", format!("{more} more problems are not shown"))
            .help("mend the ones above first: often a few mistakes make all the others"),
    );
    found
}

/// Names longer than this many bytes are compared with nothing: the time that takes is the product
/// of both lengths.
const LONG_NAME: usize = 200;

/// How many names one is compared with. A program of a hundred thousand names must not take an
/// hour to say which one was meant.
const MOST_COMPARED: usize = 5_000;

/// The name among `candidates` that was probably meant: the nearest one, when it is near enough.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() > LONG_NAME {
        return None;
    }
    let length = name.chars().count();
    let allowed = (length / 3).max(1);
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        // A name that is longer or shorter by more is further away than that.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .take(MOST_COMPARED)
        .map(|candidate| {
            // A swap of neighbours and a wrong case are the commonest slips; both count as little.
            let distance = strsim::osa_distance(&lower, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(b.1)))
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?` for a label, or `otherwise` when no candidate is near.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    otherwise: &str,
) -> String {
    match nearest(name, candidates) {
        Some(near) => format!("did you mean `{near}`?"),
        None => otherwise.to_string(),
    }
}

/// `a`, `b` and `c`, in backticks; long lists are cut.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let names: Vec<&str> = names.into_iter().collect();
    let mut text: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        text.push(format!("{} more", names.len() - SHOWN));
    }
    match text.len() {
        0 => "none".to_string(),
        1 => text.remove(0),
        _ => {
            let last = text.pop().unwrap_or_default();
            format!("{} and {last}", text.join(", "))
        }
    }
}
