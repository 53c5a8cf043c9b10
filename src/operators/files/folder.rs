//! The files of a directory.

use crate::engine::{Args, CallError, Context};
use crate::lang::Value;
use crate::store::Entry;

use super::Made;

pub(super) fn list(args: &Args, context: &Context) -> Result<Value, CallError> {
    let pattern = args.str("matching")?;
    let mut made = Made::new(context);
    for (path, entry) in context.objects.tree(&args.dir("from")?)?.entries {
        let name = path.rsplit('/').next().unwrap_or(&path).to_string();
        // A pattern without a folder is about names, wherever the file lies.
        let whole = if pattern.contains('/') { &path } else { &name };
        if let Entry::File { digest, .. } = entry
            && matches(pattern, whole)
        {
            let file = Value::File { digest, name };
            made.add(&Value::record([("path", Value::Str(path)), ("file", file)]))?;
        }
    }
    Ok(made.table())
}

/// Whether a path is as the pattern says: `*` is any number of characters of a name and `?` one,
/// `**/` any folders or none, `**` at the end whatever follows.
fn matches(pattern: &str, path: &str) -> bool {
    let parts = |text: &str| text.split('/').map(|part| part.chars().collect()).collect();
    let (pattern, path): (Vec<Vec<char>>, Vec<Vec<char>>) = (parts(pattern), parts(path));
    let any = |part: &Vec<char>| part.iter().collect::<String>() == "**";
    // `reached[at]`: what stands so far of the pattern says the first `at` parts of the path.
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for (place, part) in pattern.iter().enumerate() {
        let mut next = vec![false; path.len() + 1];
        if any(part) {
            // At the end there must be a file for it.
            let least = usize::from(place + 1 == pattern.len());
            for at in 0..=path.len() {
                next[at] = reached[..(at + 1).saturating_sub(least)].contains(&true);
            }
        } else {
            for at in 0..path.len() {
                next[at + 1] = reached[at] && name_matches(part, &path[at]);
            }
        }
        reached = next;
    }
    reached[path.len()]
}

/// One name. Where a `*` took too little, the last one takes one more; earlier ones need not.
fn name_matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("*.md", "a.md", true),
            ("*.md", "a.mdx", false),
            ("?.md", "a.md", true),
            ("?.md", "ab.md", false),
            ("*a*b*", "xxabyab", true),
            ("*a*b*", "ba", false),
            ("**", "a/b/c", true),
            ("*", "a/b", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/x/y/c", true),
            ("a/**/c", "b/c", false),
            ("a/*/c", "a/x/y/c", false),
            ("**/b/**/d", "a/b/c/b/d", true),
            ("é?", "éü", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        let long = "a".repeat(10_000);
        assert!(!matches(&"*a".repeat(50).to_string(), &format!("{long}b")), "and at once");
    }
}
