//! Distances, scores, predictions and accuracies against those of an independent reference; see `golden/README.md`.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use fewshot::{
    Episode, Head, HeadKind, IntervalSettings, LabelledFeatures, NearestMean, Result, Task, evaluate_episodes,
};
use safetensors::{Dtype, SafeTensors};

const SETTINGS: [&str; 4] = ["5w1s", "5w5s", "2w3s", "10w2s"];
const PENALTIES: [&str; 3] = ["0.1", "1.0", "10.0"];

/// The precision of the features.
#[derive(Clone, Copy)]
enum Precision {
    Single,
    Double,
}

struct Golden {
    tensors: Vec<u8>,
    accuracies: serde_json::Value,
}

impl Golden {
    fn load() -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let tensors = std::fs::read(folder.join("fewshot.safetensors")).unwrap();
        let text = std::fs::read_to_string(folder.join("accuracies.json")).unwrap();
        Ok(Self { tensors, accuracies: serde_json::from_str(&text).unwrap() })
    }

    /// The values of a tensor of 8-byte numbers, as little-endian bytes.
    fn words(&self, name: &str, dtype: Dtype) -> Vec<[u8; 8]> {
        let tensors = SafeTensors::deserialize(&self.tensors).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), dtype, "{name}");
        tensor.data().as_chunks().0.to_vec()
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        self.words(name, Dtype::F64).into_iter().map(f64::from_le_bytes).collect()
    }

    fn indices(&self, name: &str) -> Vec<usize> {
        self.words(name, Dtype::I64).into_iter().map(|word| i64::from_le_bytes(word) as usize).collect()
    }

    fn features(&self, precision: Precision) -> Result<LabelledFeatures> {
        let labels: Vec<u32> = self.indices("labels").into_iter().map(|label| label as u32).collect();
        let values = self.numbers("features");
        let dimension = values.len() / labels.len();
        match precision {
            Precision::Single => {
                LabelledFeatures::from_f32(values.into_iter().map(|value| value as f32).collect(), dimension, labels)
            }
            Precision::Double => LabelledFeatures::from_f64(values, dimension, labels),
        }
    }

    /// The episodes of a setting with their names.
    fn episodes(&self, setting: &str) -> Result<Vec<(String, Episode)>> {
        let about = &self.accuracies[setting];
        let (way, count) = (about["way"].as_u64().unwrap() as usize, about["episodes"].as_u64().unwrap());
        (0..count)
            .map(|number| {
                let name = format!("{setting}.ep{number}");
                let classes = self.indices(&format!("{name}.classes")).into_iter().map(|class| class as u32).collect();
                let groups = |part: &str| {
                    let rows = self.indices(&format!("{name}.{part}"));
                    rows.chunks(rows.len() / way).map(<[usize]>::to_vec).collect()
                };
                Ok((name.clone(), Episode::new(classes, groups("support"), groups("query"))?))
            })
            .collect()
    }
}

/// Compares with an absolute tolerance: scores and distances are of order 1 to 100, and orders of summation differ.
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < tolerance, "{what}: {found} is not {expected}");
    }
}

#[test]
fn distances_scores_and_predictions_equal_the_reference() -> Result<()> {
    let golden = Golden::load()?;
    for precision in [Precision::Single, Precision::Double] {
        let features = golden.features(precision)?;
        for setting in SETTINGS {
            for (name, episode) in golden.episodes(setting)? {
                let task = Task::new(&features, &episode)?;
                let scores = NearestMean.scores(&task)?;
                let distances: Vec<f64> = scores.values().iter().map(|score| -score).collect();
                assert_close(&distances, &golden.numbers(&format!("{name}.ncm_dist")), 1e-12, &name);
                assert_eq!(scores.predictions(), golden.indices(&format!("{name}.ncm_pred")), "{name}");
                for penalty in PENALTIES {
                    let scores = format!("ridge:{penalty}").parse::<HeadKind>()?.scores(&task)?;
                    let expected = golden.numbers(&format!("{name}.ridge{penalty}_score"));
                    assert_close(scores.values(), &expected, 1e-12, &name);
                    assert_eq!(scores.predictions(), golden.indices(&format!("{name}.ridge{penalty}_pred")), "{name}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn accuracies_and_their_errors_equal_the_reference() -> Result<()> {
    let golden = Golden::load()?;
    let features = golden.features(Precision::Single)?;
    let heads: [HeadKind; 4] = ["ncm".parse()?, "ridge:0.1".parse()?, "ridge:1".parse()?, "ridge:10".parse()?];
    for setting in SETTINGS {
        let episodes = golden.episodes(setting)?.into_iter().map(|(_, episode)| Ok(episode));
        let evaluation = evaluate_episodes(&features, episodes, &heads, &IntervalSettings::default())?;
        for (found, name) in evaluation.heads.iter().zip(["ncm", "ridge0.1", "ridge1.0", "ridge10.0"]) {
            let expected = &golden.accuracies[setting][name];
            let per_episode: Vec<f64> =
                expected["per_episode"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
            assert_eq!(found.per_episode, per_episode, "{setting} {name}");
            let (mean, half) = (expected["mean"].as_f64().unwrap(), expected["ci95"].as_f64().unwrap());
            assert_close(&[found.accuracy.mean, 1.96 * found.accuracy.standard_error], &[mean, half], 1e-15, name);
        }
    }
    Ok(())
}

#[cfg(feature = "faer")]
#[test]
fn logistic_regression_and_discriminant_equal_scikit_learn() -> Result<()> {
    let golden = Golden::load()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let reference: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("scikit_learn.json")).unwrap()).unwrap();
    let features = golden.features(Precision::Single)?;
    for setting in ["5w5s", "10w2s"] {
        let episodes = golden.episodes(setting)?;
        let task = Task::new(&features, &episodes[0].1)?;
        for head in ["logistic:2", "lda:0.3"] {
            let scores = head.parse::<HeadKind>()?.scores(&task)?;
            // A constant added to all scores of a query does not change predictions, so both sides are centred.
            let centred: Vec<f64> = scores
                .rows()
                .flat_map(|row| {
                    let mean = row.iter().sum::<f64>() / row.len() as f64;
                    row.iter().map(move |score| score - mean).collect::<Vec<_>>()
                })
                .collect();
            let expected: Vec<f64> =
                reference[setting][head].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
            // Both optimisers stop at a small gradient, so scores differ by up to 1e-7; the discriminant is direct.
            let tolerance = if head.starts_with("lda") { 1e-9 } else { 1e-6 };
            assert_close(&centred, &expected, tolerance, &format!("{setting} {head}"));
        }
    }
    Ok(())
}
