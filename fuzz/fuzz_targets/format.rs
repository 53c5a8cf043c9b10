//! The formatter: what it writes parses, means the same, and is written the same again.
#![no_main]

#[path = "../harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|text: &str| {
    // What does not parse is not formatted.
    let Ok(once) = claw::lang::format(text) else { return };
    let twice = claw::lang::format(&once).expect("what was formatted parses");
    assert_eq!(once, twice, "formatting again changes nothing");
    let mut before = harness::program(text.as_bytes());
    let mut after = harness::program(once.as_bytes());
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after, "what is said about it stays the same");
});
