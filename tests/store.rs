//! The store: what was put can be got, whatever happened in between.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use claw::store::{Digest, Objects, Receipt, Results, Snapshot, Store, StoreError};
use proptest::prelude::*;

fn receipt(key: Digest, result: Digest) -> Receipt {
    Receipt {
        key,
        operator: "test.make".into(),
        version: 1,
        parts: vec![("n".into(), key)],
        result,
        took_ms: 3,
        run: "test".into(),
    }
}

fn pack(folder: &Path) -> PathBuf {
    folder.join("packs/00000001.pack")
}

/// A store with `count` objects and a receipt for each.
fn filled(folder: &Path, count: u32) -> Vec<(Digest, Digest, Vec<u8>)> {
    let store = Store::open(folder, "test").expect("a store");
    (0..count)
        .map(|n| {
            let bytes = format!("object {n} {}", "x".repeat(n as usize * 7 % 900)).into_bytes();
            let object = store.put(&bytes).expect("put");
            let key = Digest::of(&n.to_le_bytes());
            assert!(store.keep(&receipt(key, object)).expect("kept"));
            (key, object, bytes)
        })
        .collect()
}

fn assert_whole(store: &dyn Results, all: &[(Digest, Digest, Vec<u8>)]) {
    for (key, object, bytes) in all {
        assert_eq!(&store.get(object).expect("an object")[..], &bytes[..]);
        assert_eq!(store.receipt(key).expect("read").expect("a receipt").result, *object);
    }
}

/// More than the index is told of at once, so that there are segments, and merged ones.
#[test]
fn very_many_small_objects_are_found_after_reopening_damage_and_rebuilding() {
    const MANY: u32 = 40_000;
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = |n: u32| format!("{{\"row\":{n}}}").into_bytes();
    // Ten writers, one after the other: eight short segments are merged.
    for part in 0..10 {
        let store = Store::open(folder.path(), "test").expect("a store");
        let part = part * MANY / 10..(part + 1) * MANY / 10;
        let digests = store.put_all(part.clone().map(bytes).collect()).expect("put");
        assert!(digests.into_iter().eq(part.map(|n| Digest::of(&bytes(n)))));
    }
    let segments = folder.path().join("index/segments/objects");
    let count = || std::fs::read_dir(&segments).expect("a folder").count();
    assert_eq!(count(), 3, "one merged and two short ones");
    let assert_all = |note: usize| {
        let store = Store::open(folder.path(), "test").expect("a store");
        assert_eq!(store.notices.len(), note, "{:?}", store.notices);
        for n in 0..MANY {
            assert_eq!(&store.get(&Digest::of(&bytes(n))).expect("an object")[..], bytes(n));
        }
        let absent = store.get(&Digest::of(b"absent"));
        assert!(matches!(absent, Err(StoreError::Missing(_))));
    };
    let segment = |number: usize| {
        let mut all: Vec<PathBuf> = std::fs::read_dir(&segments)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        all.sort();
        all[number].clone()
    };
    assert_all(0);
    let _ = std::fs::remove_file(folder.path().join("suspect"));
    // A segment that is gone, cut or changed: the index is made anew, with a word about it.
    std::fs::remove_file(segment(0)).expect("removed");
    assert_all(1);
    let _ = std::fs::remove_file(folder.path().join("suspect"));
    let path = segment(0);
    let whole = std::fs::read(&path).expect("read");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    assert_all(1);
    let _ = std::fs::remove_file(folder.path().join("suspect"));
    let path = segment(0);
    let mut changed = std::fs::read(&path).expect("read");
    changed[1000] ^= 1;
    std::fs::write(&path, &changed).expect("written");
    assert_all(1);
    let _ = std::fs::remove_file(folder.path().join("suspect"));
    // One that no index names, as a crash leaves it, is removed.
    std::fs::write(segments.join("00000099"), b"half of one").expect("written");
    assert_all(0);
    assert!(!segments.join("00000099").exists());
}

#[test]
fn what_is_put_is_there_at_once_and_after_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), "test").expect("a store");
    let digest = store.put(b"hello").expect("put");
    assert_eq!(&store.get(&digest).expect("got")[..], b"hello");
    let large = vec![7u8; 5 << 20];
    let big = store.put(&large).expect("put");
    drop(store);
    let store = Store::open(folder.path(), "test").expect("a store");
    assert_eq!(&store.get(&digest).expect("got")[..], b"hello");
    assert_eq!(store.get(&big).expect("got").len(), large.len());
    assert!(matches!(store.get(&Digest::of(b"other")), Err(StoreError::Missing(_))));
}

