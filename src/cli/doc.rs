//! `claw doc`: the reference of a project and of the standard library.

use serde_json::json;

use crate::doc::{self, Site};
use crate::project::Project;

use super::{Exit, Failure, arguments, load, print};

impl From<doc::DocError> for Failure {
    fn from(err: doc::DocError) -> Failure {
        match err {
            doc::DocError::Io { .. } | doc::DocError::Template { .. } => {
                Failure::work(err.to_string())
            }
            other => Failure::input(other.to_string()),
        }
    }
}

/// Writes the pages, or prints the outlines as JSON.
pub(super) fn doc(args: &arguments::Doc) -> Result<Exit, Failure> {
    let here = std::path::PathBuf::from(".");
    let first = args.paths.first().unwrap_or(&here);
    let first = first.canonicalize().map_err(|_| doc::DocError::Missing(first.clone()))?;
    let folder = if first.is_dir() { &first } else { first.parent().unwrap_or(&first) };
    let project = Project::around(folder)?;
    let modules = doc::collect(&project, &args.paths)?;
    for (file, why) in &modules.skipped {
        print::notice(&format!("{file} is left out: {why}"));
    }
    for outline in modules.outlines.iter().filter(|outline| !outline.broken.is_empty()) {
        let names = outline.broken.join(", ");
        print::notice(&format!(
            "{}: {names} does not parse and is left out; `claw check` says why",
            outline.module
        ));
    }
    if args.json {
        print::json(&json!({ "modules": modules.outlines }));
        return Ok(Exit::Done);
    }
    let operators = load::operators(&project, false)?;
    let title = project.settings.project.name.as_deref().unwrap_or("Project");
    let pages = Site::new(title, &modules.outlines, Some(&operators)).pages()?;
    let out = args.out.clone().unwrap_or_else(|| project.root.join("doc"));
    doc::write(&out, &pages)?;
    print::line(&format!(
        "{} modules in {} files: open {}",
        modules.outlines.len(),
        pages.len(),
        out.join("index.html").display()
    ));
    Ok(Exit::Done)
}
