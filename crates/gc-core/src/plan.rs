//! The split of a planned measurement between samples and probes.

use serde::{Deserialize, Serialize};

use crate::{Method, Population};

/// The split between samples and probes that reaches a relative error at the lowest cost, estimated from the samples so far.
///
/// **Definition** the estimate of one sample from U independent replicates of the probes has variance S² + τ²/U around the
/// mean over samples: S² between samples and τ² from one replicate, both estimated from the pilot. For each U the number of
/// samples m is the smallest at which the variance of the mean (including the pilot, and less S²/N for a data set of N)
/// reaches the target. The plan takes the U with the fewest passes, where a sample costs 1 + P passes by rows and 2P by
/// columns.
///
/// **Conventions** the samples of the pilot are part of the estimate. The plan sets the number of probes of every further
/// sample. A new plan is made each time that the samples have doubled, and where the planned number did not reach the error. A measurement
/// reports the last one, whose pilot are all samples before it. The measurement stops at the standard error that is actually reached.
///
/// **Source** two-stage sampling with linear costs, Cochran, 1977, §10.6 (as a search over U, because U is whole).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// The number of samples in the pilot.
    pub pilot_samples: usize,
    /// Probes per sample in the first pilot.
    pub pilot_probes: usize,
    /// The mean over the pilot.
    pub pilot_mean: f64,
    /// S², the variance between samples (0 if the estimate is negative).
    pub between_variance: f64,
    /// τ², the mean variance of one replicate of the probes.
    pub probe_variance: f64,
    /// Probes per sample after the pilot.
    pub probes: usize,
    /// The predicted number of samples, including the pilot.
    pub samples: usize,
    /// The predicted number of passes of one sample.
    pub predicted_passes: u64,
    /// The predicted relative standard error; above the target if the data set is too small for it.
    pub predicted_relative_error: f64,
}

/// The statistics of a pilot, and the target of the plan.
pub(crate) struct Pilot {
    pub(crate) samples: usize,
    pub(crate) probes: usize,
    pub(crate) mean: f64,
    /// s², the variance of the pilot's estimates, and τ², the variance of one replicate.
    pub(crate) variance: f64,
    pub(crate) replicate_variance: f64,
    /// Replicates of the probes of each sample so far.
    pub(crate) replicates: f64,
    pub(crate) passes: u64,
    pub(crate) target: f64,
    pub(crate) population: Population,
    pub(crate) method: Method,
    /// Probes of one replicate, and the number of probes from which the exact value costs no more.
    pub(crate) block: usize,
    pub(crate) dimension: usize,
}

impl Pilot {
    pub(crate) fn plan(&self) -> Plan {
        let between = (self.variance - self.replicate_variance / self.replicates).max(0.0);
        let candidates =
            (1..=(self.dimension / self.block).max(1)).map(|replicates| self.candidate(replicates, between));
        let best = candidates.reduce(|best, next| if next.rank() < best.rank() { next } else { best });
        let best = best.unwrap_or_else(|| self.candidate(1, between));
        Plan {
            pilot_samples: self.samples,
            pilot_probes: self.probes,
            pilot_mean: self.mean,
            between_variance: between,
            probe_variance: self.replicate_variance,
            probes: best.probes,
            samples: best.samples,
            predicted_passes: best.passes,
            predicted_relative_error: best.relative_error,
        }
    }

    fn candidate(&self, replicates: usize, between: f64) -> Candidate {
        let spread = |replicates: usize| self.replicate_variance / replicates as f64;
        let (early, late) = (self.replicate_variance / self.replicates, spread(replicates));
        let (unseen, most) = match self.population {
            Population::Distribution => (0.0, f64::INFINITY),
            Population::DataSet { size } => (between / size as f64, size as f64),
        };
        // The variance of the mean of m estimates, `pilot` of them with the pilot's probes, is
        // (S² + late)/m + pilot·(early − late)/m² − S²/N; m is the larger root of variance = target².
        let pilot = self.samples as f64;
        let excess = pilot * (early - late);
        let variance = |m: f64| (between + late) / m + excess / (m * m) - unseen;
        let allowed = (self.target * self.mean).powi(2) + unseen;
        let linear = between + late;
        let needed = (linear + (linear * linear + 4.0 * allowed * excess).max(0.0).sqrt()) / (2.0 * allowed);
        let samples = needed.ceil().clamp(pilot, most.max(pilot));
        let probes = replicates * self.block;
        let passes = self.passes as f64 + (samples - pilot) * self.method.cost(probes) as f64;
        Candidate {
            probes,
            samples: samples as usize,
            passes: passes as u64,
            relative_error: variance(samples).max(0.0).sqrt() / self.mean,
            reaches: needed <= most.max(pilot),
        }
    }
}

struct Candidate {
    probes: usize,
    samples: usize,
    passes: u64,
    relative_error: f64,
    reaches: bool,
}

impl Candidate {
    /// Orders by passes among the candidates that reach the target; without any, by error.
    fn rank(&self) -> (bool, f64) {
        (!self.reaches, if self.reaches { self.passes as f64 } else { self.relative_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Probe, Side};

    fn pilot(between: f64, replicate_variance: f64, population: Population) -> Pilot {
        Pilot {
            samples: 10,
            probes: 2,
            mean: 1.0,
            variance: between + replicate_variance / 2.0,
            replicate_variance,
            replicates: 2.0,
            passes: 30,
            target: 0.01,
            population,
            method: Method::Projections { by: Side::Rows, probe: Probe::Rademacher },
            block: 1,
            dimension: 64,
        }
    }

    #[test]
    fn the_split_is_that_of_two_stage_sampling() {
        // By rows a sample costs 1 + P, so P* = √(τ²/S²): 4 for τ² = 16, S² = 1, and m is about (1 + 4)/0.0001, more
        // exactly the root of 5/m + 10·(8 − 4)/m² = 0.0001, because the pilot had two probes per sample.
        let plan = pilot(1.0, 16.0, Population::Distribution).plan();
        assert_eq!((plan.probes, plan.samples), (4, 50_008));
        assert_eq!(plan.predicted_passes, 30 + 49_998 * 5);
        assert!((plan.predicted_relative_error - 0.01).abs() < 1e-8);
        // If samples differ much more than probes, one probe per sample is best.
        assert_eq!(pilot(4.0, 1.0, Population::Distribution).plan().probes, 1);
    }

    #[test]
    fn a_data_set_needs_fewer_samples_than_a_distribution() {
        let plan = pilot(1.0, 1.0, Population::DataSet { size: 2048 }).plan();
        // About (1 + 1/P)/(1e-4 + 1/2048) samples: 3,400, 2,550, 2,267, 2,125 and, with P = 5, the first below 2,048.
        assert_eq!((plan.probes, plan.samples), (5, 2043));
        assert!(plan.samples <= 2048);
    }

    #[test]
    fn a_target_out_of_reach_is_predicted_as_such() {
        let plan = pilot(1.0, 1e9, Population::DataSet { size: 20 }).plan();
        assert_eq!((plan.probes, plan.samples), (64, 20));
        assert!(plan.predicted_relative_error > 0.01);
    }
}
