//! Readers beside an index that is whole, old, damaged, strange or on its way.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::store::disk::Store;
use crate::store::{Keep, collect};

fn bytes(n: u32) -> Vec<u8> {
    format!("object {n} {}", "x".repeat(n as usize * 31 % 700)).into_bytes()
}

fn key(n: u32) -> Digest {
    Digest::of(&n.to_le_bytes())
}

fn receipt(n: u32) -> Receipt {
    let result = Digest::of(&bytes(n));
    let (operator, run) = ("test.make".to_string(), "test".to_string());
    Receipt { key: key(n), operator, version: 1, parts: Vec::new(), result, took_ms: 3, run }
}

/// Objects with a receipt each, by one writer.
fn write(folder: &Path, numbers: std::ops::Range<u32>) {
    let store = Store::open(folder, "test").expect("a store");
    for n in numbers {
        store.put(&bytes(n)).expect("put");
        store.keep(&receipt(n)).expect("kept");
    }
}

/// A store that three writers filled.
fn filled(count: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for part in 0..3 {
        write(folder.path(), part * count / 3..(part + 1) * count / 3);
    }
    folder
}

fn assert_knows(snapshot: &Snapshot, numbers: std::ops::Range<u32>, what: &str) {
    for n in numbers {
        let object = snapshot.get(&Digest::of(&bytes(n))).expect(what);
        assert_eq!(&object[..], bytes(n), "{what}: {n}");
        assert_eq!(snapshot.receipt(&key(n)).expect(what), Some(receipt(n)), "{what}: {n}");
    }
}

fn assert_lacks(snapshot: &Snapshot, n: u32) {
    let object = snapshot.get(&Digest::of(&bytes(n)));
    assert!(matches!(object, Err(StoreError::Missing(_))), "{n}");
    assert_eq!(snapshot.receipt(&key(n)).expect("read"), None, "{n}");
}

/// Opens a snapshot that has to know these and says whether the packs had to be read for it.
fn scanned(folder: &Path, count: u32, what: &str) -> bool {
    let snapshot = Snapshot::open(folder).expect(what);
    assert_knows(&snapshot, 0..count, what);
    assert_lacks(&snapshot, count + 1000);
    snapshot.scanned.get().is_some()
}

fn segments(folder: &Path) -> PathBuf {
    folder.join("index/segments")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let path = to.join(file.strip_prefix(from).expect("below"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::copy(&file, path).expect("copied");
    }
}

#[test]
fn what_the_index_knows_is_read_without_the_packs() {
    let folder = filled(300);
    assert!(!scanned(folder.path(), 300, "a whole store"));
    // And what it was not told yet comes from their end.
    let store = Store::open(folder.path(), "test").expect("a store");
    for n in 300..400 {
        store.put(&bytes(n)).expect("put");
        store.keep(&receipt(n)).expect("kept");
    }
    store.sync().expect("synced");
    assert!(!scanned(folder.path(), 400, "beside a writer"));
    drop(store);
    assert!(!scanned(folder.path(), 400, "after it"));
}

#[test]
fn a_store_that_is_not_there_is_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_lacks(&Snapshot::open(folder.path()).expect("opened"), 1);
    assert_lacks(&Snapshot::open(&folder.path().join("none")).expect("opened"), 1);
}

#[test]
fn of_two_receipts_the_later_one_counts() {
    let folder = filled(30);
    let store = Store::open(folder.path(), "test").expect("a store");
    let renewed = Receipt { result: Digest::of(&bytes(1)), ..receipt(7) };
    store.renew(&renewed).expect("renewed");
    store.sync().expect("synced");
    let found = || {
        let snapshot = Snapshot::open(folder.path()).expect("opened");
        let found = snapshot.receipt(&key(7)).expect("read");
        assert!(snapshot.scanned.get().is_none());
        assert_eq!(snapshot.all().expect("read").receipt(&key(7)).cloned(), found);
        found
    };
    assert_eq!(found(), Some(renewed.clone()));
    drop(store);
    assert_eq!(found(), Some(renewed));
}

