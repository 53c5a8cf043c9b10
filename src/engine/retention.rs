//! Which results the runs of a project still need.
//!
//! A run needs the results of its stages, the rows its log names, and the receipts it used: those are
//! what makes the next edit cheap. A stage that was answered whole from the store used no receipts of
//! its calls then; the run that made it did, so that run's are kept too. A run that was killed left
//! no list of what it used; then nothing that any run made is given up for it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::{Digest, Keep, Receipt, Reference, Results, Role, Snapshot};

use super::log::{Event, read_run, run_ids};

/// A run that is kept whatever comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// What it is called.
    pub name: String,
    /// The run's id.
    pub run: String,
}

fn pin_path(store: &Path, name: &str) -> PathBuf {
    store.join("pins").join(name)
}

/// The pins of a store, by name.
pub fn pins(store: &Path) -> Vec<Pin> {
    let entries = std::fs::read_dir(store.join("pins")).into_iter().flatten().flatten();
    let mut pins: Vec<Pin> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let run = std::fs::read_to_string(entry.path()).ok()?.trim().to_string();
            Some(Pin { name, run })
        })
        .collect();
    pins.sort_by(|a, b| a.name.cmp(&b.name));
    pins
}

/// Pins a run.
///
/// # Errors
/// When the disk refuses.
pub fn pin(store: &Path, pin: &Pin) -> std::io::Result<()> {
    let path = pin_path(store, &pin.name);
    std::fs::create_dir_all(store.join("pins"))?;
    std::fs::write(path, format!("{}\n", pin.run))
}

/// Takes a pin away; says whether it was there.
///
/// # Errors
/// When the disk refuses.
pub fn unpin(store: &Path, name: &str) -> std::io::Result<bool> {
    match std::fs::remove_file(pin_path(store, name)) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(err) => Err(err),
    }
}

/// The runs that are kept: the last `count` of each pipeline, and the pinned ones.
pub fn kept_runs(store: &Path, count: usize) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: BTreeSet<String> = pins(store).into_iter().map(|pin| pin.run).collect();
    for id in run_ids(store) {
        let Some(run) = read_run(store, &id, false) else { continue };
        let seen = seen.entry(run.info.pipeline).or_default();
        *seen += 1;
        if *seen <= count {
            kept.insert(id);
        }
    }
    kept
}

/// The keys of the receipts that a run used; `None` when it left no complete list.
fn used(store: &Path, run: &str) -> Option<Vec<Digest>> {
    let bytes = std::fs::read(store.join("runs").join(run).join("used")).ok()?;
    let keys = bytes.chunks_exact(32);
    keys.remainder().is_empty().then(|| keys.filter_map(Digest::from_slice).collect())
}

/// What these runs need, and what was `paid` for and can only be had again by paying again.
pub fn needs<'a>(
    store: &Path,
    snapshot: &Snapshot,
    runs: &BTreeSet<String>,
    paid: &'a dyn Fn(&Receipt) -> bool,
) -> Keep<'a> {
    let mut keys: HashSet<Digest> = HashSet::new();
    let mut objects: Vec<Reference> = Vec::new();
    let mut all_calls = false;
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut waiting: Vec<String> = runs.iter().cloned().collect();
    while let Some(id) = waiting.pop() {
        if !asked.insert(id.clone()) {
            continue;
        }
        let mut stages: Vec<Digest> = Vec::new();
        match used(store, &id) {
            Some(used) => stages.extend(used),
            None => all_calls = true,
        }
        if runs.contains(&id)
            && let Some(run) = read_run(store, &id, true)
        {
            for stage in run.stages {
                stages.extend(stage.key);
                objects.extend(stage.result.map(|result| (Role::Value, result)));
            }
            for event in run.events {
                match event {
                    Event::Row { rows, .. } => {
                        objects.extend(rows.into_iter().map(|row| (Role::Value, row)));
                    }
                    Event::RowFailed { input, inputs, .. } => {
                        let inputs = inputs.into_iter().map(|(_, value)| value);
                        objects
                            .extend(input.into_iter().chain(inputs).map(|row| (Role::Value, row)));
                    }
                    _ => {}
                }
            }
        }
        for key in stages {
            if let Ok(Some(receipt)) = snapshot.receipt(&key)
                && receipt.is_stage()
            {
                waiting.push(receipt.run);
            }
            keys.insert(key);
        }
    }
    let runs = runs.clone();
    let keep = move |receipt: &Receipt| {
        keys.contains(&receipt.key)
            || runs.contains(&receipt.run)
            || (all_calls && !receipt.is_stage())
            || (!receipt.is_stage() && paid(receipt))
    };
    Keep { receipts: Box::new(keep), objects }
}
