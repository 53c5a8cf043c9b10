//! Reading and writing one file for an agent, as a program in the sandbox would.
//!
//! Links are followed, because an agent that reads through a link of its own expects its target.
//! What must not happen is that reading hangs (a FIFO) or shows the process that reads instead of
//! the agent's own world: `/proc/self` is somebody else for it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, ftruncate, open};
use rustix::io::Errno;

use super::errno;

/// The type that `statfs` tells for `/proc`.
const PROC: i64 = 0x9fa0;

/// The first `limit` bytes of the regular file at `path`.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Errno> {
    let file = open_regular(path, OFlags::RDONLY)?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|err| errno::of(&err))?;
    Ok(bytes)
}

/// Writes the file at `path`, making the folders above it; the content is all of `content`.
pub(crate) fn write(path: &Path, content: &mut dyn Read) -> Result<(), Errno> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|err| errno::of(&err))?;
    }
    let mut file = open_regular(path, OFlags::WRONLY | OFlags::CREATE)?;
    ftruncate(&file, 0)?;
    std::io::copy(content, &mut file).map_err(|err| errno::of(&err))?;
    file.flush().map_err(|err| errno::of(&err))
}

fn open_regular(path: &Path, flags: OFlags) -> Result<File, Errno> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o644))?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR),
        _ => return Err(Errno::INVAL),
    }
    if fstatfs(&file)?.f_type as i64 == PROC {
        return Err(Errno::ACCESS);
    }
    Ok(File::from(file))
}
