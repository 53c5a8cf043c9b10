//! What a sandbox costs: a measurement, run by `benches/sandbox.sh`.
//!
//! The same is done in every way that this machine has: a world is made, `true` runs in it, and it
//! is gone again. Then many worlds are held open at once, for their memory.
//!
//! Processor time is that of everybody who takes part: of this program, the helper, the inits, the
//! commands, an engine with all its servants. Control groups count it where the script could make
//! some (`CLAW_CPU_GROUPS`); else all that the machine did counts, which means something only on one
//! that does nothing else. What kernel threads clean up later is in neither.

#![allow(clippy::print_stdout, reason = "a measurement speaks")]

use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use claw::sandbox::{Backend, Exit, Limits, Sandbox};
use claw::store::{MemoryObjects, Tree};
use futures::future::BoxFuture;

use super::{command, docker, shared};

/// Every way is measured so often, in turn with the others: a busy moment hits all of them.
const PASSES: usize = 3;
/// Goals of a `process` sandbox.
const GOAL_PROCESSOR_MS: f64 = 3.0;
const GOAL_MEMORY: f64 = 0.5 * (1 << 20) as f64;
const GOAL_BESIDE_BWRAP: f64 = 2.0;
const GOAL_BESIDE_DOCKER: f64 = 50.0;

/// Isolation as near to that of a `process` sandbox as its flags allow.
const BWRAP: &[&str] = &[
    "bwrap",
    "--unshare-all",
    "--ro-bind",
    "/",
    "/",
    "--tmpfs",
    "/tmp",
    "--tmpfs",
    "/mnt",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--die-with-parent",
];

/// The same namespaces with nothing in them: about what the kernel alone takes for new ones.
const UNSHARE: &[&str] =
    &["unshare", "--user", "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--fork"];

/// Something that is alive for as long as it is held.
struct Held {
    _sandbox: Option<Box<dyn Sandbox>>,
    process: Option<std::process::Child>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(child) = &mut self.process {
            // It reads until there is nothing more to read.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// A way to run a command in a world of its own.
trait Way {
    fn name(&self) -> &'static str;
    /// How often it is done in a pass.
    fn rounds(&self) -> usize;
    /// How many worlds are held open for their memory.
    fn held(&self) -> usize;
    /// Once, from nothing to nothing.
    fn once(&self) -> BoxFuture<'_, Result<(), String>>;
    /// A world that stays.
    fn hold(&self) -> BoxFuture<'_, Result<Held, String>>;
}

/// Another program that does it.
struct Other {
    name: &'static str,
    argv: Vec<String>,
    rounds: usize,
    held: usize,
}

impl Other {
    fn new(name: &'static str, argv: &[&str], rounds: usize, held: usize) -> Other {
        Other { name, argv: argv.iter().map(|word| word.to_string()).collect(), rounds, held }
    }

    fn command(&self, inside: &[&str]) -> std::process::Command {
        let argv: Vec<&str> =
            self.argv.iter().map(String::as_str).chain(inside.iter().copied()).collect();
        let mut command = std::process::Command::new(argv[0]);
        command.args(&argv[1..]).stdout(Stdio::null());
        command
    }
}

impl Way for Other {
    fn name(&self) -> &'static str {
        self.name
    }

    fn rounds(&self) -> usize {
        self.rounds
    }

    fn held(&self) -> usize {
        self.held
    }

    fn once(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let ran = self.command(&["true"]).stdin(Stdio::null()).stderr(Stdio::piped()).output();
            let ran = ran.map_err(|err| err.to_string())?;
            let said = String::from_utf8_lossy(&ran.stderr).trim().to_string();
            if ran.status.success() { Ok(()) } else { Err(said) }
        })
    }

    fn hold(&self) -> BoxFuture<'_, Result<Held, String>> {
        Box::pin(async {
            let mut held = self.command(&["cat"]);
            let started = held.stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
            let held = |child| Held { _sandbox: None, process: Some(child) };
            started.map(held).map_err(|err| err.to_string())
        })
    }
}

/// A backend of ours.
struct Ours {
    name: &'static str,
    backend: &'static dyn Backend,
    objects: MemoryObjects,
    rounds: usize,
    held: usize,
}

impl Ours {
    fn new(name: &'static str, backend: &'static dyn Backend, rounds: usize, held: usize) -> Ours {
        let objects = MemoryObjects::default();
        Ours { name, backend, objects, rounds, held }
    }

    async fn open(&self) -> Result<Box<dyn Sandbox>, String> {
        let opened = self.backend.open(&Tree::default(), &self.objects, &Limits::default()).await;
        opened.map_err(|err| err.to_string())
    }
}

