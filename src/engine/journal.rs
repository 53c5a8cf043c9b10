//! What a call heard from outside on its way, kept at once.
//!
//! A long call asks a model many times before it has a result of its own. Each answer is written
//! down as soon as it is there, under a key made of everything that was asked; when the call is
//! made again, after a failure of the machine or in a later run, it hears the same once more, and
//! nothing is asked or paid twice.

use std::sync::Arc;

use crate::lang::Value;
use crate::store::{Digest, Receipt, Results};

use super::operator::{CallError, read_value};

/// The journal of a run's calls.
#[derive(Clone)]
pub struct Journal {
    results: Arc<dyn Results>,
    run: String,
}

impl Journal {
    /// A journal in this store, written by the run of that id.
    pub fn new(results: Arc<dyn Results>, run: String) -> Journal {
        Journal { results, run }
    }

    /// What was heard under `key`. An entry whose bytes are gone or damaged counts as absent.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(&self, key: &Digest) -> Result<Option<Value>, CallError> {
        let Some(receipt) = self.results.receipt(key)? else {
            return Ok(None);
        };
        Ok(read_value(&*self.results, &receipt.result).ok())
    }

    /// Writes down what was heard under `key`, from whom (`operator`) and in answer to what
    /// (`parts`, labelled).
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn keep(
        &self,
        key: Digest,
        operator: &str,
        parts: Vec<(String, Digest)>,
        heard: &Value,
        took_ms: u64,
    ) -> Result<(), CallError> {
        let result = self.results.put(&heard.encode())?;
        self.results.keep(&Receipt {
            key,
            operator: operator.to_string(),
            version: 1,
            parts,
            result,
            took_ms,
            run: self.run.clone(),
        })?;
        Ok(())
    }
}
