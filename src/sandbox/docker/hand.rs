//! How a container hands over a descriptor.
//!
//! The standard streams of a container carry bytes alone. So a socket of the program's is mounted
//! into it, which its init connects to before anything else runs inside. The program takes that one
//! connection, and from then on nobody is heard there any more: what a command may connect to later
//! is a socket without a listener.
//!
//! That works where the engine runs on the same kernel and sees this machine's files. Elsewhere
//! containers do without, and cannot be listened to.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use bollard::models::{Mount, MountType};
use tokio::net::UnixStream;

/// Where the socket stands in a container.
pub(super) const PLACE: &str = "/claw.hand";

/// The socket of one container that is being made.
pub(super) struct Hand {
    /// The folder that it is in; gone with this.
    folder: tempfile::TempDir,
    listener: UnixListener,
}

impl Hand {
    /// Makes one.
    ///
    /// # Errors
    /// When there is no room for it among temporary files.
    pub(super) fn new() -> io::Result<Hand> {
        let folder = tempfile::Builder::new().prefix("claw-hand-").tempdir()?;
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        // The folder is for its owner alone; in the container another user connects.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666))?;
        Ok(Hand { folder, listener })
    }

    /// The mount for its container.
    pub(super) fn mount(&self) -> Mount {
        Mount {
            typ: Some(MountType::BIND),
            source: Some(self.folder.path().join("socket").display().to_string()),
            target: Some(PLACE.to_string()),
            read_only: Some(true),
            ..Mount::default()
        }
    }

    /// The connection of the init, which has said that its sandbox stands; none when the socket
    /// could not be reached from there.
    pub(super) fn taken(self) -> Option<UnixStream> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        UnixStream::from_std(stream).ok()
    }
}
