//! `claw show`: results, from a table down to one file in one row.

mod failed;
mod story;
mod value;

use serde_json::json;

use crate::engine::{RunRecord, StageRecord, read_run, read_value, run_ids};
use crate::lang::{Table, Value, equal};
use crate::store::{Objects, Snapshot, StoreError};

use super::{Exit, Failure, arguments, load, print, run_names};
use crate::project::Project;

pub(super) use value::show as value;

/// Shows what was asked for.
pub(super) fn show(args: &arguments::Show) -> Result<Exit, Failure> {
    let project = Project::around(&args.project)?;
    let run = find_run(&project, args.run.as_deref(), args.failed)?;
    let Some(stage) = &args.stage else {
        list_stages(&run, args.json);
        return Ok(Exit::Done);
    };
    if args.failed {
        return failed::failed(&run, stage, args, &Snapshot::open(&project.store())?);
    }
    let record = find_stage(&run, stage)?;
    let Some(result) = record.result else {
        return Err(Failure::work(format!(
            "stage `{stage}` has no result in run {}\n  help: `claw show {stage} --failed` shows \
             rows that were put aside; `claw run {}` goes on",
            run.info.id, run.info.pipeline
        )));
    };
    let store = Snapshot::open(&project.store())?;
    let whole = read_value(&store, &result).map_err(|err| match store.get(&result) {
        Err(StoreError::Missing(_)) => Failure::work(format!(
            "the result of `{stage}` in run {} is in the store no more: `claw gc` threw it away, or it \
             is damaged\n  help: `claw run {}` makes it again; `claw pin RUN` keeps what a run needs",
            run.info.id, run.info.pipeline
        )),
        _ => Failure::from(err),
    })?;
    let row = match args.row.as_ref().map(|row| &row.0[..]) {
        None => None,
        Some([number]) => Some(*number as usize),
        Some(_) => {
            return Err(Failure::input(format!(
                "`--row {}` is for rows that were put aside, with `--failed`; the rows of a stage \
                 have one number",
                args.row.as_ref().map(ToString::to_string).unwrap_or_default()
            )));
        }
    };
    let shown = match (&whole, row) {
        (Value::Table(table), Some(number)) => {
            let digest = table.rows.get(number).ok_or_else(|| {
                Failure::input(format!(
                    "stage `{stage}` has {} rows; the last is number {}",
                    table.rows.len(),
                    table.rows.len().saturating_sub(1)
                ))
            })?;
            read_value(&store, digest)?
        }
        (_, Some(_)) => {
            return Err(Failure::input(format!("stage `{stage}` is one value, not rows")));
        }
        (Value::Table(table), None) if args.path.is_none() => {
            return rows(stage, table, args, &store);
        }
        _ => whole,
    };
    let shown = match &args.path {
        Some(path) => match value::follow(&shown, path, &store)? {
            value::Found::Value(value) => value,
            value::Found::Bytes(bytes) => {
                print::out(&print::safe(&String::from_utf8_lossy(&bytes)));
                return Ok(Exit::Done);
            }
        },
        None => shown,
    };
    if args.json {
        print::json(&shown.to_json());
    } else if args.row.is_some() && args.path.is_none() && story::has_one(&shown) {
        print::out(&story::tell(&shown, &store)?);
    } else {
        print::out(&value::show(&shown, &store, args.limit)?);
    }
    Ok(Exit::Done)
}

/// A value in a line or two, for a message.
pub(super) fn brief(value: &Value, store: &dyn Objects) -> Result<String, Failure> {
    const ROWS: usize = 3;
    const SHOWN: usize = 300;
    let text = match value {
        Value::Table(table) => {
            let mut lines = vec![match table.rows.len() {
                1 => "1 row".to_string(),
                count => format!("{count} rows"),
            }];
            for row in table.rows.iter().take(ROWS) {
                lines.push(cut(&read_value(store, row)?.to_json().to_string(), SHOWN));
            }
            if table.rows.len() > ROWS {
                lines.push("…".to_string());
            }
            lines.join("\n  ")
        }
        value => cut(&value.to_json().to_string(), SHOWN),
    };
    Ok(text)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// The run that was asked for; the newest one that left results by default.
fn find_run(project: &Project, id: Option<&str>, events: bool) -> Result<RunRecord, Failure> {
    if let Some(id) = id {
        let id = run_names::find(&project.store(), id)?;
        return read_run(&project.store(), &id, events)
            .ok_or_else(|| Failure::input(format!("the log of run {id} cannot be read")));
    }
    run_ids(&project.store())
        .iter()
        .filter_map(|id| read_run(&project.store(), id, events))
        .find(|run| events || !run.stages.is_empty())
        .ok_or_else(|| {
            Failure::input(format!(
                "there is no finished run in {}\n  help: `claw run PIPELINE` makes one",
                project.root.display()
            ))
        })
}

fn find_stage<'a>(run: &'a RunRecord, stage: &str) -> Result<&'a StageRecord, Failure> {
    run.stages.iter().find(|record| record.stage == stage).ok_or_else(|| {
        let names: Vec<&str> = run.stages.iter().map(|record| record.stage.as_str()).collect();
        Failure::input(load::unknown("stage", stage, &names))
    })
}

