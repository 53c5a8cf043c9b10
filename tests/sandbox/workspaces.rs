//! Trees go in and come out; what is not a tree does not.

use std::collections::BTreeSet;

use claw::sandbox::{Limits, SandboxError};
use claw::store::{Digest, Entry, MemoryObjects, Objects, Tree};

use super::{backends, ok, open_with, python, sh, told};

fn tree_of(objects: &MemoryObjects, files: &[(String, Vec<u8>)]) -> Tree {
    objects.tree(&objects.put_files(files).expect("kept")).expect("a tree")
}

#[tokio::test]
async fn a_workspace_comes_back_as_it_was_left() {
    let binary: Vec<u8> = (0..300_000u32).map(|i| (i * 7 % 251) as u8).collect();
    for backend in backends() {
        let objects = MemoryObjects::default();
        let mut tree = Tree::default();
        let file = |bytes: &[u8], executable| Entry::File {
            digest: objects.put(bytes).expect("kept"),
            size: bytes.len() as u64,
            executable,
        };
        for (path, entry) in [
            ("bin/run me.sh", file(b"#!/bin/sh\necho ran\n", true)),
            ("data/öäü 漢字.bin", file(&binary, false)),
            ("data/deep/er/and/deeper/x", file(b"x", false)),
            ("data/zero", file(b"", false)),
            ("empty/dir", Entry::EmptyDir),
            ("same", file(b"x", false)),
            ("link", Entry::Link("data/zero".into())),
            ("data/up", Entry::Link("../bin/run me.sh".into())),
            ("dangling", Entry::Link("not/there".into())),
            ("100% \u{1b}[31m", file(b"odd name", false)),
        ] {
            tree.entries.insert(path.to_string(), entry);
        }
        let limits = Limits::default();

        // Untouched, it is the same.
        let sandbox = backend.open(&tree, &objects, &limits).await.expect("opens");
        let closed = sandbox.close(&objects).await.expect("closes");
        assert_eq!((&closed.workspace, closed.refused), (&tree, vec![]), "{}", backend.name());

        let mut sandbox = backend.open(&tree, &objects, &limits).await.expect("opens");
        assert_eq!(sh(&mut sandbox, "'bin/run me.sh' && './data/up'").await, ok("ran\nran\n"));
        let times = sh(&mut sandbox, "stat -c %Y . data empty/dir same link | uniq").await;
        assert_eq!(times, ok("946684800\n"));
        let change = "rm same; chmod 4755 data/zero; printf new > 'new file'; mkdir -p made/now; \
            ln -s ../same made/l; chmod 000 data/deep/er/and/deeper/x; chmod 000 data/deep; \
            cp 'data/öäü 漢字.bin' copy; rm link; rmdir empty/dir";
        assert_eq!(sh(&mut sandbox, change).await, ok(""));
        let closed = sandbox.close(&objects).await.expect("closes");
        assert_eq!(closed.refused, Vec::<String>::new());

        tree.entries.remove("same");
        tree.entries.remove("link");
        tree.entries.remove("empty/dir");
        for (path, entry) in [
            ("data/zero", file(b"", true)),
            ("new file", file(b"new", false)),
            ("made/now", Entry::EmptyDir),
            ("made/l", Entry::Link("../same".into())),
            ("copy", file(&binary, false)),
            ("empty", Entry::EmptyDir),
        ] {
            tree.entries.insert(path.to_string(), entry);
        }
        let after = closed.workspace;
        assert_eq!(after, tree, "{}", backend.name());
        for (path, digest) in after.files() {
            assert!(objects.get(digest).is_ok(), "{path} came back");
        }
    }
}

#[tokio::test]
async fn many_files_and_large_files_pass() {
    for backend in backends() {
        let objects = MemoryObjects::default();
        let mut files: Vec<(String, Vec<u8>)> =
            (0..3000).map(|i| (format!("d{}/f{i}", i % 50), format!("{i}").into_bytes())).collect();
        files.push(("large".into(), (0..20_000_000u32).map(|i| (i >> 7) as u8).collect()));
        let before = tree_of(&objects, &files);
        let mut sandbox = backend.open(&before, &objects, &Limits::default()).await.expect("opens");
        assert_eq!(sh(&mut sandbox, "find . -type f | wc -l").await, ok("3001\n"));
        assert_eq!(sh(&mut sandbox, "cat large large > twice; rm large").await, ok(""));
        let closed = sandbox.close(&objects).await.expect("closes");
        let after = closed.workspace;
        let twice = [&files[3000].1[..], &files[3000].1[..]].concat();
        let entry = Entry::File { digest: Digest::of(&twice), size: 40_000_000, executable: false };
        assert_eq!(after.entries.get("twice"), Some(&entry));
        assert_eq!(after.entries.len(), 3001);
    }
}

