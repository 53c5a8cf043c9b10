//! A stack that is large enough for the deepest program that is let through.
//!
//! The parser, the builder and the checker recurse over trees whose depth is bounded (see
//! [`super::syntax::MAX_DEPTH`]), but how much stack a level takes differs between builds, and how
//! much there is between threads: a worker of an async runtime has 2 MiB, in which a debug build
//! walks some 90 levels. So the front end brings its own.

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
