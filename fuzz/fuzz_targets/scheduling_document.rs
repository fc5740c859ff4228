#![no_main]

#[path = "../src/scheduling.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::scheduling_document(data));
