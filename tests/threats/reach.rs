//! Reaching out: the machine's secrets and files, its network, its system calls, its neighbours.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use claw::sandbox::{Backend, Defence, Exit, ProcessBackend};

use super::super::sandbox::{
    HELPER, allowed, alone, eventually, is_alone, kinds, ok, open, python, runs, sh, skip, told,
};
use super::{unharmed, without};

const CANARY: &str = "c4n4ry-52b1e0";

/// The name of a new sandbox's network, and what can be read of its use.
async fn network(backend: &dyn Backend) -> (String, String) {
    let (mut sandbox, objects) = open(backend, &[]).await;
    let files = "/proc/net/dev /proc/net/snmp /proc/net/netstat /proc/net/tcp /proc/net/unix";
    let (exit, said) = sh(&mut sandbox, &format!("readlink /proc/self/ns/net; cat {files}")).await;
    assert_eq!(exit, Exit::Code(0), "{said}");
    sandbox.close(&objects).await.expect("closes");
    let (name, traces) = said.split_once('\n').expect("two things");
    (name.to_string(), traces.to_string())
}

/// Uses of a network: a conversation, words to nobody, an attempt that sends nothing.
const USES: &[&str] = &[
    "import socket\ns = socket.create_server(('127.0.0.1', 8080))\n\
     socket.create_connection(('127.0.0.1', 8080)).sendall(b'hi')\nprint(s.accept()[0].recv(9))",
    "import socket\nu = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
     u.sendto(b'x', ('127.0.0.1', 9))",
    "import socket\ntry: socket.create_connection(('192.0.2.1', 9), 5)\nexcept OSError: pass",
];

