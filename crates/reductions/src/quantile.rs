//! Quantiles of sorted values, and of more values than memory holds.

use std::collections::BTreeMap;

/// Up to this many values are sorted in memory; more are counted in passes.
const SORTED: u64 = 1 << 21;

/// The quantile of ascending values, with linear interpolation between order statistics.
///
/// **Definition** with n values and h = (n − 1)·`share`: x₍⌊h⌋₎ + (h − ⌊h⌋)(x₍⌊h⌋₊₁₎ − x₍⌊h⌋₎), positions from 0.
///
/// **Conventions** `share` outside [0, 1] counts as 0 or 1. The result is NaN for no values and for a `share` of NaN.
///
/// **Source** type 7 of Hyndman and Fan, Sample quantiles in statistical packages, The American Statistician 1996: the
/// default of NumPy and R.
///
/// ```
/// // numpy.quantile([1, 2, 3, 4], 0.25) = 1.75.
/// assert_eq!(reductions::quantile_of_sorted(&[1.0, 2.0, 3.0, 4.0], 0.25), 1.75);
/// assert!(reductions::quantile_of_sorted(&[], 0.5).is_nan());
/// ```
pub fn quantile_of_sorted(ascending: &[f64], share: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1).filter(|_| !share.is_nan()) else { return f64::NAN };
    let position = share.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    ascending[below] + (position - below as f64) * (ascending[above] - ascending[below])
}

/// Exact quantiles of `count` non-negative values that `stream` computes again each time that it is called.
///
/// `stream` calls its argument with each value, in any order. Up to two million values are sorted. For more it is called
/// four times: each pass counts the values by the next 16 bits of their f64 representation, whose order is that of the
/// numbers, so that no more than a few histograms are held.
///
/// **Conventions** interpolation as for [`quantile_of_sorted`]. The results are NaN for no values. Values must not be negative
/// or NaN.
///
/// ```
/// // numpy.quantile([3, 1, 4, 2], [0.05, 0.5]) = [1.15, 2.5].
/// let values = [3.0, 1.0, 4.0, 2.0];
/// let found = reductions::quantiles_of_stream(4, [0.05, 0.5], |take| values.iter().for_each(|&value| take(value)));
/// assert!((found[0] - 1.15).abs() < 1e-15 && found[1] == 2.5);
/// ```
pub fn quantiles_of_stream<const N: usize>(
    count: u64,
    shares: [f64; N],
    stream: impl Fn(&mut dyn FnMut(f64)),
) -> [f64; N] {
    let Some(last) = count.checked_sub(1) else { return [f64::NAN; N] };
    let positions = shares.map(|share| share.clamp(0.0, 1.0) * last as f64);
    let ranks: Vec<u64> = positions.iter().flat_map(|at| [at.floor() as u64, at.ceil() as u64]).collect();
    let found = if count <= SORTED { by_sorting(count, &stream, &ranks) } else { by_counting(&stream, &ranks) };
    std::array::from_fn(|index| {
        let (low, high) = (found[2 * index], found[2 * index + 1]);
        low + (high - low) * (positions[index] - positions[index].floor())
    })
}

/// The values at these ranks (from 0), by sorting.
fn by_sorting(count: u64, stream: &impl Fn(&mut dyn FnMut(f64)), ranks: &[u64]) -> Vec<f64> {
    let mut values = Vec::with_capacity(count as usize);
    stream(&mut |value| values.push(value));
    values.sort_unstable_by(f64::total_cmp);
    ranks.iter().map(|&rank| values.get(rank as usize).copied().unwrap_or(f64::NAN)).collect()
}

/// The values at these ranks (from 0), by radix: each of four passes finds 16 more bits of every value.
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
    fn counting_finds_what_sorting_finds() {
        let mut stream = streams::stream(5, "collapse/tests/quantiles", 0);
        let mut values: Vec<f64> =
            streams::standard_normal(&mut stream, 3001).iter().map(|value| value.exp()).collect();
        values.extend([0.0, 0.0, 1e300]);
        let each = |take: &mut dyn FnMut(f64)| values.iter().for_each(|&value| take(value));
        let ranks = [0, 1, 2, 17, 1500, 3002, 3003];
        assert_eq!(by_counting(&each, &ranks), by_sorting(values.len() as u64, &each, &ranks));
    }

    #[test]
    fn a_stream_and_its_sorted_values_have_the_same_quantiles() {
        let mut values: Vec<f64> = (0..101).map(|at| f64::from(at * at % 97) + 0.125).collect();
        let found = quantiles_of_stream(101, [0.0, 0.1, 0.333, 1.0], |take| values.iter().for_each(|&v| take(v)));
        values.sort_by(f64::total_cmp);
        assert_eq!(found, [0.0, 0.1, 0.333, 1.0].map(|share| quantile_of_sorted(&values, share)));
        assert!(quantiles_of_stream(0, [0.5], |_| ())[0].is_nan());
    }
}
