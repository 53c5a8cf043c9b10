//! What a sandbox of the `process` backend keeps in: eyes, hands, packets and system calls.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;

use claw::sandbox::{Backend, Command, Exit, Limits, ProcessBackend};
use claw::store::{MemoryObjects, Tree};

use super::{HELPER, allowed, ok, open, python, sh, shared, shell, skip, told};

#[tokio::test]
async fn secrets_of_the_machine_are_out_of_reach() {
    let Some(backend) = shared() else { return };
    let canary = "c4n4ry-7f3a91";
    let secrets = tempfile::tempdir().expect("a directory");
    let file = secrets.path().join("secret");
    std::fs::write(&file, canary).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("set");
    std::fs::set_permissions(secrets.path(), std::fs::Permissions::from_mode(0o755)).expect("set");
    let file = file.to_str().expect("a name");

    let (mut sandbox, objects) = open(backend, &[("mine", b"")]).await;
    // By its name, through links, through /proc, through other processes.
    let hunt = format!(
        "cat {file} /proc/1/root{file} /proc/self/root{file} /workspace/../..{file} 2>&1; \
         ln -s {file} l; cat l; cat /proc/[0-9]*/environ /proc/1/environ 2>/dev/null; \
         ls /proc/1/fd /proc/1/cwd/ /proc/1/task/1/fd 2>/dev/null; \
         grep -rs {canary} /etc /tmp /dev/shm /workspace /proc/[0-9]*/environ /proc/[0-9]*/cmdline; \
         cat /proc/1/cmdline /proc/self/cgroup | tr '\\0' ' '"
    );
    let (_, said) = sh(&mut sandbox, &hunt).await;
    assert!(!said.contains(canary), "{said}");
    assert!(!said.contains(HELPER), "not even the path of the program: {said}");
    assert!(said.contains("claw __sandbox-helper"), "{said}");
    let fails = sandbox.read(file, 100).await.expect_err("out of reach");
    assert_eq!(fails.to_string(), "ENOENT: no such file or directory");
    let fails = sandbox.read("l", 100).await.expect_err("out of reach");
    assert_eq!(fails.to_string(), "ENOENT: no such file or directory");

    let (_, said) =
        sh(&mut sandbox, "cd /; echo *; ls /root /home /var /run /sys /mnt /opt 2>&1").await;
    let names: BTreeSet<&str> = said.lines().next().expect("a line").split(' ').collect();
    let usual = ["bin", "dev", "etc", "lib", "proc", "sbin", "tmp", "usr", "workspace"];
    assert!(usual.iter().all(|name| names.contains(name)), "{said}");
    for name in names {
        assert!(usual.contains(&name) || name.starts_with("lib"), "/{name} is there");
    }
    let (exit, said) =
        sh(&mut sandbox, "cat /etc/shadow; cat /etc/passwd /etc/hostname; hostname; id -u").await;
    assert_eq!(exit, Exit::Code(0));
    let users = "agent:x:1000:1000:agent:/tmp/home:/bin/sh\n\
        nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\nsandbox\nsandbox\n1000\n";
    assert!(said.ends_with(users) && said.starts_with("cat: /etc/shadow: No such file"), "{said}");
    let closed = sandbox.close(&objects).await.expect("closes");
    assert_eq!(closed.refused, [format!("l (a link to {file})")]);
}

#[tokio::test]
async fn nothing_outside_the_workspace_can_be_written() {
    let Some(backend) = shared() else { return };
    let (mut sandbox, _) = open(backend, &[]).await;
    let attempts = "for f in /x /usr/x /etc/passwd /bin/sh /dev/x /proc/sys/kernel/hostname \
        /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/1/oom_score_adj /proc/1/mem \
        /usr/bin/env; do if (: >> $f) 2>/dev/null; then echo wrote $f; fi; done; \
        mkdir /y 2>&1; rm -f /etc/group 2>&1; mknod n c 1 3 2>&1; chmod 777 /usr 2>&1; true";
    let (exit, said) = sh(&mut sandbox, attempts).await;
    assert_eq!(exit, Exit::Code(0));
    assert!(!said.contains("wrote"), "{said}");
    assert_eq!(said.lines().count(), 4, "{said}");
    let works = "echo a > /tmp/a && echo b > /dev/shm/b && echo c > ~/c && echo d > d && \
        echo e > /dev/null && head -c 3 /dev/zero /dev/urandom | wc -c && (: > /dev/full; true)";
    assert_eq!(sh(&mut sandbox, works).await.0, Exit::Code(0));
    assert_eq!(sh(&mut sandbox, "echo x > /dev/full").await.0, Exit::Code(1));
}

