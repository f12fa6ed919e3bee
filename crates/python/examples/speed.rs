//! The same work as `speed.py`, called from Rust: seconds of a collapse report of 50,000 × 512 and of 10,000 episodes.
//!
//! Run: `cargo run --release --example speed`
#![allow(clippy::print_stdout, reason = "an example that prints its figures")]

use std::time::Instant;

use collapse::{ReportOptions, report_slice};
use fewshot::{EpisodeRules, EpisodeSampler, FeatureView, HeadKind, evaluate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (samples, features) = (50_000, 512);
    let draws = streams::standard_normal(&mut streams::stream(0, "python/speed", 0), samples * features);
    let mut values: Vec<f32> = draws.into_iter().map(|value| value as f32).collect();
    let labels: Vec<u32> = (0..samples as u32).map(|row| row % 100).collect();
    for (row, &label) in labels.iter().enumerate() {
        values[row * features + label as usize] += 6.0;
    }
    for _ in 0..3 {
        let start = Instant::now();
        let report = report_slice(&values, features, &labels, None, &ReportOptions::default())?;
        println!("report: {:.2} s, CDNV {:.6}", start.elapsed().as_secs_f64(), report.cdnv.mean);
    }
    let heads: [HeadKind; 1] = ["ncm".parse()?];
    for _ in 0..3 {
        let start = Instant::now();
        let sampler = EpisodeSampler::new(&labels, EpisodeRules::fixed(5, 1, 15), 0)?;
        let evaluation = evaluate(FeatureView::from_f32(&values, features, &labels)?, &sampler, 10_000, &heads)?;
        println!(
            "10,000 episodes: {:.2} s, accuracy {:.6}",
            start.elapsed().as_secs_f64(),
            evaluation.heads[0].accuracy.mean
        );
    }
    Ok(())
}
