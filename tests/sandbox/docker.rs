//! What is particular to the `docker` backend: images, the engine, and that nothing is left on it.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use claw::engine::{Args, Context, Operator};
use claw::lang::Value;
use claw::operators::exec::{Exec, Gives};
use claw::operators::place::Backends;
use claw::sandbox::{Backend, DockerBackend, Exit, Limits, ProcessBackend, SandboxError};
use claw::store::{Digest, MemoryObjects, Objects, Tree};

use super::{HELPER, docker, is_alone, ok, open, python, sh, told};

/// The engine and the image that the tests use, asked without claw.
async fn engine() -> (Docker, String) {
    let address = std::env::var("CLAW_TEST_DOCKER").expect("set, as there is a backend");
    let path = address.trim_start_matches("unix://");
    let docker = Docker::connect_with_unix(path, 60, API_DEFAULT_VERSION).expect("an engine");
    let docker = docker.negotiate_version().await.expect("it answers");
    let image = std::env::var("CLAW_TEST_IMAGE").expect("set, as there is a backend");
    (docker, image.rsplit('@').next().expect("a digest").to_string())
}

/// The names and labels of all containers that bear this label.
async fn labelled(docker: &Docker, label: &str) -> Vec<(String, HashMap<String, String>)> {
    let filters: HashMap<_, _> = [("label", vec![label.to_string()])].into();
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let mut found = docker.list_containers(Some(options.clone())).await;
    // Podman has a state, on the way out, whose name Docker's interface does not know.
    for _ in 0..600 {
        if found.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        found = docker.list_containers(Some(options.clone())).await;
    }
    let found = found.expect("listed").into_iter();
    found.map(|one| (one.id.expect("an id"), one.labels.unwrap_or_default())).collect()
}

async fn open_err(backend: &DockerBackend) -> SandboxError {
    let objects = MemoryObjects::default();
    let empty = Tree::default();
    backend.open(&empty, &objects, &Limits::default()).await.map(|_| ()).expect_err("refused")
}

#[tokio::test]
async fn the_socket_of_an_init_hears_no_command() {
    let Some(backend) = docker() else { return };
    let (mut sandbox, _) = open(backend, &[]).await;
    let call = "import socket\nsocket.socket(socket.AF_UNIX).connect('/claw.hand')";
    let (exit, said) = told(sandbox.exec(&python(call)).await.expect("the sandbox works"));
    assert!(exit == Exit::Code(1) && said.contains("ConnectionRefusedError"), "{said}");
    // And it is there for its init.
    sandbox.listen(7411).await.expect("it listens");
}

#[tokio::test]
async fn what_the_engine_lacks_is_said_with_what_to_do() {
    let nobody = DockerBackend::at(HELPER, "unix:///no/such/socket");
    let err = open_err(&nobody).await.to_string();
    assert!(err.contains("has no image") && err.contains("image: \"NAME@sha256:…\""), "{err}");
    let digest = format!("sha256:{}", "ab".repeat(32));
    let err = nobody.with_image("python:3.12").map(|_| ()).expect_err("no digest").to_string();
    assert!(err.contains("docker image inspect --format '{{.Id}}' python:3.12"), "{err}");
    let err = open_err(&nobody.with_image(&digest).expect("a digest")).await.to_string();
    assert!(err.contains("unix:///no/such/socket does not answer"), "{err}");
    assert!(err.contains("start dockerd"), "{err}");

    let Some(backend) = docker() else { return };
    let absent = backend.with_image(&format!("no/such:1@{digest}")).expect("a name");
    let err = open_err(&absent).await.to_string();
    assert!(err.contains(&format!("does not have the image `no/such:1@{digest}`")), "{err}");
    assert!(err.contains("docker pull"), "{err}");
    // The name is there, and is something else by now.
    let image = std::env::var("CLAW_TEST_IMAGE").expect("set");
    let (name, real) = image.rsplit_once('@').expect("a digest");
    let moved = backend.with_image(&format!("{name}@{digest}")).expect("a name");
    let err = open_err(&moved).await.to_string();
    assert!(err.contains(&format!("is not {digest} here but {real}")), "{err}");
}

