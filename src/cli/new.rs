//! `claw new`: a folder to start from.

use std::path::Path;

use super::{Exit, Failure, arguments, print};
use crate::project::packages::check_name;

/// A file of a template: where it goes, and its text, in which `{{name}}` and `{{alias}}` are
/// filled in.
type File = (&'static str, &'static str);

const PROJECT: &[File] = &[
    ("claw.toml", include_str!("new/project/claw.toml")),
    ("pipeline.claw", include_str!("new/project/pipeline.claw")),
    ("README.md", include_str!("new/project/README.md")),
    (".gitignore", include_str!("new/project/gitignore")),
];

const LIBRARY: &[File] = &[
    ("claw.toml", include_str!("new/library/claw.toml")),
    ("lib.claw", include_str!("new/library/lib.claw")),
    ("README.md", include_str!("new/library/README.md")),
    (".gitignore", include_str!("new/library/gitignore")),
];

/// Makes the folder and fills it.
pub(super) fn new(args: &arguments::New) -> Result<Exit, Failure> {
    let folder = &args.folder;
    let last = folder.file_name().and_then(|name| name.to_str());
    let name = args.name.as_deref().or(last).ok_or_else(|| {
        Failure::input(format!("{} has no name\n  help: give one: --name", folder.display()))
    })?;
    check_name(name)?;
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::input(format!(
            "{} is there already, and not empty\n  help: choose another folder",
            folder.display()
        )));
    }
    let alias = name.rsplit('/').next().unwrap_or(name).replace('-', "_");
    let files = if args.lib { LIBRARY } else { PROJECT };
    std::fs::create_dir_all(folder).map_err(refused(folder))?;
    for (path, text) in files {
        let text = text.replace("{{name}}", name).replace("{{alias}}", &alias);
        let place = folder.join(path);
        std::fs::write(&place, text).map_err(refused(&place))?;
    }
    let shown = folder.display();
    if args.lib {
        print::line(&format!("made the package {name} in {shown}/"));
        print::line(&format!("\nclaw check {shown}/lib.claw"));
        print::line(&format!("claw add {name} --path {shown}     (in a project that uses it)"));
    } else {
        print::line(&format!("made the project {name} in {shown}/"));
        print::line(&format!("\nclaw run {shown}/pipeline.claw"));
    }
    Ok(Exit::Done)
}

fn refused(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    let path = path.display().to_string();
    move |err| Failure::work(format!("making {path}: {err}"))
}
