#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| raccord_fuzz::targets::x12(data));
