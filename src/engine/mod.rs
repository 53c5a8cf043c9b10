//! Graph to rows: scheduling, pools, retries, events. Knows operators only as a trait.

mod operator;

pub use operator::{Args, CallError, Cancel, Context, Kind, Operator, Pool, read_value};
