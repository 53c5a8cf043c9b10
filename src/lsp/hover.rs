//! What a name is: its signature or type as code, what its author says about it, and for a stage
//! what the store has of it.

use gen_lsp_types::{Contents, Hover, MarkupContent, MarkupKind, TextDocumentPositionParams};

use crate::lang::{Declaration, DeclarationKind as K, Type};

use super::history::LastResult;
use super::program::Program;
use super::workspace::Workspace;

/// How many lines of a declaration are shown as they are written.
const MAX_LINES: usize = 24;

pub(super) fn hover(
    workspace: &mut Workspace,
    asked: &TextDocumentPositionParams,
) -> Option<Hover> {
    let view = workspace.view(asked)?;
    let program = &view.program;
    let (value, span) = match program.index.at(view.file, view.offset) {
        Some((place, span)) => (about(program, place), span),
        None => {
            // A function of the language itself stands in no file.
            let call = program.index.calls.iter().find(|call| {
                call.name.file == view.file
                    && (call.name.start..=call.name.end).contains(&view.offset)
            })?;
            let signature = &program.index.signatures[call.signature?];
            let doc = builtin_doc(&signature.shown);
            (block(&signature.text(), doc, &[]), call.name)
        }
    };
    let contents = Contents::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value });
    Some(Hover { contents, range: Some(workspace.range(program, span)) })
}

/// Everything there is to say about a declaration, as Markdown.
pub(super) fn about(program: &Program, place: usize) -> String {
    let of = &program.index.declarations[place];
    let mut notes = Vec::new();
    if of.kind == K::Stage {
        let pipeline = program.name(of.span.file);
        notes.push(match LastResult::of(&program.project, pipeline, &of.name) {
            Some(last) => last.line(),
            None => "No run has made it yet.".to_string(),
        });
    }
    let target = of.target.map_or(of, |target| &program.index.declarations[target]);
    block(&code(program, place), &target.doc, &notes)
}

fn block(code: &str, doc: &str, notes: &[String]) -> String {
    let mut parts = vec![format!("```claw\n{code}\n```")];
    if !doc.is_empty() {
        parts.push(doc.to_string());
    }
    parts.extend(notes.iter().cloned());
    parts.join("\n\n")
}

/// A declaration as code: as it is written where that is short, with its type where it is not
/// written.
pub(super) fn code(program: &Program, place: usize) -> String {
    let of = &program.index.declarations[place];
    let typed = |word: &str| format!("{word}{}: {}", of.name, shown(&of.ty));
    match of.kind {
        K::Module => format!("use {}", module_path(program, of)),
        K::Alias => match of.target.map(|target| &program.index.declarations[target]) {
            Some(target) => format!("use {} as {}", module_path(program, target), of.name),
            None => format!("use … as {}", of.name),
        },
        K::Stage => typed("stage "),
        K::Let => typed("let "),
        K::Param | K::Type => {
            let text = program.words(of.item).trim_end();
            if text.lines().count() > MAX_LINES { typed("") } else { text.to_string() }
        }
        K::Def | K::Operator => {
            let word = if of.kind == K::Def { "def" } else { "extern def" };
            match of.signature {
                Some(signature) => laid_out(word, &program.index.signatures[signature]),
                None => format!("{word} {}", of.name),
            }
        }
        K::Argument | K::Field => program.words(of.item).to_string(),
        K::Local => typed(""),
        K::Word => format!("\"{}\"", of.name),
        K::Test => format!("test {}", program.words(of.span)),
    }
}

/// A signature, one argument a line when it is long.
fn laid_out(word: &str, signature: &crate::lang::Signature) -> String {
    const WIDTH: usize = 88;
    let line = format!("{word} {}", signature.text());
    if line.len() <= WIDTH || signature.args.is_empty() {
        return line;
    }
    let args: String = signature.args.iter().map(|arg| format!("  {},\n", arg.text())).collect();
    format!("{word} {}(\n{args}) -> {}", signature.shown, signature.returns)
}

fn module_path(program: &Program, of: &Declaration) -> String {
    let path = program.name(of.span.file);
    match path.strip_suffix(".claw").filter(|_| path.starts_with("std/")) {
        Some(module) => module.to_string(),
        None => format!("\"{path}\""),
    }
}

/// A type; what is not known is said in a word.
pub(super) fn shown(ty: &Type) -> String {
    if *ty == Type::Unknown { "unknown".to_string() } else { ty.to_string() }
}

/// What the functions of the language itself are for.
pub(super) fn builtin_doc(name: &str) -> &'static str {
    match name {
        "model" => "A model, by the name of its provider and its own: `model(\"builtin/solver\")`.",
        "sandbox" => "Where commands run, and what they may use.",
        "file" => "A file of the project by its content; the path is relative to this file.",
        "dir" => "A directory of the project by its content; the path is relative to this file.",
        "env" => "A variable of the environment, read once at start; a part of the key.",
        "secret" => {
            "A variable of the environment by its name: its value enters no key, no log and no store, and \
             goes to arguments that take a `Secret` alone."
        }
        "template" => "A template of the project, filled in with the arguments.",
        _ => "",
    }
}
