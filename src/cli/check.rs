//! `claw check`: is it right?

use std::sync::Arc;

use serde_json::json;

use crate::store::MemoryObjects;

use super::{Exit, Failure, arguments, load, print};
use crate::project::Project;

/// Checks each pipeline and tells everything that is wrong with any of them.
pub(super) fn check(args: &arguments::Check) -> Result<Exit, Failure> {
    let mut bad = false;
    let mut all = Vec::new();
    for file in &args.pipelines {
        let (project, entry) = Project::of(file)?;
        let objects = Arc::new(MemoryObjects::default());
        let (diagnostics, sources, summary) = match load::check(&project, &entry, objects) {
            Ok(loaded) => {
                let (stages, params) = (loaded.program.stages.len(), loaded.program.params.len());
                let summary = format!("{entry}: ok ({stages} stages, {params} parameters)");
                (loaded.diagnostics, loaded.sources, Some(summary))
            }
            Err((diagnostics, sources)) => (diagnostics, sources, None),
        };
        bad |= summary.is_none();
        if args.json {
            all.extend(diagnostics.iter().map(|one| one.to_json(&sources)));
            continue;
        }
        load::tell(&diagnostics, &sources);
        match summary {
            Some(summary) => print::line(&summary),
            None => print::notice(&format!("{entry}: {} found", plural(diagnostics.len()))),
        }
    }
    if args.json {
        print::json(&json!({ "ok": !bad, "diagnostics": all }));
    }
    Ok(if bad { Exit::BadInput } else { Exit::Done })
}

fn plural(count: usize) -> String {
    if count == 1 { "1 problem".to_string() } else { format!("{count} problems") }
}