#[test]
fn sizes_are_those_of_what_was_put_wherever_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), "test").expect("a store");
    let all: Vec<Vec<u8>> = [0, 5, 10_000, 5 << 20].map(|length| vec![7u8; length]).into();
    let digests = store.put_all(all.clone()).expect("put");
    let told = |store: &Store| -> Vec<u64> {
        digests.iter().map(|digest| store.size(digest).expect("a size")).collect()
    };
    let right: Vec<u64> = all.iter().map(|bytes| bytes.len() as u64).collect();
    assert_eq!(told(&store), right, "on its way");
    store.sync().expect("synced");
    assert_eq!(told(&store), right, "in a pack");
    drop(store);
    let store = Store::open(folder.path(), "test").expect("a store");
    assert_eq!(told(&store), right, "after reopening");
    assert!(matches!(store.size(&Digest::of(b"other")), Err(StoreError::Missing(_))));
    // A header that does not name it is met like any damage.
    drop(store);
    let pack = folder.path().join("packs/00000001.pack");
    let mut bytes = std::fs::read(&pack).expect("read");
    let name = digests[1].0;
    let at = bytes.windows(32).position(|window| window == name).expect("its name");
    bytes[at] ^= 1;
    std::fs::write(&pack, bytes).expect("written");
    let store = Store::open(folder.path(), "test").expect("a store");
    assert!(store.size(&digests[1]).is_err());
    assert!(store.found_damage());
}

#[test]
fn the_first_receipt_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), "test").expect("a store");
    let (key, one, two) = (Digest::of(b"key"), Digest::of(b"1"), Digest::of(b"2"));
    assert!(store.keep(&receipt(key, one)).expect("kept"));
    assert!(!store.keep(&receipt(key, two)).expect("refused"));
    assert_eq!(store.receipt(&key).expect("read").expect("there").result, one);
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = Store::open(folder.path(), "claw run a.claw").expect("a store");
    match Store::open(folder.path(), "claw run b.claw") {
        Err(StoreError::Locked(who)) => {
            assert!(who.contains("claw run a.claw"), "{who}");
            assert!(who.contains(&std::process::id().to_string()), "{who}");
        }
        other => panic!("a second writer got {:?}", other.map(|_| "the store")),
    }
}

#[test]
fn readers_see_what_is_written_while_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), "test").expect("a store");
    let digest = store.put(b"seen").expect("put");
    store.sync().expect("synced");
    let reader = Snapshot::open(folder.path()).expect("a snapshot");
    assert_eq!(&reader.get(&digest).expect("got")[..], b"seen");
    drop(store);
}

#[test]
fn a_lost_or_broken_index_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = filled(folder.path(), 200);
    std::fs::remove_dir_all(folder.path().join("index")).expect("removed");
    let store = Store::open(folder.path(), "test").expect("a store");
    assert!(!store.notices.is_empty(), "the person is told");
    assert_whole(&store, &all);
    drop(store);

    // An old copy of the index, from when the store was empty, is caught up with.
    let empty = tempfile::tempdir().expect("a folder");
    drop(Store::open(empty.path(), "test").expect("a store"));
    std::fs::remove_dir_all(folder.path().join("index")).expect("removed");
    std::fs::rename(empty.path().join("index"), folder.path().join("index")).expect("moved");
    assert_whole(&Store::open(folder.path(), "test").expect("a store"), &all);

    // Garbage in its place is moved aside.
    let index = folder.path().join("index");
    std::fs::remove_dir_all(&index).expect("removed");
    std::fs::create_dir(&index).expect("made");
    std::fs::write(index.join("db"), vec![0xa5; 100_000]).expect("written");
    std::fs::write(index.join("conf"), b"nonsense").expect("written");
    assert_whole(&Store::open(folder.path(), "test").expect("a store"), &all);
}

/// Cut anywhere, a pack gives exactly the records before the cut; what is written next stays.
#[test]
fn a_torn_pack_keeps_its_good_part() {
    let source = tempfile::tempdir().expect("a folder");
    let all = filled(source.path(), 30);
    let whole = std::fs::read(pack(source.path())).expect("a pack");
    for cut in (0..whole.len()).step_by(whole.len() / 60 + 1) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("packs")).expect("made");
        std::fs::write(pack(folder.path()), &whole[..cut]).expect("written");
        let store = Store::open(folder.path(), "test").expect("a store");
        let mut lost = false;
        for (key, object, bytes) in &all {
            let there = store.get(object).ok();
            assert!(there.is_none() || !lost, "a record after a torn one was believed");
            match there {
                Some(found) => assert_eq!(&found[..], &bytes[..]),
                None => lost = true,
            }
            if store.receipt(key).expect("read").is_some() {
                assert!(store.get(object).is_ok(), "a receipt names an object that is gone");
            }
        }
        let digest = store.put(b"after the crash").expect("put");
        drop(store);
        let store = Store::open(folder.path(), "test").expect("a store");
        assert_eq!(&store.get(&digest).expect("got")[..], b"after the crash");
    }
}

