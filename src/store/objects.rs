//! Where bytes are kept by their digest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::digest::Digest;
use super::tree::{Entry, Tree};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An object that something names is not there, or its bytes are damaged.
    #[error("object {0} is not in the store")]
    Missing(Digest),
    /// The bytes are there but are not what they should be.
    #[error("object {digest} is damaged: {what}")]
    Damaged {
        /// The object.
        digest: Digest,
        /// What is wrong.
        what: String,
    },
    /// The disk said no.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done, e.g. "writing".
        doing: &'static str,
        /// On which file.
        path: String,
        /// What the system answered.
        source: std::io::Error,
    },
    /// Another process writes to this store.
    #[error("the store is in use by {0}")]
    Locked(String),
    /// The index (sled) failed.
    #[error("the index failed: {0}")]
    Index(String),
    /// The background writer is gone.
    #[error("the store stopped after an earlier error: {0}")]
    Stopped(String),
}

impl StoreError {
    /// What a person can do about it, where that is more than to read the message.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            StoreError::Io { source, .. } => advice(source),
            StoreError::Locked(_) => Some(
                "wait for it to end, or stop it with Ctrl-C; reading commands (plan, show, runs, \
                 store check) work meanwhile",
            ),
            StoreError::Missing(_) | StoreError::Damaged { .. } => Some(
                "run the pipeline again: what is missing or damaged is made anew; `claw store \
                 check` lists it",
            ),
            StoreError::Index(_) => Some("`claw store rebuild` makes the index anew"),
            StoreError::Stopped(_) => None,
        }
    }
}

/// What to do about an error of the disk.
pub(super) fn advice(err: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match err.kind() {
        StorageFull | QuotaExceeded => Some(
            "the disk is full (or your share of it is): free some space and run again, it goes on \
             from what is finished; `claw gc --dry-run` says what the store itself could free",
        ),
        ReadOnlyFilesystem | PermissionDenied => Some(
            "the store cannot be written here, so nothing can be run; plan, show, runs and check \
             only read, and work. To run, make `.claw` writable or copy the project elsewhere",
        ),
        _ if err.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            Some("this process may not open more files: raise the limit (`ulimit -n 4096`)")
        }
        _ => None,
    }
}

/// Bytes by digest. Objects are never changed and never overwritten.
pub trait Objects: Send + Sync {
    /// The bytes of an object.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it is not there, [`StoreError::Damaged`] when its bytes no
    /// longer have this digest.
    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, StoreError>;

    /// How many bytes an object has, without a look at them.
    ///
    /// # Errors
    /// As [`Objects::get`]; a store on disk may not notice yet that the bytes are damaged.
    fn size(&self, digest: &Digest) -> Result<u64, StoreError> {
        Ok(self.get(digest)?.len() as u64)
    }

    /// Keeps `bytes` and says their digest. Keeping the same bytes twice is free.
    ///
    /// # Errors
    /// When the disk refuses.
    fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError>;

    /// Keeps many and says their digests. For a store on disk cheaper than one by one.
    ///
    /// # Errors
    /// When the disk refuses.
    fn put_all(&self, all: Vec<Vec<u8>>) -> Result<Vec<Digest>, StoreError> {
        all.iter().map(|bytes| self.put(bytes)).collect()
    }

    /// The tree with this digest.
    ///
    /// # Errors
    /// As [`Objects::get`].
    fn tree(&self, digest: &Digest) -> Result<Tree, StoreError> {
        let bytes = self.get(digest)?;
        Tree::decode(&bytes)
            .map_err(|err| StoreError::Damaged { digest: *digest, what: err.to_string() })
    }

    /// Keeps a tree (not the files in it) and says its digest.
    ///
    /// # Errors
    /// When the disk refuses.
    fn put_tree(&self, tree: &Tree) -> Result<Digest, StoreError> {
        self.put(&tree.encode())
    }

    /// Keeps the files and their tree.
    ///
    /// # Errors
    /// When the disk refuses.
    fn put_files(&self, files: &[(String, Vec<u8>)]) -> Result<Digest, StoreError> {
        let mut tree = Tree::default();
        for (path, bytes) in files {
            let digest = self.put(bytes)?;
            let entry = Entry::File { digest, size: bytes.len() as u64, executable: false };
            tree.entries.insert(path.clone(), entry);
        }
        self.put_tree(&tree)
    }
}

/// Objects in memory, for tests and for looking ahead without writing anything.
#[derive(Default)]
pub struct MemoryObjects {
    objects: Mutex<HashMap<Digest, Arc<[u8]>>>,
}

impl Objects for MemoryObjects {
    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, StoreError> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.get(digest).cloned().ok_or(StoreError::Missing(*digest))
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.entry(digest).or_insert_with(|| bytes.into());
        Ok(digest)
    }
}
