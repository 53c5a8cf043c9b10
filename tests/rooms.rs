//! The rules of the house that a machine can check.

use std::path::{Path, PathBuf};

use crate::project::checkout;

/// Rooms from the top of the house to its ground; each imports only rooms below it.
const ROOMS: [&str; 14] = [
    "cli",
    "lsp",
    "doc",
    "operators",
    "agent",
    "learn",
    "stats",
    "model",
    "sandbox",
    "engine",
    "plan",
    "project",
    "lang",
    "store",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn rooms_import_only_rooms_below() {
    let mut wrong = Vec::new();
    for (height, room) in ROOMS.iter().enumerate() {
        for file in sources(&checkout().join("src").join(room)) {
            let text = std::fs::read_to_string(&file).expect("a source file");
            for (number, line) in text.lines().enumerate() {
                for above in &ROOMS[..height] {
                    if line.contains(&format!("crate::{above}::"))
                        && !line.trim_start().starts_with("//")
                    {
                        wrong.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go up:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_is_listed_and_in_order() {
    let map = std::fs::read_to_string(checkout().join("src/lib.rs")).expect("src/lib.rs");
    let rooms: Vec<&str> =
        map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(rooms, ROOMS, "src/lib.rs lists the rooms from top to bottom");
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    for file in sources(&checkout().join("src")) {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        assert!(
            !["utils", "util", "common", "helpers", "manager", "misc"].contains(&stem),
            "{} needs a name that says what it holds",
            file.display()
        );
    }
}

/// Keys and digests are made of canonical bytes of our own, but JSON for people keeps its order too:
/// a dependency that turns `preserve_order` on would change every file we write.
#[test]
fn json_maps_are_sorted() {
    let json = serde_json::json!({ "b": 1, "a": 2 });
    assert_eq!(json.to_string(), r#"{"a":2,"b":1}"#);
}

#[test]
fn the_map_shows_each_room_once_and_files_that_are_there() {
    let map = std::fs::read_to_string(checkout().join("docs/ARCHITECTURE.md")).expect("the map");
    let mut rooms = Vec::new();
    for line in map.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", room, _, files, ""] = cells[..] else { continue };
        let Some(room) = room.strip_prefix('`').and_then(|room| room.strip_suffix("/`")) else {
            continue;
        };
        for file in files.split('`').skip(1).step_by(2) {
            let path = checkout().join("src").join(room).join(file);
            assert!(path.exists(), "{} is not there", path.display());
        }
        rooms.push(room.to_string());
    }
    assert_eq!(rooms, ROOMS);
}
