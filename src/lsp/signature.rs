//! The signature of the call under the cursor, also while it is being written.

use gen_lsp_types::{
    ActiveParameter, Documentation, MarkupContent, MarkupKind, ParameterInformation,
    ParameterInformationLabel, SignatureHelp, SignatureInformation, TextDocumentPositionParams,
};

use super::completion::Mended;
use super::hover::builtin_doc;
use super::program::Program;
use super::text::Encoding;
use super::workspace::Workspace;
use crate::lang::{CallSite, FileId};

pub(super) fn help(
    workspace: &mut Workspace,
    asked: &TextDocumentPositionParams,
) -> Option<SignatureHelp> {
    let view = workspace.view(asked)?;
    if let Some(call) = view.program.index.call_around(view.file, view.offset) {
        return of_call(&view.program, view.file, call, view.offset, workspace.encoding);
    }
    let mended = Mended::of(workspace, &view)?;
    let call = mended.program.index.call_around(mended.file, mended.offset)?;
    of_call(&mended.program, mended.file, call, mended.offset, workspace.encoding)
}

fn of_call(
    program: &Program,
    file: FileId,
    call: &CallSite,
    offset: u32,
    encoding: Encoding,
) -> Option<SignatureHelp> {
    let signature = &program.index.signatures[call.signature?];
    let mut label = format!("{}(", signature.shown);
    let width = |text: &str| match encoding {
        Encoding::Utf8 => text.len() as u32,
        Encoding::Utf16 => text.encode_utf16().count() as u32,
    };
    let mut parameters = Vec::new();
    for (i, arg) in signature.args.iter().enumerate() {
        if i > 0 {
            label.push_str(", ");
        }
        let start = width(&label);
        label.push_str(&arg.text());
        let doc = arg.declaration.map(|place| program.index.declarations[place].doc.clone());
        parameters.push(ParameterInformation {
            label: ParameterInformationLabel::Tuple((start, width(&label))),
            documentation: doc.filter(|doc| !doc.is_empty()).map(markdown),
        });
    }
    label.push_str(&format!(") -> {}", signature.returns));
    let doc = match signature.declaration {
        Some(place) => program.index.declarations[place].doc.clone(),
        None => builtin_doc(&signature.shown).to_string(),
    };
    let active = active(program, file, call, offset);
    Some(SignatureHelp {
        signatures: vec![SignatureInformation {
            label,
            documentation: (!doc.is_empty()).then(|| markdown(doc)),
            parameters: Some(parameters),
            active_parameter: active.map(ActiveParameter::Int),
        }],
        active_signature: Some(0),
        active_parameter: active.map(ActiveParameter::Int),
    })
}

/// The parameter that the cursor is at: the one that is named there, else the first that is still
/// free.
fn active(program: &Program, file: FileId, call: &CallSite, offset: u32) -> Option<u32> {
    let signature = &program.index.signatures[call.signature?];
    // What stands before the cursor decides: the argument that the last comma before it begins.
    let text = program.text(file);
    let mut current = None;
    for (i, arg) in call.args.iter().enumerate() {
        let start = arg.name.as_ref().map_or(arg.value.start, |(_, span)| span.start);
        let between = text.text.get(arg.value.end as usize..offset.max(arg.value.end) as usize);
        if start <= offset && !between.unwrap_or("").contains(',') {
            current = Some(i);
        }
    }
    let given = |name: &str| {
        call.args.iter().any(|arg| arg.name.as_ref().is_some_and(|(of, _)| of == name))
    };
    let place = match current.map(|i| (i, &call.args[i].name)) {
        Some((_, Some((name, _)))) => signature.args.iter().position(|arg| arg.name == *name),
        Some((0, None)) if call.args.len() == 1 => (!signature.args.is_empty()).then_some(0),
        _ => {
            let first_taken =
                call.args.first().is_some_and(|arg| arg.name.is_none()) && current != Some(0);
            signature
                .args
                .iter()
                .enumerate()
                .position(|(i, arg)| !(given(&arg.name) || i == 0 && first_taken))
        }
    };
    place.map(|place| place as u32)
}

pub(super) fn markdown(value: String) -> Documentation {
    Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value })
}
