//! Limited-memory BFGS for smooth convex functions.

use std::collections::VecDeque;

use crate::linalg::dot;
use crate::{Error, Result};

/// When to stop, and how many steps to remember.
pub(super) struct Settings {
    pub(super) memory: usize,
    pub(super) iterations: usize,
    /// Largest gradient component at the end, as a share of the one at the start or of 1 if that is larger.
    pub(super) tolerance: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { memory: 10, iterations: 2000, tolerance: 1e-8 }
    }
}

/// One remembered step: the change of the point and of the gradient.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    curvature: f64,
}

/// The minimum of `function`, which returns its value and fills its gradient.
///
/// Liu and Nocedal (1989) with a line search for the weak Wolfe conditions by bisection (Lewis and Overton 2013).
pub(super) fn minimise(
    operation: &'static str,
    mut point: Vec<f64>,
    settings: Settings,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Result<Vec<f64>> {
    let mut gradient = vec![0.0; point.len()];
    let mut value = function(&point, &mut gradient);
    let tolerance = settings.tolerance * largest(&gradient).max(1.0);
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    for iteration in 0..settings.iterations {
        if largest(&gradient) <= tolerance {
            return Ok(point);
        }
        let direction = descent(&gradient, &pairs);
        let Some(found) = line_search(&point, value, &gradient, &direction, &mut function) else {
            return Err(Error::NotConverged {
                operation,
                iterations: iteration,
                gradient: largest(&gradient),
                tolerance,
            });
        };
        let step = difference(&found.point, &point);
        let change = difference(&found.gradient, &gradient);
        let curvature = dot(&step, &change);
        if curvature > 0.0 {
            pairs.push_back(Pair { step, change, curvature });
            if pairs.len() > settings.memory {
                pairs.pop_front();
            }
        }
        (point, value, gradient) = (found.point, found.value, found.gradient);
    }
    let gradient = largest(&gradient);
    if gradient <= tolerance {
        return Ok(point);
    }
    Err(Error::NotConverged { operation, iterations: settings.iterations, gradient, tolerance })
}

/// −H g by the two-loop recursion.
fn descent(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|value| -value).collect();
    let mut weights = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let weight = dot(&pair.step, &direction) / pair.curvature;
        add(&mut direction, -weight, &pair.change);
        weights.push(weight);
    }
    if let Some(last) = pairs.back() {
        let scale = last.curvature / dot(&last.change, &last.change);
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for (pair, weight) in pairs.iter().zip(weights.iter().rev()) {
        let correction = weight - dot(&pair.change, &direction) / pair.curvature;
        add(&mut direction, correction, &pair.step);
    }
    direction
}

struct Found {
    point: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

fn line_search(
    point: &[f64],
    value: f64,
    gradient: &[f64],
    direction: &[f64],
    function: &mut impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Option<Found> {
    let slope = dot(gradient, direction);
    // Near the minimum the decrease drowns in the rounding of the value.
    let rounding = 8.0 * f64::EPSILON * value.abs();
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..60 {
        let mut candidate = point.to_vec();
        add(&mut candidate, length, direction);
        let mut new_gradient = vec![0.0; point.len()];
        let new_value = function(&candidate, &mut new_gradient);
        if new_value.is_nan() || new_value > value + 1e-4 * length * slope + rounding {
            high = length;
        } else if dot(&new_gradient, direction) < 0.9 * slope {
            low = length;
        } else {
            return Some(Found { point: candidate, value: new_value, gradient: new_gradient });
        }
        length = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * low };
    }
    None
}

fn add(target: &mut [f64], scale: f64, values: &[f64]) {
    target.iter_mut().zip(values).for_each(|(target, value)| *target += scale * value);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badly_scaled_quadratic_is_minimised() -> Result<()> {
        // ½ Σ dᵢ (xᵢ − i)² with d from 1 to 10⁴.
        let scales = [1.0, 10.0, 100.0, 1e3, 1e4];
        let found = minimise("test", vec![0.0; 5], Settings::default(), |x, g| {
            let mut value = 0.0;
            for i in 0..5 {
                g[i] = scales[i] * (x[i] - i as f64);
                value += 0.5 * g[i] * (x[i] - i as f64);
            }
            value
        })?;
        found.iter().enumerate().for_each(|(i, x)| assert!((x - i as f64).abs() < 1e-3));
        Ok(())
    }

    #[test]
    fn a_function_without_minimum_is_an_error() {
        let settings = Settings { iterations: 20, ..Settings::default() };
        let fell = minimise("test", vec![0.0], settings, |x, g| {
            g[0] = -1.0;
            -x[0]
        });
        assert!(matches!(fell, Err(Error::NotConverged { .. })));
    }
}
