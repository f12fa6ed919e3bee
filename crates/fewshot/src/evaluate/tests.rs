//! Equal bits on any number of threads, breakdowns that add up, and errors that name episode and head.

use super::*;
use crate::{HeadKind, LabelledFeatures, Scores};

fn features() -> LabelledFeatures {
    let labels: Vec<u32> = (0..240).map(|i| i % 8).collect();
    let noise = streams::standard_normal(&mut streams::stream(5, "evaluate/tests", 0), 240 * 20);
    let values = noise.iter().enumerate().map(|(i, e)| (e + 0.4 * f64::from(labels[i / 20] == (i % 8) as u32)) as f32);
    LabelledFeatures::from_f32(values.collect(), 20, labels).unwrap()
}

fn heads() -> Vec<HeadKind> {
    #[cfg(feature = "faer")]
    const HEADS: &[&str] = &["ncm", "cosine", "simpleshot:l2n", "ridge:1", "lda:auto", "ridge:loo", "logistic:1"];
    #[cfg(not(feature = "faer"))]
    const HEADS: &[&str] = &["ncm", "cosine", "simpleshot:l2n", "ridge:1", "lda:auto"];
    HEADS.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let features = features();
    let sampler = EpisodeSampler::fixed(features.labels(), 4, 3, 5, 2).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| evaluate(&features, &sampler, 120, &heads()).unwrap())
    };
    let one = run(1);
    assert_eq!(one, run(3));
    assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&run(2)).unwrap());
}

#[test]
fn breakdowns_by_class_and_way_add_up() {
    let features = features();
    let rules =
        crate::EpisodeRules { way: crate::WayRule::Uniform { low: 2, high: 6 }, ..crate::EpisodeRules::fixed(2, 2, 5) };
    let sampler = EpisodeSampler::new(features.labels(), rules, 3).unwrap();
    let evaluation = evaluate(&features, &sampler, 200, &heads()[..1]).unwrap();
    let head = &evaluation.heads[0];
    assert_eq!(head.by_way.iter().map(|way| way.episodes).sum::<usize>(), 200);
    let mean: f64 = head.by_way.iter().map(|way| way.accuracy * way.episodes as f64).sum::<f64>() / 200.0;
    assert!((mean - head.accuracy.mean).abs() < 1e-12);
    let queries: u64 = head.by_class.iter().map(|class| class.queries).sum();
    assert_eq!(queries, sampler.episodes().take(200).map(|episode| episode.query().len() as u64).sum::<u64>());
}

#[test]
fn pairing_removes_the_difficulty_of_the_episodes() {
    let features = features();
    let sampler = EpisodeSampler::fixed(features.labels(), 4, 3, 5, 2).unwrap();
    let evaluation = evaluate(&features, &sampler, 300, &heads()[..2]).unwrap();
    let (ncm, cosine) = (&evaluation.heads[0], &evaluation.heads[1]);
    let paired = &evaluation.differences[0].difference;
    assert!((paired.mean - (ncm.accuracy.mean - cosine.accuracy.mean)).abs() < 1e-12);
    assert!(paired.standard_error < ncm.accuracy.standard_error);
    let other = EpisodeSampler::fixed(features.labels(), 4, 3, 5, 3).unwrap();
    let on_others = evaluate(&features, &other, 300, &heads()[..1]).unwrap();
    let refused = compare_on_same_episodes(&evaluation, "ncm", &on_others, "ncm");
    assert!(matches!(refused, Err(Error::DifferentEpisodes { .. })));
    assert!(
        !across_models(&[evaluation.clone(), evaluate(&features, &other, 300, &heads()[..2]).unwrap()])
            .unwrap()
            .same_episodes
    );
    assert!(matches!(across_models(&[evaluation]), Err(Error::Statistic(statistics::Error::TooFewValues { .. }))));
}

