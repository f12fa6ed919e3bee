//! The work of `speed.py`, called from Rust: a collapse report of 50,000 × 512 and 10,000 episodes.
//!
//! `speed.py` starts this program with the file of the features (f32, row by row), and writes the name of a task to its standard
//! input. For each it prints the seconds and one value of the result.
#![allow(clippy::print_stdout, reason = "an example that prints its figures")]

use std::io::{BufRead, Write};
use std::time::Instant;

use collapse::{ReportOptions, report_slice};
use fewshot::{EpisodeRules, EpisodeSampler, FeatureView, HeadKind, evaluate};

const FEATURES: usize = 512;
const CLASSES: u32 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("expected the file of the features; speed.py starts this program")?;
    let values: Vec<f32> =
        std::fs::read(path)?.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let labels: Vec<u32> = (0..(values.len() / FEATURES) as u32).map(|row| row % CLASSES).collect();
    let heads: [HeadKind; 1] = ["ncm".parse()?];
    for task in std::io::stdin().lock().lines() {
        let start = Instant::now();
        let value = match task?.as_str() {
            "report" => report_slice(&values, FEATURES, &labels, None, &ReportOptions::default())?.cdnv.mean,
            "episodes" => {
                let sampler = EpisodeSampler::new(&labels, EpisodeRules::fixed(5, 1, 15), 0)?;
                let view = FeatureView::from_f32(&values, FEATURES, &labels)?;
                evaluate(view, &sampler, 10_000, &heads)?.heads[0].accuracy.mean
            }
            other => return Err(format!("unknown task {other}").into()),
        };
        println!("{} {value}", start.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}
