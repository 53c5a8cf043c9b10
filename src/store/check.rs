//! `claw store check`: is everything there, and is it what its name says?
//!
//! Reads all packs and large files, or a share of them, without the lock and without the index, also
//! while a run goes on. What is torn at the end of a pack is no damage: a writer was stopped there,
//! and nobody was promised anything. What is damaged but stands somewhere else too is none either.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::disk::{large_path, read_large};
use super::objects::{Objects, StoreError};
use super::pack::{self, Kind};
use super::receipt::{Receipt, Results};
use super::references::{Role, Walk};
use super::snapshot::Snapshot;
use super::suspect;

/// A result that needs something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Need {
    /// What made it: an operator, or `stage`.
    pub operator: String,
    /// The run that did.
    pub run: String,
    /// The receipt's key.
    pub key: Digest,
}

/// Something that is missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Bad {
    /// What it is or was: `row or result`, `table`, `directory`, `file`, `receipt`, `record`.
    pub what: &'static str,
    /// Its digest, or the receipt's key; none when not even that can be read.
    pub digest: Option<Digest>,
    /// Where it stands or should stand, relative to the store.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
    /// The results that need it.
    pub needed_by: Vec<Need>,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Checked {
    /// Objects in packs whose bytes were hashed.
    pub objects: u64,
    /// Receipts that were followed to their results.
    pub receipts: u64,
    /// Large objects whose bytes were hashed.
    pub large: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Bytes at the ends of packs that a stopped writer left.
    pub torn_bytes: u64,
    /// What is bad, in the order of digests.
    pub bad: Vec<Bad>,
}

/// Whether a digest is in the sample: a share of all digests, another one for each `draw`.
fn drawn(digest: &Digest, share: f64, draw: u64) -> bool {
    // The largest number below 2^53 that a share of it can be told exactly.
    let place = (digest.seed() ^ draw).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
    (place as f64) < share * (1u64 << 53) as f64
}

/// Checks the store in `folder`: a `share` of it from 0 to 1, a different one for each `draw`. What
/// records say of themselves is always checked; hashing the content and following the results is
/// what a sample saves.
///
/// # Errors
/// When the disk refuses.
pub fn check(folder: &Path, share: f64, draw: u64) -> Result<Checked, StoreError> {
    let snapshot = Snapshot::whole(folder)?;
    let all = snapshot.all()?;
    let mut checked = Checked::default();
    let mut bad: BTreeMap<(Option<Digest>, String), Bad> = BTreeMap::new();
    let mut add = |one: Bad| {
        bad.entry((one.digest, one.place.clone())).or_insert(one);
    };
    for number in pack::list(folder) {
        for one in records(folder, number, &snapshot, (share, draw), &mut checked)? {
            add(one);
        }
    }
    for (digest, path) in large_files(folder) {
        if !drawn(&digest, share, draw) {
            continue;
        }
        checked.large += 1;
        match read_large(folder, &digest) {
            Ok(bytes) => checked.bytes += bytes.len() as u64,
            Err(err) => add(Bad {
                what: "file",
                digest: Some(digest),
                place: inside(folder, &path),
                why: why(&err),
                needed_by: Vec::new(),
            }),
        }
    }
    // Files were hashed above where the sample takes them; here it is enough that they are there.
    let damaged: Vec<Digest> = bad.keys().filter_map(|(digest, _)| *digest).collect();
    let there = |digest: &Digest| {
        !damaged.contains(digest)
            && (all.place(digest).is_some() || large_path(folder, digest).exists())
    };
    let mut walk = Walk::asking(&snapshot, &there);
    let mut receipts: Vec<&Receipt> = all.receipts().collect();
    receipts.sort_by_key(|receipt| receipt.key);
    let mut broken: BTreeMap<Digest, (Role, String, Vec<Need>)> = BTreeMap::new();
    for receipt in receipts.into_iter().filter(|one| drawn(&one.key, share, draw)) {
        checked.receipts += 1;
        let from = (Role::Value, receipt.result);
        if walk.is_whole(from) {
            continue;
        }
        let need =
            Need { operator: receipt.operator.clone(), run: receipt.run.clone(), key: receipt.key };
        for ((role, digest), err) in walk.broken(from) {
            let one = broken.entry(digest).or_insert_with(|| (role, why(&err), Vec::new()));
            one.2.push(need.clone());
        }
    }
    let mut found: Vec<Bad> = bad.into_values().collect();
    for (digest, (role, why, mut needed_by)) in broken {
        needed_by.sort();
        if let Some(known) = found.iter_mut().find(|bad| bad.digest == Some(digest)) {
            (known.what, known.needed_by) = (role.word(), needed_by);
            continue;
        }
        let place = all
            .place(&digest)
            .map_or_else(|| "nowhere".to_string(), |place| at(folder, place.pack, place.offset));
        let digest = Some(digest);
        found.push(Bad { what: role.word(), digest, place, why, needed_by });
    }
    found.sort_by(|a, b| (a.digest, &a.place).cmp(&(b.digest, &b.place)));
    checked.bad = found;
    Ok(checked)
}

