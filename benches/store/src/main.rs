//! How quick the store is, beside what it is made of or could have been made of.
//!
//! ```text
//! store-bench FOLDER ROWS
//! ```
//!
//! Everything is measured ROUNDS times, claw and its peers in turn, and the best of each is told: a
//! busy machine makes things slower and never quicker. The peers do less: sled and SQLite check no
//! content and keep no names of it, `blake3` only reads. Rows are JSON of about 200 bytes that do not
//! repeat; each has its digest for a key, which every contender has to compute.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use claw::store::{Digest, Objects, Receipt, Results, Snapshot, Store};

type Fallible<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 3;
/// Bytes of one large object, and how many of them there are.
const LARGE: usize = 32 << 20;
const LARGE_COUNT: usize = 8;

fn main() -> Fallible<()> {
    let mut args = std::env::args().skip(1);
    let (Some(folder), Some(rows)) = (args.next(), args.next()) else {
        return Err("usage: store-bench FOLDER ROWS".into());
    };
    let (folder, rows) = (PathBuf::from(folder), rows.parse::<u64>()?);
    hashing(&folder)?;
    small(&folder, rows)?;
    Ok(())
}

/// Seconds that it takes, at best, of several contenders that take turns.
fn race<const N: usize>(
    folder: &Path,
    mut contenders: [&mut dyn FnMut(&Path) -> Fallible<f64>; N],
) -> Fallible<[f64; N]> {
    let mut best = [f64::INFINITY; N];
    for _ in 0..ROUNDS {
        for (number, contender) in contenders.iter_mut().enumerate() {
            let own = folder.join(format!("contender-{number}"));
            let _ = std::fs::remove_dir_all(&own);
            std::fs::create_dir_all(&own)?;
            best[number] = best[number].min(contender(&own)?);
            std::fs::remove_dir_all(&own)?;
        }
    }
    Ok(best)
}

fn timed(work: impl FnOnce() -> Fallible<()>) -> Fallible<f64> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64())
}

