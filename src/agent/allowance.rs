//! How long an answer may still be in a conversation that has grown.
//!
//! Servers refuse a request when what it holds and the longest answer that it allows do not fit into
//! the model's context together, even though a shorter answer would. The refusal says by how much, in
//! words that differ from server to server; from them comes the number of tokens to ask for instead.

use std::sync::LazyLock;

use regex::Regex;

/// An answer shorter than this is not worth asking for.
const LEAST: u32 = 8_192;
/// Tokens that are left free, because servers count the ends of messages differently.
const SPARE: u32 = 100;

/// The tokens to allow for an answer after a request for at most `allowed` was refused with `refusal`.
/// `None` when the refusal has another reason, or when no answer that is worth asking for fits.
pub(super) fn smaller(refusal: &str, allowed: u32) -> Option<u32> {
    static CONTEXT: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?i)(?:maximum|context)[^\d]*(\d+)\s*tokens"));
    static HELD: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"(?i)(\d+)(?:\s*tokens?)?\s+(?:from|in)\s+(?:the\s+)?(?:input|prompt|messages?)")
    });
    if !is_too_long(refusal) {
        return None;
    }
    let number = |pattern: &Regex| pattern.captures(refusal)?.get(1)?.as_str().parse::<u32>().ok();
    let less = match (number(&CONTEXT), number(&HELD)) {
        (Some(context), Some(held)) => context.checked_sub(held)?.checked_sub(SPARE)?,
        _ => (allowed / 2).max(LEAST),
    };
    (less >= LEAST && less < allowed).then_some(less)
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is part of the program and a test uses it")
}

/// Whether a refusal is about the length of the conversation. Keys and rates have tokens and limits
/// too.
fn is_too_long(refusal: &str) -> bool {
    let refusal = refusal.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| refusal.contains(word));
    has(&["token"])
        && has(&["exceed", "limit", "maximum"])
        && !has(&[
            "rate limit",
            "ratelimit",
            "per minute",
            "per day",
            "tpm",
            "quota",
            "authentication",
            "unauthorized",
            "api key",
            "invalid token",
            "expired",
        ])
}
