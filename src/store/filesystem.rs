//! What kind of disk the store is on.
//!
//! One writer at a time, and nothing lost in a power cut: both rest on promises of the file system
//! (`flock`, `fdatasync`) that network file systems keep only in part.

use std::path::Path;

/// Magic numbers of `statfs`, from linux/magic.h and the file systems' own sources.
const NETWORK: [(u64, &str); 13] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x1983_0326, "BeeGFS"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
];

/// The name of the file system with this magic number, when it may lie on other machines.
pub(super) fn network(magic: u64) -> Option<&'static str> {
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

/// One line for the person when the store's folder is on such a file system.
pub(super) fn notice(folder: &Path) -> Option<String> {
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    let name = network(kind as u64 & 0xffff_ffff)?;
    Some(format!(
        "the store is on {name}, where locking and syncing may not hold: never run on it from two \
         machines at once, and prefer a local disk"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_and_local_ones_are_not() {
        assert_eq!(network(0x6969), Some("NFS"));
        assert_eq!(network(0xff53_4d42), Some("CIFS"));
        let local = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630];
        assert!(local.iter().all(|magic| network(*magic).is_none()));
        assert_eq!(notice(Path::new("/proc/self")), None);
    }
}
