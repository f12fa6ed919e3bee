//! The same bits on any number of threads; breakdowns that add up; errors that say where.

use super::*;
use crate::{HeadKind, Scores};

fn features() -> LabelledFeatures {
    let labels: Vec<u32> = (0..240).map(|i| i % 8).collect();
    let noise = streams::standard_normal(&mut streams::stream(5, "evaluate/tests", 0), 240 * 20);
    let values = noise.iter().enumerate().map(|(i, e)| (e + 0.4 * f64::from(labels[i / 20] == (i % 8) as u32)) as f32);
    LabelledFeatures::from_f32(values.collect(), 20, labels).unwrap()
}

fn heads() -> Vec<HeadKind> {
    ["ncm", "cosine", "simpleshot:l2n", "ridge:1", "ridge:loo", "logistic:1", "lda:auto"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect()
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
fn breakdowns_add_up_to_the_whole() {
    let features = features();
    let rules =
        crate::EpisodeRules { way: crate::WayRule::Uniform { low: 2, high: 6 }, ..crate::EpisodeRules::fixed(2, 2, 5) };
    let sampler = EpisodeSampler::new(features.labels(), rules, 3).unwrap();
    let evaluation = evaluate(&features, &sampler, 200, &heads()[..1]).unwrap();
    let head = &evaluation.heads[0];
    assert_eq!(head.by_way.iter().map(|way| way.episodes).sum::<usize>(), 200);
    let mean: f64 = head.by_way.iter().map(|way| way.accuracy * way.episodes as f64).sum::<f64>() / 200.0;
    assert!((mean - head.accuracy.mean).abs() < 1e-12);
    let asked: u64 = head.by_class.iter().map(|class| class.queries).sum();
    assert_eq!(asked, sampler.episodes().take(200).map(|episode| episode.query().len() as u64).sum::<u64>());
}

#[test]
fn pairing_takes_the_episodes_difficulty_out() {
    let features = features();
    let sampler = EpisodeSampler::fixed(features.labels(), 4, 3, 5, 2).unwrap();
    let evaluation = evaluate(&features, &sampler, 300, &heads()[..2]).unwrap();
    let (ncm, cosine) = (&evaluation.heads[0], &evaluation.heads[1]);
    let paired = &evaluation.differences[0].difference;
    assert!((paired.mean - (ncm.accuracy.mean - cosine.accuracy.mean)).abs() < 1e-12);
    assert!(paired.standard_error < ncm.accuracy.standard_error);
    let other = EpisodeSampler::fixed(features.labels(), 4, 3, 5, 3).unwrap();
    let elsewhere = evaluate(&features, &other, 300, &heads()[..1]).unwrap();
    let refused = compare_on_same_episodes((&evaluation, "ncm"), (&elsewhere, "ncm"));
    assert!(matches!(refused, Err(Error::DifferentEpisodes { .. })));
    assert!(
        !across_models(&[evaluation.clone(), evaluate(&features, &other, 300, &heads()[..2]).unwrap()])
            .unwrap()
            .same_episodes
    );
    assert!(matches!(across_models(&[evaluation]), Err(Error::TooFewValues { .. })));
}

#[test]
fn the_spread_over_models_by_hand() {
    let features = features();
    let sampler = EpisodeSampler::fixed(features.labels(), 4, 3, 5, 2).unwrap();
    let whole = evaluate(&features, &sampler, 2, &heads()[..2]).unwrap();
    // Two models on two episodes: accuracies 0.5, 0.7 and 0.8, 1.0 of the first head, 0.4, 0.6 and 0.9, 0.9 of the second.
    let model = |first: [f64; 2], second: [f64; 2]| {
        let mut evaluation = whole.clone();
        evaluation.heads[0].per_episode = first.to_vec();
        evaluation.heads[1].per_episode = second.to_vec();
        evaluation
    };
    let together = across_models(&[model([0.5, 0.7], [0.4, 0.6]), model([0.8, 1.0], [0.9, 0.9])]).unwrap();
    let close = |actual: f64, expected: f64| assert!((actual - expected).abs() < 1e-12, "{actual} for {expected}");
    let first = &together.heads[0];
    // Means 0.6 and 0.9: 0.75 ± 0.3/2, standard deviation 0.3/√2; each model's own error is (0.2/√2)/√2 = 0.1.
    close(first.accuracy.mean, 0.75);
    close(first.accuracy.standard_error, 0.15);
    close(first.between_models, 0.3 / 2f64.sqrt());
    close(first.within_models, 0.1);
    // Student's t with one degree of freedom: tan(0.475 π) = 12.706 standard errors on either side.
    let half_width = 0.15 * (0.475 * std::f64::consts::PI).tan();
    assert!((first.accuracy.student.high - first.accuracy.student.low - 2.0 * half_width).abs() < 1e-8);
    // Differences, episode by episode: 0.1, 0.1 and −0.1, 0.1, so means 0.1 and 0, own errors 0 and 0.1.
    let difference = &together.differences[0];
    close(difference.accuracy.mean, 0.05);
    close(difference.between_models, 0.1 / 2f64.sqrt());
    close(difference.within_models, (0.01f64 / 2.0).sqrt());
}

/// A head that fails from some episode on.
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
fn errors_say_in_which_episode_and_head() {
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
    assert!(matches!(evaluate(&features, &sampler, 1, &heads()), Err(Error::TooFewValues { .. })));
    let shorter = LabelledFeatures::from_f32(vec![0.0; 10], 1, vec![0; 10]).unwrap();
    assert!(matches!(evaluate(&shorter, &sampler, 5, &heads()), Err(Error::InEpisode { episode: 0, .. })));
    let cl2n: [HeadKind; 1] = ["simpleshot:cl2n".parse().unwrap()];
    match evaluate(&features, &sampler, 5, &cl2n) {
        Err(Error::InEpisode { source, .. }) => assert!(matches!(*source, Error::MissingBaseMean { .. })),
        other => panic!("{other:?}"),
    }
}
