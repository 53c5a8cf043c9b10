//! `persona.draw`: person number `index` of a crowd, from pools of attributes.
//!
//! A person is one point of the product of all pools: first name × family name × role × trade ×
//! place × habit. Point number `index` is found by a keyed permutation of the whole product (a small
//! Feistel network that is walked until it falls inside), so that no two numbers meet however large
//! the crowd gets, nothing has to be remembered, and a larger crowd keeps the people of a smaller
//! one. The pools are text files, one entry a line; `text.txt` says how a person is described.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use minijinja::{Environment, UndefinedBehavior};

use crate::engine::{About, Args, CallError, Context, Kind, Operator, Pool};
use crate::lang::Value;
use crate::store::{Digest, KeyHasher, Objects};

/// The attributes and their files, in the order in which the product is counted.
const POOLS: [&str; 6] = ["first_names", "family_names", "roles", "trades", "places", "habits"];

/// `persona.draw`.
#[derive(Default)]
pub struct Draw {
    read: Mutex<BTreeMap<Digest, Arc<Pools>>>,
}

impl Operator for Draw {
    fn about(&self) -> About {
        About { name: "persona.draw", version: 1, kind: Kind::Pure, pool: Pool::Instant }
    }

    fn call<'a>(
        &'a self,
        args: &'a Args,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Value, CallError>> {
        async move {
            let pools = self.pools(&args.dir("pools")?, &*context.objects)?;
            pools.person(args.int("index")?, args.int("seed")?)
        }
        .boxed()
    }
}

impl Draw {
    fn pools(&self, dir: &Digest, objects: &dyn Objects) -> Result<Arc<Pools>, CallError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pools) = read.get(dir) {
            return Ok(pools.clone());
        }
        let pools = Arc::new(Pools::read(dir, objects)?);
        read.insert(*dir, pools.clone());
        Ok(pools)
    }
}

/// The attribute pools of one crowd.
pub struct Pools {
    /// Entries of each of [`POOLS`].
    entries: Vec<Vec<String>>,
    text: String,
}

impl Pools {
    /// Reads the pools in a directory.
    ///
    /// # Errors
    /// When a pool is missing, empty, or names an entry twice.
    pub fn read(dir: &Digest, objects: &dyn Objects) -> Result<Pools, CallError> {
        let tree = objects.tree(dir)?;
        let text = |name: &str| -> Result<String, CallError> {
            let digest = tree.files().find(|(path, _)| *path == name).map(|(_, digest)| *digest);
            let digest = digest
                .ok_or_else(|| CallError::row(format!("the persona pools have no `{name}`")))?;
            Ok(String::from_utf8_lossy(&objects.get(&digest)?).into_owned())
        };
        let mut entries = Vec::new();
        for pool in POOLS {
            let file = format!("{pool}.txt");
            let pool = entries_of(&text(&file)?);
            let mut seen = std::collections::BTreeSet::new();
            if let Some(twice) = pool.iter().find(|entry| !seen.insert(entry.as_str())) {
                return Err(CallError::row(format!("personas/{file} names `{twice}` twice")));
            }
            if pool.is_empty() {
                return Err(CallError::row(format!("personas/{file} has no entry")));
            }
            entries.push(pool);
        }
        let text = entries_of(&text("text.txt")?).join("\n");
        Ok(Pools { entries, text })
    }

    /// How many different people there are.
    pub fn people(&self) -> u64 {
        self.entries.iter().map(|pool| pool.len() as u64).product()
    }

    /// Person number `index`, from 1.
    ///
    /// # Errors
    /// When the crowd has no such number, or `text.txt` names an attribute that is not there.
    pub fn person(&self, index: i64, seed: i64) -> Result<Value, CallError> {
        let people = self.people();
        if index < 1 || index as u64 > people {
            return Err(CallError::row(format!(
                "there is no person number {index}: the pools make {people}; add entries to them"
            )));
        }
        let mut point = permute(index as u64 - 1, people, seed);
        let mut drawn = Vec::new();
        for pool in &self.entries {
            drawn.push(pool[(point % pool.len() as u64) as usize].as_str());
            point /= pool.len() as u64;
        }
        let [first, family, role, trade, place, habit] = drawn[..] else {
            return Err(CallError::row("a person has six attributes"));
        };
        let name = format!("{first} {family}");
        let mut fields = BTreeMap::from([
            ("name", name.clone()),
            ("role", role.to_string()),
            ("trade", trade.to_string()),
            ("place", place.to_string()),
            ("habit", habit.to_string()),
        ]);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let text = environment
            .render_named_str(
                "text.txt",
                &self.text,
                minijinja::Value::from(minijinja::value::Serde(&fields)),
            )
            .map_err(|err| CallError::row(format!("personas/{err}")))?;
        let slug: String = name
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        fields.insert("text", text);
        fields.insert("id", format!("{slug}-{index}"));
        Ok(Value::Record(
            fields.into_iter().map(|(name, text)| (name.to_string(), Value::Str(text))).collect(),
        ))
    }
}

fn entries_of(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_string)
        .collect()
}

/// A permutation of `0..size` that `seed` chooses: four Feistel rounds over the smallest even number
/// of bits that holds `size`, repeated until the result is below `size`.
fn permute(number: u64, size: u64, seed: i64) -> u64 {
    let half = (64 - size.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut number = number;
    loop {
        let (mut left, mut right) = (number >> half, number & mask);
        for round in 0..4 {
            let mut hasher = KeyHasher::new("claw persona 1");
            hasher.number(seed as u64).number(round).number(right);
            (left, right) = (right, left ^ (hasher.finish().seed() & mask));
        }
        number = (left << half) | right;
        if number < size {
            return number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::permute;

    #[test]
    fn a_permutation_meets_every_number_once() {
        for size in [1, 2, 3, 7, 64, 65, 1000] {
            let mut met: Vec<u64> = (0..size).map(|n| permute(n, size, 5)).collect();
            met.sort_unstable();
            assert_eq!(met, (0..size).collect::<Vec<_>>(), "of {size}");
        }
        assert_ne!(
            (0..50).map(|n| permute(n, 1000, 1)).collect::<Vec<_>>(),
            (0..50).map(|n| permute(n, 1000, 2)).collect::<Vec<_>>(),
        );
    }
}
