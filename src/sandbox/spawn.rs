//! Starting a process without copying this one.
//!
//! A `fork` copies the page tables of the whole program and makes every page be copied again on the
//! next write: with a large program and many threads that costs milliseconds a command, most of them
//! later and elsewhere. Here the child borrows the parent's memory until it is another program, as
//! `posix_spawn` does it, while the thread that started it waits. What is to be done in between is
//! said by the caller ([`Start::act`]), which `posix_spawn` does not let one do.

use std::ffi::{CString, OsStr, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::RwLock;

use rustix::io::Errno;
use rustix::process::Pid;

/// Bytes of stack that the child has before it is another program.
const STACK: usize = 64 << 10;
/// What runs a file that is executable but no program, as the C library's `execvp` does.
const SHELL: &str = "/bin/sh";

/// Shared by those who are starting a process.
static STARTING: RwLock<()> = RwLock::new(());

/// Waits until every process that is being started has become its program: those have copies of all
/// descriptors until then, of a file that another thread was just writing too, and such a file
/// cannot be executed. Once this returns, what was closed before is closed everywhere.
pub(super) fn settle() {
    drop(STARTING.write());
}

/// A process to start.
pub(super) struct Start<'a> {
    /// Its name or path, and its arguments.
    pub(super) argv: &'a [String],
    /// All its variables. A name without `/` is looked for along its `PATH`.
    pub(super) env: Vec<(&'a str, &'a str)>,
    /// Where it begins.
    pub(super) workdir: &'a Path,
    /// Its descriptors 0, 1 and 2.
    pub(super) streams: [BorrowedFd<'a>; 3],
    /// What the new process does before it becomes the program. It runs in this program's memory,
    /// so it may make plain system calls and nothing else: no allocation, no lock.
    pub(super) act: &'a mut dyn FnMut() -> Result<(), Errno>,
}

/// What the child works with, all of it made before: it may not allocate.
struct Child<'a> {
    programs: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    /// `argv` with the shell and the program's path in front; the path is filled in when needed.
    by_shell: Vec<*const libc::c_char>,
    shell: CString,
    env: Vec<*const libc::c_char>,
    workdir: CString,
    streams: [c_int; 3],
    act: &'a mut dyn FnMut() -> Result<(), Errno>,
    /// What `argv` and `env` point to.
    _texts: [Vec<CString>; 2],
    /// Why there is no program. The parent reads it: the memory is the same.
    failed: Option<Errno>,
}

/// Why there is no new process.
#[derive(Debug)]
pub(super) enum Unstarted {
    /// The program is not there, or cannot be executed.
    Program(io::Error),
    /// The kernel made no process, or had no room for the program: there are too many, too much
    /// memory is taken, too many files are open.
    Kernel(io::Error),
}

impl Unstarted {
    /// Why a process that was made did not become the program.
    fn of(errno: Errno) -> Unstarted {
        match errno {
            Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE => {
                Unstarted::Kernel(errno.into())
            }
            errno => Unstarted::Program(errno.into()),
        }
    }
}

/// Starts it. The caller waits for it by its number.
///
/// # Errors
/// When there is no such program, it cannot be executed, or the kernel refuses.
pub(super) fn spawn(start: Start<'_>) -> Result<Pid, Unstarted> {
    let mut child = Child::of(start).map_err(Unstarted::Program)?;
    let starting = STARTING.read();
    let pid = clone(&mut child).map_err(Unstarted::Kernel)?;
    drop(starting);
    match child.failed {
        None => Ok(pid),
        Some(errno) => {
            // It has ended already; it must not stay as a zombie. Whoever else buries the dead of
            // this process may have been faster.
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            Err(Unstarted::of(errno))
        }
    }
}

