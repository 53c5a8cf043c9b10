//! Proofs: a family is trusted only once its checks have been tried from all sides.
//!
//! For each of some tasks of a family: the untouched workspace and an empty one score 0; the
//! reference solution, really played in a sandbox, scores 1 and passes; and every mutant of the
//! solved workspace scores less than 1 and does not pass. A mutant is the solved workspace with one
//! thing wrong: a byte of a result, a line of it missing, a result gone, an input damaged or gone.

use std::sync::Arc;

use crate::engine::CallError;
use crate::lang::Value;
use crate::operators::verify::{Bench, Checker, PROGRAM_MS, Verdict, judge};
use crate::sandbox::{Backend, Limits};
use crate::store::{Digest, Entry, Objects, Tree};

use super::family::{Family, Solution};
use super::play::{PlayError, play};

/// What was tried and what did not hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proof {
    /// Tasks tried.
    pub tasks: usize,
    /// Mutants tried.
    pub mutants: usize,
    /// What did not hold, for a person to read. Sound when empty.
    pub problems: Vec<String>,
}

impl Proof {
    /// Whether everything held.
    pub fn sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Proves a family on its tasks for `groundings` (`skill.Grounding` rows).
///
/// # Errors
/// When a task cannot be made, or the sandbox fails. What is wrong with the checks is in the proof.
pub async fn prove(
    family: &Family,
    groundings: &[Value],
    backend: &Arc<dyn Backend>,
    objects: &dyn Objects,
) -> Result<Proof, CallError> {
    let mut proof = Proof::default();
    let bench = Bench::new(backend.clone(), Limits::default(), PROGRAM_MS);
    for grounding in groundings {
        proof.tasks += 1;
        let task = super::write(family, grounding, 0)?;
        let world = crate::operators::workspace::mock(family, &task, objects)?;
        let Some(Value::Dir(before)) = world.get("files") else {
            return Err(CallError::row("the world has no files"));
        };
        let trial = Trial {
            id: super::field(&task, "id")?,
            checker: Checker::of(&task, *before)?,
            bench: &bench,
            objects,
        };
        trial.run(&solution_of(&task)?, before, backend, &mut proof).await?;
    }
    Ok(proof)
}

fn solution_of(task: &Value) -> Result<Solution, CallError> {
    let solution = task.get("solution").map(Value::to_json).unwrap_or_default();
    serde_json::from_value(solution)
        .map_err(|err| CallError::row(format!("the solution cannot be read: {err}")))
}

struct Trial<'a> {
    id: &'a str,
    checker: Checker,
    bench: &'a Bench,
    objects: &'a dyn Objects,
}

impl Trial<'_> {
    async fn run(
        &self,
        solution: &Solution,
        before: &Digest,
        backend: &Arc<dyn Backend>,
        proof: &mut Proof,
    ) -> Result<(), CallError> {
        let empty = self.objects.put_tree(&Tree::default())?;
        for (what, tree) in [("untouched", before), ("empty", &empty)] {
            self.expect(what, tree, proof, |verdict| verdict.reward == 0.0).await?;
        }

        let broken = |err: crate::sandbox::SandboxError| CallError::Infrastructure(err.to_string());
        let start = self.objects.tree(before)?;
        let mut sandbox =
            backend.open(&start, self.objects, &Limits::default()).await.map_err(broken)?;
        match play(&mut *sandbox, &solution.calls).await {
            Ok(()) => {}
            Err(PlayError::Sandbox(err)) => return Err(broken(err)),
            Err(PlayError::Call(what)) => {
                proof.problems.push(format!("{}: the solution failed: {what}", self.id));
                return Ok(());
            }
        }
        let closed = sandbox.close(self.objects).await.map_err(broken)?;
        let solved = self.objects.put_tree(&closed.workspace)?;
        self.expect("solved", &solved, proof, |verdict| verdict.reward == 1.0 && verdict.passed)
            .await?;

        let mutants = mutants(before, &solved, self.objects)?;
        if mutants.len() < 2 {
            proof.problems.push(format!("{}: there are fewer than two mutants", self.id));
        }
        for (what, tree) in mutants {
            proof.mutants += 1;
            self.expect(&what, &tree, proof, |verdict| verdict.reward < 1.0 && !verdict.passed)
                .await?;
        }
        Ok(())
    }

    async fn expect(
        &self,
        what: &str,
        tree: &Digest,
        proof: &mut Proof,
        holds: impl Fn(&Verdict) -> bool,
    ) -> Result<(), CallError> {
        match judge(&self.checker, tree, self.objects, Some(self.bench)).await {
            Ok(verdict) if holds(&verdict) => {}
            Ok(verdict) => proof.problems.push(format!(
                "{}: {what} scores {}: {:?}",
                self.id, verdict.reward, verdict.checks
            )),
            Err(CallError::Row { message, output }) => {
                proof.problems.push(format!("{}: {what}: {message}\n{output}", self.id));
            }
            Err(err) => return Err(err),
        }
        Ok(())
    }
}

/// The solved workspace with one thing wrong, in each way that there is.
fn mutants(
    before: &Digest,
    solved: &Digest,
    objects: &dyn Objects,
) -> Result<Vec<(String, Digest)>, CallError> {
    let (before, solved) = (objects.tree(before)?, objects.tree(solved)?);
    let mut mutants = Vec::new();
    for (path, digest) in solved.files() {
        let bytes = objects.get(digest)?;
        let result = before.entries.get(path) != solved.entries.get(path);
        let mut variants = Vec::new();
        if result {
            variants.push(("one byte of {} changed", other_byte(&bytes)));
            variants.push(("a line of {} dropped", without_last_line(&bytes)));
        } else {
            variants.push(("input {} damaged", Some([&bytes[..], b"x\n"].concat())));
        }
        for (what, bytes) in variants {
            let Some(bytes) = bytes else { continue };
            let mut tree = solved.clone();
            let entry = Entry::File {
                digest: objects.put(&bytes)?,
                size: bytes.len() as u64,
                executable: false,
            };
            tree.entries.insert(path.to_string(), entry);
            mutants.push((what.replace("{}", path), objects.put_tree(&tree)?));
        }
        let mut tree = solved.clone();
        tree.entries.remove(path);
        mutants.push((format!("{path} removed"), objects.put_tree(&tree)?));
    }
    Ok(mutants)
}

/// Changes the letter or digit nearest to the middle: blanks may not count for a check.
fn other_byte(bytes: &[u8]) -> Option<Vec<u8>> {
    let middle = bytes.len() / 2;
    let at = (0..bytes.len())
        .filter(|at| bytes[*at].is_ascii_alphanumeric())
        .min_by_key(|at| at.abs_diff(middle))?;
    let mut bytes = bytes.to_vec();
    bytes[at] = match bytes[at] {
        b'9' | b'z' | b'Z' => bytes[at] - 1,
        byte => byte + 1,
    };
    Some(bytes)
}

fn without_last_line(bytes: &[u8]) -> Option<Vec<u8>> {
    let body = bytes.trim_ascii_end();
    if body.is_empty() {
        return None;
    }
    let end = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Some(bytes[..end].to_vec())
}
