//! The defences of the `process` backend, one by one, so that tests can take one away.
//!
//! A test that an attack fails proves little unless the same attack works with the defence off.
//! Nothing but a test can name a defence: no setting, no argument and no variable leads here, and
//! the helper hears of it only from the program that started it, over its own socket.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What keeps a sandbox shut.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Defence {
    /// Only a list of the system's directories is there. Without it the machine is, at `/host`.
    Root,
    /// What is shown is read-only.
    ReadOnly,
    /// What is written must be below the sandbox's own places.
    Landlock,
    /// Its network is its own and empty.
    Network,
    /// Nothing tells its network from a new one.
    NewNetwork,
    /// System calls that lead out are refused.
    Filter,
    /// Memory is limited.
    Memory,
    /// The number of processes is limited.
    Processes,
    /// Bytes and files of its file systems are limited.
    Disk,
    /// A command's time is limited.
    Time,
    /// Whatever came from a command is killed, in a way that nobody can refuse.
    Tree,
    /// Links that lead out are not taken out of a workspace.
    Links,
    /// Descriptors that the program inherited are closed.
    Descriptors,
}

/// Defences that are off; none but in tests.
pub(crate) type Without = BTreeSet<Defence>;
