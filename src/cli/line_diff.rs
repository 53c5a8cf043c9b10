//! What differs between two texts, line by line, in the unified form that people and tools read.

/// Lines that are shown around a change.
const AROUND: usize = 2;

/// Lines of a difference that are shown at most; the rest is counted.
const SHOWN: usize = 60;

/// Changed lines above which the search for the shortest difference is given up.
const FAR: usize = 1_000;

/// How a line came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Kept,
    Taken,
    Added,
}

/// The difference of two texts of the file `name`; empty when there is none.
pub(super) fn unified(name: &str, old: &str, new: &str) -> String {
    let lines = lines(old, new);
    if lines.is_empty() {
        return String::new();
    }
    format!("--- {name}\n+++ {name}, formatted\n{}\n", lines.join("\n"))
}

/// The lines of the difference of two texts, with the places of its parts; none when there is none.
pub(super) fn lines(old: &str, new: &str) -> Vec<String> {
    let before: Vec<&str> = old.split_inclusive('\n').collect();
    let after: Vec<&str> = new.split_inclusive('\n').collect();
    let script = script(&before, &after);
    let changes: Vec<usize> =
        (0..script.len()).filter(|place| script[*place] != Mark::Kept).collect();
    if changes.is_empty() {
        return Vec::new();
    }
    let mut lines: Vec<String> = Vec::new();
    let mut at = 0;
    let (mut from, mut to) = (0, 0);
    let mut changes = changes.into_iter().peekable();
    while let Some(first) = changes.next() {
        let start = first.saturating_sub(AROUND).max(at);
        let mut end = first + 1;
        while let Some(next) = changes.next_if(|next| *next <= end + 2 * AROUND) {
            end = next + 1;
        }
        let end = (end + AROUND).min(script.len());
        // Everything between two hunks was kept.
        (from, to) = (from + start - at, to + start - at);
        let head = lines.len();
        let (old_start, new_start) = (from, to);
        for mark in &script[start..end] {
            let (sign, line) = match mark {
                Mark::Kept => (' ', before[from]),
                Mark::Taken => ('-', before[from]),
                Mark::Added => ('+', after[to]),
            };
            from += usize::from(*mark != Mark::Added);
            to += usize::from(*mark != Mark::Taken);
            lines.push(format!("{sign}{}", line.strip_suffix('\n').unwrap_or(line)));
            if !line.ends_with('\n') {
                lines.push("\\ no line break at the end".to_string());
            }
        }
        let range = |start: usize, length: usize| match length {
            0 => format!("{start},0"),
            _ => format!("{},{length}", start + 1),
        };
        let (old_range, new_range) =
            (range(old_start, from - old_start), range(new_start, to - new_start));
        lines.insert(head, format!("@@ -{old_range} +{new_range} @@"));
        at = end;
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("… {more} more lines"));
    }
    lines
}

/// How to get from one list of lines to the other.
fn script(before: &[&str], after: &[&str]) -> Vec<Mark> {
    let same = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (before, after) = (&before[same..], &after[same..]);
    let tail = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    let (before, after) = (&before[..before.len() - tail], &after[..after.len() - tail]);
    let mut script = vec![Mark::Kept; same];
    script.extend(shortest(before, after).unwrap_or_else(|| {
        let mut all = vec![Mark::Taken; before.len()];
        all.extend(vec![Mark::Added; after.len()]);
        all
    }));
    script.extend(vec![Mark::Kept; tail]);
    script
}

/// The shortest script, after Myers, "An O(ND) difference algorithm"; `None` when it is long.
///
/// `reach[k]` is how many lines of `before` a path on diagonal `k` has behind it: `k` is how many
/// more lines it took than it added, moved up so that it is never negative.
fn shortest(before: &[&str], after: &[&str]) -> Option<Vec<Mark>> {
    let most = (before.len() + after.len()).min(FAR);
    let middle = most + 1;
    let mut reach = vec![0usize; 2 * middle + 1];
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    // Whether the path to diagonal `k` comes from the one above it, by adding a line.
    let adds = |reach: &[usize], k: usize, round: usize| {
        k == middle - round || (k != middle + round && reach[k - 1] < reach[k + 1])
    };
    for round in 0..=most {
        rounds.push(reach.clone());
        for k in (middle - round..=middle + round).step_by(2) {
            let mut x = if round == 0 {
                0
            } else if adds(&reach, k, round) {
                reach[k + 1]
            } else {
                reach[k - 1] + 1
            };
            let mut y = x + middle - k;
            while x < before.len() && y < after.len() && before[x] == after[y] {
                (x, y) = (x + 1, y + 1);
            }
            reach[k] = x;
            if x >= before.len() && y >= after.len() {
                return Some(back(&rounds, &adds, middle, before.len(), after.len()));
            }
        }
    }
    None
}

