//! Runs that have nothing to do, told from the outside.
//!
//! When a run ends whole, it leaves a note of what it looked at: sources, files, folders, variables,
//! outputs, packs. The next run of the same command first asks whether all of that still looks the
//! same; then there is nothing to do, and neither the program nor the store need be read. A note is
//! only ever a shortcut: without one, or when anything looks different, the run takes the long way
//! and finds the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::engine::{Count, Ended, Kind, Operators, State};
use crate::lang::CacheUse;
use crate::plan::{Plan, operators};
use crate::project::{Look, Project, Watched, variable};
use crate::store::{Digest, KeyHasher};

use super::{arguments, print};

/// What a run left.
#[derive(Serialize, Deserialize)]
struct Note {
    /// What was read, as it looked when the run began.
    read: Look,
    /// What was written, outputs and what the store holds, as it looked when the run ended.
    written: Look,
    variables: Vec<(String, Option<Digest>)>,
    /// What the run showed.
    shown: String,
    stages: usize,
    rows: u64,
}

/// A `claw run` with its arguments.
pub(super) struct Asked<'a> {
    pub(super) project: &'a Project,
    pub(super) entry: &'a str,
    pub(super) args: &'a arguments::Run,
}

/// What a run came to.
pub(super) struct Came<'a> {
    pub(super) plan: &'a Plan,
    pub(super) operators: &'a Operators,
    pub(super) ended: &'a Ended,
    /// What was read, and when the reading began.
    pub(super) sources: &'a Watched,
    pub(super) began: SystemTime,
}

impl Asked<'_> {
    /// Says that there is nothing to do, if that is certain.
    pub(super) fn nothing_to_do(&self, began: Instant) -> bool {
        let args = self.args;
        if args.json || !args.refresh.is_empty() {
            return false;
        }
        let Ok(bytes) = std::fs::read(self.place()) else {
            return false;
        };
        let Ok(note) = serde_json::from_slice::<Note>(&bytes) else {
            return false;
        };
        let same = note.variables.iter().all(|(name, digest)| variable(name) == *digest)
            && note.read.holds()
            && note.written.holds();
        if !same {
            return false;
        }
        if !args.quiet {
            print::out(&note.shown);
        }
        let took = print::duration(began.elapsed().as_millis() as u64);
        print::line(&format!("\n{} in {took}.", summary(note.stages, note.rows)));
        true
    }

    /// Leaves the note of a run that ended whole and had nothing to warn of.
    pub(super) fn leave(&self, came: &Came<'_>, shown: &str) {
        if !came.is_settled() {
            return;
        }
        let project = self.project;
        let mut read = came.sources.paths();
        read.insert(project.root.join("claw.toml"));
        read.insert(project.root.join("claw.lock"));
        read.extend(project.settings.models.values().filter_map(|model| model.replies.clone()));
        read.extend(std::env::current_exe());
        read.extend(self.args.pipeline.params_file.clone());
        let mut written: BTreeSet<PathBuf> = BTreeSet::new();
        for output in &came.plan.pipeline.outputs {
            let Some(path) = &output.path else { continue };
            below(&project.root.join(path), &mut written);
        }
        below(&project.store().join("packs"), &mut written);
        below(&project.store().join("objects"), &mut written);
        // Where damage was found, the next run looks for itself.
        written.insert(project.store().join("suspect"));
        let note = Note {
            read: Look::take(read, came.began),
            written: Look::take(written, SystemTime::now()),
            variables: came.sources.variables(),
            shown: shown.to_string(),
            stages: came.ended.counts.len(),
            rows: came.ended.counts.iter().map(|count| count.total).sum(),
        };
        // A note that cannot be left costs the next run its shortcut, and nothing else.
        let place = self.place();
        if let (Some(above), Ok(bytes)) = (place.parent(), serde_json::to_vec(&note)) {
            let _ = std::fs::create_dir_all(above).and_then(|()| {
                let file = tempfile::NamedTempFile::new_in(above)?;
                std::fs::write(file.path(), bytes)?;
                file.persist(&place).map_err(|err| err.error)
            });
        }
    }

    /// Where the note of a command is: named by the pipeline and by all that changes what it does.
    fn place(&self) -> PathBuf {
        let args = self.args;
        let mut hasher = KeyHasher::new("claw settled 1");
        hasher.text(env!("CARGO_PKG_VERSION")).text(self.entry);
        hasher.number(u64::from(args.allow_unsandboxed));
        for list in [&args.pipeline.params, &args.only] {
            hasher.number(list.len() as u64);
            for item in list {
                hasher.text(item);
            }
        }
        let file = args.pipeline.params_file.as_ref().map(|file| file.display().to_string());
        hasher.text(file.as_deref().unwrap_or_default());
        self.project.store().join("settled").join(hasher.finish().short())
    }
}

impl Came<'_> {
    /// Whether the same command would find everything done, as long as nothing changes.
    fn is_settled(&self) -> bool {
        let good =
            |count: &Count| count.failed == 0 && matches!(count.state, State::Cached | State::Done);
        self.ended.is_whole()
            && self.ended.counts.iter().all(good)
            && self.plan.order.iter().all(|node| {
                let stage = self.plan.stage(*node);
                let kept = |name: &String| {
                    self.operators.get(name).is_ok_and(|found| found.about().kind != Kind::Effect)
                };
                stage.policy().cache == CacheUse::On && operators(&stage.expr).iter().all(kept)
            })
    }
}

/// What a run says that had nothing to do.
pub(super) fn summary(stages: usize, rows: u64) -> String {
    format!("Nothing to do: all {stages} stages ({} rows) were in the store", print::number(rows))
}

/// A file or folder with everything in it; links in it are looked at and not followed, for they may
/// lead round in a circle.
fn below(path: &Path, found: &mut BTreeSet<PathBuf>) {
    found.insert(path.to_path_buf());
    if path.is_dir()
        && let Ok(entries) = std::fs::read_dir(path)
    {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                below(&entry.path(), found);
            } else {
                found.insert(entry.path());
            }
        }
    }
}