/// Leaves word for the next run of what a check found, or, when it found nothing in the whole store,
/// that there is nothing to doubt any more.
///
/// # Errors
/// When the disk refuses.
pub fn remember(folder: &Path, checked: &Checked, whole: bool) -> Result<(), StoreError> {
    if !checked.bad.is_empty() {
        suspect::add(folder, checked.bad.iter().filter_map(|bad| bad.digest))
    } else if whole {
        suspect::clear(folder)
    } else {
        Ok(())
    }
}

/// Checks the records of one pack.
fn records(
    folder: &Path,
    number: u32,
    snapshot: &Snapshot,
    (share, draw): (f64, u64),
    checked: &mut Checked,
) -> Result<Vec<Bad>, StoreError> {
    let all = snapshot.all()?;
    let mut bad = Vec::new();
    let mut gaps = Vec::new();
    let mut end = 0;
    // Measured first: what a run appends meanwhile is not looked at.
    let length = std::fs::metadata(pack::path(folder, number)).map_or(0, |meta| meta.len());
    let good = pack::scan(folder, number, 0, |record, payload| {
        if record.place.offset > end {
            gaps.push((end, record.place.offset));
        }
        end = record.place.offset + pack::record_length(record.place.stored);
        if record.kind == Kind::Object && drawn(&record.name, share, draw) {
            checked.objects += 1;
            checked.bytes += pack::record_length(record.place.stored);
            let right = payload().is_some_and(|bytes| Digest::of(&bytes) == record.name);
            if !right && all.place(&record.name) == Some(record.place) {
                bad.push(Bad {
                    what: "file",
                    digest: Some(record.name),
                    place: at(folder, number, record.place.offset),
                    why: "its bytes are not what its name says".to_string(),
                    needed_by: Vec::new(),
                });
            }
        }
    })?;
    if length > good {
        gaps.push((good, length));
    }
    for (from, to) in gaps {
        for stretch in pack::stretches(folder, number, (from, to), to == length)? {
            let mended = match stretch.header {
                Some((Kind::Object, name)) => snapshot.get(&name).is_ok(),
                Some((Kind::Receipt, key)) => snapshot.receipt(&key)?.is_some(),
                None => false,
            };
            if stretch.torn {
                checked.torn_bytes += stretch.length;
            } else if !mended {
                let what = match stretch.header {
                    Some((Kind::Object, _)) => "file",
                    Some((Kind::Receipt, _)) => "receipt",
                    None => "record",
                };
                bad.push(Bad {
                    what,
                    digest: stretch.header.map(|(_, name)| name),
                    place: at(folder, number, stretch.offset),
                    why: format!("{} bytes are not what was written", stretch.length),
                    needed_by: Vec::new(),
                });
            }
        }
    }
    Ok(bad)
}

fn why(err: &StoreError) -> String {
    match err {
        StoreError::Missing(_) => "it is gone".to_string(),
        StoreError::Damaged { what, .. } => what.clone(),
        other => other.to_string(),
    }
}

fn at(folder: &Path, pack: u32, offset: u64) -> String {
    format!("{} at byte {offset}", inside(folder, &pack::path(folder, pack)))
}

fn inside(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

/// The large objects, by digest. Temporary files of stopped writers are left out.
pub(super) fn large_files(folder: &Path) -> Vec<(Digest, PathBuf)> {
    let listed = |path: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_string());
    let mut found: Vec<(Digest, PathBuf)> = listed(folder.join("objects"))
        .into_iter()
        .flat_map(listed)
        .filter_map(|path| {
            let digest = format!("{}{}", name(path.parent()?)?, name(&path)?).parse().ok()?;
            Some((digest, path))
        })
        .collect();
    found.sort();
    found
}

/// How many of each kind of thing everything that receipts name is, for `claw store size`.
pub(super) fn roles(
    snapshot: &Snapshot,
    folder: &Path,
) -> Result<HashMap<Digest, Role>, StoreError> {
    let all = snapshot.all()?;
    let there =
        |digest: &Digest| all.place(digest).is_some() || large_path(folder, digest).exists();
    let mut walk = Walk::asking(snapshot, &there);
    for receipt in all.receipts() {
        walk.is_whole((Role::Value, receipt.result));
    }
    let mut roles = HashMap::new();
    for (role, digest) in walk.met() {
        // Bytes that are both are counted as what has more structure.
        let known = roles.entry(*digest).or_insert(*role);
        *known = (*known).min(*role);
    }
    Ok(roles)
}