#[tokio::test]
async fn there_is_no_network_but_the_sandbox_itself() {
    let Some(backend) = shared() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("an address").port();
    // An abstract socket has no file that a mount namespace could hide.
    let name = format!("claw-test-{}", std::process::id());
    let address =
        std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
    let _abstract = std::os::unix::net::UnixListener::bind_addr(&address).expect("a listener");

    let (mut sandbox, _) = open(backend, &[]).await;
    let probe = format!(
        "import socket\n\
         def attempt(what, family, address):\n\
         \x20   try:\n        s = socket.socket(family); s.settimeout(5); s.connect(address); print(what, 'reached')\n\
         \x20   except OSError: pass\n\
         attempt('host', socket.AF_INET, ('127.0.0.1', {port}))\n\
         attempt('any', socket.AF_INET, ('0.0.0.0', {port}))\n\
         attempt('host6', socket.AF_INET6, ('::1', {port}))\n\
         attempt('metadata', socket.AF_INET, ('169.254.169.254', 80))\n\
         attempt('world', socket.AF_INET, ('1.1.1.1', 53))\n\
         attempt('abstract', socket.AF_UNIX, '\\0{name}')\n\
         attempt('hypervisor', 40, (2, 1234))\n\
         u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         try:\n    u.sendto(b'x', ('8.8.8.8', 53)); print('sent')\n\
         except OSError: pass\n\
         try:\n    socket.getaddrinfo('example.org', 80); print('resolved')\n\
         except OSError: pass\n\
         print([n for _, n in socket.if_nameindex()])\n"
    );
    let said = told(sandbox.exec(&python(&probe)).await.expect("works"));
    assert_eq!(said, ok("['lo']\n"));
    assert!(listener.accept().is_err(), "nobody came");
    // Its own servers it can reach.
    let own = "import socket\ns = socket.create_server(('127.0.0.1', 8080))\n\
        c = socket.create_connection(('localhost', 8080)); c.sendall(b'hi')\n\
        print(s.accept()[0].recv(9))\n";
    assert_eq!(told(sandbox.exec(&python(own)).await.expect("works")), ok("b'hi'\n"));
    // Two sandboxes are two networks.
    let (mut other, _) = open(backend, &[]).await;
    let server = "import socket, time\nfor i in (1,):\n    s = socket.create_server(('127.0.0.1', 8081)); time.sleep(600)\n";
    let line = format!("python3 -I -S -c \"{server}\" >/dev/null 2>&1 & sleep 0.5");
    assert_eq!(sh(&mut sandbox, &line).await.0, Exit::Code(0));
    let knock = "import socket\ntry: socket.create_connection(('127.0.0.1', 8081))\n\
        except ConnectionRefusedError: print('refused')\n";
    assert_eq!(told(other.exec(&python(knock)).await.expect("works")), ok("refused\n"));
}