#[tokio::test]
async fn a_container_has_what_its_image_has_and_no_more_rights_than_needed() {
    let Some(backend) = docker() else { return };
    let (mut sandbox, _) = open(backend, &[("f", b"1")]).await;
    let (_, said) = sh(&mut sandbox, "id -u; hostname; pwd; cat f; echo $PATH; ls /claw").await;
    let path = "/usr/local/bin:/usr/bin:/bin";
    assert_eq!(said, format!("1000\nsandbox\n/workspace\n1{path}\nclaw\ndone\nld.so\nlib\n"));
    let state =
        "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t\\n' ' '";
    let (_, said) = sh(&mut sandbox, state).await;
    let none = "0000000000000000";
    assert_eq!(said, format!("CapEff: {none} CapBnd: {none} NoNewPrivs: 1 Seccomp: 2 "));
}

#[tokio::test]
async fn only_leftovers_of_processes_that_are_gone_are_removed() {
    let Some(backend) = docker() else { return };
    let (engine, image) = engine().await;
    // A container of ours tells what the labels of this machine look like.
    let (_mine, _) = open(backend, &[]).await;
    let own = format!("{}/", std::process::id());
    let found = labelled(&engine, "claw.part=sandbox").await;
    let labels = found.into_iter().map(|(_, labels)| labels);
    let labels = labels.into_iter().find(|labels| labels["claw.process"].starts_with(&own));
    let labels = labels.expect("the container of the open sandbox");
    let living = labels["claw.process"].clone();

    let cookie = format!("claw-test-{}", std::process::id());
    let mut made = BTreeMap::new();
    for (what, home, process) in [
        ("gone", labels["claw.home"].as_str(), "4194399/7"),
        ("living", labels["claw.home"].as_str(), living.as_str()),
        ("elsewhere", "another-kernel/pid:[1]", "4194399/7"),
    ] {
        let labels = [("claw.home", home), ("claw.process", process), ("claw.part", "sandbox")];
        let labels = labels.map(|(name, value)| (name.to_string(), value.to_string()));
        let body = ContainerCreateBody {
            image: Some(image.clone()),
            cmd: Some(vec!["true".to_string()]),
            labels: Some(labels.into()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_string()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let name = format!("{cookie}-{what}");
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let id = engine.create_container(Some(options), body).await.expect("made").id;
        made.insert(what, id);
    }
    // A backend that was not used before cleans up first.
    let address = std::env::var("CLAW_TEST_DOCKER").expect("set");
    let fresh = DockerBackend::at(HELPER, address).with_image(&image).expect("by its content");
    let (_other, _) = open(&fresh, &[]).await;
    let mut left = Vec::new();
    let standing = labelled(&engine, "claw.part=sandbox").await;
    for (what, id) in &made {
        if standing.iter().any(|(one, _)| one == id) {
            left.push(*what);
        }
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        let _ = engine.remove_container(id, Some(options)).await;
    }
    assert_eq!(left, ["elsewhere", "living"]);
}

#[tokio::test]
#[ignore = "run by `a_run_that_is_killed_leaves_no_container`, in a process of its own"]
#[expect(clippy::print_stdout, reason = "it speaks to the test that started it")]
async fn holds_a_container() {
    let Some(backend) = docker() else { return };
    let (mut sandbox, _) = open(backend, &[]).await;
    println!("holding {}", std::process::id());
    sh(&mut sandbox, "sleep 600").await;
}

#[tokio::test]
async fn a_run_that_is_killed_leaves_no_container() {
    if is_alone() || docker().is_none() {
        return;
    }
    let (engine, _) = engine().await;
    let this = std::env::current_exe().expect("a path");
    let mut run = std::process::Command::new(this)
        .args(["sandbox::docker::holds_a_container", "--ignored", "--nocapture"])
        .env("CLAW_TEST_ALONE", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(run.stdout.take().expect("a pipe")).lines();
    let holding = lines.find_map(|line| Some(line.expect("text").split_once("holding ")?.1.into()));
    let process: String = holding.expect("it opened a sandbox");
    let of_it = |found: Vec<(String, HashMap<String, String>)>| {
        let mine = format!("{process}/");
        found.into_iter().filter(|(_, labels)| labels["claw.process"].starts_with(&mine)).count()
    };
    assert_eq!(of_it(labelled(&engine, "claw.part=sandbox").await), 1);
    run.kill().expect("killed");
    run.wait().expect("gone");
    let mut left = 1;
    for _ in 0..600 {
        left = of_it(labelled(&engine, "claw.part=sandbox").await);
        if left == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_at_once_work_and_none_is_left() {
    let Some(backend) = docker() else { return };
    let tasks = (0..4).map(|i| async move {
        let (mut sandbox, objects) = open(backend, &[("n", format!("{i}").as_bytes())]).await;
        assert_eq!(sh(&mut sandbox, "cat n > out; cat out").await, ok(&format!("{i}")));
        let closed = sandbox.close(&objects).await.expect("closes");
        assert!(closed.workspace.entries.contains_key("out"));
    });
    futures::future::join_all(tasks).await;
}

#[test]
fn the_image_is_a_part_of_what_a_command_reads() {
    let exec = Exec::new(Gives::Done, Arc::new(|_| None));
    let reads = |sandbox: Value| {
        let args = [("command".to_string(), Value::str("true")), ("sandbox".to_string(), sandbox)];
        let reads = exec.reads(&Args(args.into()), &MemoryObjects::default()).expect("readable");
        (&exec as &dyn Operator).key(&reads, 0)
    };
    let kind = |kind: &str| ("sandbox", Value::str(kind));
    let image = |digit: &str| ("image", Value::str(format!("sha256:{}", digit.repeat(64))));
    // Backends and limits are not: what they end is a failure, and failures are not kept.
    let plain = reads(Value::record([kind("process")]));
    assert_eq!(plain, reads(Value::record([kind("process"), ("memory", Value::Int(1 << 20))])));
    assert_eq!(plain, reads(Value::record([kind("local")])));
    let first = reads(Value::record([kind("docker"), image("a")]));
    assert_ne!(first, plain);
    assert_ne!(first, reads(Value::record([kind("docker"), image("b")])));
    assert_eq!(first, reads(Value::record([kind("docker"), image("a"), ("time", Value::Int(5))])));
}

#[tokio::test]
async fn a_stage_runs_in_the_image_that_it_names() {
    let Some(_) = docker() else { return };
    let address = std::env::var("CLAW_TEST_DOCKER").expect("set");
    let image = std::env::var("CLAW_TEST_IMAGE").expect("set");
    let engine: Arc<dyn Backend> = Arc::new(DockerBackend::at(HELPER, address));
    let process: Arc<dyn Backend> = Arc::new(ProcessBackend::new(HELPER));
    let backends: Backends = Arc::new(move |name| {
        [&engine, &process].into_iter().find(|backend| backend.name() == name).cloned()
    });
    let exec = Exec::new(Gives::Done, backends);
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::default());
    let run = async |kind: &str| {
        let none = || Value::List(Vec::new());
        let sandbox =
            Value::record([("sandbox", Value::str(kind)), ("image", Value::str(image.as_str()))]);
        let args = [
            ("command", Value::str("ls -d /claw")),
            ("stdin", Value::str("")),
            ("inputs", none()),
            ("folders", none()),
            ("outputs", none()),
            ("secrets", Value::Record(Default::default())),
            ("sandbox", sandbox),
        ];
        let args = Args(args.map(|(name, value)| (name.to_string(), value)).into());
        exec.call(&args, &Context::quiet(objects.clone(), Digest::of(b"a key"))).await
    };
    let done = run("docker").await.expect("it runs");
    assert_eq!(done.get("printed").and_then(Value::as_str), Some("/claw\n"));
    let err = run("process").await.expect_err("no image").to_string();
    assert!(err.contains("a sandbox `process` has no image"), "{err}");
}