impl Way for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    fn rounds(&self) -> usize {
        self.rounds
    }

    fn held(&self) -> usize {
        self.held
    }

    fn once(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let mut sandbox = self.open().await?;
            let ran = sandbox.exec(&command(&["true"])).await.map_err(|err| err.to_string())?;
            assert_eq!(ran.exit, Exit::Code(0));
            let closed = sandbox.close(&self.objects).await.map_err(|err| err.to_string())?;
            assert_eq!(closed.workspace, Tree::default());
            Ok(())
        })
    }

    fn hold(&self) -> BoxFuture<'_, Result<Held, String>> {
        Box::pin(async {
            let sandbox = self.open().await?;
            Ok(Held { _sandbox: Some(sandbox), process: None })
        })
    }
}

/// What a way costs.
#[derive(Default)]
struct Price {
    /// Milliseconds of each round.
    walls: Vec<f64>,
    /// Milliseconds of processor time a round, a pass.
    processor: Vec<f64>,
    /// Bytes of each held world: of its processes, and with what the kernel keeps for it.
    memory: Option<f64>,
    with_kernel: Option<f64>,
    /// Why it could not be done.
    missing: Option<String>,
}

impl Price {
    fn wall(&self) -> f64 {
        median(&self.walls)
    }

    fn processor(&self) -> f64 {
        median(&self.processor)
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The folders that a variable lists.
fn groups(name: &str) -> Vec<String> {
    let list = std::env::var(name).unwrap_or_default();
    list.split(':').filter(|one| !one.is_empty()).map(str::to_string).collect()
}

fn sum_of(groups: &[String], file: &str) -> f64 {
    let value = |group: &String| -> Option<f64> {
        std::fs::read_to_string(Path::new(group).join(file)).ok()?.trim().parse().ok()
    };
    groups.iter().filter_map(value).sum()
}

/// Milliseconds of processor time so far.
fn processor() -> f64 {
    let groups = groups("CLAW_CPU_GROUPS");
    if !groups.is_empty() {
        return sum_of(&groups, "cpuacct.usage") / 1e6;
    }
    let text = std::fs::read_to_string("/proc/stat").expect("a machine");
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // All but idling and waiting for a disk; a tick is ten milliseconds.
    let busy: f64 = ticks.iter().take(8).sum::<f64>() - ticks[3] - ticks[4];
    busy * 10.0
}

/// Bytes that the processes of the groups hold; a page that several share is divided among them.
/// Where there are no groups, this process and all that came from it.
fn held_by_processes() -> f64 {
    let groups = groups("CLAW_CPU_GROUPS");
    let pids = if groups.is_empty() {
        family()
    } else {
        groups.iter().flat_map(|group| members(Path::new(group))).collect()
    };
    let share = |pid: &u32| -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<f64>()
            .ok()
            .map(|kilobytes| kilobytes * 1024.0)
    };
    pids.iter().filter_map(share).sum()
}

fn members(group: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut all: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let below = std::fs::read_dir(group).into_iter().flatten().flatten();
    for folder in below.filter(|entry| entry.path().is_dir()) {
        all.extend(members(&folder.path()));
    }
    all
}

fn family() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("a process table").flatten();
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut all = vec![std::process::id()];
    let mut at = 0;
    while at < all.len() {
        let one = all[at];
        all.extend(parents.iter().filter(|(_, parent)| *parent == one).map(|(pid, _)| *pid));
        at += 1;
    }
    all
}

fn with_kernel() -> Option<f64> {
    let groups = groups("CLAW_MEMORY_GROUPS");
    (!groups.is_empty()).then(|| sum_of(&groups, "memory.usage_in_bytes"))
}

/// Holds many at once and says what each takes.
async fn weigh(way: &dyn Way, price: &mut Price) -> Result<(), String> {
    let (own, all) = (held_by_processes(), with_kernel());
    let mut held = Vec::new();
    for _ in 0..way.held() {
        held.push(way.hold().await?);
    }
    // Programs from outside say nothing when they are ready.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let each = |before: f64, after: f64| (after - before).max(0.0) / way.held() as f64;
    price.memory = Some(each(own, held_by_processes()));
    price.with_kernel = all.zip(with_kernel()).map(|(before, after)| each(before, after));
    Ok(())
}

