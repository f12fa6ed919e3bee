//! Quantiles of sorted values.

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
/// assert_eq!(statistics::quantile_of_sorted(&[1.0, 2.0, 3.0, 4.0], 0.25), 1.75);
/// assert!(statistics::quantile_of_sorted(&[], 0.5).is_nan());
/// ```
pub fn quantile_of_sorted(ascending: &[f64], share: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1).filter(|_| !share.is_nan()) else { return f64::NAN };
    let position = share.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    ascending[below] + (position - below as f64) * (ascending[above] - ascending[below])
}