impl<'a> Child<'a> {
    fn of(start: Start<'a>) -> io::Result<Child<'a>> {
        let argv = start.argv.iter().map(|arg| text(arg)).collect::<io::Result<Vec<_>>>()?;
        let env = start
            .env
            .iter()
            .map(|(name, value)| text(&format!("{name}={value}")))
            .collect::<io::Result<Vec<_>>>()?;
        let path =
            start.env.iter().rev().find(|(name, _)| *name == "PATH").map(|(_, value)| *value);
        let programs = candidates(start.argv.first().map_or("", String::as_str), path)?;
        let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let shell = text(SHELL)?;
        let arguments = pointers(&argv);
        let mut by_shell = vec![shell.as_ptr(), std::ptr::null()];
        by_shell.extend(arguments.iter().skip(1));
        Ok(Child {
            programs,
            argv: arguments,
            by_shell,
            shell,
            env: pointers(&env),
            workdir: CString::new(start.workdir.as_os_str().as_bytes())?,
            streams: start.streams.map(|stream| stream.as_raw_fd()),
            act: start.act,
            _texts: [argv, env],
            failed: None,
        })
    }
}

fn text(text: &str) -> io::Result<CString> {
    Ok(CString::new(text)?)
}

/// Where the program may be: its path, or its name in each folder of `PATH`.
fn candidates(program: &str, path: Option<&str>) -> io::Result<Vec<CString>> {
    if program.contains('/') {
        return Ok(vec![text(program)?]);
    }
    let folders = path.unwrap_or("/bin:/usr/bin");
    std::env::split_paths(OsStr::new(folders))
        .filter(|_| !program.is_empty())
        .map(|folder| Ok(CString::new(folder.join(program).as_os_str().as_bytes())?))
        .collect()
}

/// Clones this thread as a process that shares its memory, and waits until that is another program
/// or has ended.
#[expect(unsafe_code, reason = "neither std nor rustix starts a process that shares memory")]
fn clone(child: &mut Child<'_>) -> io::Result<Pid> {
    let mut stack: Vec<u128> = Vec::with_capacity(STACK / size_of::<u128>());
    let child: *mut Child<'_> = child;
    // SAFETY: the sets are initialised by the calls that fill them. The child has a stack of its
    // own, aligned and large enough for plain system calls. This thread sleeps until the child is
    // gone from its memory (CLONE_VFORK), so nobody else uses `child` meanwhile. With all signals
    // blocked no handler of this program runs in the child; it sets them to their default before
    // it lets signals in again.
    let pid = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, &mut before);
        let top = stack.as_mut_ptr().add(stack.capacity()).cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let pid = libc::clone(become_program, top, flags, child.cast::<c_void>());
        let refused = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        if pid < 0 {
            return Err(refused);
        }
        pid
    };
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("the kernel gave a process no number"))
}

/// What the child does. Returns only when it could not become the program.
#[expect(unsafe_code, reason = "it runs in the memory of its parent")]
extern "C" fn become_program(child: *mut c_void) -> c_int {
    // SAFETY: the parent gave a pointer to a `Child` that lives until this process is gone from its
    // memory, and sleeps until then.
    let child = unsafe { &mut *child.cast::<Child<'_>>() };
    let failed = prepare(child).err().unwrap_or_else(|| execute(child));
    child.failed = Some(failed);
    // SAFETY: ends this process alone, without running what the parent registered for its end.
    unsafe { libc::_exit(127) }
}

#[expect(unsafe_code, reason = "rustix sets neither signals nor descriptors by number")]
fn prepare(child: &mut Child<'_>) -> Result<(), Errno> {
    // SAFETY: plain system calls on memory of this function and on strings that the parent keeps.
    unsafe {
        // Nothing in this program handles a real-time signal.
        for signal in 1..libc::SIGRTMIN() {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &mut action) != 0 {
                continue;
            }
            // Rust programs ignore SIGPIPE; what they start should not.
            let ignored = action.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE;
            if action.sa_sigaction != libc::SIG_DFL && !ignored {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &action, std::ptr::null_mut());
            }
        }
        // Each stands above 2 before it is put in its place, so that none takes another's.
        let mut high = child.streams;
        for stream in high.iter_mut().filter(|stream| **stream <= 2) {
            *stream = libc::fcntl(*stream, libc::F_DUPFD_CLOEXEC, 3);
            check(*stream)?;
        }
        for (place, high) in high.into_iter().enumerate() {
            check(libc::dup2(high, place as c_int))?;
        }
        check(libc::chdir(child.workdir.as_ptr()))?;
    }
    (child.act)()?;
    // SAFETY: as above.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()))
    }
}

