//! What is not written: types of stages and constants, the name of a first argument.

use std::path::Path;

use gen_lsp_types::{InlayHint, InlayHintKind, InlayHintParams, Label, Tooltip};

use crate::lang::{DeclarationKind as K, Type};

use super::hover::shown;
use super::workspace::Workspace;

/// The longest type that is shown in a line.
const MAX_LABEL: usize = 40;

pub(super) fn hints(
    workspace: &mut Workspace,
    path: &Path,
    asked: &InlayHintParams,
) -> Option<Vec<InlayHint>> {
    let (program, file) = workspace.file(path)?;
    let text = program.text(file);
    let from = text.offset(asked.range.start, workspace.encoding);
    let to = text.offset(asked.range.end, workspace.encoding);
    let mut hints: Vec<(u32, InlayHint)> = Vec::new();
    let mut hint = |at: u32, label: String, kind: InlayHintKind, whole: Option<String>| {
        let hint = InlayHint {
            position: workspace.position(&program, file, at),
            label: Label::String(label),
            kind: Some(kind),
            tooltip: whole.map(Tooltip::String),
            padding_right: Some(kind == InlayHintKind::Parameter),
            padding_left: None,
            text_edits: None,
            data: None,
        };
        hints.push((at, hint));
    };
    for of in &program.index.declarations {
        let is_shown = matches!(of.kind, K::Stage | K::Let | K::Local)
            && !of.annotated
            && !matches!(of.ty, Type::Unknown | Type::Null);
        if of.span.file == file && is_shown && (from..=to).contains(&of.span.end) {
            let whole = shown(&of.ty);
            let short = match whole.char_indices().nth(MAX_LABEL) {
                Some((cut, _)) => format!(": {}…", &whole[..cut]),
                None => format!(": {whole}"),
            };
            let is_cut = short.ends_with('…');
            hint(of.span.end, short, InlayHintKind::Type, is_cut.then_some(whole));
        }
    }
    for call in &program.index.calls {
        let (Some(first), Some(signature)) = (call.args.first(), call.signature) else { continue };
        let at = first.value.start;
        let Some(slot) = program.index.signatures[signature].args.first() else { continue };
        // A value that is called like the argument says it already.
        let says_it = program.words(first.value).rsplit('.').next() == Some(slot.name.as_str());
        if call.span.file == file && first.name.is_none() && !says_it && (from..=to).contains(&at) {
            hint(at, format!("{}:", slot.name), InlayHintKind::Parameter, None);
        }
    }
    hints.sort_by_key(|(at, _)| *at);
    Some(hints.into_iter().map(|(_, hint)| hint).collect())
}