#[test]
fn a_snapshot_answers_after_its_segments_were_merged_and_its_packs_collected() {
    let folder = filled(60);
    let early = Snapshot::open(folder.path()).expect("opened");
    for part in 0..20 {
        write(folder.path(), 60 + part..61 + part);
    }
    let few = files(&segments(folder.path()).join("objects")).len();
    assert!(few < 16, "{few} segments");
    let keep = |_: &Snapshot| Keep {
        receipts: Box::new(|receipt: &Receipt| receipt.result == Digest::of(&bytes(3))),
        objects: Vec::new(),
    };
    collect(folder.path(), "test", false, keep).expect("collected");
    assert_knows(&early, 0..60, "packs held open");
    assert!(early.scanned.get().is_none());
    let late = Snapshot::open(folder.path()).expect("opened");
    assert_knows(&late, 3..4, "what was kept");
    assert_lacks(&late, 4);
    assert!(late.scanned.get().is_none());
}

#[test]
fn readers_are_told_before_the_index_lasts_and_a_killed_writer_costs_nothing() {
    const MANY: u32 = 40_000;
    let row = |n: u32| format!("{{\"row\":{n}}}").into_bytes();
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), "test").expect("a store");
    store.keep(&receipt(1)).expect("kept");
    for part in 0..MANY / 1000 {
        store.put_all((part * 1000..(part + 1) * 1000).map(row).collect()).expect("put");
    }
    store.sync().expect("synced");
    let killed = tempfile::tempdir().expect("a folder");
    copy(folder.path(), killed.path());
    for folder in [folder.path(), killed.path()] {
        let snapshot = Snapshot::open(folder).expect("opened");
        let tail = snapshot.indexed().expect("an index").behind();
        assert!(tail < MANY as usize / 2, "{tail} are read from the packs' end");
        for n in 0..MANY {
            assert_eq!(&snapshot.get(&Digest::of(&row(n))).expect("an object")[..], row(n));
        }
        assert_eq!(snapshot.receipt(&key(1)).expect("read"), Some(receipt(1)));
        assert!(snapshot.scanned.get().is_none());
    }
    drop(store);
    // What was not made to last is read from the packs.
    let store = Store::open(killed.path(), "test").expect("a store");
    for n in 0..MANY {
        assert_eq!(&store.get(&Digest::of(&row(n))).expect("an object")[..], row(n));
    }
    drop(store);
    for folder in [folder.path(), killed.path()] {
        let snapshot = Snapshot::open(folder).expect("opened");
        assert_eq!(snapshot.indexed().expect("an index").behind(), 0);
        assert_eq!(&snapshot.get(&Digest::of(&row(7))).expect("an object")[..], row(7));
    }
}

#[test]
fn damaged_missing_and_old_manifests_cost_a_scan_and_nothing_else() {
    let folder = filled(60);
    let now = segments(folder.path()).join("now");
    let old = std::fs::read(&now).expect("read");
    let older = tempfile::tempdir().expect("a folder");
    copy(&segments(folder.path()), older.path());
    write(folder.path(), 60..90);
    // An old one is true as long as its segments are there: more of the packs is read for it.
    let new = std::fs::read(&now).expect("read");
    std::fs::write(&now, &old).expect("written");
    assert!(!scanned(folder.path(), 90, "an old manifest"));
    // Segments that it names are merged ones now.
    for part in 9..17 {
        write(folder.path(), part * 10..part * 10 + 10);
    }
    std::fs::write(&now, &old).expect("written");
    assert!(scanned(folder.path(), 170, "segments that are gone"));
    copy(older.path(), &segments(folder.path()));
    assert!(!scanned(folder.path(), 170, "an old index for readers"));
    std::fs::write(&now, &new).expect("written");
    assert!(scanned(folder.path(), 170, "some of its segments are gone"));
    for (what, bytes) in
        [("empty", Vec::new()), ("cut", new[..40].to_vec()), ("other", vec![7; 99])]
    {
        std::fs::write(&now, bytes).expect("written");
        assert!(scanned(folder.path(), 170, what));
    }
    std::fs::remove_file(&now).expect("removed");
    assert!(scanned(folder.path(), 170, "no manifest"));
    // The next writer leaves a good one.
    drop(Store::open(folder.path(), "test").expect("a store"));
    assert!(!scanned(folder.path(), 170, "after a writer"));
}

