//! The language server: `claw lsp`, spoken to by editors over standard input and output.
//!
//! ```text
//! stdin ──transport──▶ server ──▶ workspace ──▶ lang::load_with_index ──▶ Program
//!                        │                                                  │
//!                        └── hover, completion, rename, … read ◀────────────┘
//! ```
//!
//! One thread does all the work, one message after the other. A file that changes is parsed and
//! checked again whole, with everything that is open laid over the disk; questions are answered from
//! the index of the last check. Where a file is being typed and does not parse, [`completion`] mends
//! the declaration under the cursor first and checks that. The server writes nothing but the
//! library's files that somebody wants to look into, and reads results of runs without a lock.

mod completion;
mod diagnostics;
mod formatting;
mod history;
mod hover;
mod inlay;
mod library;
mod navigation;
mod program;
mod rename;
mod server;
mod signature;
mod symbols;
mod text;
mod tokens;
mod transport;
mod uri;
mod workspace;

/// Why the server stopped early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The editor went away without saying so.
    #[error("the editor closed the connection before `shutdown` and `exit`")]
    Gone,
    /// The first message was not what the protocol asks for.
    #[error("the editor does not speak the protocol: {0}")]
    Protocol(#[from] lsp_server::ProtocolError),
    /// Standard output cannot be written.
    #[error("writing to the editor: {0}")]
    Io(#[from] std::io::Error),
}

/// Serves an editor on standard input and output until it says `exit`.
///
/// # Errors
/// See [`ServeError`].
pub fn serve() -> Result<(), ServeError> {
    let (connection, writer) = transport::stdio();
    let ended = server::serve(&connection);
    drop(connection);
    writer.join().unwrap_or(Ok(()))?;
    ended
}
