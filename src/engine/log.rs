//! The run log: what happened, one JSON line an event, readable while the run goes on.
//!
//! ```text
//! .claw/runs/<id>/
//!   run.json        the pipeline, its parameters, when it began
//!   program.json    the stages as they were written, the operators' versions
//!   stages.json     each stage's key, result and labelled parts, written when the run ends
//!   events.jsonl    appended
//!   used            the keys of the receipts it used, 32 bytes each, for `claw gc`
//! ```

use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::plan::Part;
use crate::store::Digest;

use super::program_record::{self, ProgramRecord};

/// Something that happened in a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A stage's whole result was in the store.
    StageCached {
        /// The stage.
        stage: String,
        /// The digest of its result; none in logs of older versions.
        #[serde(default)]
        result: Option<Digest>,
        /// Its rows; none in logs of older versions.
        #[serde(default)]
        rows: u64,
    },
    /// A row was made (rows answered from the store are only counted).
    Row {
        /// The stage.
        stage: String,
        /// Its place among the stage's rows, one number a generator.
        place: Vec<u32>,
        /// The digests of the rows it gave.
        rows: Vec<Digest>,
        /// Milliseconds.
        took_ms: u64,
    },
    /// Rows were made by expressions alone; they are told together.
    Rows {
        /// The stage.
        stage: String,
        /// The place of the first among the stage's rows.
        place: Vec<u32>,
        /// How many times the body was evaluated.
        ran: u64,
        /// How many rows that gave.
        rows: u64,
        /// Milliseconds.
        took_ms: u64,
    },
    /// An attempt failed and will be repeated.
    Retry {
        /// The stage.
        stage: String,
        /// Which attempt failed, from 1.
        attempt: u32,
        /// Why.
        error: String,
    },
    /// A row gave nothing: no attempt of its `try` was accepted.
    RowDropped {
        /// The stage.
        stage: String,
        /// Its place among the stage's rows.
        place: Vec<u32>,
        /// How many attempts were made.
        attempts: u32,
        /// What the last one was told, or would have told the next.
        feedback: String,
    },
    /// A row was put aside.
    RowFailed {
        /// The stage.
        stage: String,
        /// Its place among the stage's rows.
        place: Vec<u32>,
        /// Why.
        error: String,
        /// Its last output, whole.
        output: String,
        /// Whether the reason is outside of it: an endpoint, a sandbox, the disk.
        #[serde(default)]
        outside: bool,
        /// The row it was made from, where it was one.
        input: Option<Digest>,
        /// What each generator of its `for` gave, by name, as objects.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<(String, Digest)>,
    },
    /// The numbers of rows that were put aside, once all that the stage went over is known.
    Numbered {
        /// The stage.
        stage: String,
        /// Places as they were told, and in the place of each the row's number among the rows that
        /// the stage went over, with what follows it where there are more generators.
        numbers: Vec<(Vec<u32>, Vec<u32>)>,
    },
    /// A stage ended.
    StageEnded {
        /// The stage.
        stage: String,
        /// Rows of its result.
        rows: u64,
        /// Rows that were made.
        ran: u64,
        /// Rows that were answered from the store.
        cached: u64,
        /// Rows that were put aside.
        failed: u64,
        /// The digest of its result; none when it has none.
        result: Option<Digest>,
    },
    /// The run ended.
    RunEnded {
        /// `done`, `failed`, `stopped`.
        outcome: String,
        /// Milliseconds.
        took_ms: u64,
    },
}

/// What a run is, as kept in `run.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunInfo {
    /// Its id: the second it began, and a number when several began in it.
    pub id: String,
    /// The pipeline's file, relative to the project.
    pub pipeline: String,
    /// Parameters that differ from their defaults or all of them, without secret ones.
    pub params: Vec<(String, serde_json::Value)>,
    /// When it began, in RFC 3339.
    pub began: String,
}

/// A stage as it was in a run, as kept in `stages.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageRecord {
    /// The stage.
    pub stage: String,
    /// Its key.
    pub key: Option<Digest>,
    /// The digest of its result.
    pub result: Option<Digest>,
    /// What its key was made of.
    pub parts: Vec<Part>,
}

/// The log of a run that goes on.
pub struct RunLog {
    /// What the run is.
    pub info: RunInfo,
    folder: PathBuf,
    events: Mutex<Events>,
}

/// The file of events, and how writing to it goes.
struct Events {
    file: File,
    /// Whether the last write failed, and may have left a part of a line.
    torn: bool,
    /// The first failure.
    failure: Option<std::io::Error>,
}