#[test]
fn the_index_of_another_store_is_not_believed() {
    let (folder, other) = (filled(60), tempfile::tempdir().expect("a folder"));
    write(other.path(), 500..590);
    std::fs::remove_dir_all(segments(folder.path())).expect("removed");
    copy(&segments(other.path()), &segments(folder.path()));
    assert!(scanned(folder.path(), 60, "all of it"));
    // One that agrees with the manifest in everything but what it holds.
    let folder = filled(60);
    let file = Path::new("receipts/00000001");
    std::fs::copy(segments(other.path()).join(file), segments(folder.path()).join(file))
        .expect("copied");
    assert!(scanned(folder.path(), 60, "a segment"));
    // All of the index, sled too: the writer finds out likewise.
    std::fs::remove_dir_all(folder.path().join("index")).expect("removed");
    copy(&other.path().join("index"), &folder.path().join("index"));
    assert!(scanned(folder.path(), 60, "sled too"));
    let store = Store::open(folder.path(), "test").expect("a store");
    assert_eq!(store.notices.len(), 1, "{:?}", store.notices);
    assert_eq!(store.receipt(&key(7)).expect("read"), Some(receipt(7)));
    drop(store);
    assert!(!scanned(folder.path(), 60, "after a writer"));
}

#[test]
fn damaged_segments_cost_a_scan_and_are_made_anew_by_the_next_writer() {
    let folder = filled(240);
    let mut scans = 0;
    let all: Vec<PathBuf> = ["objects", "receipts"]
        .iter()
        .flat_map(|kind| files(&segments(folder.path()).join(kind)))
        .collect();
    for path in &all {
        let whole = std::fs::read(path).expect("read");
        for at in (0..whole.len()).step_by(whole.len() / 23) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            std::fs::write(path, &bytes).expect("written");
            scans += u32::from(scanned(folder.path(), 240, "a flipped bit"));
            std::fs::write(path, &whole[..at]).expect("written");
            assert!(scanned(folder.path(), 240, "cut"));
        }
        std::fs::remove_file(path).expect("removed");
        assert!(scanned(folder.path(), 240, "gone"));
        std::fs::write(path, &whole).expect("written");
    }
    assert!(scans > 50, "{scans} of flipped bits were met");
    assert!(!scanned(folder.path(), 240, "whole again"));
    // In what only readers use the writer finds it too.
    let path = segments(folder.path()).join("receipts/00000001");
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    drop(Store::open(folder.path(), "test").expect("a store"));
    assert!(!scanned(folder.path(), 240, "made anew"));
}

#[test]
fn an_index_from_before_a_collection_is_not_believed() {
    for kept in [0, 20, 59] {
        let folder = filled(60);
        let before = tempfile::tempdir().expect("a folder");
        copy(&folder.path().join("index"), before.path());
        let results: Vec<Digest> = (0..kept).map(|n| Digest::of(&bytes(n))).collect();
        let keep = |_: &Snapshot| Keep {
            receipts: Box::new(move |receipt: &Receipt| results.contains(&receipt.result)),
            objects: Vec::new(),
        };
        collect(folder.path(), "test", false, keep).expect("collected");
        assert_eq!(scanned(folder.path(), kept, "collected"), kept == 0);
        std::fs::remove_dir_all(folder.path().join("index")).expect("removed");
        copy(before.path(), &folder.path().join("index"));
        assert!(scanned(folder.path(), kept, "an index from before"));
        // Other things in packs of the old numbers.
        write(folder.path(), kept + 1..70);
        write(folder.path(), kept..kept + 1);
        assert!(!scanned(folder.path(), 70, "made again"));
        std::fs::remove_dir_all(folder.path().join("index")).expect("removed");
        copy(before.path(), &folder.path().join("index"));
        assert!(scanned(folder.path(), 70, "an index from long before"));
    }
}

#[test]
fn packs_that_are_gone_or_changed_are_met_when_they_are_read() {
    let folder = filled(60);
    let path = pack::path(folder.path(), 1);
    let whole = std::fs::read(&path).expect("read");
    for at in (0..whole.len() - 60).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).expect("written");
        let snapshot = Snapshot::open(folder.path()).expect("opened");
        let lost = (0..60).filter(|n| {
            let object = snapshot.get(&Digest::of(&self::bytes(*n)));
            assert!(object.as_ref().map_or(true, |got| got[..] == self::bytes(*n)));
            let found = snapshot.receipt(&key(*n)).expect("read");
            assert!(found.as_ref().is_none_or(|found| *found == receipt(*n)));
            object.is_err() || found.is_none()
        });
        assert_eq!(lost.count(), 1, "a bit at {at}");
        assert!(snapshot.scanned.get().is_some());
    }
    std::fs::remove_file(&path).expect("removed");
    let snapshot = Snapshot::open(folder.path()).expect("opened");
    (0..60).for_each(|n| assert_lacks(&snapshot, n));
}

