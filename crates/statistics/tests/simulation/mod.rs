//! Simulated sweeps for the calibration and the power of the rule of verdicts.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of a test and of an example, which may panic")]

use statistics::{
    Block, ChangeScale, ClaimTest, Correction, CovariateBlock, Decision, DecisionRules, Effect, PermutationSettings,
    SeedPair, SeedValue, SweepRun, course_correlation, decide_claims, paired_contrast, partial_rank_correlation,
    partial_slopes, trend_evidence, trend_size,
};

/// The number of claims of the largest family.
pub(crate) const FAMILY: usize = 8;

/// How seeds and values make a metric in which the swept value has no effect on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Null {
    /// A strong trend whose runs are then permuted within each seed.
    PermutedWithinSeeds,
    /// A seed effect with this share of the variance (intraclass correlation), and noise.
    SharedSeedEffect(f64),
    /// Noise, and in each seed a trend whose slope is normal around 0: of random sign, with much larger changes than the noise.
    RandomSlopes,
    /// As before, with slopes that differ in sign alone. Three seeds then agree by chance in a quarter of all draws.
    SlopesOfEqualSize,
}

/// A true effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trend {
    /// The factor over the sweep.
    pub(crate) factor: f64,
    /// Standard deviation of the logarithm of this factor over seeds.
    pub(crate) between_seeds: f64,
    /// Standard deviation of the logarithm of the metric of a run.
    pub(crate) noise: f64,
}

/// The numbers of seeds and of swept values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) seeds: usize,
    pub(crate) values: usize,
}

impl Size {
    /// The runs of a sweep from the logarithm of the metric, a function of seed and value.
    fn runs(self, mut logarithm: impl FnMut(usize, usize) -> f64) -> Vec<SweepRun> {
        let mut runs = Vec::new();
        for seed in 0..self.seeds {
            for value in 0..self.values {
                let x = 0.05 * 2f64.powi(value as i32);
                runs.push(SweepRun { seed: seed as u64, x, y: logarithm(seed, value).exp() });
            }
        }
        runs
    }

    /// The position of a value in the sweep, −½ to ½.
    fn position(self, value: usize) -> f64 {
        value as f64 / (self.values - 1) as f64 - 0.5
    }
}

/// Standard normal numbers of one draw, by claim.
fn normal(draw: u64, claim: usize, count: usize) -> Vec<f64> {
    streams::standard_normal(&mut streams::stream(claim as u64, "simulation", draw), count)
}

/// The runs of one claim under a null hypothesis.
pub(crate) fn null_runs(null: Null, size: Size, draw: u64, claim: usize) -> Vec<SweepRun> {
    let (seeds, values) = (size.seeds, size.values);
    let numbers = normal(draw, claim, seeds + seeds * values);
    let (shared, noise) = numbers.split_at(seeds);
    let at = |seed: usize, value: usize| noise[seed * values + value];
    match null {
        Null::PermutedWithinSeeds => {
            let orders: Vec<Vec<usize>> = (0..seeds)
                .map(|seed| {
                    let index = draw * 1000 + (claim * 10 + seed) as u64;
                    streams::permutation(&mut streams::stream(0, "simulation/orders", index), values)
                })
                .collect();
            // A factor of 1/4 over the sweep, with unequal steps and noise.
            size.runs(|seed, value| {
                let position = size.position(orders[seed][value]) + 0.5;
                -1.4 * position.powi(2) + 0.5 * shared[seed] + 0.1 * at(seed, orders[seed][value])
            })
        }
        Null::SharedSeedEffect(share) => {
            size.runs(|seed, value| share.sqrt() * shared[seed] + (1.0 - share).sqrt() * at(seed, value))
        }
        Null::RandomSlopes => size.runs(|seed, value| 10.0 * shared[seed] * size.position(value) + at(seed, value)),
        Null::SlopesOfEqualSize => {
            size.runs(|seed, value| 10.0 * shared[seed].signum() * size.position(value) + at(seed, value))
        }
    }
}

/// The runs of one claim with a true effect.
pub(crate) fn trend_runs(trend: Trend, size: Size, draw: u64, claim: usize) -> Vec<SweepRun> {
    let numbers = normal(draw, claim, size.seeds + size.seeds * size.values);
    let (slopes, noise) = numbers.split_at(size.seeds);
    size.runs(|seed, value| {
        let slope = trend.factor.ln() + trend.between_seeds * slopes[seed];
        slope * size.position(value) + trend.noise * noise[seed * size.values + value]
    })
}

/// The test of a trend, as a report has it.
pub(crate) fn trend_test(runs: &[SweepRun]) -> ClaimTest {
    let evidence = trend_evidence(runs, &PermutationSettings::default()).unwrap();
    let (effect, _) = trend_size(runs, ChangeScale::Factor, 0.95).unwrap();
    ClaimTest {
        positive: true,
        coefficient: evidence.correlation.mean,
        permutation_p_value: Some(evidence.correlation.p_value),
        smallest_p_value: evidence.smallest_p_value,
        effect,
        margin: Some((-(1.05f64.ln()), 1.05f64.ln())),
    }
}

/// How seeds make a metric at two levels that do not differ on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NullContrast {
    /// A seed effect with this share of the variance (intraclass correlation), and normal noise.
    SharedSeedEffect(f64),
    /// The same with noise of heavy tails, Student's t with three degrees of freedom.
    HeavyTails,
    /// A difference in each seed that is normal around 0 and ten times the noise.
    RandomDifferences,
}