/// Follows the rounds back from the end to the start.
fn back(
    rounds: &[Vec<usize>],
    adds: &dyn Fn(&[usize], usize, usize) -> bool,
    middle: usize,
    before: usize,
    after: usize,
) -> Vec<Mark> {
    let (mut x, mut y) = (before, after);
    let mut marks = Vec::new();
    for (round, reach) in rounds.iter().enumerate().rev() {
        let k = middle + x - y;
        let (from, mark) = match round {
            0 => (0, None),
            _ if adds(reach, k, round) => (reach[k + 1], Some(Mark::Added)),
            _ => (reach[k - 1], Some(Mark::Taken)),
        };
        let start = from + usize::from(mark == Some(Mark::Taken));
        while x > start {
            marks.push(Mark::Kept);
            (x, y) = (x - 1, y - 1);
        }
        match mark {
            Some(Mark::Added) => y -= 1,
            Some(_) => x -= 1,
            None => {}
        }
        marks.extend(mark);
    }
    marks.reverse();
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does what a script says.
    fn apply<'a>(script: &[Mark], before: &[&'a str], after: &[&'a str]) -> Vec<&'a str> {
        let (mut x, mut y) = (0, 0);
        let mut out = Vec::new();
        for mark in script {
            match mark {
                Mark::Kept => {
                    assert_eq!(before[x], after[y]);
                    out.push(before[x]);
                    (x, y) = (x + 1, y + 1);
                }
                Mark::Taken => x += 1,
                Mark::Added => {
                    out.push(after[y]);
                    y += 1;
                }
            }
        }
        assert_eq!((x, y), (before.len(), after.len()));
        out
    }

    /// The length of the longest common part, the slow and sure way.
    fn common(before: &[&str], after: &[&str]) -> usize {
        let mut best = vec![vec![0usize; after.len() + 1]; before.len() + 1];
        for x in 0..before.len() {
            for y in 0..after.len() {
                best[x + 1][y + 1] = if before[x] == after[y] {
                    best[x][y] + 1
                } else {
                    best[x][y + 1].max(best[x + 1][y])
                };
            }
        }
        best[before.len()][after.len()]
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn scripts_are_right_and_short(
            before in proptest::collection::vec("[abc]", 0..14),
            after in proptest::collection::vec("[abc]", 0..14),
        ) {
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            let after: Vec<&str> = after.iter().map(String::as_str).collect();
            let found = script(&before, &after);
            proptest::prop_assert_eq!(apply(&found, &before, &after), after.clone());
            let kept = found.iter().filter(|mark| **mark == Mark::Kept).count();
            proptest::prop_assert_eq!(kept, common(&before, &after));
        }
    }

    #[test]
    fn what_is_far_apart_is_shown_all_the_same() {
        let old: String = (0..3 * FAR).map(|line| format!("old {line}\n")).collect();
        let new: String = (0..3 * FAR).map(|line| format!("new {line}\n")).collect();
        let shown = unified("a", &old, &new);
        assert_eq!(shown.lines().count(), SHOWN + 3);
        assert!(shown.contains("@@ -1,3000 +1,3000 @@"), "{shown}");
    }

    #[test]
    fn reads_like_any_unified_difference() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let new = "a\nb\nC\nd\ne\nf\ng\nh\ni\n";
        let expected = "--- x\n+++ x, formatted\n@@ -1,5 +1,5 @@\n a\n b\n-c\n+C\n d\n e\n@@ -7,2 \
                        +7,3 @@\n g\n h\n+i\n";
        assert_eq!(unified("x", old, new), expected);
        assert_eq!(unified("x", old, old), "");
        assert!(unified("x", "a", "a\n").contains("-a\n\\ no line break at the end\n+a\n"));
    }
}
