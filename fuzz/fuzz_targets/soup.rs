//! Each byte is a word or a sign of the language, so that more texts get past the grammar.
#![no_main]

#[path = "../harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    harness::program(harness::soup(bytes).as_bytes());
});
