//! The power of the rule of verdicts, as a table in Markdown: the share of draws in which a true trend *holds*.
//!
//! `cargo run --release -p geometric-statistics --example power`
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use rayon::prelude::*;
use simulation::{FAMILY, Null, Size, Trend, decided, null_runs, trend_runs, trend_test};
use statistics::{ClaimTest, Correction};

const DRAWS: u64 = 2000;

fn main() {
    println!("| effect | noise of a run | seeds × values | one claim | among {FAMILY} primary claims |");
    println!("|---|---|---|---:|---:|");
    for factor in [0.9, 0.8, 0.5] {
        for noise in [0.03, 0.1] {
            for size in [Size { seeds: 3, values: 4 }, Size { seeds: 5, values: 4 }, Size { seeds: 5, values: 5 }] {
                let trend = Trend { factor, between_seeds: 0.05, noise };
                let [one, family] = power(trend, size);
                let Size { seeds, values } = size;
                let (one, family) = (100.0 * one, 100.0 * family);
                println!("| ×{factor} | {:.0} % | {seeds} × {values} | {one:.0} % | {family:.0} % |", 100.0 * noise);
            }
        }
    }
}

/// The shares of draws in which the trend is decided alone, and among other primary claims that are all null.
fn power(trend: Trend, size: Size) -> [f64; 2] {
    let counts = (0..DRAWS)
        .into_par_iter()
        .map(|draw| {
            let own = trend_test(&trend_runs(trend, size, draw, 0));
            let alone = decided(std::slice::from_ref(&own), Correction::Holm, 0.05);
            // Claims without an effect have, at best, a share of the level each: Holm's factor for the first is their number.
            let others =
                (1..FAMILY).map(|claim| trend_test(&null_runs(Null::SharedSeedEffect(0.5), size, draw, claim)));
            let null: Vec<ClaimTest> = others.collect();
            let with: Vec<ClaimTest> = std::iter::once(own).chain(null.iter().cloned()).collect();
            let among = decided(&with, Correction::Holm, 0.05).saturating_sub(decided(&null, Correction::Holm, 0.05));
            [alone, among.min(1)]
        })
        .reduce(|| [0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
    counts.map(|count| count as f64 / DRAWS as f64)
}
