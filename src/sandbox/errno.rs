//! Names and words for system errors, the same on every machine.
//!
//! Agents read these texts, and recorded runs hold them, so they may not depend on the C library
//! or the locale. The words are those that Node.js uses, because the tool contracts that agents
//! are trained on come from programs written for it.

use rustix::io::Errno;

use super::FileError;

/// The name and the words of a system error.
pub(crate) fn describe(errno: Errno) -> (String, String) {
    let known = match errno {
        Errno::ACCESS => ("EACCES", "permission denied"),
        Errno::PERM => ("EPERM", "operation not permitted"),
        Errno::NOENT => ("ENOENT", "no such file or directory"),
        Errno::EXIST => ("EEXIST", "file already exists"),
        Errno::ISDIR => ("EISDIR", "illegal operation on a directory"),
        Errno::NOTDIR => ("ENOTDIR", "not a directory"),
        Errno::NOTEMPTY => ("ENOTEMPTY", "directory not empty"),
        Errno::LOOP => ("ELOOP", "too many symbolic links encountered"),
        Errno::NAMETOOLONG => ("ENAMETOOLONG", "name too long"),
        Errno::NOSPC => ("ENOSPC", "no space left on device"),
        Errno::FBIG => ("EFBIG", "file too large"),
        Errno::ROFS => ("EROFS", "read-only file system"),
        Errno::INVAL => ("EINVAL", "invalid argument"),
        Errno::NXIO => ("ENXIO", "no such device or address"),
        Errno::TXTBSY => ("ETXTBSY", "text file is busy"),
        Errno::NOMEM => ("ENOMEM", "not enough memory"),
        Errno::AGAIN => ("EAGAIN", "resource temporarily unavailable"),
        Errno::MFILE => ("EMFILE", "too many open files"),
        Errno::NOEXEC => ("ENOEXEC", "exec format error"),
        Errno::TOOBIG => ("E2BIG", "argument list too long"),
        Errno::IO => ("EIO", "i/o error"),
        Errno::NOSYS => ("ENOSYS", "function not implemented"),
        Errno::USERS => ("EUSERS", "too many users"),
        other => {
            return (format!("E{}", other.raw_os_error()), other.to_string().to_lowercase());
        }
    };
    (known.0.to_string(), known.1.to_string())
}

/// A system error in one line: `ENOSPC: no space left on device`.
pub(crate) fn text(errno: Errno) -> String {
    let (code, message) = describe(errno);
    format!("{code}: {message}")
}

/// The system error inside an I/O error; those that are not from the system become `EIO`.
pub(crate) fn of(err: &std::io::Error) -> Errno {
    match err.kind() {
        std::io::ErrorKind::InvalidInput if err.raw_os_error().is_none() => Errno::INVAL,
        _ => Errno::from_io_error(err).unwrap_or(Errno::IO),
    }
}

impl From<Errno> for FileError {
    fn from(errno: Errno) -> FileError {
        let (code, message) = describe(errno);
        FileError::System { code, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words_do_not_depend_on_the_machine() {
        assert_eq!(text(Errno::NOENT), "ENOENT: no such file or directory");
        assert_eq!(
            text(of(&std::io::Error::from_raw_os_error(28))),
            "ENOSPC: no space left on device"
        );
        let nul = std::fs::File::open("a\0b").expect_err("no such name");
        assert_eq!(of(&nul), Errno::INVAL);
    }
}