#[tokio::test]
async fn system_calls_that_lead_out_are_refused() {
    let Some(backend) = shared() else { return };
    if std::env::consts::ARCH != "x86_64" {
        return skip("system_calls_that_lead_out_are_refused", "its numbers are those of x86-64");
    }
    let (mut sandbox, _) = open(backend, &[]).await;
    let probe = "import ctypes, errno\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        def call(*words):\n    ctypes.set_errno(0)\n    \
            r = libc.syscall(*[ctypes.c_long(w) for w in words])\n    \
            return errno.errorcode.get(ctypes.get_errno(), str(r))\n\
        calls = {'ptrace': 101, 'mount': 165, 'umount2': 166, 'pivot_root': 155, 'chroot': 161,\n\
          'setns': 308, 'bpf': 321, 'keyctl': 250, 'add_key': 248, 'request_key': 249,\n\
          'kexec_load': 246, 'init_module': 175, 'finit_module': 313, 'perf_event_open': 298,\n\
          'userfaultfd': 323, 'io_uring_setup': 425, 'io_uring_enter': 426, 'open_by_handle_at': 304,\n\
          'reboot': 169, 'swapon': 167, 'process_vm_readv': 310, 'process_vm_writev': 311,\n\
          'open_tree': 428, 'move_mount': 429, 'fsopen': 430, 'mount_setattr': 442,\n\
          'pidfd_getfd': 438, 'iopl': 172, 'modify_ldt': 154, 'kcmp': 312, 'fanotify_init': 300}\n\
        for name, number in calls.items():\n    \
            got = call(number, 0, 0, 0, 0, 0)\n    \
            if got != 'EPERM': print(name, got)\n\
        flags = {'user': 0x10000000, 'mnt': 0x20000, 'pid': 0x20000000, 'net': 0x40000000,\n\
          'ipc': 0x8000000, 'uts': 0x4000000, 'cgroup': 0x2000000}\n\
        for name, flag in flags.items():\n    \
            if call(272, flag) != 'EPERM': print('unshare', name)\n    \
            if call(56, flag | 17, 0, 0, 0, 0) != 'EPERM': print('clone', name)\n\
        print(call(435, 0, 0), call(0x40000000 + 39), call(135, 0x8), call(135, 0xffffffff))\n\
        print(call(41, 40, 1, 0), call(41, 38, 5, 0), call(41, 17, 3, 0), call(41, 1, 1, 0) != 'EPERM')\n\
        print(call(16, 0, 0x5412, 0))\n";
    let said = told(sandbox.exec(&python(probe)).await.expect("works"));
    assert_eq!(said, ok("ENOSYS ENOSYS EPERM 0\nEPERM EPERM EPERM True\nEPERM\n"));

    let state = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -s '\\t\\n' ' '; \
        cat /proc/sys/user/max_user_namespaces; unshare -U true 2>/dev/null || echo refused";
    let (_, said) = sh(&mut sandbox, state).await;
    let none = "0000000000000000";
    let expected = format!(
        "CapInh: {none} CapPrm: {none} CapEff: {none} CapBnd: {none} CapAmb: {none} \
         NoNewPrivs: 1 Seccomp: 2 0\nrefused\n"
    );
    assert_eq!(said, expected);
}

#[tokio::test]
async fn the_init_cannot_be_touched_from_inside() {
    let Some(backend) = shared() else { return };
    let (mut sandbox, _) = open(backend, &[]).await;
    let attacks = "for s in KILL STOP TERM SEGV CHLD INT HUP ABRT BUS PIPE USR1; do \
          kill -$s 1 2>/dev/null; kill -$s -1 2>/dev/null & wait; done; \
        cat /proc/1/mem /proc/1/maps /proc/1/environ 2>/dev/null | head -c 1; \
        ls /proc/1/fd 2>/dev/null; readlink /proc/1/exe; echo x > /proc/1/fd/0; true";
    let job = Command { timeout_ms: 20_000, ..shell(attacks) };
    let outcome = sandbox.exec(&job).await.expect("works");
    // The shell may well have killed itself; what counts is that the init answers and goes on.
    let said = String::from_utf8_lossy(&outcome.output).into_owned();
    assert!(!said.contains("claw\n") && !said.contains("/target/"), "{said}");
    assert_eq!(sh(&mut sandbox, "cat /proc/1/comm; echo alive").await, ok("init\nalive\n"));
}

#[tokio::test]
async fn further_directories_can_be_shown() {
    let what = "further_directories_can_be_shown";
    if !allowed() {
        return;
    }
    // Not below /tmp, of which sandboxes have their own.
    let Ok(outside) = tempfile::tempdir_in("/var/tmp") else {
        return skip(what, "/var/tmp cannot be written");
    };
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(outside.path(), executable.clone()).expect("set");
    let folder = outside.path().join("some tools");
    std::fs::create_dir(&folder).expect("made");
    std::fs::write(folder.join("tool"), "#!/bin/sh\necho used\n").expect("written");
    std::fs::set_permissions(folder.join("tool"), executable).expect("set");
    std::fs::write(outside.path().join("beside"), "hidden").expect("written");
    let backend = ProcessBackend::new(HELPER).show(&folder);
    let (mut sandbox, _) = open(&backend, &[]).await;
    let tools = folder.to_str().expect("a name");
    let line = format!("'{tools}/tool'; ls '{tools}/..'; touch '{tools}/x'");
    let (exit, said) = sh(&mut sandbox, &line).await;
    assert_eq!(
        (exit, said.starts_with("used\nsome tools\ntouch:")),
        (Exit::Code(1), true),
        "{said}"
    );
    assert!(said.contains("Read-only file system"), "{said}");

    let own = ProcessBackend::new(HELPER).show(std::env::temp_dir());
    let objects = MemoryObjects::default();
    let empty = Tree::default();
    let err = own.open(&empty, &objects, &Limits::default()).await.map(|_| ()).expect_err("no");
    assert!(err.to_string().contains("cannot be shown"), "{err}");
}
