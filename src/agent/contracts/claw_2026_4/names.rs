//! What sessions and durations are called in the texts of `process`.

use std::sync::LazyLock;

use regex::Regex;

use crate::store::KeyHasher;

const QUALITIES: [&str; 24] = [
    "amber", "brisk", "calm", "clear", "crisp", "dawn", "ember", "fresh", "gentle", "keen", "kind",
    "lucky", "mellow", "mild", "neat", "nimble", "plaid", "quick", "quiet", "swift", "tidy",
    "vivid", "warm", "young",
];
const THINGS: [&str; 24] = [
    "basil", "bison", "breeze", "canyon", "cedar", "cloud", "comet", "coral", "cove", "daisy",
    "dune", "falcon", "fjord", "forest", "glade", "harbor", "lagoon", "meadow", "otter", "pine",
    "reef", "river", "summit", "willow",
];

/// The name of the `count`-th session of an episode: two words, such as `ember-cloud`, that depend
/// on nothing but the number and the command, so that an episode that is repeated has them again.
pub(super) fn session_name(count: u64, command: &str, taken: &dyn Fn(&str) -> bool) -> String {
    let mut key = KeyHasher::new("claw session name 1");
    key.number(count).text(command);
    let drawn = key.finish().seed();
    let quality = QUALITIES[(drawn % QUALITIES.len() as u64) as usize];
    let thing = THINGS[(drawn / QUALITIES.len() as u64 % THINGS.len() as u64) as usize];
    let plain = format!("{quality}-{thing}");
    if !taken(&plain) {
        return plain;
    }
    let mut number = 2;
    loop {
        let name = format!("{plain}-{number}");
        if !taken(&name) {
            return name;
        }
        number += 1;
    }
}

/// What a command is listed as: its program and the first argument that is no flag.
pub(super) fn label(command: &str) -> String {
    static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?:[^\s"']+|"(?:\\.|[^"])*"|'(?:\\.|[^'])*')+"#)
            .expect("the pattern is part of the program")
    });
    let tokens: Vec<&str> = TOKEN
        .find_iter(command)
        .map(|token| without_quotes(token.as_str()))
        .filter(|token| !token.is_empty())
        .collect();
    let Some((program, rest)) = tokens.split_first() else {
        return middle(command, 120);
    };
    let target = rest.iter().find(|token| !token.starts_with('-')).or(rest.first());
    let name = match target {
        Some(target) => {
            format!("{} {}", without_quotes(program), middle(without_quotes(target), 48))
        }
        None => (*program).to_string(),
    };
    middle(&name, 80)
}

fn without_quotes(text: &str) -> &str {
    let text = text.trim();
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

/// A text of at most so many UTF-16 units: of a longer one the two ends.
fn middle(text: &str, most: usize) -> String {
    if text.encode_utf16().count() <= most {
        return text.to_string();
    }
    let half = (most - 3) / 2;
    format!("{}...{}", first_units(text, half), last_units(text, half))
}

fn first_units(text: &str, most: usize) -> &str {
    let mut units = 0;
    let end = text.char_indices().find(|(_, c)| {
        units += c.len_utf16();
        units > most
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

/// The end of a text, at most so many UTF-16 units.
pub(super) fn last_units(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let mut units = 0;
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| {
            units += c.len_utf16();
            units <= most
        })
        .last()
        .map_or(text.len(), |(at, _)| at);
    &text[start..]
}

/// `121ms`, `5s`, `2m30s`, `1h5m`, `1d2h`; `n/a` for nothing.
pub(super) fn duration(ms: u64) -> String {
    if ms == 0 {
        return "n/a".to_string();
    }
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let total = ms.saturating_add(500) / 1000;
    let (days, hours) = (total / 86_400, total / 3600);
    let (minutes, seconds) = (total % 3600 / 60, total % 60);
    let two = |first: String, second: u64, unit: char| match second {
        0 => first,
        second => format!("{first}{second}{unit}"),
    };
    if days > 0 {
        two(format!("{days}d"), hours % 24, 'h')
    } else if hours > 0 {
        two(format!("{hours}h"), minutes, 'm')
    } else if minutes > 0 {
        two(format!("{minutes}m"), seconds, 's')
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_listed_by_program_and_target() {
        for (command, expected) in [
            ("for i in 1 2 3; do echo tick $i; done", "for i"),
            ("python3 -u server.py --port 80", "python3 server.py"),
            ("ls -l", "ls -l"),
            ("make", "make"),
            ("grep \"two words\" 'a file'", "grep two words"),
            ("echo \"open", "echo open"),
            ("  ", "  "),
        ] {
            assert_eq!(label(command), expected, "{command}");
        }
        let long = format!("cat {}", "x".repeat(100));
        assert_eq!(label(&long), format!("cat {}...{}", "x".repeat(22), "x".repeat(22)));
    }

    #[test]
    fn durations_are_short() {
        for (ms, expected) in [
            (0, "n/a"),
            (121, "121ms"),
            (999, "999ms"),
            (1_400, "1s"),
            (59_600, "1m"),
            (150_000, "2m30s"),
            (3_900_000, "1h5m"),
            (93_600_000, "1d2h"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(duration(ms), expected);
        }
    }

    #[test]
    fn names_do_not_repeat_and_do_not_change() {
        let name = session_name(1, "sleep 5", &|_| false);
        assert_eq!(name, session_name(1, "sleep 5", &|_| false));
        let other = session_name(1, "sleep 5", &|taken| taken == name);
        assert_eq!(other, format!("{name}-2"));
        assert_ne!(name, session_name(2, "sleep 5", &|_| false));
    }

    #[test]
    fn ends_are_cut_between_characters() {
        assert_eq!(last_units("aé🙂", 2), "🙂");
        assert_eq!(last_units("aé🙂", 1), "");
        assert_eq!(last_units("aé🙂", 3), "é🙂");
        assert_eq!(first_units("🙂é", 1), "");
    }
}
