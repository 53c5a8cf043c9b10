//! Renaming: across files, and only where nothing else changes its meaning.
//!
//! Whether a new name clashes is not guessed: the edits are made in memory, every program of the
//! project that knows the declaration is checked again, and the rename is refused when there is an
//! error that was not there, or when the name is now named more or less often than before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gen_lsp_types::{
    PrepareRenamePlaceholder, RenameParams, TextDocumentPositionParams, TextEdit, WorkspaceEdit,
};

use crate::lang::{DeclarationKind as K, Severity, Span, is_name};

use super::navigation::{Named, at};
use super::program::Program;
use super::workspace::{View, Workspace};

/// What can be renamed at a place: where its name stands, and the name.
///
/// # Errors
/// Why it cannot be renamed.
pub(super) fn prepare(
    workspace: &mut Workspace,
    asked: &TextDocumentPositionParams,
) -> Result<PrepareRenamePlaceholder, String> {
    let (view, place, span) = target(workspace, asked)?;
    let placeholder = view.program.index.declarations[place].name.clone();
    Ok(PrepareRenamePlaceholder { range: workspace.range(&view.program, span), placeholder })
}

/// The edits that rename what stands at a place.
///
/// # Errors
/// Why it cannot have that name.
pub(super) fn rename(
    workspace: &mut Workspace,
    asked: &RenameParams,
) -> Result<WorkspaceEdit, String> {
    let new = asked.new_name.trim();
    let (view, place, _) = target(workspace, &asked.text_document_position_params)?;
    let of = view.program.index.declarations[place].clone();
    let is_valid = match of.kind {
        K::Word => !new.is_empty() && !new.contains(['"', '\\', '{', '}', '\n']),
        // Any word names a field or an argument.
        K::Field => is_name(&format!("_{new}")) && !new.starts_with(|c: char| c.is_ascii_digit()),
        _ => is_name(new),
    };
    if !is_valid || new.is_empty() {
        return Err(format!(
            "`{new}` is not a name: names are letters, digits and `_`, start with no digit, and \
             are no word of the language"
        ));
    }
    if new == of.name {
        return Ok(WorkspaceEdit::default());
    }
    let named = Named::find(workspace, &view, place);
    let mut edits = Edits::default();
    for (program, span) in named.uses.values() {
        if program.is_library(span.file) {
            return Err(format!("the library names `{}`, and it stays as it is", of.name));
        }
        edits.add(program, *span, new);
    }
    if let Some((program, span)) = &named.declared {
        // A file that is used under its own name gets another one.
        let without_as = of.kind == K::Alias && program.words(*span) != of.name;
        match without_as {
            true => edits.add(program, Span { start: span.end, ..*span }, &format!(" as {new}")),
            false => edits.add(program, *span, new),
        }
    }
    for program in &named.programs {
        changes_nothing_else(workspace, program, &edits, &of, new, &view)?;
    }
    let mut changes = HashMap::new();
    for (name, file) in &edits.files {
        let path = file.program.project.root.join(name);
        let edits = file.edits.iter().map(|((start, end), new)| {
            let range = file.program.text(file.span.file).range(*start, *end, workspace.encoding);
            TextEdit { range, new_text: new.clone() }
        });
        changes.insert(workspace.uri(&path), edits.collect());
    }
    Ok(WorkspaceEdit { changes: Some(changes), ..WorkspaceEdit::default() })
}

fn target(
    workspace: &mut Workspace,
    asked: &TextDocumentPositionParams,
) -> Result<(View, usize, Span), String> {
    let view = workspace.view(asked).ok_or("the file is not open")?;
    let (place, span) =
        view.program.index.at(view.file, view.offset).ok_or("no name stands here")?;
    let of = &view.program.index.declarations[place];
    if view.program.is_library(of.span.file) {
        let name = &of.name;
        return Err(format!("`{name}` belongs to the library, whose names stay as they are"));
    }
    match of.kind {
        K::Module => Err("a file is renamed on disk".to_string()),
        K::Test => Err("the name of a test is its text: edit it here".to_string()),
        _ => Ok((view, place, span)),
    }
}

/// Edits by file, in order.
#[derive(Default)]
struct Edits {
    files: BTreeMap<String, FileEdits>,
}

struct FileEdits {
    program: std::rc::Rc<Program>,
    /// A place in the file, which knows the file's number.
    span: Span,
    edits: BTreeMap<(u32, u32), String>,
}

impl Edits {
    fn add(&mut self, program: &std::rc::Rc<Program>, span: Span, new: &str) {
        let file = self.files.entry(program.name(span.file).to_string()).or_insert_with(|| {
            FileEdits { program: program.clone(), span, edits: BTreeMap::new() }
        });
        file.edits.insert((span.start, span.end), new.to_string());
    }

    /// Where a byte of a file stands after the edits.
    fn moved(&self, file: &str, offset: u32) -> u32 {
        let Some(file) = self.files.get(file) else { return offset };
        let before = file.edits.iter().take_while(|((start, _), _)| *start < offset);
        let moved = before.fold(i64::from(offset), |at, ((start, end), new)| {
            at + new.len() as i64 - i64::from(end - start)
        });
        u32::try_from(moved).unwrap_or(offset)
    }
}

impl FileEdits {
    fn text(&self) -> Arc<str> {
        let text = &self.program.text(self.span.file).text;
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for ((start, end), new) in &self.edits {
            out.push_str(text.get(at..*start as usize).unwrap_or(""));
            out.push_str(new);
            at = *end as usize;
        }
        out.push_str(text.get(at..).unwrap_or(""));
        out.into()
    }
}

fn changes_nothing_else(
    workspace: &Workspace,
    before: &Program,
    edits: &Edits,
    of: &crate::lang::Declaration,
    new: &str,
    view: &View,
) -> Result<(), String> {
    let mut open = workspace.overlay(&before.project);
    open.extend(edits.files.iter().map(|(name, file)| (name.clone(), file.text())));
    let after = Program::check(&before.project, &before.entry, open);
    let errors = |program: &Program| {
        let errors = program.checked.diagnostics.iter();
        errors.filter(|one| one.severity == Severity::Error).count()
    };
    let refused = |why: &str| format!("`{}` cannot be called `{new}`: {why}", of.name);
    if errors(&after) > errors(before) {
        let known: Vec<&str> =
            before.checked.diagnostics.iter().map(|one| one.message.as_str()).collect();
        let first =
            after.checked.diagnostics.iter().find(|one| {
                one.severity == Severity::Error && !known.contains(&one.message.as_str())
            });
        let why = first.map_or("the program would have an error", |one| one.message.as_str());
        return Err(refused(&format!("{} ({})", why, before.entry)));
    }
    // A file that keeps its name on disk has no place of its own to compare.
    if of.kind == K::Alias {
        return Ok(());
    }
    let file = view.program.name(of.span.file);
    let count = |program: &Program, start: u32, length: u32| {
        let file = program.file(file)?;
        let place = at(program, Span { file, start, end: start + length }, of.kind)?;
        Some(program.index.references_of(place).count())
    };
    let was = count(before, of.span.start, of.span.end - of.span.start);
    let is = count(&after, edits.moved(file, of.span.start), new.len() as u32);
    if was != is {
        return Err(refused(&format!(
            "something else is called so where it is used ({})",
            before.entry
        )));
    }
    Ok(())
}
