//! ONNX graphs: read, inlined and folded.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| onnx_graph::fuzzing::model(bytes));