/// A sequence of numbers that look random.
fn mixed(seed: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn row(number: u64) -> Vec<u8> {
    let words: Vec<String> = (0..9).map(|n| format!("{:016x}", mixed(number * 9 + n))).collect();
    format!("{{\"n\":{number},\"text\":\"{}\"}}", words.join(" ")).into_bytes()
}

fn told(what: &str, unit: &str, amount: f64, names: &[&str], seconds: &[f64]) {
    println!("\n{what}");
    for (name, time) in names.iter().zip(seconds) {
        let ratio = seconds[0] / time;
        println!("  {name:<28} {:>14.0} {unit}   {ratio:>6.2} of claw's speed", amount / time);
    }
}

/// Large objects: hashed, kept and synced, read back and checked.
fn hashing(folder: &Path) -> Fallible<()> {
    let mut bytes = vec![0u8; LARGE];
    bytes.chunks_exact_mut(8).enumerate().for_each(|(number, chunk)| {
        chunk.copy_from_slice(&mixed(number as u64).to_le_bytes());
    });
    let each = |bytes: &mut Vec<u8>, number: usize| bytes[..8].copy_from_slice(&[number as u8; 8]);
    let mebibytes = (LARGE * LARGE_COUNT) as f64 / f64::from(1 << 20);

    let mut one = bytes.clone();
    let mut two = bytes.clone();
    let hashed = race(
        folder,
        [
            &mut |_| {
                timed(|| {
                    for number in 0..LARGE_COUNT {
                        each(&mut one, number);
                        black_box(Digest::of(&one));
                    }
                    Ok(())
                })
            },
            &mut |_| {
                timed(|| {
                    for number in 0..LARGE_COUNT {
                        each(&mut two, number);
                        black_box(blake3::hash(&two));
                    }
                    Ok(())
                })
            },
        ],
    )?;
    told("hashing 32 MiB at a time", "MiB/s", mebibytes, &["claw", "blake3"], &hashed);

    let mut one = bytes.clone();
    let mut read = f64::INFINITY;
    let kept = race(
        folder,
        [
            &mut |own| {
                let store = Store::open(own, "bench")?;
                let mut digests = Vec::new();
                let time = timed(|| {
                    for number in 0..LARGE_COUNT {
                        each(&mut one, number);
                        digests.push(store.put(&one)?);
                    }
                    Ok(store.sync()?)
                })?;
                read = read.min(timed(|| {
                    for digest in &digests {
                        black_box(store.get(digest)?);
                    }
                    Ok(())
                })?);
                Ok(time)
            },
            &mut |own| {
                timed(|| {
                    for number in 0..LARGE_COUNT {
                        each(&mut bytes, number);
                        let path = own.join(blake3::hash(&bytes).to_hex().as_str());
                        std::fs::write(&path, &bytes)?;
                        std::fs::File::open(path)?.sync_all()?;
                    }
                    Ok(())
                })
            },
        ],
    )?;
    let names = ["claw", "blake3, write and sync"];
    told("keeping 32 MiB at a time, synced", "MiB/s", mebibytes, &names, &kept);
    println!("  claw, read and checked       {:>14.0} MiB/s", mebibytes / read);
    Ok(())
}

/// What reads of small rows took, for each contender, and opening the store with them.
#[derive(Clone, Copy)]
struct Later {
    read: f64,
    open: f64,
}

impl Default for Later {
    fn default() -> Later {
        Later { read: f64::INFINITY, open: f64::INFINITY }
    }
}

impl Later {
    fn best(&mut self, read: f64, open: f64) {
        self.read = self.read.min(read);
        self.open = self.open.min(open);
    }
}

/// Small rows: kept and synced, opened, read in a random order.
fn small(folder: &Path, rows: u64) -> Fallible<()> {
    let order: Vec<u64> = (0..rows.min(200_000)).map(|n| mixed(n) % rows).collect();
    let (mut of_claw, mut of_sled, mut of_sqlite) =
        (Later::default(), Later::default(), Later::default());
    let mut snapshot = f64::INFINITY;
    let mut receipts = f64::INFINITY;
    let written = race(
        folder,
        [
            &mut |own| {
                let store = Store::open(own, "bench")?;
                let time = timed(|| {
                    for number in 0..rows {
                        store.put(&row(number))?;
                    }
                    Ok(store.sync()?)
                })?;
                drop(store);
                let began = Instant::now();
                let store = Store::open(own, "bench")?;
                let open = began.elapsed().as_secs_f64();
                let read = timed(|| {
                    for number in &order {
                        black_box(store.get(&Digest::of(&row(*number)))?);
                    }
                    Ok(())
                })?;
                of_claw.best(read, open);
                receipts = receipts.min(timed(|| {
                    for number in 0..rows {
                        store.keep(&receipt(number))?;
                    }
                    Ok(store.sync()?)
                })?);
                drop(store);
                let began = Instant::now();
                black_box(Snapshot::open(own)?);
                snapshot = snapshot.min(began.elapsed().as_secs_f64());
                Ok(time)
            },
            &mut |own| {
                let open = || sled::Config::new().path(own).cache_capacity(256 << 20).open();
                let db = open()?;
                let time = timed(|| {
                    for number in 0..rows {
                        let row = row(number);
                        db.insert(blake3::hash(&row).as_bytes(), row)?;
                    }
                    db.flush()?;
                    // Flushing does not sync on Linux.
                    Ok(std::fs::File::open(own.join("db"))?.sync_data()?)
                })?;
                drop(db);
                let began = Instant::now();
                let db = open()?;
                let opened = began.elapsed().as_secs_f64();
                let read = timed(|| {
                    for number in &order {
                        let key = blake3::hash(&row(*number));
                        black_box(db.get(key.as_bytes())?.ok_or("a row is missing")?.to_vec());
                    }
                    Ok(())
                })?;
                of_sled.best(read, opened);
                Ok(time)
            },
            &mut |own| {
                let open = || -> Fallible<rusqlite::Connection> {
                    let db = rusqlite::Connection::open(own.join("db"))?;
                    db.pragma_update(None, "journal_mode", "wal")?;
                    db.pragma_update(None, "synchronous", "full")?;
                    db.pragma_update(None, "cache_size", -(256 << 10))?;
                    Ok(db)
                };
                let mut db = open()?;
                let table = "create table rows (key blob primary key, bytes blob) without rowid";
                db.execute(table, ())?;
                let time = timed(|| {
                    // As many rows in a transaction as claw syncs at once.
                    for from in (0..rows).step_by(8192) {
                        let batch = db.transaction()?;
                        {
                            let mut insert =
                                batch.prepare_cached("insert into rows values (?, ?)")?;
                            for number in from..rows.min(from + 8192) {
                                let row = row(number);
                                insert.execute((blake3::hash(&row).as_bytes().as_slice(), &row))?;
                            }
                        }
                        batch.commit()?;
                    }
                    Ok(())
                })?;
                drop(db);
                let began = Instant::now();
                let db = open()?;
                let mut get = db.prepare("select bytes from rows where key = ?")?;
                let opened = began.elapsed().as_secs_f64();
                let read = timed(|| {
                    for number in &order {
                        let key = blake3::hash(&row(*number));
                        let bytes: Vec<u8> =
                            get.query_row([key.as_bytes().as_slice()], |found| found.get(0))?;
                        black_box(bytes);
                    }
                    Ok(())
                })?;
                of_sqlite.best(read, opened);
                Ok(time)
            },
        ],
    )?;
    let names = ["claw", "sled", "SQLite"];
    let what = format!("keeping {rows} rows of about 200 bytes, synced");
    told(&what, "rows/s", rows as f64, &names, &written);
    println!("  claw, a receipt each         {:>14.0} rows/s", rows as f64 / receipts);
    let read = [of_claw.read, of_sled.read, of_sqlite.read];
    told("reading them in a random order", "rows/s", order.len() as f64, &names, &read);
    println!("\nopening the store with {rows} rows");
    for (name, time) in names.iter().zip([of_claw.open, of_sled.open, of_sqlite.open]) {
        println!("  {name:<28} {:>14.1} ms", time * 1e3);
    }
    println!("  claw, to read (no lock)      {:>14.1} ms, receipts too", snapshot * 1e3);
    Ok(())
}

fn receipt(number: u64) -> Receipt {
    let key = Digest::of(&number.to_le_bytes());
    Receipt {
        key,
        operator: "bench.row".to_string(),
        version: 1,
        parts: vec![("n".to_string(), key)],
        result: Digest::of(&row(number)),
        took_ms: 0,
        run: "bench".to_string(),
    }
}
