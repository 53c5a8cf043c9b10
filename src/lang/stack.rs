//! A stack that is large enough for the deepest program that is let through.
//!
//! The parser, the builder and the checker recurse over trees whose depth is bounded (see
//! [`super::syntax::MAX_DEPTH`]), but how much stack a level takes differs between builds, and how
//! much there is between threads: a worker of an async runtime has 2 MiB, in which a debug build
//! walks some 90 levels. So the front end brings its own.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How much is reserved. Memory is only taken as it is touched.
const SIZE: usize = 64 << 20;

/// Does the work on a stack with room for [`super::syntax::MAX_DEPTH`] levels of anything. A panic
/// in it goes on in the caller.
pub(crate) fn roomy<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    // The work lies outside of the thread, so that it is still there when there is no thread.
    let mut work = Some(work);
    let done = std::thread::scope(|scope| {
        let work = &mut work;
        let thread = std::thread::Builder::new()
            .name("claw-language".to_string())
            .stack_size(SIZE)
            .spawn_scoped(scope, move || work.take().map(|work| work()));
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => None,
        }
    });
    match (done, work) {
        (Some(done), _) => done,
        // The stack that is there is enough for all but the deepest.
        (None, Some(work)) => work(),
        (None, None) => unreachable!("a thread that took the work gave a result or panicked"),
    }
}

/// The same for each of several parts, on as many threads as there are processors. `None` when there
/// is no thread to be had.
pub(crate) fn roomy_each<P: Sync, T: Send>(
    parts: &[P],
    work: impl Fn(&P) -> T + Sync,
) -> Option<Vec<T>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(parts.len());
    let next = AtomicUsize::new(0);
    let one = || {
        let mut done = Vec::new();
        while let Some((number, part)) = {
            let number = next.fetch_add(1, Ordering::Relaxed);
            parts.get(number).map(|part| (number, part))
        } {
            done.push((number, work(part)));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let start = |_| {
            let builder = std::thread::Builder::new().name("claw-language".to_string());
            builder.stack_size(SIZE).spawn_scoped(scope, one).ok()
        };
        let started: Vec<_> = (0..threads).filter_map(start).collect();
        let joined = started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.flatten().collect::<Vec<_>>()
    });
    done.sort_by_key(|(number, _)| *number);
    let all = done.len() == parts.len();
    all.then(|| done.into_iter().map(|(_, done)| done).collect())
}
