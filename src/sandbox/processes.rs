//! The processes of a sandbox, as its init sees them in `/proc`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Looks at the process table before everything is killed at once: enough for any tree that does
/// not fork faster than it is killed.
const PASSES: usize = 50;
/// How long the killed are waited for. Giving back a gigabyte takes a while.
const BURIAL: Duration = Duration::from_secs(2);

/// What `/proc/PID/stat` tells.
struct Process {
    pid: Pid,
    parent: i32,
    session: i32,
    dead: bool,
    /// Clock ticks since the machine started.
    started: u64,
}

/// All processes but the init.
fn all() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| *pid != 1)
        .filter_map(look)
        .collect()
}

fn look(pid: i32) -> Option<Process> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(15)?.parse().ok()?;
    Some(Process { pid: Pid::from_raw(pid)?, parent, session, dead, started })
}

/// Kills `main` and all processes that are younger: what came from it, however it detached itself.
/// A process that an older one starts at this very time may go with them. `bury` must wait for
/// children that have ended.
pub(super) fn kill_since(main: Pid, bury: &mut dyn FnMut()) {
    let Some(first) = look(main.as_raw_nonzero().get()) else {
        return;
    };
    let younger = |one: &Process| {
        (one.started, one.pid.as_raw_nonzero()) >= (first.started, main.as_raw_nonzero())
    };
    kill_while_new(bury, &mut |all| {
        all.iter().filter(|one| younger(one)).map(|one| one.pid).collect()
    });
}

/// Kills `main` and what came from it and did not detach itself: its session, and the children of
/// those that are killed. For when other commands go on beside it, whose young children
/// [`kill_since`] would take along.
pub(super) fn kill_tree(main: Pid, bury: &mut dyn FnMut()) {
    let mut family = BTreeSet::from([main.as_raw_nonzero().get()]);
    kill_while_new(bury, &mut |all| {
        loop {
            let known = family.len();
            for one in all {
                if family.contains(&one.parent) || family.contains(&one.session) {
                    family.insert(one.pid.as_raw_nonzero().get());
                }
            }
            if family.len() == known {
                break;
            }
        }
        let mine = |one: &&Process| family.contains(&one.pid.as_raw_nonzero().get());
        all.iter().filter(mine).map(|one| one.pid).collect()
    });
}

/// Kills those that `choose` names among all processes, and looks again, until no new ones turn up.
fn kill_while_new(bury: &mut dyn FnMut(), choose: &mut dyn FnMut(&[Process]) -> Vec<Pid>) {
    let mut killed = BTreeSet::new();
    let mut settled = false;
    for _ in 0..PASSES {
        let mut all = all();
        all.retain(|one| !one.dead);
        let mut news = false;
        for pid in choose(&all) {
            news |= killed.insert(pid.as_raw_nonzero());
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        bury();
        // A killed process cannot start another: when no new ones turn up, that was all.
        if !news {
            settled = true;
            break;
        }
    }
    if !settled {
        kill_all();
    }
    let patience = Instant::now() + BURIAL;
    while Instant::now() < patience {
        bury();
        if !all().iter().any(|one| !one.dead && killed.contains(&one.pid.as_raw_nonzero())) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Has the kernel kill `main`, and what it has started by now, before others when memory runs out.
pub(super) fn go_first(main: Pid) {
    // It may have ended, or be a program that nobody may read and so nobody may touch.
    let raise = |pid: i32| std::fs::write(format!("/proc/{pid}/oom_score_adj"), "1000");
    let main = main.as_raw_nonzero().get();
    for _ in 0..PASSES {
        // The kernel closes a new program's inherited files just before it opens its own to us.
        match raise(main) {
            Err(err) if err.kind() == std::io::ErrorKind::PermissionDenied => {
                std::thread::yield_now();
            }
            _ => break,
        }
    }
    // What it starts from now on inherits that; what it has started already bears a later number.
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return;
    };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in numbers.filter(|pid| *pid > main) {
        let _ = raise(pid);
    }
}

/// Whether there is any process but the init that still lives.
pub(super) fn any() -> bool {
    all().iter().any(|one| !one.dead)
}

/// Kills every process but the init, in one step.
pub(super) fn kill_all() {
    // A process group of 1 stands for everything that may be signalled. There may be nothing.
    let _ = kill_process_group(Pid::INIT, Signal::KILL);
}

/// Bytes that the files of some file systems take.
pub(super) fn held_by_files(places: &[&str]) -> u64 {
    let used = |place: &&str| {
        let stat = statvfs(*place).ok()?;
        Some(stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize))
    };
    places.iter().filter_map(used).sum()
}

/// Whether all processes together hold more than so many bytes of memory. A page that several
/// share, after a fork say, counts once.
pub(super) fn hold_more_than(limit: u64) -> bool {
    held_beyond(limit, 0, &["Pss:"])
}

/// Whether all processes together hold more than so many bytes of memory of their own: pages of no
/// file. What they share as memory cannot be told from files of the sandbox that they have mapped,
/// so as much of it as there are `files` does not count.
pub(super) fn own_more_than(limit: u64, files: u64) -> bool {
    held_beyond(limit, files, &["Pss_Anon:", "Pss_Shmem:"])
}

/// Whether what all processes hold of these kinds of pages is more than `limit`, of the last kind
/// what goes beyond `spared`.
fn held_beyond(limit: u64, spared: u64, kinds: &[&str]) -> bool {
    let all = all();
    let page = rustix::param::page_size() as u64;
    let resident = |one: &Process| {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", one.pid.as_raw_nonzero()));
        let pages: Option<u64> = text.ok()?.split_whitespace().nth(1)?.parse().ok();
        Some(pages? * page)
    };
    // The cheap sum counts shared pages again and again; only when it is over, count properly.
    if all.iter().filter_map(resident).sum::<u64>() <= limit {
        return false;
    }
    let mut sums = vec![0u64; kinds.len()];
    for one in &all {
        let path = format!("/proc/{}/smaps_rollup", one.pid.as_raw_nonzero());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let kilobytes = |kind: &&str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(*kind))?;
            line.trim().trim_end_matches("kB").trim().parse().ok()
        };
        match kinds.iter().map(kilobytes).collect::<Option<Vec<u64>>>() {
            Some(held) => {
                sums.iter_mut().zip(held).for_each(|(sum, held)| *sum += held << 10);
            }
            // Who hides from us counts with all it has, and so does everybody on an old kernel.
            None => sums[0] += resident(one).unwrap_or(0),
        }
    }
    if spared > 0
        && let Some(last) = sums.last_mut()
    {
        *last = last.saturating_sub(spared);
    }
    sums.iter().sum::<u64>() > limit
}
