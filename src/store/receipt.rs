//! Receipts: what a call or a stage was made of, and what came out.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::objects::{Objects, StoreError};

/// Says that the work with this key was done, and what its result is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The key of the call, or of the stage.
    pub key: Digest,
    /// What was done: an operator's name, or `stage`.
    pub operator: String,
    /// The operator's semantic version.
    pub version: u32,
    /// What the key was made of, labelled, so that a person can be told why it changed.
    pub parts: Vec<(String, Digest)>,
    /// The digest of the result's canonical bytes.
    pub result: Digest,
    /// Milliseconds it took. Not part of any digest.
    pub took_ms: u64,
    /// The run that did it.
    pub run: String,
}

impl Receipt {
    /// Whether it is a whole stage's, not a call's.
    pub fn is_stage(&self) -> bool {
        self.operator == "stage"
    }
}

/// A store that can be read: objects, and receipts by key.
pub trait Results: Objects {
    /// The receipt for a key, if the work was done.
    ///
    /// # Errors
    /// When the store cannot be read. A damaged receipt counts as absent.
    fn receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError>;

    /// Keeps a receipt. The objects that it names must have been put before; the first receipt for
    /// a key stays. Says whether this one is it.
    ///
    /// # Errors
    /// When the disk refuses.
    fn keep(&self, receipt: &Receipt) -> Result<bool, StoreError>;

    /// Keeps a receipt in place of an earlier one for its key: for work that somebody asked to be
    /// done again because the answer may be another one.
    ///
    /// # Errors
    /// When the disk refuses.
    fn renew(&self, receipt: &Receipt) -> Result<(), StoreError> {
        self.keep(receipt).map(drop)
    }
}