/// The test of a contrast between two levels, in a family of `claims` claims, as a report has it.
pub(crate) fn contrast_test(
    null: NullContrast,
    seeds: usize,
    draw: u64,
    claim: usize,
    rules: &DecisionRules,
    claims: usize,
) -> ClaimTest {
    let numbers = normal(draw, 200 + claim, 10 * seeds);
    let pair = |seed: usize| {
        let own = &numbers[10 * seed..10 * (seed + 1)];
        let noise: [f64; 2] = match null {
            NullContrast::SharedSeedEffect(share) => {
                [1, 2].map(|at| share.sqrt() * own[0] + (1.0 - share).sqrt() * own[at])
            }
            NullContrast::HeavyTails => [1, 5].map(|at| {
                let squares: f64 = own[at + 1..at + 4].iter().map(|number| number * number).sum();
                own[at] / (squares / 3.0).sqrt()
            }),
            NullContrast::RandomDifferences => [own[1] - 5.0 * own[0], own[2] + 5.0 * own[0]],
        };
        SeedPair { seed: seed as u64, from: noise[0].exp(), to: noise[1].exp() }
    };
    let pairs: Vec<SeedPair> = (0..seeds).map(pair).collect();
    let found = paired_contrast(&pairs, ChangeScale::Factor, 0.95, &PermutationSettings::default()).unwrap();
    found.claim_test(true, Some((-(1.05f64.ln()), 1.05f64.ln())), rules, claims)
}

/// The test of an association of two metrics that are independent on average, given one covariate.
///
/// With `opposite_seeds`, each seed has an association of normal strength around 0.
pub(crate) fn association_test(size: Size, share: f64, opposite_seeds: bool, draw: u64) -> ClaimTest {
    let per_seed = 3 * size.values;
    let numbers = normal(draw, 100, 3 * size.seeds + 2 * size.seeds * per_seed);
    let (shared, noise) = numbers.split_at(3 * size.seeds);
    let covariate: Vec<f64> = (0..per_seed).map(|run| (run % size.values) as f64).collect();
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for seed in 0..size.seeds {
        let own = &noise[2 * seed * per_seed..2 * (seed + 1) * per_seed];
        let (own_x, own_y) = own.split_at(per_seed);
        let weight = (1.0 - share).sqrt();
        let of = |shared: f64, noise: f64, covariate: f64| share.sqrt() * shared + weight * noise + 0.5 * covariate;
        let first: Vec<f64> = (0..per_seed).map(|run| of(shared[seed], own_x[run], covariate[run])).collect();
        let slope = if opposite_seeds { 2.0 * shared[2 * size.seeds + seed] } else { 0.0 };
        y.push(
            (0..per_seed)
                .map(|run| of(shared[size.seeds + seed], own_y[run], -covariate[run]) + slope * own_x[run])
                .collect::<Vec<f64>>(),
        );
        x.push(first);
    }
    let covariates = [covariate.as_slice()];
    let blocks: Vec<CovariateBlock<'_>> =
        x.iter().zip(&y).map(|(x, y)| CovariateBlock { block: Block { x, y }, covariates: &covariates }).collect();
    let settings = PermutationSettings { draws: 400, ..PermutationSettings::default() };
    let found = partial_rank_correlation(&blocks, &settings).unwrap();
    ClaimTest {
        positive: true,
        coefficient: found.coefficient,
        permutation_p_value: Some(found.p_value),
        smallest_p_value: 1.0 / found.permutations as f64,
        effect: over_seeds(partial_slopes(&blocks).unwrap()),
        margin: None,
    }
}

/// The test of a course of two independent random walks, of which runs of one seed share half of the variance.
pub(crate) fn course_test(size: Size, points: usize, draw: u64) -> ClaimTest {
    let per_seed = 2 * points * (1 + size.values);
    let numbers = normal(draw, 200, size.seeds * per_seed);
    let walk = |shared: &[f64], own: &[f64]| -> Vec<f64> {
        let mut sum = 0.0;
        let step = |(shared, own): (&f64, &f64)| {
            sum += shared + own;
            sum
        };
        shared.iter().zip(own).map(step).collect()
    };
    let runs: Vec<Vec<[Vec<f64>; 2]>> = numbers
        .chunks(per_seed)
        .map(|seed| {
            let parts: Vec<&[f64]> = seed.chunks(points).collect();
            parts[2..].chunks(2).map(|own| [walk(parts[0], own[0]), walk(parts[1], own[1])]).collect()
        })
        .collect();
    let blocks: Vec<Vec<Block<'_>>> =
        runs.iter().map(|seed| seed.iter().map(|[x, y]| Block { x, y }).collect()).collect();
    let seeds: Vec<&[Block<'_>]> = blocks.iter().map(Vec::as_slice).collect();
    let found = course_correlation(&seeds, &PermutationSettings::default()).unwrap();
    ClaimTest {
        positive: true,
        coefficient: found.mean,
        permutation_p_value: Some(found.p_value),
        smallest_p_value: 0.0,
        effect: over_seeds(found.per_block.iter().map(|value| value.unwrap_or(0.0)).collect()),
        margin: None,
    }
}

fn over_seeds(values: Vec<f64>) -> Effect {
    let seeds = (0..).zip(values).map(|(seed, value)| SeedValue { seed, value });
    Effect::over_seeds(seeds.collect(), 0.95).unwrap()
}

/// How many of these claims are decided (*holds* or *fails*) as a family.
pub(crate) fn decided(claims: &[ClaimTest], correction: Correction, level: f64) -> usize {
    let claims: Vec<Option<ClaimTest>> = claims.iter().cloned().map(Some).collect();
    let judged = decide_claims(&claims, &DecisionRules { correction, level }).unwrap();
    judged.iter().flatten().filter(|judged| matches!(judged.decision, Decision::Holds | Decision::Fails)).count()
}
