//! Packages from git and over HTTP, and life without a network.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::yard::{FINANCE, Yard};

/// A web server on this machine that answers with files, for as long as it is not dropped.
struct Server {
    address: String,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let files: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let server = Server { address, files: files.clone(), asked: asked.clone() };
        // The thread ends with the test's process; it holds a port and nothing else.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
                let mut first = String::new();
                let _ = reader.read_line(&mut first);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                        break;
                    }
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let path = first.split(' ').nth(1).unwrap_or("/");
                let file = files.lock().expect("files").get(path).cloned();
                let (status, body) = match file {
                    Some(body) => ("200 OK", body),
                    None => ("404 Not Found", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&body);
            }
        });
        server
    }

    fn put(&self, path: &str, body: Vec<u8>) {
        self.files.lock().expect("files").insert(path.to_string(), body);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A `.tar.gz` as code hosts make it: everything in one folder.
fn release(advice: &str) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(encoder);
    for (path, text) in [("lib.claw", FINANCE), ("prompts/advice.md", advice)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let path = format!("finance-1.0.0/{path}");
        archive.append_data(&mut header, path, text.as_bytes()).expect("an entry");
    }
    archive.into_inner().and_then(|encoder| encoder.finish()).expect("an archive")
}

#[test]
fn an_archive_over_http() {
    let yard = Yard::new();
    yard.project();
    let server = Server::start();
    server.put("/finance-1.0.0.tar.gz", release("Spend less.\n"));
    let url = format!("{}/finance-1.0.0.tar.gz", server.address);
    yard.ok("project", &["add", "acme/finance", "--archive", &url]);
    assert_eq!(server.asked(), 1);
    // From now on the cache is enough.
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/advice.md"), "Spend less.\n");
    assert_eq!(server.asked(), 1);
    // Somebody else, or this machine after a clean-up, fetches what is pinned.
    yard.remove("cache");
    yard.ok("project", &["check", "main.claw"]);
    assert_eq!(server.asked(), 2);
    // What is no longer the same is refused, and the cache takes nothing of it.
    let masked = |text: String| text.replace(&server.address, "http://<server>");
    yard.remove("cache");
    server.put("/finance-1.0.0.tar.gz", release("Spend more.\n"));
    insta::assert_snapshot!(
        "changed_download",
        masked(yard.refused("project", &["check", "main.claw"]))
    );
    assert!(!yard.path("cache").exists());
    let args = ["add", "other", "--archive", &format!("{}/none.tar.gz", server.address)];
    insta::assert_snapshot!("missing_download", masked(yard.refused("project", &args)));
}

/// A registry is files, so any web server serves one.
#[test]
fn a_registry_over_http() {
    let yard = Yard::new();
    yard.project();
    yard.finance("finance", "1.0.0");
    yard.ok(".", &["publish", "finance", "--to", "registry"]);
    let server = Server::start();
    for file in ["index.jsonl", "1.0.0.tar.zst"] {
        let path = format!("acme/finance/{file}");
        let bytes = std::fs::read(yard.path("registry").join(&path)).expect("a file");
        server.put(&format!("/packages/{path}"), bytes);
    }
    let url = format!("{}/packages/", server.address);
    yard.ok("project", &["add", "acme/finance", "--registry", &url]);
    yard.ok("project", &["check", "main.claw"]);
    assert!(yard.read("project/claw.toml").contains("version = \"1.0.0\""));
}

#[test]
fn without_a_network() {
    let yard = Yard::new();
    yard.project();
    let server = Server::start();
    server.put("/finance.tar.gz", release("Spend less.\n"));
    let url = format!("{}/finance.tar.gz", server.address);
    yard.ok("project", &["add", "acme/finance", "--archive", &url]);
    let offline = |args: &[&str]| {
        let output = yard.command("project", args).env("CLAW_OFFLINE", "1").output();
        let output = output.expect("claw starts");
        yard.shown(args, &output).replace(&server.address, "http://<server>")
    };
    assert!(offline(&["check", "main.claw"]).contains("main.claw: ok"));
    yard.ok("project", &["vendor"]);
    yard.remove("cache");
    assert!(offline(&["check", "main.claw"]).contains("main.claw: ok"));
    yard.remove("project/vendor");
    insta::assert_snapshot!("offline_without_copies", offline(&["check", "main.claw"]));
    assert_eq!(server.asked(), 1);
    // `claw update` is about the network.
    insta::assert_snapshot!("offline_update", offline(&["update"]));
    assert_eq!(server.asked(), 1);
}

#[test]
fn a_git_repository() {
    let yard = Yard::new();
    yard.finance("finance", "1.0.0");
    yard.write("finance/tools/run.sh", "#!/bin/sh\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(yard.path("finance/tools/run.sh"), mode).expect("a mode");
    // Filters and line endings of this machine have no say.
    yard.write("finance/.gitattributes", "*.md text eol=crlf filter=shout\n");
    let url = yard.repository("finance");
    yard.project();
    yard.ok("project", &["add", "acme/finance", "--git", &url, "--rev", "main"]);
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/advice.md"), "Spend less.\n");
    let lock = yard.read("project/claw.lock");
    // The same files in a folder are the same package.
    yard.ok("project", &["add", "twin", "--path", "../finance"]);
    assert_eq!(yard.read("project/claw.lock").matches("[[package]]").count(), 1);
    yard.write("project/claw.lock", &lock);
    // The branch moves on; what is pinned stays, also where it must be fetched again.
    yard.write("finance/prompts/advice.md", "Spend more.\n");
    yard.commit("finance");
    yard.git("finance", &["push", "--quiet", "origin", "main"]);
    yard.remove("cache");
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/advice.md"), "Spend less.\n");
    assert_eq!(yard.read("project/claw.lock"), lock);
    yard.ok("project", &["update", "acme/finance"]);
    yard.ok("project", &["run", "main.claw", "--quiet"]);
    assert_eq!(yard.read("project/out/advice.md"), "Spend more.\n");
    let mut told = String::new();
    let nowhere = url.replace("finance", "nowhere");
    for (url, rev) in [(&url, "v9"), (&nowhere, "main")] {
        told.push_str(&yard.refused("project", &["add", "x", "--git", url, "--rev", rev]));
    }
    told.push_str(&yard.refused("project", &["add", "x", "--git", &url, "--rev=--help"]));
    insta::assert_snapshot!("git_refusals", told);
}

/// Two who publish the same version at the same time: one is refused, and the index has one line.
#[test]
fn one_of_two_publishes() {
    let yard = Yard::new();
    for (folder, word) in [("one", "crowns"), ("two", "pounds")] {
        yard.finance(folder, "1.0.0");
        yard.write(&format!("{folder}/lib.claw"), &FINANCE.replace("crowns", word));
    }
    let started: Vec<_> = ["one", "two"]
        .iter()
        .map(|folder| {
            let mut command = yard.command(".", &["publish", folder, "--to", "registry"]);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            command.spawn().expect("claw starts")
        })
        .collect();
    let ended = started.into_iter().map(|mut one| one.wait().expect("an end").success());
    assert_eq!(ended.filter(|good| *good).count(), 1);
    assert_eq!(yard.read("registry/acme/finance/index.jsonl").lines().count(), 1);
    yard.project();
    yard.ok("project", &["add", "acme/finance", "--registry", "../registry"]);
}
