//! Starting the helper of the `process` backend, and ordering sandboxes from it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, sendmsg, socketpair,
};

use super::cgroup::{Cgroup, Cgroups};
use super::control::Control;
use super::defence::{Defence, Without};
use super::helper::{HELPER_ARGUMENT, KEEP_ARGUMENT};
use super::probe::explain;
use super::talk::broken;
use super::wire::{self, Hello, Order, Setup};
use super::{Limits, SandboxError, find_python};

/// The value of `PATH` in a sandbox, unless Python lives elsewhere.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The running helper process. Everything it made dies with it.
pub(super) struct Helper {
    child: std::sync::Mutex<Child>,
    socket: OwnedFd,
    /// Whose order is next: of a thousand that wait for room in the queue, one looks for it.
    turn: tokio::sync::Mutex<()>,
    pub(super) cgroups: Option<Arc<Cgroups>>,
}

impl Helper {
    /// Starts it and waits until it is ready. Blocks for some milliseconds.
    pub(super) fn start(
        program: &Path,
        shown: Vec<PathBuf>,
        counted: bool,
        without: &Without,
    ) -> Result<Helper, SandboxError> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|err| SandboxError::Broken(format!("making a socket: {err}")))?;
        // Commands can read the arguments of the init, which are the helper's: no path in them.
        let keeps = without.contains(&Defence::Descriptors);
        let child = std::process::Command::new(program)
            .arg0("claw")
            .arg(HELPER_ARGUMENT)
            .args(keeps.then_some(KEEP_ARGUMENT))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|err| SandboxError::Unavailable {
                what: format!("the sandbox helper {} does not start: {err}", program.display()),
                help: "is it the program itself, and may it be executed?".to_string(),
            })?;
        let cgroups = counted.then(|| Cgroups::find().ok().map(Arc::new)).flatten();
        let helper = Helper {
            child: std::sync::Mutex::new(child),
            socket: ours,
            turn: Default::default(),
            cgroups,
        };
        helper.greet(setup(shown, without.clone())?)?;
        Ok(helper)
    }

    fn greet(&self, setup: Setup) -> Result<(), SandboxError> {
        let talk = || -> io::Result<Hello> {
            let bytes = serde_json::to_vec(&setup).map_err(io::Error::other)?;
            rustix::net::send(&self.socket, &bytes, SendFlags::NOSIGNAL)?;
            let mut answer = vec![0; 4096];
            let (_, length) = rustix::io::retry_on_intr(|| {
                rustix::net::recv(&self.socket, &mut answer[..], RecvFlags::empty())
            })?;
            wire::parse(&answer[..length])
        };
        match talk() {
            Ok(Hello::Ready) => Ok(()),
            Ok(Hello::Failed(failure)) => Err(explain(&failure)),
            Err(err) => Err(SandboxError::Unavailable {
                what: format!("the sandbox helper ended before it was ready: {err}"),
                help: "Linux 5.9 or newer is needed; `claw doctor` says what this machine can do"
                    .to_string(),
            }),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        matches!(child.try_wait(), Ok(None))
    }

    /// Has a sandbox made. The program's end of its socket.
    pub(super) async fn order(
        &self,
        limits: &Limits,
        cgroup: Option<&Cgroup>,
    ) -> Result<Control, SandboxError> {
        let (ours, theirs) = UnixStream::pair().map_err(broken("making a socket"))?;
        let order = Order { limits: limits.clone(), counted: cgroup.is_some(), env: Vec::new() };
        let bytes =
            serde_json::to_vec(&order).map_err(|err| SandboxError::Broken(err.to_string()))?;
        let mut fds = vec![theirs.as_fd()];
        fds.extend(cgroup.and_then(Cgroup::files).into_iter().flatten().map(|file| file.as_fd()));
        let _turn = self.turn.lock().await;
        // The helper takes about a millisecond for an order; a full queue soon has room again.
        while let Err(err) = self.send(&bytes, &fds) {
            match err {
                Errno::AGAIN | Errno::TOOMANYREFS | Errno::NOBUFS => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Errno::INTR => {}
                err => return Err(broken("ordering it from the helper")(err.into())),
            }
        }
        Control::new(ours).map_err(broken("making a socket"))
    }

    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut ancillary, flags).map(|_| ())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // It may have died before; waiting tells either way, and leaves no zombie.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// What the helper builds the root from.
fn setup(mut shown: Vec<PathBuf>, without: Without) -> Result<Setup, SandboxError> {
    let mut path = PATH.to_string();
    if let Some(python) = find_python()
        && let Some(prefix) = python.prefix
    {
        let folder = python.program.parent().unwrap_or(&prefix).display().to_string();
        path = format!("{folder}:{path}");
        shown.push(prefix);
    }
    for path in &mut shown {
        *path = path.canonicalize().map_err(|err| SandboxError::Unavailable {
            what: format!("{} cannot be shown to sandboxes: {err}", path.display()),
            help: "name a directory that exists".to_string(),
        })?;
    }
    shown.retain(|path| !path.starts_with("/usr"));
    for path in &shown {
        let own = ["/tmp", "/workspace", "/proc", "/dev"];
        if let Some(own) = own.iter().find(|own| path.starts_with(own)) {
            return Err(SandboxError::Unavailable {
                what: format!(
                    "{} cannot be shown to sandboxes: they have their own {own}",
                    path.display()
                ),
                help: "keep it elsewhere, in /opt for instance".to_string(),
            });
        }
    }
    shown.sort();
    shown.dedup();
    Ok(Setup { shown, path, without })
}