/// Becomes the program, wherever along the path it is. Says why it could not.
#[expect(unsafe_code, reason = "execve takes pointers")]
fn execute(child: &mut Child<'_>) -> Errno {
    let mut refused = Errno::NOENT;
    for program in &child.programs {
        // SAFETY: the lists end with a null pointer, and the parent keeps the texts in them.
        let errno = unsafe {
            libc::execve(program.as_ptr(), child.argv.as_ptr(), child.env.as_ptr());
            last()
        };
        match errno {
            Errno::NOEXEC => {
                child.by_shell[1] = program.as_ptr();
                // SAFETY: likewise.
                return unsafe {
                    let shell = child.shell.as_ptr();
                    libc::execve(shell, child.by_shell.as_ptr(), child.env.as_ptr());
                    last()
                };
            }
            Errno::NOENT | Errno::NOTDIR => {}
            // A later one may be fit; if none is, this is what is told.
            Errno::ACCESS => refused = errno,
            other => return other,
        }
    }
    refused
}

fn check(answer: c_int) -> Result<(), Errno> {
    if answer < 0 { Err(last()) } else { Ok(()) }
}

fn last() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    /// Runs `argv` with `act` and says what it printed and how it ended.
    fn outcome(
        argv: &[&str],
        env: Vec<(&str, &str)>,
        act: &mut dyn FnMut() -> Result<(), Errno>,
    ) -> io::Result<(String, Option<i32>)> {
        let argv: Vec<String> = argv.iter().map(|arg| arg.to_string()).collect();
        let (mut read, write) = io::pipe()?;
        let null = std::fs::File::open("/dev/null")?;
        let pid = spawn(Start {
            argv: &argv,
            env,
            workdir: Path::new("/"),
            streams: [null.as_fd(), write.as_fd(), null.as_fd()],
            act,
        })
        .map_err(|unstarted| match unstarted {
            Unstarted::Program(err) | Unstarted::Kernel(err) => err,
        })?;
        drop(write);
        let mut printed = String::new();
        read.read_to_string(&mut printed)?;
        let ended = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
        Ok((printed, ended.and_then(|(_, status)| status.exit_status())))
    }

    #[test]
    fn a_program_is_found_along_the_path_and_gets_only_its_variables() {
        let env = vec![("PATH", "/nowhere:/usr/bin:/bin"), ("A", "b c")];
        let made = outcome(&["sh", "-c", "pwd; echo $A; echo $HOME; exit 3"], env, &mut || Ok(()));
        assert_eq!(made.expect("it starts"), ("/\nb c\n\n".to_string(), Some(3)));
    }

    #[test]
    fn what_cannot_start_says_why() {
        let path = vec![("PATH", "/usr/bin:/bin")];
        let absent = outcome(&["no-such-program"], path.clone(), &mut || Ok(()));
        assert_eq!(absent.map_err(|err| err.kind()), Err(io::ErrorKind::NotFound));
        let folder = outcome(&["/usr"], path.clone(), &mut || Ok(()));
        assert_eq!(folder.map_err(|err| err.kind()), Err(io::ErrorKind::PermissionDenied));
        let refused = outcome(&["sh"], path, &mut || Err(Errno::DOM));
        assert_eq!(refused.map_err(|err| err.raw_os_error()), Err(Some(libc::EDOM)));
    }

    #[test]
    fn a_script_without_a_first_line_is_run_by_the_shell() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("script");
        std::fs::write(&script, "echo \"$0 $1\"").expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).expect("executable");
        let path = script.to_str().expect("a text");
        let made = outcome(&[path, "x"], vec![("PATH", "/bin")], &mut || Ok(()));
        assert_eq!(made.expect("it starts"), (format!("{path} x\n"), Some(0)));
    }
}