impl RunLog {
    /// Begins a run in the store's folder.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin(
        store: &Path,
        pipeline: &str,
        params: Vec<(String, serde_json::Value)>,
    ) -> std::io::Result<RunLog> {
        let now = jiff::Timestamp::now();
        let stamp = now.to_string();
        let base: String = stamp.chars().take(19).map(|c| if c == ':' { '-' } else { c }).collect();
        // Ids tell which run began last, even after the clock was set back.
        let newest = run_ids(store).into_iter().next();
        let newest = newest.and_then(|id| Some(id.split('.').next()?.to_string()));
        let base = newest.filter(|newest| *newest > base).unwrap_or(base);
        let mut id = base.clone();
        let mut number = 1;
        let folder = loop {
            let folder = store.join("runs").join(&id);
            match std::fs::create_dir(&folder) {
                Ok(()) => break folder,
                Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => {
                    number += 1;
                    id = format!("{base}.{number}");
                }
                Err(err) => return Err(err),
            }
        };
        let info = RunInfo { id, pipeline: pipeline.to_string(), params, began: stamp };
        std::fs::write(folder.join("run.json"), pretty(&info)?)?;
        let events =
            OpenOptions::new().create(true).append(true).open(folder.join("events.jsonl"))?;
        let events = Events { file: events, torn: false, failure: None };
        Ok(RunLog { info, folder, events: Mutex::new(events) })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends an event. No result depends on it, so that what the disk refuses stops no work; but
    /// it is remembered, and the run says at its end that its log has gaps ([`RunLog::failure`]).
    pub fn write(&self, event: &Event) {
        let mut line = Vec::new();
        let written = serde_json::to_vec(event).map_err(std::io::Error::other);
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.torn {
            // What stands there is a part of a line, which must not swallow this one.
            line.push(b'\n');
        }
        let written = written.and_then(|event| {
            line.extend(event);
            line.push(b'\n');
            events.file.write_all(&line)
        });
        events.torn = written.is_err();
        if let Err(err) = written {
            events.failure.get_or_insert(err);
        }
    }

    /// Why an event could not be written, the first time that happened.
    pub fn failure(&self) -> Option<String> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = events.failure.as_ref()?;
        Some(format!(
            "writing {}: {failure}; what this run did is not all written down there, its results are \
             kept and right",
            self.folder.join("events.jsonl").display()
        ))
    }

    /// Leaves the program as it was written.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn leave_program(&self, program: &ProgramRecord) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(program).map_err(std::io::Error::other)?;
        std::fs::write(self.folder.join(program_record::FILE), bytes)
    }

    /// Leaves what the stages were made of, a line each, for the reasons that the next plan gives.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn leave_stages(&self, stages: &[StageRecord]) -> std::io::Result<()> {
        let path = self.folder.join("stages.json");
        let temporary = self.folder.join("stages.json.new");
        let lines: Vec<Vec<u8>> =
            stages.par_iter().map(serde_json::to_vec).collect::<Result<_, _>>()?;
        std::fs::write(&temporary, [&b"[\n"[..], &lines.join(&b",\n"[..]), b"\n]\n"].concat())?;
        std::fs::rename(temporary, path)
    }
}

fn pretty<T: Serialize + ?Sized>(value: &T) -> std::io::Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(std::io::Error::other)
}

/// A run as its folder tells it.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// What it is.
    pub info: RunInfo,
    /// Its stages, empty while it goes on or when it was killed.
    pub stages: Vec<StageRecord>,
    /// Its events so far.
    pub events: Vec<Event>,
}

/// The ids of the runs in a store, newest first.
pub fn run_ids(store: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(store.join("runs")) else {
        return Vec::new();
    };
    let mut ids: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    // `…-09.2` comes after `…-09`, and `.10` after `.2`.
    let order = |id: &str| {
        let (base, number) = id.split_once('.').unwrap_or((id, "1"));
        (base.to_string(), number.parse::<u32>().unwrap_or(0))
    };
    ids.sort_by_key(|id| std::cmp::Reverse(order(id)));
    ids
}

/// Reads a run; `None` when there is none of that id or its `run.json` cannot be read. A torn last
/// line of the log is left out.
pub fn read_run(store: &Path, id: &str, with_events: bool) -> Option<RunRecord> {
    let folder = store.join("runs").join(id);
    let info = serde_json::from_slice(&std::fs::read(folder.join("run.json")).ok()?).ok()?;
    let stages = std::fs::read(folder.join("stages.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let events = if with_events {
        // A line that was torn in the middle of a character must not hide the others.
        let bytes = std::fs::read(folder.join("events.jsonl")).unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n');
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    } else {
        Vec::new()
    };
    Some(RunRecord { info, stages, events })
}

/// How the stages of a run ended so far, and the run itself if it has, without its rows: what a long
/// log is asked for most.
pub fn read_stage_ends(store: &Path, id: &str) -> Vec<Event> {
    let Ok(file) = File::open(store.join("runs").join(id).join("events.jsonl")) else {
        return Vec::new();
    };
    // The kind stands first in every line, so that most lines need not be parsed.
    let kinds = [&br#"{"event":"stage_"#[..], br#"{"event":"run_ended"#];
    let mut reader = std::io::BufReader::new(file);
    let (mut line, mut events) = (Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        if kinds.iter().any(|kind| line.starts_with(kind)) {
            events.extend(serde_json::from_slice::<Event>(&line));
        }
        line.clear();
    }
    events
}
