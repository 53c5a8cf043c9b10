//! The pages of `claw explain`: one for each code, kept as Markdown under `docs/errors/`.
//!
//! A page starts at a heading such as `## E0304: no such argument`. Its first block of claw code
//! gives the error, its second one does not; the tests run both.

/// The files, by the hundreds of their codes.
const FILES: &[&str] = &[
    include_str!("../../docs/errors/text.md"),
    include_str!("../../docs/errors/names.md"),
    include_str!("../../docs/errors/types.md"),
    include_str!("../../docs/errors/calls.md"),
    include_str!("../../docs/errors/graph.md"),
    include_str!("../../docs/errors/outside.md"),
    include_str!("../../docs/errors/policies.md"),
    include_str!("../../docs/errors/blocks.md"),
    include_str!("../../docs/errors/packages.md"),
];

fn pages() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().flat_map(|file| file.split("\n## ").skip(1)).filter_map(|page| {
        let (code, _) = page.split_once(':')?;
        Some((code, page.trim_end()))
    })
}

/// The page of a code such as `E0304`, in Markdown; its first line is `E0304: …`. Also takes
/// `claw::E0304` and small letters.
pub fn explain(code: &str) -> Option<&'static str> {
    let code = code.strip_prefix("claw::").unwrap_or(code);
    pages().find(|(known, _)| known.eq_ignore_ascii_case(code)).map(|(_, page)| page)
}

/// Every code that has a page, in order.
pub fn codes() -> Vec<&'static str> {
    pages().map(|(code, _)| code).collect()
}
