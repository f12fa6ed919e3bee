//! Time and memory of an evaluation: 10,000 5-way 5-shot 15-query episodes on 12,000 × 512 features.
//!
//! `cargo run --release -p geometric-fewshot --example throughput [head ...]`
#![allow(clippy::print_stdout, reason = "an example that prints its results")]

use std::time::Instant;

use fewshot::{EpisodeSampler, HeadKind, LabelledFeatures, Result, evaluate};

const CLASSES: usize = 20;
const SAMPLES: usize = 12_000;
const DIMENSION: usize = 512;
const EPISODES: usize = 10_000;

fn main() -> Result<()> {
    let mut heads: Vec<String> = std::env::args().skip(1).collect();
    if heads.is_empty() {
        heads = vec!["ncm".to_owned(), "ridge:1".to_owned()];
    }
    let features = features()?;
    let own = peak_megabytes();
    let sampler = EpisodeSampler::fixed(features.labels(), 5, 5, 15, 1)?;
    println!(
        "{SAMPLES} × {DIMENSION} features, {} threads, {own:?} MB before the evaluation",
        rayon::current_num_threads()
    );
    for head in heads {
        let head: HeadKind = head.parse()?;
        let start = Instant::now();
        let evaluation = evaluate(&features, &sampler, EPISODES, &[head])?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{seconds:.3} s, {:.1} µs per episode; {}; peak {:?} MB",
            seconds / EPISODES as f64 * 1e6,
            evaluation.heads[0],
            peak_megabytes()
        );
    }
    Ok(())
}

/// Standard normal class means, scaled by 0.1, plus standard normal noise: 5-way accuracies are far from chance and 100 %.
fn features() -> Result<LabelledFeatures> {
    let labels: Vec<u32> = (0..SAMPLES).map(|sample| (sample % CLASSES) as u32).collect();
    let means = streams::standard_normal(&mut streams::stream(1, "throughput/means", 0), CLASSES * DIMENSION);
    let mut values = Vec::with_capacity(SAMPLES * DIMENSION);
    for (sample, &label) in labels.iter().enumerate() {
        let noise = streams::standard_normal(&mut streams::stream(1, "throughput/noise", sample as u64), DIMENSION);
        let mean = &means[label as usize * DIMENSION..][..DIMENSION];
        values.extend(noise.iter().zip(mean).map(|(noise, mean)| (noise + 0.1 * mean) as f32));
    }
    LabelledFeatures::from_f32(values, DIMENSION, labels)
}

/// Peak resident memory of this process in MB; none where /proc is missing (it exists on Linux).
fn peak_megabytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
}
