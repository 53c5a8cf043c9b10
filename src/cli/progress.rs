//! The live view of a run: one line a stage on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::engine::{Board, Count, State};

use super::print;

/// Shows a board until it is dropped.
pub(super) struct Progress {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts showing.
    pub(super) fn start(board: Arc<Board>) -> Progress {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let live = std::io::stderr().is_terminal();
        let thread = std::thread::Builder::new().name("claw-progress".into()).spawn(move || {
            if live { live_view(&board, &stopped) } else { plain_view(&board, &stopped) }
        });
        Progress { stop, thread: thread.ok() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn live_view(board: &Board, stopped: &AtomicBool) {
    let all = MultiProgress::new();
    let style = ProgressStyle::with_template("{prefix:<18} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bars: Vec<ProgressBar> = board
        .lines
        .iter()
        .map(|line| {
            let bar = all.add(ProgressBar::new_spinner());
            bar.set_style(style.clone());
            bar.set_prefix(line.stage.clone());
            bar
        })
        .collect();
    let mut began: HashMap<String, Instant> = HashMap::new();
    loop {
        let last = stopped.load(Ordering::Relaxed);
        for (bar, count) in bars.iter().zip(board.counts()) {
            if count.state == State::Running {
                began.entry(count.stage.clone()).or_insert_with(Instant::now);
            }
            let elapsed = began.get(&count.stage).map(Instant::elapsed);
            bar.set_message(message(&count, elapsed));
            bar.tick();
        }
        if last {
            bars.iter().for_each(ProgressBar::abandon);
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn plain_view(board: &Board, stopped: &AtomicBool) {
    let mut told: HashMap<String, State> = HashMap::new();
    let mut spoke = Instant::now();
    loop {
        let last = stopped.load(Ordering::Relaxed);
        for count in board.counts() {
            let before = told.insert(count.stage.clone(), count.state);
            let ended = matches!(count.state, State::Done | State::Failed);
            if ended && before != Some(count.state) {
                print::notice(&format!("{:<18} {}", count.stage, message(&count, None)));
                spoke = Instant::now();
            }
        }
        // A long stage says from time to time that it is alive.
        if !last && spoke.elapsed() > Duration::from_secs(15) {
            for count in board.counts() {
                if count.state == State::Running {
                    print::notice(&format!("{:<18} {}", count.stage, message(&count, None)));
                }
            }
            spoke = Instant::now();
        }
        if last {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One stage in one line.
fn message(count: &Count, elapsed: Option<Duration>) -> String {
    let done = count.cached + count.ran;
    match count.state {
        State::Waiting => "waiting".to_string(),
        State::Cached => format!("{} rows, all cached", print::number(count.total)),
        State::Running | State::Done | State::Failed => {
            let mut parts = Vec::new();
            // How many rows were started says nothing of how many there are.
            let extent = count.extent.map(|extent| extent.max(done + count.failed));
            match extent.filter(|extent| count.state == State::Running && done < *extent) {
                Some(extent) => {
                    parts.push(format!("{}/{} rows", print::number(done), print::number(extent)));
                }
                None => parts.push(format!("{} rows", print::number(done))),
            }
            if count.cached > 0 {
                parts.push(format!("{} cached", print::number(count.cached)));
            }
            if count.dropped > 0 {
                parts.push(format!("{} dropped", print::number(count.dropped)));
            }
            if count.failed > 0 {
                parts.push(format!("{} put aside", print::number(count.failed)));
            }
            if let Some(elapsed) = elapsed
                && count.state == State::Running
                && count.ran > 0
            {
                let rate = count.ran as f64 / elapsed.as_secs_f64().max(0.001);
                parts.push(format!("{rate:.0}/s"));
                if let Some(left) = extent.map(|extent| extent - done - count.failed)
                    && left > 0
                {
                    let ms = (left as f64 / rate.max(0.001) * 1000.0) as u64;
                    parts.push(format!("{} left", print::duration(ms)));
                }
            }
            if !count.note.is_empty() && count.state == State::Running {
                parts.push(count.note.clone());
            }
            if count.state == State::Failed {
                parts.push("failed".to_string());
            }
            parts.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(state: State, total: u64, extent: Option<u64>, ran: u64) -> Count {
        let (stage, note) = ("rows".to_string(), String::new());
        let (cached, failed, outside, dropped) = (0, 0, 0, 0);
        Count { stage, state, total, extent, cached, ran, failed, outside, dropped, note }
    }

    #[test]
    fn rows_are_counted_towards_those_that_there_can_be() {
        let told = |count: &Count| message(count, Some(Duration::from_secs(2)));
        let running = |total, extent, ran| told(&count(State::Running, total, extent, ran));
        assert_eq!(running(64, Some(200), 20), "20/200 rows, 10/s, 18.0 s left");
        assert_eq!(running(64, None, 20), "20 rows, 10/s");
        // It can never be past its end.
        assert_eq!(running(12, Some(5), 12), "12 rows, 6/s");
        assert_eq!(told(&count(State::Done, 20, Some(20), 20)), "20 rows");
    }
}