async fn used(backend: &dyn Backend, how: &str) {
    let (mut sandbox, objects) = open(backend, &[]).await;
    let ran = sandbox.exec(&python(how)).await.expect("the sandbox works");
    assert_eq!(told(ran).0, Exit::Code(0), "{how}");
    sandbox.close(&objects).await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_sandbox_did_with_its_network_is_not_seen() {
    if !allowed() {
        return;
    }
    let backend = ProcessBackend::new(HELPER);
    let (mut last, new) = network(&backend).await;
    assert_eq!(network(&backend).await, (last.clone(), new.clone()), "unused, it is used again");
    for how in USES {
        used(&backend, how).await;
        let (name, traces) = network(&backend).await;
        assert!(name != last, "{how}");
        assert_eq!(traces, new, "{how}");
        last = name;
    }
    // What the program listens to there stays open after the sandbox.
    let (mut sandbox, objects) = open(&backend, &[]).await;
    let _listener = sandbox.listen(7411).await.expect("it listens");
    sandbox.close(&objects).await.expect("closes");
    let (name, traces) = network(&backend).await;
    assert!(name != last);
    assert_eq!(traces, new);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_seen_where_nobody_looks_at_a_network_first() {
    if !allowed() {
        return;
    }
    let backend = ProcessBackend::new(HELPER).without(Defence::NewNetwork);
    let (name, new) = network(&backend).await;
    for how in USES {
        used(&backend, how).await;
        let (same, traces) = network(&backend).await;
        assert_eq!(same, name);
        assert_ne!(traces, new, "{how}");
    }
}

/// A file that anybody on this machine may read, and its path.
fn secret() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let file = folder.path().join("secret");
    std::fs::write(&file, CANARY).expect("written");
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    open(folder.path(), 0o777);
    open(&file, 0o666);
    (folder, file)
}

/// By its name, through links, through /proc, through other processes, wherever it may be.
fn hunt(file: &Path) -> String {
    let file = file.display();
    format!(
        "for root in '' /host /proc/1/root /proc/self/root /proc/self/cwd/../..; do \
           cat $root{file} 2>/dev/null; ln -s $root{file} l; cat l 2>/dev/null; rm l; done; \
         cat /proc/[0-9]*/environ 2>/dev/null | grep -a {CANARY}; \
         grep -rs {CANARY} /etc /tmp /dev/shm /proc/[0-9]*/environ /proc/[0-9]*/cmdline; true"
    )
}

#[tokio::test]
async fn a_secret_of_the_machine_is_not_read() {
    let (_folder, file) = secret();
    for backend in kinds() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let (exit, said) = sh(&mut sandbox, &hunt(&file)).await;
        assert_eq!((exit, said.contains(CANARY)), (Exit::Code(0), false), "{said}");
        let err = sandbox.read(file.to_str().expect("a name"), 99).await.expect_err("not there");
        assert_eq!(err.to_string(), "ENOENT: no such file or directory");
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn a_secret_is_read_where_the_root_is_the_machines() {
    let Some(backend) = without(&[Defence::Root]) else { return };
    let (_folder, file) = secret();
    let (mut sandbox, _) = open(&backend, &[]).await;
    let (_, said) = sh(&mut sandbox, &hunt(&file)).await;
    assert!(said.contains(CANARY), "{said}");
}

/// Tries to write over a file of the machine that anybody may write, wherever it may be.
fn overwrite(file: &Path) -> String {
    let file = file.display();
    format!("for f in {file} /host{file}; do (echo taken >> $f) 2>&1; done; true")
}

#[tokio::test]
async fn nothing_outside_is_written() {
    let (folder, file) = secret();
    for backend in kinds() {
        let (mut sandbox, _) = open(backend, &[]).await;
        sh(&mut sandbox, &overwrite(&file)).await;
        let attempts = "for f in /x /usr/x /etc/passwd /bin/sh /dev/x /proc/sys/kernel/core_pattern \
            /proc/sysrq-trigger /proc/1/oom_score_adj /proc/1/mem /usr/bin/env /claw/claw; do \
            if (: >> $f) 2>/dev/null; then echo wrote $f; fi; done; mkdir /y 2>/dev/null && echo made; \
            rm -f /etc/group 2>/dev/null && echo removed; mv /usr/bin/env /usr/bin/x 2>/dev/null && \
            echo moved; ln /etc/passwd /etc/x 2>/dev/null && echo linked; true";
        assert_eq!(sh(&mut sandbox, attempts).await, ok(""), "{}", backend.name());
        let err = sandbox.write("/usr/x", b"").await.expect_err("not there");
        assert_eq!(err.to_string(), "EROFS: read-only file system");
        unharmed(backend).await;
    }
    // Also where the file is shown, only to be read.
    if allowed() {
        let backend = ProcessBackend::new(HELPER).show(folder.path());
        let (mut sandbox, _) = open(&backend, &[]).await;
        let (_, said) = sh(&mut sandbox, &overwrite(&file)).await;
        assert!(said.contains("Read-only file system"), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("there"), CANARY);
}

#[tokio::test]
async fn a_file_outside_is_written_only_without_both_locks() {
    let (folder, file) = secret();
    let landlocked = claw::sandbox::probe_with(Path::new(HELPER))
        .into_iter()
        .any(|probe| probe.name == "landlock" && probe.detail.contains("second lock"));
    let Some(backend) = without(&[Defence::ReadOnly]) else { return };
    if landlocked {
        let backend = backend.show(folder.path());
        let (mut sandbox, _) = open(&backend, &[]).await;
        let (_, said) = sh(&mut sandbox, &overwrite(&file)).await;
        assert!(said.contains("Permission denied"), "{said}");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), CANARY);
        // Its own places are its own.
        let own = "for d in /workspace /tmp /dev/shm; do mkdir $d/a $d/b && echo x > $d/a/f && \
            mv $d/a/f $d/b/g && ln $d/b/g $d/a/h && ln -s g $d/b/l && mkfifo $d/p && rm -r $d/a || \
            echo refused; done; mv /tmp/b/g /workspace/moved; echo x > /dev/null";
        assert_eq!(sh(&mut sandbox, own).await, ok(""));
    } else {
        skip("Landlock alone keeping a file", "this kernel has no Landlock of version 2");
    }
    let Some(backend) = without(&[Defence::ReadOnly, Defence::Landlock]) else { return };
    let backend = backend.show(folder.path());
    let (mut sandbox, _) = open(&backend, &[]).await;
    sh(&mut sandbox, &overwrite(&file)).await;
    assert_eq!(std::fs::read_to_string(&file).expect("there"), format!("{CANARY}taken\n"));
}

/// Connects to a port of the machine's loopback, and to the world.
fn knock(port: u16) -> String {
    format!(
        "import socket\n\
         def attempt(what, family, address):\n    \
             try:\n        s = socket.socket(family); s.settimeout(3); s.connect(address)\n        \
             print(what, 'reached')\n    except OSError: pass\n\
         attempt('loopback', socket.AF_INET, ('127.0.0.1', {port}))\n\
         attempt('any', socket.AF_INET, ('0.0.0.0', {port}))\n\
         attempt('metadata', socket.AF_INET, ('169.254.169.254', 80))\n\
         attempt('world', socket.AF_INET, ('1.1.1.1', 53))\n\
         u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         try:\n    u.sendto(b'x', ('8.8.8.8', 53)); print('sent')\n\
         except OSError: pass\n\
         print('tried')\n"
    )
}

fn listener() -> (std::net::TcpListener, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

#[tokio::test]
async fn no_network_is_reached_nor_a_service_of_the_machine() {
    let (listener, port) = listener();
    for backend in kinds() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let said = told(sandbox.exec(&python(&knock(port))).await.expect("works"));
        assert_eq!(said, ok("tried\n"), "{}", backend.name());
        assert!(listener.accept().is_err(), "nobody came");
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn a_service_of_the_machine_is_reached_through_its_network() {
    let Some(backend) = without(&[Defence::Network]) else { return };
    let (_listener, port) = listener();
    let (mut sandbox, _) = open(&backend, &[]).await;
    let (_, said) = told(sandbox.exec(&python(&knock(port))).await.expect("works"));
    assert!(said.contains("loopback reached"), "{said}");
}

/// Attaches to a neighbour process with ptrace, and moves into a user namespace.
const TRACE: &str = "import ctypes, os, time\n\
    libc = ctypes.CDLL(None, use_errno=True)\n\
    pid = os.fork()\n\
    if pid == 0: time.sleep(60)\n\
    print('traced' if libc.ptrace(16, pid, 0, 0) == 0 else 'refused')\n\
    print('moved' if libc.unshare(0x20000) == 0 else 'refused')\n\
    os.kill(pid, 9)\n";

#[tokio::test]
async fn a_process_is_not_traced_and_no_namespace_is_made() {
    for backend in kinds() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let said = told(sandbox.exec(&python(TRACE)).await.expect("works"));
        assert_eq!(said, ok("refused\nrefused\n"), "{}", backend.name());
        // Nor is the init, by any other way.
        let attacks = "for s in KILL STOP TERM SEGV CHLD INT HUP ABRT; do kill -$s 1 2>/dev/null; done; \
            cat /proc/1/mem /proc/1/maps /proc/1/environ 2>/dev/null | head -c 1; \
            ls /proc/1/fd 2>/dev/null; (echo x > /proc/1/fd/0) 2>/dev/null; \
            cat /proc/1/comm";
        assert_eq!(sh(&mut sandbox, attacks).await, ok("init\n"));
        unharmed(backend).await;
    }
}

#[tokio::test]
async fn a_process_is_traced_where_calls_are_not_filtered() {
    let Some(backend) = without(&[Defence::Filter]) else { return };
    let (mut sandbox, _) = open(&backend, &[]).await;
    let (_, said) = told(sandbox.exec(&python(TRACE)).await.expect("works"));
    assert!(said.starts_with("traced\n"), "{said}");
}

#[tokio::test]
async fn a_neighbour_is_not_seen() {
    for backend in kinds() {
        let cookie = format!("863{}", std::process::id());
        let (mut victim, _) = open(backend, &[("diary", CANARY.as_bytes())]).await;
        let line = format!("echo {CANARY} > /tmp/note; sleep {cookie} >/dev/null 2>&1 &");
        assert_eq!(sh(&mut victim, &line).await.0, Exit::Code(0));
        assert!(eventually(|| runs(&cookie)), "the machine sees it");
        let (mut attacker, _) = open(backend, &[]).await;
        // The brackets keep the search from finding itself.
        let look = format!(
            "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o 'sleep[ ]{cookie}'; \
             grep -rs {CANARY} /tmp /workspace /dev/shm /proc/[0-9]*/root/workspace \
               /proc/[0-9]*/cwd/; kill -9 -1 2>/dev/null; true"
        );
        let (_, said) = sh(&mut attacker, &look).await;
        assert!(!said.contains(CANARY) && !said.contains("sleep"), "{said}");
        assert!(runs(&cookie), "it was not killed either");
        assert_eq!(sh(&mut victim, "cat diary").await, ok(CANARY));
        unharmed(backend).await;
    }
}

/// Writes to whatever descriptors are open.
const SCRIBBLE: &str = "import os\n\
    for fd in range(3, 200):\n    \
        try: os.write(fd, b'taken')\n    except OSError: pass\n";

async fn scribbles(backend: &dyn Backend) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    // Not closed by exec: as a careless parent leaves it to the program.
    let _open = rustix::io::dup(file.as_file()).expect("a descriptor");
    let (mut sandbox, _) = open(backend, &[]).await;
    assert_eq!(told(sandbox.exec(&python(SCRIBBLE)).await.expect("works")), ok(""));
    std::fs::read_to_string(file.path()).expect("there")
}

#[tokio::test]
#[ignore = "run by `inherited_descriptors_are_not_written_to`, in a process of its own"]
async fn descriptors_are_inherited_here() {
    if !allowed() {
        return;
    }
    let whole = ProcessBackend::new(HELPER);
    assert_eq!(scribbles(&whole).await, "");
    if let Some(docker) = super::super::sandbox::docker() {
        assert_eq!(scribbles(docker).await, "");
    }
    let careless = whole.without(Defence::Descriptors);
    assert_eq!(scribbles(&careless).await, "taken");
}

#[test]
fn inherited_descriptors_are_not_written_to() {
    if is_alone() {
        return;
    }
    let run = alone("threats::reach::descriptors_are_inherited_here", &["--ignored"], None);
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}
