//! Every sampled episode is valid under any rules; rules that the data cannot satisfy are refused.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Labels of classes with these sizes; rows of one class are not adjacent.
fn labels(sizes: &[usize]) -> Vec<u32> {
    let most = sizes.iter().copied().max().unwrap_or(0);
    let rounds = (0..most).flat_map(|round| sizes.iter().enumerate().filter(move |(_, size)| round < **size));
    rounds.map(|(class, _)| 3 * class as u32 + 1).collect()
}

/// Checks that samples exist, have the label of their class and occur once, and that every class has support.
fn assert_valid(episode: &Episode, labels: &[u32]) {
    episode.check_against(labels).unwrap();
    let all: Vec<usize> = [episode.support(), episode.query()].concat();
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "support and query are disjoint sets");
    assert_eq!(episode.classes().iter().collect::<HashSet<_>>().len(), episode.way());
    assert!(episode.shots().iter().all(|&shots| shots > 0) && !episode.query().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn fixed_episodes_are_valid(
        sizes in prop::collection::vec(6usize..30, 3..12), way in 2usize..4, shots in 1usize..4, queries in 1usize..4,
        seed: u64, index: u64,
    ) {
        let labels = labels(&sizes);
        let episode = EpisodeSampler::fixed(&labels, way, shots, queries, seed)?.episode(index);
        assert_valid(&episode, &labels);
        prop_assert_eq!(episode.way(), way);
        prop_assert_eq!(episode.shots(), vec![shots; way]);
        prop_assert_eq!(episode.query().len(), way * queries);
    }

    #[test]
    fn variable_and_natural_episodes_are_valid(
        sizes in prop::collection::vec(8usize..40, 4..9), low in 2usize..4, extra in 0usize..9, seed: u64, index: u64,
    ) {
        let labels = labels(&sizes);
        let rules = EpisodeRules {
            way: WayRule::Uniform { low, high: low + extra },
            shot: ShotRule::Uniform { low: 1, high: 5 },
            query: QueryRule::Natural(6),
        };
        let episode = EpisodeSampler::new(&labels, rules, seed)?.episode(index);
        assert_valid(&episode, &labels);
        prop_assert!(episode.way() >= low && episode.way() <= (low + extra).min(sizes.len()));
        prop_assert_eq!(episode.query().len(), 6);
        let shots = episode.shots();
        prop_assert!(shots.iter().all(|count| *count == shots[0] && *count <= 5));
    }

    #[test]
    fn meta_dataset_episodes_are_valid(
        sizes in prop::collection::vec(2usize..300, 5..60), seed: u64, index: u64,
    ) {
        let labels = labels(&sizes);
        let episode = EpisodeSampler::new(&labels, EpisodeRules::meta_dataset(), seed)?.episode(index);
        assert_valid(&episode, &labels);
        prop_assert!(episode.way() >= 5 && episode.way() <= 50);
        prop_assert!(episode.support().len() <= 500);
        let per_class = episode.query().len() / episode.way();
        prop_assert!((1..=10).contains(&per_class) && per_class * episode.way() == episode.query().len());
    }
}

#[test]
fn classes_and_samples_are_drawn_uniformly() {
    // 4000 episodes of 2 of 5 classes, 1 + 1 of 4 samples: each sample is support with probability 2/5 · 1/4 = 0.1, with
    // a standard deviation of √(4000 · 0.1 · 0.9) = 19 around 400. The tolerance is five standard deviations.
    let labels = labels(&[4; 5]);
    let sampler = EpisodeSampler::fixed(&labels, 2, 1, 1, 11).unwrap();
    let (mut support, mut query) = ([0usize; 20], [0usize; 20]);
    for episode in sampler.episodes().take(4000) {
        episode.support().iter().for_each(|&row| support[row] += 1);
        episode.query().iter().for_each(|&row| query[row] += 1);
    }
    assert!(support.iter().chain(&query).all(|&count| count.abs_diff(400) < 95), "{support:?} {query:?}");
}

#[test]
fn natural_queries_follow_the_class_sizes() {
    // Classes of 10 and 100 samples, one shot each: 9 of the other 108 samples belong to the small class.
    let labels = labels(&[10, 100]);
    let rules = EpisodeRules { way: WayRule::Fixed(2), shot: ShotRule::Fixed(1), query: QueryRule::Natural(12) };
    let sampler = EpisodeSampler::new(&labels, rules, 3).unwrap();
    let small: usize = sampler
        .episodes()
        .take(3000)
        .map(|episode| episode.query().iter().filter(|&&row| labels[row] == 1).count())
        .sum();
    // The mean is 12 · 9/108 = 1 per episode, the standard deviation below 1: six standard errors are 0.11.
    assert!((small as f64 / 3000.0 - 1.0).abs() < 0.11, "{small}");
}

#[test]
fn rules_that_the_data_cannot_satisfy_are_refused() {
    let sized = labels(&[30, 12, 30]);
    let short = EpisodeSampler::fixed(&sized, 3, 5, 15, 0);
    assert!(matches!(short, Err(Error::TooFewSamples { class: 4, count: 12, shots: 5, queries: 15 })));
    assert!(matches!(EpisodeSampler::fixed(&sized, 4, 1, 1, 0), Err(Error::TooFewClasses { way: 4, classes: 3 })));
    for (way, shots, queries) in [(1, 1, 1), (2, 0, 1), (2, 1, 0)] {
        let refused = EpisodeSampler::fixed(&sized, way, shots, queries, 0);
        assert!(matches!(refused, Err(Error::InvalidRule { .. })));
    }
    let mut rules = EpisodeRules::fixed(2, 2, 1);
    rules.query = QueryRule::Natural(39);
    // The two smallest classes have 10 + 28 samples beside their support.
    let refused = EpisodeSampler::new(&sized, rules, 0);
    assert!(matches!(refused, Err(Error::TooFewQueries { way: 2, available: 38, wanted: 39 })));
    rules.shot = ShotRule::MetaDataset { most_support: 10, most_from_class: 10 };
    assert!(matches!(EpisodeSampler::new(&sized, rules, 0), Err(Error::InvalidRule { rule: "query", .. })));
}

#[test]
fn way_shots_and_queries_beyond_their_ceilings_are_refused() {
    let sized = labels(&[30, 30]);
    for (way, shots, queries) in
        [(usize::MAX, 1, 1), (2, usize::MAX, 1), (2, 1, usize::MAX), (2, usize::MAX, usize::MAX)]
    {
        let refused = EpisodeSampler::fixed(&sized, way, shots, queries, 0);
        match refused {
            Err(error @ Error::InvalidRule { .. }) => assert!(error.to_string().contains("1,000,000"), "{error}"),
            other => panic!("{other:?}"),
        }
    }
    // The largest allowed values need samples that the data do not have.
    assert!(matches!(EpisodeSampler::fixed(&sized, 2, 1_000_000, 1_000_000, 0), Err(Error::TooFewSamples { .. })));
    let mut rules = EpisodeRules::meta_dataset();
    rules.way = WayRule::Uniform { low: 2, high: 1_000_000 };
    assert_valid(&EpisodeSampler::new(&sized, rules, 0).unwrap().episode(0), &sized);
}

#[test]
fn a_large_label_needs_no_memory_of_its_size() {
    // A table indexed by label would have 2³² rows.
    let sized: Vec<u32> = (0..40).map(|i| if i % 2 == 0 { 16_000_000 } else { u32::MAX }).collect();
    let episode = EpisodeSampler::fixed(&sized, 2, 3, 4, 1).unwrap().episode(0);
    assert_valid(&episode, &sized);
}
