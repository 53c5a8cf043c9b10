//! What an agent may try, tried: each attack is refused or contained by every backend that
//! isolates, is named in the outcome, and leaves the next sandbox unharmed.
//!
//! Each attack is also made on a `process` backend with the defence against it switched off, where
//! it must work: a test that an attack fails says nothing about an attack that never works.
//! `docs/sandbox.md` is the table of it all.

mod burden;
mod collected;
mod judged;
mod reach;
mod table;

use claw::sandbox::{Backend, Defence, Limits, ProcessBackend, Sandbox};
use claw::store::MemoryObjects;

use super::sandbox::{HELPER, allowed, ok, open, open_with, sh};

/// A `process` backend without some defences.
fn without(defences: &[Defence]) -> Option<ProcessBackend> {
    let whole = || ProcessBackend::new(HELPER);
    allowed().then(|| defences.iter().fold(whole(), |backend, one| backend.without(*one)))
}

/// The next sandbox of a backend opens, works, and finds nothing of the one before.
async fn unharmed(backend: &dyn Backend) {
    let (mut next, objects) = open(backend, &[("mine", b"mine")]).await;
    assert_eq!(sh(&mut next, "ls; cat mine; ls /tmp /dev/shm").await, ok(NEXT));
    let closed = next.close(&objects).await.expect("closes");
    assert!(closed.refused.is_empty(), "{:?}", closed.refused);
}

const NEXT: &str = "mine\nmine/dev/shm:\n\n/tmp:\nhome\n";

/// A sandbox with small limits.
async fn small(backend: &dyn Backend) -> (Box<dyn Sandbox>, MemoryObjects) {
    open_with(backend, &[("kept", b"k")], &tight()).await
}

fn tight() -> Limits {
    Limits { memory: 64 << 20, processes: 40, disk: 4 << 20, files: 200, ..Limits::default() }
}
