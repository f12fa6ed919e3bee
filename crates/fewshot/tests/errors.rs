//! Invalid input gives the right variant of the error, and a message that states what to do.
#![allow(clippy::unwrap_used, reason = "tests")]

use fewshot::{
    Discriminant, Episode, Error, FeatureView, Head, HeadKind, LabelledFeatures, NearestMean, Scores, Shrinkage, Task,
};

#[cfg(feature = "candle")]
#[test]
fn tensors_are_checked() {
    use fewshot::candle_core::{DType, Device, Tensor};
    let cube = Tensor::zeros((2, 3, 4), DType::F32, &Device::Cpu).unwrap();
    assert!(matches!(LabelledFeatures::from_tensor(&cube, &[0, 1]), Err(Error::FeatureShape { .. })));
    let whole = Tensor::zeros((2, 3), DType::U32, &Device::Cpu).unwrap();
    assert!(matches!(LabelledFeatures::from_tensor(&whole, &[0, 1]), Err(Error::FeatureType { .. })));
    let half = Tensor::ones((2, 3), DType::BF16, &Device::Cpu).unwrap();
    assert_eq!(LabelledFeatures::from_tensor(&half, &[0, 1]).unwrap().row(1), Some(vec![1.0; 3]));
}

#[test]
fn features_are_checked() {
    let from = |values: Vec<f32>, dimension, labels: Vec<u32>| LabelledFeatures::from_f32(values, dimension, labels);
    assert!(matches!(from(vec![0.0; 5], 2, vec![0, 1]), Err(Error::FeatureCount { values: 5, dimension: 2 })));
    assert!(matches!(from(vec![0.0; 4], 0, vec![0, 1]), Err(Error::FeatureCount { .. })));
    assert!(matches!(from(vec![0.0; 4], 2, vec![0]), Err(Error::LabelCount { features: 2, labels: 1 })));
    assert!(matches!(from(vec![], 2, vec![]), Err(Error::NoSamples)));
    let error = from(vec![0.0, 1.0, 2.0, f32::NAN], 2, vec![0, 7]).unwrap_err();
    assert!(matches!(error, Error::NonFiniteFeature { row: 1, column: 1, class: 7, .. }));
    assert!(error.to_string().starts_with("feature 1 of sample 1 (class 7) is NaN"));
    let infinite = LabelledFeatures::from_f64(vec![f64::INFINITY], 1, vec![0]);
    assert!(matches!(infinite, Err(Error::NonFiniteFeature { row: 0, .. })));
    assert!(matches!(FeatureView::from_f32(&[0.0; 5], 2, &[0, 1]), Err(Error::FeatureCount { .. })));
    assert!(matches!(FeatureView::from_f64(&[0.0, f64::NAN], 1, &[0, 1]), Err(Error::NonFiniteFeature { .. })));
    let view = FeatureView::from_f64(&[0.0, 1.0], 1, &[0, 1]).unwrap();
    assert!(matches!(view.with_base_mean(&[0.0, 1.0]), Err(Error::BaseMean { found: 2, dimension: 1 })));
    assert_eq!((view.row(1), view.row(2)), (Some(vec![1.0]), None));
    let features = from(vec![0.0; 4], 2, vec![0, 1]).unwrap();
    assert!(matches!(features.clone().with_base_mean(vec![0.0]), Err(Error::BaseMean { found: 1, dimension: 2 })));
    assert!(matches!(features.with_base_mean(vec![0.0, f64::NAN]), Err(Error::BaseMean { .. })));
}

#[test]
fn episodes_are_checked() {
    let new =
        |classes: Vec<u32>, support: Vec<Vec<usize>>, query: Vec<Vec<usize>>| Episode::new(classes, support, query);
    let (one, two) = (vec![vec![0], vec![1]], vec![vec![2], vec![3]]);
    assert!(matches!(new(vec![0], vec![vec![0]], vec![vec![1]]), Err(Error::IncompleteEpisode { .. })));
    assert!(matches!(new(vec![0, 1], one.clone(), vec![vec![2]]), Err(Error::IncompleteEpisode { .. })));
    assert!(matches!(new(vec![0, 1], vec![vec![], vec![1]], two.clone()), Err(Error::IncompleteEpisode { .. })));
    assert!(matches!(new(vec![0, 1], one.clone(), vec![vec![], vec![]]), Err(Error::IncompleteEpisode { .. })));
    assert!(matches!(new(vec![4, 4], one.clone(), two), Err(Error::DuplicateClass { class: 4 })));
    assert!(matches!(new(vec![0, 1], one.clone(), vec![vec![1], vec![]]), Err(Error::DuplicateIndex { index: 1 })));
    let twice = new(vec![0, 1], vec![vec![5, 5], vec![1]], vec![vec![2], vec![]]);
    assert!(matches!(twice, Err(Error::DuplicateIndex { index: 5 })));
    let text = r#"{"classes":[4,4],"support":[[0],[1]],"query":[[2],[3]]}"#;
    assert!(serde_json::from_str::<Episode>(text).unwrap_err().to_string().contains("class 4 occurs twice"));
    let episode = new(vec![0, 1], one, vec![vec![2], vec![]]).unwrap();
    assert!(matches!(episode.check_against(&[0, 1]), Err(Error::IndexOutOfRange { index: 2, samples: 2 })));
    assert!(matches!(episode.check_against(&[0, 1, 1]), Err(Error::LabelMismatch { index: 2, listed: 0, label: 1 })));
}

