#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hailmesh_fuzz::feed("names", bytes));
