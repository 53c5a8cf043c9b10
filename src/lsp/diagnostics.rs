//! What is wrong, told as it is typed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use gen_lsp_types::{
    Code, Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DiagnosticTag, Message,
    PublishDiagnosticsParams, Range,
};
use serde_json::json;

use crate::lang::{self, Severity};

use super::program::Program;
use super::workspace::Workspace;

/// What was told last, so that it can be taken back.
#[derive(Default)]
pub(super) struct Told {
    files: BTreeMap<PathBuf, (Option<i32>, Vec<Diagnostic>)>,
}

impl Told {
    /// Everything that is to be told anew: what changed, and every open file with a new version.
    pub(super) fn news(&mut self, workspace: &mut Workspace) -> Vec<PublishDiagnosticsParams> {
        let now = all(workspace);
        let gone: Vec<PathBuf> =
            self.files.keys().filter(|path| !now.contains_key(*path)).cloned().collect();
        let mut news = Vec::new();
        for path in gone {
            let (_, before) = self.files.remove(&path).unwrap_or_default();
            if !before.is_empty() {
                let (uri, diagnostics) = (workspace.uri(&path), Vec::new());
                news.push(PublishDiagnosticsParams { uri, version: None, diagnostics });
            }
        }
        for (path, diagnostics) in now {
            let version = workspace.document(&path).map(|document| document.version);
            let told = (version, diagnostics);
            if self.files.get(&path) == Some(&told) {
                continue;
            }
            let (uri, diagnostics) = (workspace.uri(&path), told.1.clone());
            news.push(PublishDiagnosticsParams { uri, version, diagnostics });
            self.files.insert(path, told);
        }
        news
    }
}

/// The diagnostics of every open file, and of every other file of the project that their programs
/// found something wrong with.
fn all(workspace: &mut Workspace) -> BTreeMap<PathBuf, Vec<Diagnostic>> {
    let open: Vec<PathBuf> = workspace.documents().map(|(path, _)| path.clone()).collect();
    let mut found: BTreeMap<PathBuf, Vec<Diagnostic>> =
        open.iter().map(|path| (path.clone(), Vec::new())).collect();
    let mut seen: BTreeSet<(PathBuf, u32, u32, String)> = BTreeSet::new();
    for path in &open {
        let program = match workspace.program(path) {
            Ok(program) => program,
            Err(why) => {
                found.entry(path.clone()).or_default().push(of_project(why));
                continue;
            }
        };
        for diagnostic in &program.checked.diagnostics {
            let place = diagnostic.labels.first().map(|(span, _)| *span);
            // What stands nowhere is told at the top of the entry.
            let file = match place {
                Some(span)
                    if program.is_library(span.file)
                        && program.entry != program.name(span.file) =>
                {
                    continue;
                }
                Some(span) if program.entry == program.name(span.file) => Some(path.clone()),
                Some(span) => program.path(span.file),
                None => Some(path.clone()),
            };
            let Some(file) = file else { continue };
            let (start, end) = place.map_or((0, 0), |span| (span.start, span.end));
            if seen.insert((file.clone(), start, end, diagnostic.message.clone())) {
                let one = converted(workspace, &program, diagnostic);
                found.entry(file).or_default().push(one);
            }
        }
    }
    found
}

fn converted(
    workspace: &Workspace,
    program: &Rc<Program>,
    diagnostic: &lang::Diagnostic,
) -> Diagnostic {
    let mut labels = diagnostic.labels.iter();
    let mut message = diagnostic.message.clone();
    let mut range = Range::default();
    if let Some((span, label)) = labels.next() {
        range = workspace.range(program, *span);
        if !label.is_empty() {
            message.push_str(&format!("\n{label}"));
        }
    }
    if let Some(help) = &diagnostic.help {
        message.push_str(&format!("\nhelp: {help}"));
    }
    let related: Vec<DiagnosticRelatedInformation> = labels
        .filter_map(|(span, label)| {
            let location = workspace.location(program, *span)?;
            Some(DiagnosticRelatedInformation { location, message: label.clone() })
        })
        .collect();
    let severity = match diagnostic.severity {
        Severity::Error => DiagnosticSeverity::Error,
        Severity::Warning => DiagnosticSeverity::Warning,
    };
    Diagnostic {
        range,
        severity: Some(severity),
        code: Some(Code::String(diagnostic.code.to_string())),
        code_description: None,
        source: Some("claw".to_string()),
        message: Message::String(message),
        // A `use` that nothing asks for.
        tags: (diagnostic.code == "W0101").then(|| vec![DiagnosticTag::Unnecessary]),
        related_information: (!related.is_empty()).then_some(related),
        data: Some(json!({ "explain": format!("claw explain {}", diagnostic.code) })),
    }
}

/// A project that cannot be read, told at the top of the file.
fn of_project(why: String) -> Diagnostic {
    Diagnostic {
        severity: Some(DiagnosticSeverity::Error),
        source: Some("claw".to_string()),
        message: Message::String(why),
        range: Range::default(),
        code: None,
        code_description: None,
        tags: None,
        related_information: None,
        data: None,
    }
}
