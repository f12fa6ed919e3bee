//! The presets against the values that the codebases themselves return (see `golden/README.md`).

#![allow(clippy::unwrap_used, clippy::panic)] // a failed test panics

use collapse::{ClassMoments, Head, Preset, Scatter};
use safetensors::SafeTensors;
use serde_json::Value;

/// Relative tolerance. Sums are in another order; the notebook's iterative SVD is the least exact.
const TOLERANCE: f64 = 1e-9;

fn tensor(name: &str) -> (Vec<usize>, Vec<[u8; 8]>) {
    let bytes = include_bytes!("golden/metrics.safetensors");
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    (tensor.shape().to_vec(), tensor.data().chunks_exact(8).map(|bytes| bytes.try_into().unwrap()).collect())
}

fn floats(name: &str) -> (Vec<usize>, Vec<f64>) {
    let (shape, words) = tensor(name);
    (shape, words.into_iter().map(f64::from_le_bytes).collect())
}

#[test]
fn presets_give_the_values_of_the_codebases() {
    let golden: Value = serde_json::from_str(include_str!("golden/peers.json")).unwrap();
    let mut compared = 0;
    for (set, codebases) in golden["sets"].as_object().unwrap() {
        let (shape, features) = floats(&format!("{set}.features"));
        let labels = tensor(&format!("{set}.labels")).1.into_iter().map(|word| i64::from_le_bytes(word) as u32);
        let (weight, bias) = (floats(&format!("{set}.W")), floats(&format!("{set}.b")));
        let mut moments = ClassMoments::new(weight.0[0], shape[1], Scatter::Full);
        moments.update_slice(&features, &labels.collect::<Vec<_>>()).unwrap();
        let head = Head::from_slices(&weight.1, Some(&bias.1), weight.0[0]).unwrap();
        for (codebase, expected) in codebases.as_object().unwrap() {
            let preset: Preset = serde_json::from_value(codebase.as_str().into()).unwrap();
            let measures = serde_json::to_value(preset.measure(&moments, Some(&head)).unwrap()).unwrap();
            // The preset and the codebase have the same measures, and the preset also has `samples`.
            let held = measures.as_object().unwrap().iter().filter(|(_, value)| value.is_number()).count();
            assert_eq!(held, expected.as_object().unwrap().len() + 1, "{codebase}: {measures} for {expected}");
            for (measure, expected) in expected.as_object().unwrap() {
                let (actual, expected) = (measures[measure].as_f64().unwrap(), expected.as_f64().unwrap());
                let error = ((actual - expected) / expected).abs();
                assert!(error < TOLERANCE, "{set}, {codebase}, {measure}: {actual} for {expected}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 3 * (6 + 6 + 4 + 5 + 4));
}