async fn pass(way: &dyn Way, price: &mut Price) -> Result<(), String> {
    way.once().await?;
    let before = processor();
    for _ in 0..way.rounds() {
        let begun = Instant::now();
        way.once().await?;
        price.walls.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    price.processor.push((processor() - before) / way.rounds() as f64);
    Ok(())
}

/// The ways of this machine; the first one is what others are put beside.
fn ways() -> Vec<Box<dyn Way>> {
    let mut ways: Vec<Box<dyn Way>> = Vec::new();
    if let Some(backend) = shared() {
        ways.push(Box::new(Ours::new("sandbox(\"process\")", backend, 100, 100)));
    }
    ways.push(Box::new(Other::new("plain exec", &[], 100, 100)));
    ways.push(Box::new(Other::new("unshare", UNSHARE, 100, 100)));
    ways.push(Box::new(Other::new("bwrap", BWRAP, 100, 100)));
    if let Some(backend) = docker() {
        ways.push(Box::new(Ours::new("sandbox(\"docker\")", backend, 3, 5)));
        let image = std::env::var("CLAW_TEST_IMAGE").unwrap_or_default();
        let image = image.rsplit('@').next().unwrap_or_default().to_string();
        let host = std::env::var("CLAW_TEST_DOCKER").unwrap_or_default();
        let run = ["docker", "--host", &host, "run", "--rm", "-i", "--network", "none", &image];
        ways.push(Box::new(Other::new("docker run --rm", &run, 3, 5)));
    }
    ways
}

fn table(prices: &[(&'static str, Price)]) -> String {
    let number = |value: Option<f64>, unit: f64| match value {
        Some(value) if value.is_finite() => format!("{:.2}", value / unit),
        _ => "-".to_string(),
    };
    let first = &prices[0].1;
    let mut text = format!(
        "{:<20} {:>9} {:>13} {:>10} {:>12}   beside the first\n{:<20} {:>9} {:>13} {:>10} {:>12}   {:>6} {:>10}\n",
        "",
        "wall",
        "processor",
        "memory",
        "with kernel",
        "",
        "ms",
        "ms",
        "MiB each",
        "MiB each",
        "wall",
        "processor",
    );
    let mebibyte = (1 << 20) as f64;
    for (name, price) in prices {
        if let Some(why) = &price.missing {
            writeln!(text, "{name:<20} missing: {why}").expect("a text");
            continue;
        }
        writeln!(
            text,
            "{name:<20} {:>9.2} {:>13.2} {:>10} {:>12}   {:>5.1}x {:>9.1}x",
            price.wall(),
            price.processor(),
            number(price.memory, mebibyte),
            number(price.with_kernel, mebibyte),
            price.wall() / first.wall(),
            price.processor() / first.processor(),
        )
        .expect("a text");
    }
    text
}

/// How the first one stands to its goals.
fn goals(prices: &[(&'static str, Price)]) -> String {
    let first = &prices[0].1;
    let of =
        |name: &str| prices.iter().find(|(one, price)| *one == name && price.missing.is_none());
    let mut text = String::new();
    let mut line = |what: &str, is: f64, goal: f64, reached: bool| {
        let word = if reached { "reached" } else { "missed" };
        writeln!(text, "{what}: {is:.2}, goal {goal:.1}: {word}").expect("a text");
    };
    let spent = first.processor();
    line("processor time, ms", spent, GOAL_PROCESSOR_MS, spent <= GOAL_PROCESSOR_MS);
    if let Some(memory) = first.memory {
        let mebibyte = (1 << 20) as f64;
        line("memory, MiB", memory / mebibyte, GOAL_MEMORY / mebibyte, memory <= GOAL_MEMORY);
    }
    for (name, goal) in [("bwrap", GOAL_BESIDE_BWRAP), ("docker run --rm", GOAL_BESIDE_DOCKER)] {
        if let Some((_, other)) = of(name) {
            let (wall, processor) =
                (other.wall() / first.wall(), other.processor() / first.processor());
            line(&format!("{name}, times the wall time"), wall, goal, wall >= goal);
            line(&format!("{name}, times the processor time"), processor, goal, processor >= goal);
        }
    }
    // What the command itself takes is no cost of a sandbox.
    if let (Some((_, plain)), Some((_, other))) = (of("plain exec"), of("bwrap")) {
        let over = |price: &Price| price.processor() - plain.processor();
        writeln!(
            text,
            "over a plain exec, processor: {:.2} ms, bwrap {:.2} ms, {:.2} times",
            over(first),
            over(other),
            over(other) / over(first)
        )
        .expect("a text");
        let over = |price: &Price| price.wall() - plain.wall();
        writeln!(text, "over a plain exec, wall: bwrap {:.2} times", over(other) / over(first))
            .expect("a text");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: benches/sandbox.sh"]
async fn price() {
    let ways = ways();
    let mut prices: Vec<_> = ways.iter().map(|way| (way.name(), Price::default())).collect();
    for _ in 0..PASSES {
        for (way, (_, price)) in ways.iter().zip(&mut prices) {
            if price.missing.is_none() {
                price.missing = pass(&**way, price).await.err();
            }
        }
    }
    for (way, (_, price)) in ways.iter().zip(&mut prices) {
        if price.missing.is_none() {
            price.missing = weigh(&**way, price).await.err();
        }
    }
    println!("{}\n{}", table(&prices), goals(&prices));
    // A command more in a sandbox that stands.
    if let Some(backend) = shared() {
        let ours = Ours::new("exec", backend, 0, 0);
        let mut sandbox = ours.open().await.expect("opens");
        let (begun, before) = (Instant::now(), processor());
        for _ in 0..300 {
            sandbox.exec(&command(&["true"])).await.expect("works");
        }
        let wall = begun.elapsed().as_secs_f64() * 1e3 / 300.0;
        println!(
            "a further command: {wall:.2} ms, {:.2} ms processor",
            (processor() - before) / 300.0
        );
    }
}