fn list_stages(run: &RunRecord, as_json: bool) {
    if as_json {
        print::json(&json!({ "run": run.info, "stages": run.stages }));
        return;
    }
    print::line(&format!("run {} of {}\n", run.info.id, run.info.pipeline));
    let rows: Vec<Vec<String>> = run
        .stages
        .iter()
        .map(|record| {
            let result = record.result.map_or("none".to_string(), |digest| digest.short());
            vec![record.stage.clone(), result]
        })
        .collect();
    print::out(&print::columns(&["stage", "result"].map(str::to_string), &rows));
}

/// What `--where` asks for: fields and their values.
fn filters(args: &arguments::Show) -> Result<Vec<(&str, &str)>, Failure> {
    fn split(filter: &str) -> Result<(&str, &str), Failure> {
        filter.split_once('=').ok_or_else(|| {
            Failure::input(format!("`--where {filter}` has no `=`; write `field=value`"))
        })
    }
    args.filters.iter().map(|filter| split(filter)).collect()
}

/// Whether a value is the one that `--where` names, as it is shown or as JSON.
fn is(value: &Value, want: &str) -> bool {
    let number = || match value {
        // As `==` has it: `8` and `8.0` are the same.
        Value::Int(_) | Value::Float(_) => {
            let want = serde_json::from_str::<serde_json::Number>(want).ok()?;
            Some(equal(value, &Value::from_json(&want.into())))
        }
        _ => None,
    };
    print::cell(value) == want
        || String::from_utf8_lossy(&value.encode()) == want
        || number() == Some(true)
}

/// The rows of a stage, those that pass the filters.
fn rows(
    stage: &str,
    table: &Table,
    args: &arguments::Show,
    store: &dyn Objects,
) -> Result<Exit, Failure> {
    let filters = filters(args)?;
    let mut shown = Vec::new();
    let mut passed = 0;
    let mut unknown: Vec<&str> = filters.iter().map(|(field, _)| *field).collect();
    for (number, digest) in table.rows.iter().enumerate() {
        if shown.len() >= args.limit && filters.is_empty() {
            passed = table.rows.len();
            break;
        }
        let row = read_value(store, digest)?;
        unknown.retain(|field| value::follow(&row, field, store).is_err());
        let holds = filters.iter().all(|(field, want)| {
            matches!(value::follow(&row, field, store), Ok(value::Found::Value(value))
                if is(&value, want))
        });
        if holds {
            passed += 1;
            if shown.len() < args.limit {
                shown.push((number, row));
            }
        }
    }
    if let (Some(field), Some(first)) = (unknown.first(), table.rows.first()) {
        let help = match read_value(store, first)? {
            Value::Record(fields) => {
                let names: Vec<&str> = fields.keys().map(String::as_str).collect();
                format!("\n  help: the first row has: {}", names.join(", "))
            }
            _ => String::new(),
        };
        return Err(Failure::input(format!("no row of `{stage}` has a field `{field}`{help}")));
    }
    if args.json {
        let rows: Vec<_> = shown.iter().map(|(_, row)| row.to_json()).collect();
        print::json(&rows);
        return Ok(Exit::Done);
    }
    let flat: Vec<Value> = shown.iter().map(|(number, row)| value::flat(*number, row)).collect();
    print::out(&print::records(&flat));
    let more = passed - shown.len();
    let rest = if more > 0 { format!(", {more} more (--limit)") } else { String::new() };
    print::line(&format!(
        "\n{} of {} rows{rest}. One row: `claw show {stage} --row N`.",
        shown.len(),
        table.rows.len()
    ));
    Ok(Exit::Done)
}
