#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prefixgate_fuzz::zmtp(data));
