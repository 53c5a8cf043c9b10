//! Smuggling out: what is left in a workspace for whoever takes it out.

use std::time::{Duration, Instant};

use claw::sandbox::{Defence, Limits, SandboxError};
use claw::store::{Digest, Entry, MemoryObjects, Objects, Tree};

use super::super::sandbox::{kinds, ok, python, sh, told};
use super::{small, unharmed, without};

#[tokio::test]
async fn links_that_lead_out_are_refused_by_name() {
    for backend in kinds() {
        let (mut sandbox, objects) = small(backend).await;
        let make = "ln -s /etc/passwd out; ln -s ../../etc up; ln -s /proc/self/root root; \
            ln -s root/etc/passwd through; ln -s /workspace/kept absolute; mkdir d; \
            ln -s .. d/top; ln -s d/top/../etc bent; ln -s self self; ln kept hard; \
            (ln /etc/passwd stolen || ln /usr/bin/env stolen) 2>/dev/null; true";
        assert_eq!(sh(&mut sandbox, make).await, ok(""));
        let closed = sandbox.close(&objects).await.expect("closes");
        let expected = [
            "absolute (a link to /workspace/kept)",
            "bent (a link to d/top/../etc)",
            "out (a link to /etc/passwd)",
            "root (a link to /proc/self/root)",
            "up (a link to ../../etc)",
        ];
        assert_eq!(closed.refused, expected, "{}", backend.name());
        let after = closed.workspace;
        let kept: Vec<&str> = after.entries.keys().map(String::as_str).collect();
        // A link to a link that was refused leads nowhere; a hard link is a file.
        assert_eq!(kept, ["d/top", "hard", "kept", "self", "through"]);
        assert!(matches!(after.entries["hard"], Entry::File { size: 1, .. }));
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn a_workspace_with_such_links_is_refused_whole_when_the_init_lets_them_pass() {
    let Some(backend) = without(&[Defence::Links]) else { return };
    let (mut sandbox, objects) = small(&backend).await;
    assert_eq!(sh(&mut sandbox, "ln -s /etc/passwd out").await, ok(""));
    match sandbox.close(&objects).await {
        Err(SandboxError::Workspace(what)) => {
            assert_eq!(what, "holds the link `out` to `/etc/passwd`, which may leave it");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn devices_pipes_and_sockets_are_refused_and_hang_nobody() {
    for backend in kinds() {
        let (mut sandbox, objects) = small(backend).await;
        let make = "import os, socket\nos.mkfifo('pipe')\n\
            socket.socket(socket.AF_UNIX).bind('sock')\n\
            for kind in (0o020000, 0o060000):\n    \
                try: os.mknod('node', kind | 0o666, os.makedev(1, 3)); print('made')\n    \
                except PermissionError: pass\n\
            open('setuid', 'w').close(); os.chmod('setuid', 0o6755)\n";
        assert_eq!(told(sandbox.exec(&python(make)).await.expect("works")), ok(""));
        let begun = Instant::now();
        let closed = sandbox.close(&objects).await.expect("closes");
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert_eq!(closed.refused, ["pipe (a FIFO)", "sock (a socket)"], "{}", backend.name());
        let after = closed.workspace;
        // Of all its bits one is kept: that it may be executed.
        let empty = Entry::File { digest: Digest::of(b""), size: 0, executable: true };
        assert_eq!(after.entries["setuid"], empty);
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn a_sparse_file_of_ten_gigabytes_is_refused_at_once() {
    for backend in kinds() {
        let (mut sandbox, objects) = small(backend).await;
        // The limit on the size of a file stops most ways to make one; the claim of this one is
        // larger than what the workspace may hold.
        let make = "import os, resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n\
            f = open('sparse', 'wb')\n\
            try: os.truncate('sparse', 10 << 30); print('made')\n\
            except OSError as e: print(e.strerror)\n\
            for i in range(3): open('half%d' % i, 'wb').truncate(3 << 20)\n";
        let said = told(sandbox.exec(&python(make)).await.expect("works"));
        assert_eq!(said, ok("File too large\n"), "{}", backend.name());
        let begun = Instant::now();
        let closed = sandbox.close(&objects).await.expect("closes");
        assert!(begun.elapsed() < Duration::from_secs(60));
        let past = "it takes the workspace past 4194304 bytes";
        assert_eq!(closed.refused, [format!("half1 ({past})"), format!("half2 ({past})")]);
        unharmed(backend).await;
    }
    // Where nothing stops a file from claiming so much, it is refused by its claim, not read.
    let Some(backend) = without(&[Defence::Disk]) else { return };
    let (mut sandbox, objects) = small(&backend).await;
    let make = "import os\nopen('sparse', 'w').close(); os.truncate('sparse', 10 << 30)\n";
    assert_eq!(told(sandbox.exec(&python(make)).await.expect("works")), ok(""));
    let closed = sandbox.close(&objects).await.expect("closes");
    assert_eq!(closed.refused, ["sparse (it takes the workspace past 4194304 bytes)"]);
}

#[tokio::test]
async fn more_files_than_allowed_are_neither_made_nor_taken() {
    for backend in kinds() {
        let (mut sandbox, objects) = small(backend).await;
        let make = "import os\nn = 0\ntry:\n    \
            while n < 1000: os.mkdir('d%d' % n); n += 1\nexcept OSError as e: print(e.strerror)\n";
        let said = told(sandbox.exec(&python(make)).await.expect("works"));
        assert_eq!(said, ok("No space left on device\n"), "{}", backend.name());
        let closed = sandbox.close(&objects).await.expect("closes");
        let after = closed.workspace;
        assert!(after.entries.len() <= 200, "{}", after.entries.len());
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn names_that_lead_out_are_not_put_in() {
    let objects = MemoryObjects::default();
    let digest = objects.put(b"x").expect("kept");
    for backend in kinds() {
        for path in ["../x", "/etc/x", "a/../../x", "a//b", ".", "a/.", "a\0b", ""] {
            let mut tree = Tree::default();
            let file = Entry::File { digest, size: 1, executable: false };
            tree.entries.insert(path.to_string(), file);
            match backend.open(&tree, &objects, &Limits::default()).await.map(|_| ()) {
                Err(SandboxError::Workspace(_)) => {}
                other => panic!("{path:?}: {other:?}"),
            }
        }
        unharmed(backend).await;
    }
}