#[test]
fn readers_beside_writers_that_merge_and_collections_find_what_was_there() {
    const KEPT: u32 = 40;
    const ROUNDS: u32 = 24;
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), 0..KEPT);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut opened = 0;
                    while !over.load(Ordering::Relaxed) || opened == 0 {
                        let snapshot = Snapshot::open(folder.path()).expect("opened");
                        assert_knows(&snapshot, 0..KEPT, "beside writers");
                        opened += 1;
                    }
                })
            })
            .collect();
        for round in 1..=ROUNDS {
            write(folder.path(), round * 100..round * 100 + 20);
            if round % 6 == 0 {
                let results: Vec<Digest> = (0..KEPT).map(|n| Digest::of(&bytes(n))).collect();
                let keep = |_: &Snapshot| Keep {
                    receipts: Box::new(move |receipt: &Receipt| results.contains(&receipt.result)),
                    objects: Vec::new(),
                };
                collect(folder.path(), "test", false, keep).expect("collected");
            }
        }
        over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("no reader failed"));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against a scan: whatever was written, told to the index or not, and lost from the packs' end.
    #[test]
    fn a_snapshot_says_what_a_scan_says(
        steps in prop::collection::vec((0u8..5, 0u32..40), 1..60),
        lost in 0u64..400,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), "test").expect("a store");
        for (what, n) in steps {
            match what {
                0 | 1 => drop(store.put(&bytes(n)).expect("put")),
                2 => drop(store.put(&bytes(n).repeat(100)).expect("put")),
                3 => drop(store.keep(&receipt(n)).expect("kept")),
                _ => {
                    drop(store);
                    store = Store::open(folder.path(), "test").expect("a store");
                }
            }
        }
        store.sync().expect("synced");
        let agree = || {
            let snapshot = Snapshot::open(folder.path()).expect("opened");
            let whole = Snapshot::whole(folder.path()).expect("read");
            for n in 0..40 {
                for digest in [Digest::of(&bytes(n)), Digest::of(&bytes(n).repeat(100))] {
                    assert_eq!(snapshot.get(&digest).ok(), whole.get(&digest).ok());
                }
                let (one, two) = (snapshot.receipt(&key(n)), whole.receipt(&key(n)));
                assert_eq!(one.expect("read"), two.expect("read"));
            }
        };
        agree();
        drop(store);
        agree();
        let path = pack::path(folder.path(), 1);
        if let Ok(file) = std::fs::OpenOptions::new().write(true).open(path) {
            let length = file.metadata().expect("there").len();
            file.set_len(length.saturating_sub(lost)).expect("cut");
        }
        agree();
        drop(Store::open(folder.path(), "test").expect("a store"));
        agree();
    }

    /// What is skimmed is what is scanned, also when the end is torn.
    #[test]
    fn skimming_finds_what_scanning_finds(
        lengths in prop::collection::vec(prop_oneof![0usize..300, 15_000usize..150_000], 0..20),
        cut in 0usize..40_000,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("packs")).expect("made");
        let (mut out, mut encoder) = (Vec::new(), pack::Encoder::new());
        for (n, length) in lengths.iter().enumerate() {
            // Bytes that are not compressed away.
            let mut payload = vec![0; *length];
            blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut payload);
            let kind = if n % 3 == 0 { pack::Kind::Receipt } else { pack::Kind::Object };
            encoder.append(&mut out, kind, &Digest::of(&payload), &payload);
        }
        out.truncate(out.len().saturating_sub(cut));
        let path = pack::path(folder.path(), 1);
        std::fs::write(&path, &out).expect("written");
        let (mut scanned, mut skimmed) = (Vec::new(), Vec::new());
        pack::scan(folder.path(), 1, 0, |record, _| scanned.push((record.name, record.place)))
            .expect("scanned");
        let file = File::open(&path).expect("opened");
        pack::skim(folder.path(), (1, &file), 0, |record| skimmed.push((record.name, record.place)))
            .expect("skimmed");
        prop_assert_eq!(scanned, skimmed);
    }
}