#[test]
fn the_spread_over_models_is_as_computed_by_hand() {
    let features = features();
    let sampler = EpisodeSampler::fixed(features.labels(), 4, 3, 5, 2).unwrap();
    let template = evaluate(&features, &sampler, 2, &heads()[..2]).unwrap();
    // Two models on two episodes: accuracies 0.5, 0.7 and 0.8, 1.0 of the first head, 0.4, 0.6 and 0.9, 0.9 of the second.
    let model = |first: [f64; 2], second: [f64; 2]| {
        let mut evaluation = template.clone();
        evaluation.heads[0].per_episode = first.to_vec();
        evaluation.heads[1].per_episode = second.to_vec();
        evaluation
    };
    let result = across_models(&[model([0.5, 0.7], [0.4, 0.6]), model([0.8, 1.0], [0.9, 0.9])]).unwrap();
    let close = |actual: f64, expected: f64| assert!((actual - expected).abs() < 1e-12, "{actual} for {expected}");
    let first = &result.heads[0];
    // Means 0.6 and 0.9: 0.75 ± 0.3/2, standard deviation 0.3/√2; each model's own error is (0.2/√2)/√2 = 0.1.
    close(first.accuracy.mean, 0.75);
    close(first.accuracy.standard_error, 0.15);
    close(first.between_models, 0.3 / 2f64.sqrt());
    close(first.within_models, 0.1);
    // Student's t with one degree of freedom: tan(0.475 π) = 12.706 standard errors on either side.
    let half_width = 0.15 * (0.475 * std::f64::consts::PI).tan();
    assert!((first.accuracy.student.high - first.accuracy.student.low - 2.0 * half_width).abs() < 1e-8);
    // Differences by episode: 0.1, 0.1 and −0.1, 0.1; means 0.1 and 0. The standard error of the first model is that of
    // two equal differences of 0.1, which are at most 1.1 from the bounds −1 and 1; that of the second model is 0.1.
    let difference = &result.differences[0];
    close(difference.accuracy.mean, 0.05);
    close(difference.between_models, 0.1 / 2f64.sqrt());
    close(difference.within_models, ((1.1f64.powi(2) * 3.0 / (16.0 * 5.0) + 0.01) / 2.0).sqrt());
}

/// A head whose scores are infinite where the first class of the episode is 5.
struct Failing;

impl Head for Failing {
    fn name(&self) -> String {
        "failing".to_owned()
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        let value = if task.episode().classes()[0] == 5 { f64::INFINITY } else { 0.0 };
        Scores::new(task, vec![value; task.query_count() * task.way()])
    }
}

#[test]
fn errors_name_the_episode_and_the_head() {
    let features = features();
    let sampler = EpisodeSampler::fixed(features.labels(), 4, 3, 5, 2).unwrap();
    let first = sampler.episodes().position(|episode| episode.classes()[0] == 5).unwrap() as u64;
    match evaluate(&features, &sampler, 500, &[Failing]) {
        Err(Error::InEpisode { episode, head, source }) => {
            assert_eq!((episode, head.as_str()), (first, "failing"));
            assert!(matches!(*source, Error::NonFiniteScore { .. }));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(evaluate::<HeadKind>(&features, &sampler, 5, &[]), Err(Error::NoHeads)));
    let twice = [heads()[0].clone(), heads()[0].clone()];
    assert!(matches!(evaluate(&features, &sampler, 5, &twice), Err(Error::DuplicateHead { .. })));
    assert!(matches!(
        evaluate(&features, &sampler, 1, &heads()),
        Err(Error::Statistic(statistics::Error::TooFewValues { .. }))
    ));
    let shorter = LabelledFeatures::from_f32(vec![0.0; 10], 1, vec![0; 10]).unwrap();
    assert!(matches!(evaluate(&shorter, &sampler, 5, &heads()), Err(Error::InEpisode { episode: 0, .. })));
    let cl2n: [HeadKind; 1] = ["simpleshot:cl2n".parse().unwrap()];
    match evaluate(&features, &sampler, 5, &cl2n) {
        Err(Error::InEpisode { source, .. }) => assert!(matches!(*source, Error::MissingBaseMean { .. })),
        other => panic!("{other:?}"),
    }
}

#[test]
fn results_are_read_back_from_json() {
    let features = features();
    let sampler = EpisodeSampler::fixed(features.labels(), 4, 3, 5, 2).unwrap();
    let evaluation = evaluate(&features, &sampler, 30, &heads()[..2]).unwrap();
    let text = serde_json::to_string(&evaluation).unwrap();
    assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), evaluation);
    // Nothing can be paired without the accuracies of every episode.
    let mut fields: serde_json::Value = serde_json::from_str(&text).unwrap();
    fields["heads"].as_array_mut().unwrap().iter_mut().for_each(|head| {
        head.as_object_mut().unwrap().remove("per_episode");
    });
    let shortened: Evaluation = serde_json::from_value(fields).unwrap();
    let refused = compare_on_same_episodes(&evaluation, "ncm", &shortened, "ncm");
    assert!(matches!(refused, Err(Error::Statistic(statistics::Error::UnequalLengths { .. }))));
    let refused = across_models(&[shortened.clone(), shortened]);
    assert!(matches!(refused, Err(Error::Statistic(statistics::Error::TooFewValues { needed: 2, got: 0, .. }))));
    let across = across_models(&[evaluation.clone(), evaluation]).unwrap();
    let text = serde_json::to_string(&across).unwrap();
    assert_eq!(serde_json::from_str::<AcrossModels>(&text).unwrap(), across);
}

