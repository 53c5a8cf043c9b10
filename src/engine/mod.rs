//! Graph to rows: scheduling, pools, retries, events. Knows operators only as a trait.
//!
//! [`Engine::run`] does the work, [`forecast`] only counts it; both evaluate the same expressions
//! through [`Caller`]. What happens is told on a [`Board`] (now) and in a [`RunLog`] (for good).

mod attempts;
mod board;
mod budget;
mod call;
mod changes;
mod canary;
mod caught;
mod estimate;
mod evaluate;
mod forecast;
mod job;
mod journal;
mod log;
mod operator;
mod output;
mod plain;
mod pools;
mod program_record;
mod retention;
mod run;
mod secrets;
mod tolerance;
mod turns;
mod unanswered;

pub use board::{Board, Count, Line, State};
pub use budget::{Budget, OverBudget, Reservation, Whose, dollars};
pub use call::Operators;
pub use changes::{changed_files, difference};
pub use estimate::{Basis, Estimate};
pub use evaluate::{Caller, Rows, Scope, Stop, evaluate, filter, flatten};
pub use forecast::{Bound, Forecast, forecast};
pub use journal::{Journal, Spent};
pub use log::{Event, RunInfo, RunLog, RunRecord, StageRecord, read_run, read_stage_ends, run_ids};
pub use operator::{
    About, Args, Asks, CallError, Cancel, Context, Kind, Operator, Pool, Tell, read_value,
};
pub use output::Place;
pub use pools::{Held, Limits};
pub use program_record::{ProgramRecord, StageText, stages_with_model};
pub use retention::{Pin, kept_runs, needs, pin, pins, unpin};
pub use run::{Ended, Engine};
pub use secrets::{CallSecrets, MASK};