#[test]
fn heads_are_checked() {
    for text in ["", "ncm:1", "ridge", "simpleshot:x", "lda", "logistic:x", "ridge:1*k", "svm:1"] {
        assert!(matches!(text.parse::<HeadKind>(), Err(Error::HeadSyntax { .. })), "{text}");
    }
    for text in ["ridge:0", "ridge:-1"] {
        assert!(matches!(text.parse::<HeadKind>(), Err(Error::InvalidPenalty { .. })), "{text}");
    }
    assert!(matches!(Discriminant::new(Shrinkage::Fixed(1.5)), Err(Error::InvalidShrinkage { .. })));
    let all = ["ncm", "cosine", "simpleshot:un", "simpleshot:l2n", "simpleshot:cl2n", "ridge:1", "ridge:0.1*n"];
    all.into_iter().chain(["ridge:0.1*gram", "ridge:1:penalised-bias", "lda:auto", "lda:0.3"]).for_each(text_is_kept);
    assert!(serde_json::from_str::<HeadKind>("\"ridge:0\"").is_err());
}

/// Checks that a head has its text as name, and is read back from it.
fn text_is_kept(text: &str) {
    let head: HeadKind = text.parse().unwrap();
    assert_eq!(head.to_string(), text);
    let json = serde_json::to_string(&head).unwrap();
    assert_eq!(serde_json::from_str::<HeadKind>(&json).unwrap(), head);
}

#[cfg(feature = "faer")]
#[test]
fn heads_with_eigenvectors_are_checked() {
    for text in ["logistic:0", "ridge:loo=1/-2"] {
        assert!(matches!(text.parse::<HeadKind>(), Err(Error::InvalidPenalty { .. })), "{text}");
    }
    assert!(matches!(fewshot::Logistic::new(f64::NAN), Err(Error::InvalidPenalty { .. })));
    ["ridge:loo", "ridge:loo=0.1/1*gram", "logistic:0.5"].into_iter().for_each(text_is_kept);
}

#[cfg(not(feature = "faer"))]
#[test]
fn heads_with_eigenvectors_name_the_missing_feature() {
    for text in ["ridge:loo", "ridge:loo=0.1/1*gram", "logistic:0.5"] {
        let error = text.parse::<HeadKind>().unwrap_err();
        assert!(matches!(error, Error::HeadSyntax { .. }) && error.to_string().contains("feature `faer`"), "{error}");
    }
}

#[test]
fn scores_are_checked() {
    let features = LabelledFeatures::from_f64(vec![0.0, 1e200, 1.0, 1e200], 1, vec![0, 1, 0, 1]).unwrap();
    let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![2], vec![3]]).unwrap();
    let task = Task::new(&features, &episode).unwrap();
    assert!(matches!(NearestMean.scores(&task), Err(Error::NonFiniteScore { query: 0, class: 1, .. })));
    assert!(matches!(Scores::new(&task, vec![0.0; 3]), Err(Error::ScoreShape { found: 3, queries: 2, way: 2 })));
    assert_eq!(Scores::new(&task, vec![1.0, 1.0, 0.0, 2.0]).unwrap().predictions(), [0, 1], "a tie goes to the first");
    let scores = Scores::new(&task, vec![1.0, 1.0, 0.0, 2.0]).unwrap();
    let text = serde_json::to_string(&scores).unwrap();
    assert_eq!(serde_json::from_str::<Scores>(&text).unwrap(), scores);
    for text in [r#"{"values":[1.0,2.0,3.0],"way":2}"#, r#"{"values":[1.0],"way":0}"#] {
        assert!(serde_json::from_str::<Scores>(text).is_err(), "{text}");
    }
    let one_shot = Discriminant::new(Shrinkage::LedoitWolf).unwrap().scores(&task);
    assert!(matches!(one_shot, Err(Error::Undefined { .. })));
    let flat =
        LabelledFeatures::from_f32(vec![0.0, 0.0, 1.0, 0.0, 5.0, 0.0, 6.0, 0.0, 2.0, 0.0], 2, vec![0, 0, 1, 1, 0])
            .unwrap();
    let episode = Episode::new(vec![0, 1], vec![vec![0, 1], vec![2, 3]], vec![vec![4], vec![]]).unwrap();
    let singular = Discriminant::new(Shrinkage::Fixed(0.0)).unwrap().scores(&Task::new(&flat, &episode).unwrap());
    assert!(matches!(singular, Err(Error::NotPositiveDefinite { .. })));
}

#[test]
fn public_types_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Error>();
    check::<LabelledFeatures>();
    check::<HeadKind>();
}