#[test]
fn a_flipped_bit_is_never_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = filled(folder.path(), 40);
    let path = pack(folder.path());
    let length = std::fs::metadata(&path).expect("a pack").len();
    let mut mended = 0;
    for at in (0..length).step_by(211) {
        let mut file =
            std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opened");
        let mut byte = [0u8];
        file.seek(SeekFrom::Start(at)).expect("sought");
        file.read_exact(&mut byte).expect("read");
        let flip = |file: &mut std::fs::File, byte: u8| {
            file.seek(SeekFrom::Start(at)).expect("sought");
            file.write_all(&[byte]).expect("written");
        };
        flip(&mut file, byte[0] ^ 0x10);
        let store = Store::open(folder.path(), "test").expect("a store");
        let mut damaged = 0;
        for (key, object, bytes) in &all {
            match store.get(object) {
                Ok(found) => assert_eq!(&found[..], &bytes[..]),
                Err(_) => {
                    damaged += 1;
                    // It counts as absent: made again, it is kept again.
                    store.put(bytes).expect("put");
                    assert_eq!(&store.get(object).expect("got")[..], &bytes[..]);
                }
            }
            match store.receipt(key).expect("read") {
                Some(found) => assert_eq!(found.result, *object),
                None => {
                    damaged += 1;
                    assert!(store.keep(&receipt(*key, *object)).expect("kept"));
                }
            }
        }
        assert!(damaged <= 1, "one flipped bit at {at} damages one record");
        mended += damaged;
        drop(store);
        flip(&mut file, byte[0]);
    }
    assert!(mended > 40, "{mended}");
}

#[test]
fn a_damaged_record_costs_no_other_when_the_index_is_made_anew() {
    let source = tempfile::tempdir().expect("a folder");
    let all = filled(source.path(), 40);
    let whole = std::fs::read(pack(source.path())).expect("a pack");
    for at in (0..whole.len()).step_by(whole.len() / 50 + 1) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("packs")).expect("made");
        let mut bytes = whole.clone();
        bytes[at] ^= 0x01;
        std::fs::write(pack(folder.path()), &bytes).expect("written");
        let store = Store::open(folder.path(), "test").expect("a store");
        let snapshot = Snapshot::open(folder.path()).expect("a snapshot");
        for results in [&store as &dyn Results, &snapshot] {
            let lost = all.iter().map(|(key, object, _)| {
                // A receipt counts for nothing without its object.
                let lost = results.get(object).is_err();
                usize::from(lost || results.receipt(key).expect("read").is_none())
            });
            assert_eq!(lost.sum::<usize>(), 1, "a bit at {at}");
        }
    }
}

#[test]
fn packs_that_are_gone_are_not_believed_to_be_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = filled(folder.path(), 10);
    std::fs::remove_file(pack(folder.path())).expect("removed");
    let store = Store::open(folder.path(), "test").expect("a store");
    for (key, object, bytes) in &all {
        assert!(store.get(object).is_err() && store.receipt(key).expect("read").is_none());
        store.put(bytes).expect("put");
        assert_eq!(&store.get(object).expect("got")[..], &bytes[..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against a map: puts, receipts and reopenings in any order.
    #[test]
    fn behaves_like_a_map(steps in prop::collection::vec((0u8..4, 0u16..60), 1..120)) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(folder.path(), "test").expect("a store");
        let mut objects: HashMap<Digest, Vec<u8>> = HashMap::new();
        let mut receipts: HashMap<Digest, Digest> = HashMap::new();
        for (what, n) in steps {
            let bytes = vec![n as u8; n as usize * 13];
            match what {
                0 | 1 => {
                    let digest = store.put(&bytes).expect("put");
                    objects.insert(digest, bytes);
                }
                2 => {
                    let result = store.put(&bytes).expect("put");
                    objects.insert(result, bytes);
                    let key = Digest::of(&(n % 7).to_le_bytes());
                    let first = store.keep(&receipt(key, result)).expect("kept");
                    prop_assert_eq!(first, !receipts.contains_key(&key));
                    receipts.entry(key).or_insert(result);
                }
                _ => {
                    drop(store);
                    store = Store::open(folder.path(), "test").expect("a store");
                }
            }
            for (digest, bytes) in &objects {
                prop_assert_eq!(&store.get(digest).expect("an object")[..], &bytes[..]);
            }
            for (key, result) in &receipts {
                prop_assert_eq!(store.receipt(key).expect("read").expect("there").result, *result);
            }
        }
    }
}