/// Two classes that every head separates.
fn separated() -> LabelledFeatures {
    let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
    let values = labels.iter().enumerate().map(|(i, &label)| 9.0 * f64::from(label) - 4.5 + 0.01 * i as f64).collect();
    LabelledFeatures::from_f64(values, 1, labels).unwrap()
}

#[test]
fn no_error_bar_is_zero_where_all_predictions_are_correct() {
    let features = separated();
    let sampler = EpisodeSampler::fixed(features.labels(), 2, 5, 15, 1).unwrap();
    let evaluation = evaluate(&features, &sampler, 100, &heads()[..4]).unwrap();
    for head in &evaluation.heads {
        let accuracy = &head.accuracy;
        assert_eq!(accuracy.mean, 1.0);
        // (0.05/2)^(1/100)
        assert!((accuracy.student.low - 0.9637833073548235).abs() < 1e-12 && accuracy.student.high == 1.0);
        assert_eq!(accuracy.bootstrap, accuracy.student);
        assert!((accuracy.standard_error - (101.0 / (102.0f64.powi(2) * 103.0)).sqrt()).abs() < 1e-15);
        for class in &head.by_class {
            assert!(class.standard_error.unwrap() > 0.0 && class.student.unwrap().low < 1.0);
        }
        assert!(head.by_way[0].standard_error.unwrap() > 0.0);
    }
    for difference in &evaluation.differences {
        assert_eq!(difference.difference.mean, 0.0);
        assert!(difference.difference.standard_error > 0.0 && difference.difference.student.half_width() > 0.0);
    }
    let across = across_models(&[evaluation.clone(), evaluation]).unwrap();
    let accuracy = &across.heads[0].accuracy;
    assert!(accuracy.standard_error > 0.0 && accuracy.student.low < 1.0 && accuracy.student.high == 1.0);
    assert!(accuracy.bootstrap.half_width() > 0.0);
}

/// A head whose predictions are all wrong in tasks of two classes.
struct Wrong;

impl Head for Wrong {
    fn name(&self) -> String {
        "wrong".to_owned()
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        let score = |&class: &usize| if class == 0 { [0.0, 1.0] } else { [1.0, 0.0] };
        Scores::new(task, task.episode().query_classes().iter().flat_map(score).collect())
    }
}

#[test]
fn no_error_bar_is_zero_where_all_predictions_are_wrong() {
    let features = separated();
    let sampler = EpisodeSampler::fixed(features.labels(), 2, 5, 15, 1).unwrap();
    let evaluation = evaluate(&features, &sampler, 100, &[Wrong]).unwrap();
    let accuracy = &evaluation.heads[0].accuracy;
    assert_eq!((accuracy.mean, accuracy.student.low), (0.0, 0.0));
    assert!(accuracy.standard_error > 0.0 && (accuracy.student.high - 0.03621669264517646).abs() < 1e-12);
    let episode = sampler.episode(0);
    let confusion = Confusion::of(&Wrong, &Task::new(&features, &episode).unwrap()).unwrap();
    assert!(confusion.accuracy == 0.0 && confusion.standard_error > 0.0 && confusion.wilson.high > 0.1);
    let text = serde_json::to_string(&confusion).unwrap();
    assert_eq!(serde_json::from_str::<Confusion>(&text).unwrap(), confusion);
}

#[test]
fn numbers_of_episodes_beyond_the_ceiling_are_refused() {
    let features = features();
    let sampler = EpisodeSampler::fixed(features.labels(), 4, 3, 5, 2).unwrap();
    match evaluate(&features, &sampler, usize::MAX, &heads()[..1]) {
        Err(error @ Error::InvalidSetting { .. }) => assert!(error.to_string().contains("at most 100 million")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn borrowed_and_owned_features_give_equal_results() {
    let values: Vec<f32> = (0..80).map(|i| ((i * 37) % 11) as f32).collect();
    let labels: Vec<u32> = (0..40).map(|i| i % 4).collect();
    let sampler = EpisodeSampler::fixed(&labels, 3, 2, 4, 2).unwrap();
    let borrowed = evaluate(FeatureView::from_f32(&values, 2, &labels).unwrap(), &sampler, 20, &heads()[..2]).unwrap();
    let owned = LabelledFeatures::from_f32(values.clone(), 2, labels.clone()).unwrap();
    assert_eq!(borrowed, evaluate(&owned, &sampler, 20, &heads()[..2]).unwrap());
}
