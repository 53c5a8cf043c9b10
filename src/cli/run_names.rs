//! Which run a person means: an id as `claw runs` lists it, the beginning of one, a pin's name,
//! `latest`, or `latest~2` for the second before it.

use std::path::Path;

use crate::engine::{pins, run_ids};

use super::{Failure, load};

/// Ids that a message lists at most.
const LISTED: usize = 5;

/// The id of the run that `name` names.
pub(super) fn find(store: &Path, name: &str) -> Result<String, Failure> {
    let ids = run_ids(store);
    if ids.is_empty() {
        return Err(Failure::input("there is no run yet\n  help: `claw run PIPELINE` makes one"));
    }
    if let Some(back) = latest(name) {
        let back = back.ok_or_else(|| {
            Failure::input(format!(
                "`{name}` names no run\n  help: write `latest~1` for the one before the latest"
            ))
        })?;
        return ids.get(back).cloned().ok_or_else(|| {
            let plural = if ids.len() == 1 { "run" } else { "runs" };
            Failure::input(format!(
                "`{name}` does not exist: there is only `latest` and {} {plural} in all",
                ids.len()
            ))
        });
    }
    if ids.iter().any(|id| id == name) {
        return Ok(name.to_string());
    }
    if let Some(pin) = pins(store).into_iter().find(|pin| pin.name == name) {
        return Ok(pin.run);
    }
    let begun: Vec<&String> =
        ids.iter().filter(|id| !name.is_empty() && id.starts_with(name)).collect();
    match begun.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let ids: Vec<&str> = ids.iter().map(String::as_str).take(LISTED).collect();
            Err(Failure::input(load::unknown("run", name, &ids)))
        }
        many => {
            let shown: Vec<&str> = many.iter().take(LISTED).map(|id| id.as_str()).collect();
            let more = if many.len() > LISTED { ", …" } else { "" };
            Err(Failure::input(format!(
                "`{name}` is the beginning of {} runs\n  help: there are: {}{more}",
                many.len(),
                shown.join(", ")
            )))
        }
    }
}

/// Whether a name means something else than a pin of `run`: the latest run, or another one by its id.
pub(super) fn is_spoken_for(store: &Path, name: &str, run: &str) -> bool {
    latest(name).is_some() || (name != run && run_ids(store).iter().any(|id| id == name))
}

/// How many runs before the newest a name means: none when it is not about the newest at all, and
/// nothing inside when the number is none.
fn latest(name: &str) -> Option<Option<usize>> {
    match name.strip_prefix("latest")? {
        "" => Some(Some(0)),
        rest => Some(rest.strip_prefix('~')?.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::latest;

    #[test]
    fn the_latest_is_counted_back_from() {
        assert_eq!(latest("latest"), Some(Some(0)));
        assert_eq!(latest("latest~2"), Some(Some(2)));
        assert_eq!(latest("latest~"), Some(None));
        assert_eq!(latest("latest~x"), Some(None));
        assert_eq!(latest("latest-of-all"), None);
        assert_eq!(latest("2026-11"), None);
    }
}