#[tokio::test]
async fn what_is_no_file_folder_or_inner_link_is_refused_by_name() {
    for backend in backends() {
        let limits = Limits { disk: 1 << 20, ..Limits::default() };
        let (mut sandbox, objects) = open_with(backend, &[("kept", b"k")], &limits).await;
        let make = "mkfifo d-pipe; ln -s /etc/passwd out; ln -s ../../etc up; mkdir d; \
            ln -s .. d/top; ln -s d/top/../etc bent; ln -s /workspace/kept absolute; \
            ln kept hard; : > sparse; ln -s self self; mkdir only; mkfifo only/pipe";
        assert_eq!(sh(&mut sandbox, make).await, ok(""));
        let odd = "import os, socket\n\
            socket.socket(socket.AF_UNIX).bind('sock')\n\
            open(b'\\xff\\xfe', 'w').close()\n\
            os.truncate('sparse', 900_000)\n\
            open('huge', 'w').close()\n\
            try: os.truncate('huge', 1 << 40)\n\
            except OSError: os.truncate('huge', 1_000_000)\n\
            d = os.open('.', 0)\n\
            for i in range(120):\n    os.mkdir('n', dir_fd=d); d = os.open('n', 0, dir_fd=d)\n";
        assert_eq!(told(sandbox.exec(&python(odd)).await.expect("works")), ok(""));
        let closed = sandbox.close(&objects).await.expect("closes");
        let deep = format!("{} (a folder more than 100 deep)", ["n"; 101].join("/"));
        let mut refused: BTreeSet<&str> = closed.refused.iter().map(String::as_str).collect();
        // Of two files that together are too large the second is refused.
        assert!(refused.remove("sparse (it takes the workspace past 1048576 bytes)"));
        let expected = BTreeSet::from([
            "d-pipe (a FIFO)",
            "out (a link to /etc/passwd)",
            "up (a link to ../../etc)",
            "bent (a link to d/top/../etc)",
            "absolute (a link to /workspace/kept)",
            "sock (a socket)",
            "only/pipe (a FIFO)",
            "\u{fffd}\u{fffd} (a name that is not UTF-8)",
            deep.as_str(),
        ]);
        assert_eq!(refused, expected, "{}", backend.name());
        let after = closed.workspace;
        let kept: Vec<&str> = after.entries.keys().map(String::as_str).collect();
        let deepest = ["n"; 100].join("/");
        assert_eq!(kept, ["d/top", "hard", "huge", "kept", &deepest, "only", "self"]);
    }
}

#[tokio::test]
async fn too_many_files_and_too_large_workspaces_are_told() {
    for backend in backends() {
        let limits = Limits { files: 50, disk: 100_000, ..Limits::default() };
        let objects = MemoryObjects::default();
        let many: Vec<_> = (0..51).map(|i| (format!("f{i}"), Vec::new())).collect();
        let many = tree_of(&objects, &many);
        let large = tree_of(&objects, &[("large".into(), vec![0; 100_001])]);
        let mut outside = Tree::default();
        outside.entries.insert("l".into(), Entry::Link("/etc".into()));
        let mut absent = Tree::default();
        absent.entries.insert(
            "f".into(),
            Entry::File { digest: Digest::of(b"no"), size: 2, executable: false },
        );
        for (tree, words) in [
            (many, "holds 51 files, more than the 50 allowed"),
            (large, "holds 100001 bytes, more than the 100000 allowed"),
            (outside, "holds the link `l` to `/etc`, which may leave it"),
            (absent, "is not in the store"),
        ] {
            match backend.open(&tree, &objects, &limits).await.map(|_| ()) {
                Err(SandboxError::Workspace(what)) => assert!(what.contains(words), "{what}"),
                other => panic!("{words}: {other:?}"),
            }
        }
    }
}
