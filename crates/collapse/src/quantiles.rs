//! Exact quantiles of non-negative numbers that may be too many to hold in memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Up to this many values are held and sorted; more are counted in passes.
const HELD: u64 = 1 << 21;

/// Quantiles over class pairs.
///
/// **Conventions** Linear interpolation between order statistics (type 7, NumPy's default); exact for any number of
/// pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The smallest value.
    pub min: f64,
    /// 5 %.
    pub q05: f64,
    /// 25 %.
    pub q25: f64,
    /// The median.
    pub median: f64,
    /// 75 %.
    pub q75: f64,
    /// 95 %.
    pub q95: f64,
}

/// The quantiles of `count` ≥ 1 values. Each call of `stream` passes all of them to its argument.
pub(crate) fn quantiles(count: u64, stream: impl Fn(&mut dyn FnMut(f64))) -> Quantiles {
    const SHARES: [f64; 6] = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95];
    let positions = SHARES.map(|share| share * (count - 1) as f64);
    let ranks: Vec<u64> = positions.iter().flat_map(|at| [at.floor() as u64, at.ceil() as u64]).collect();
    let found = if count <= HELD { by_sorting(count, &stream, &ranks) } else { by_counting(&stream, &ranks) };
    let at = |index: usize| {
        let (low, high) = (found[2 * index], found[2 * index + 1]);
        low + (high - low) * (positions[index] - positions[index].floor())
    };
    Quantiles { min: at(0), q05: at(1), q25: at(2), median: at(3), q75: at(4), q95: at(5) }
}

fn by_sorting(count: u64, stream: &impl Fn(&mut dyn FnMut(f64)), ranks: &[u64]) -> Vec<f64> {
    let mut values = Vec::with_capacity(count as usize);
    stream(&mut |value| values.push(value));
    values.sort_unstable_by(f64::total_cmp);
    ranks.iter().map(|&rank| values[rank as usize]).collect()
}

/// The same by radix selection: four passes, each of which determines 16 bits of every wanted value. The bits of non-negative
/// floating-point numbers sort as the numbers do.
fn by_counting(stream: &impl Fn(&mut dyn FnMut(f64)), ranks: &[u64]) -> Vec<f64> {
    let mut wanted: Vec<(u64, u64)> = ranks.iter().map(|&rank| (0, rank)).collect();
    for shift in [48, 32, 16, 0] {
        let mut histograms: BTreeMap<u64, Vec<u64>> =
            wanted.iter().map(|&(prefix, _)| (prefix, vec![0; 1 << 16])).collect();
        stream(&mut |value| {
            let bits = value.to_bits() >> shift;
            if let Some(histogram) = histograms.get_mut(&(bits >> 16)) {
                histogram[(bits & 0xffff) as usize] += 1;
            }
        });
        for (prefix, rank) in &mut wanted {
            for (digit, &count) in histograms[prefix].iter().enumerate() {
                if *rank < count {
                    *prefix = (*prefix << 16) | digit as u64;
                    break;
                }
                *rank -= count;
            }
        }
    }
    wanted.iter().map(|&(bits, _)| f64::from_bits(bits)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_as_numpy_does() {
        // numpy.quantile([3, 1, 4, 2], 0.05 and 0.25) = 1.15 and 1.75 (type 7).
        let values = [3.0, 1.0, 4.0, 2.0];
        let found = quantiles(4, |take| values.iter().for_each(|&value| take(value)));
        assert!((found.q05 - 1.15).abs() < 1e-15);
        assert_eq!((found.min, found.q25, found.median, found.q75), (1.0, 1.75, 2.5, 3.25));
    }

    #[test]
    fn counting_and_sorting_give_the_same_values() {
        let mut stream = streams::stream(5, "collapse/tests/quantiles", 0);
        let mut values: Vec<f64> =
            streams::standard_normal(&mut stream, 3001).iter().map(|value| value.exp()).collect();
        values.extend([0.0, 0.0, 1e300]);
        let each = |take: &mut dyn FnMut(f64)| values.iter().for_each(|&value| take(value));
        let ranks = [0, 1, 2, 17, 1500, 3002, 3003];
        assert_eq!(by_counting(&each, &ranks), by_sorting(values.len() as u64, &each, &ranks));
    }
}
