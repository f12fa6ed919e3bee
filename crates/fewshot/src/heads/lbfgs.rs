//! Limited-memory BFGS for smooth convex functions.

use std::collections::VecDeque;

use crate::linalg::dot;
use crate::{Error, Result};

/// Stopping rules, and the number of correction pairs.
pub(super) struct Settings {
    /// Number of correction pairs kept.
    pub(super) memory: usize,
    /// Largest number of iterations.
    pub(super) iterations: usize,
    /// Largest gradient component at the optimum, relative to the larger of 1 and its initial value.
    pub(super) tolerance: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { memory: 10, iterations: 2000, tolerance: 1e-8 }
    }
}

/// One correction pair: the changes of the point and of the gradient in one step.
struct Correction {
    step: Vec<f64>,
    gradient_change: Vec<f64>,
    /// ⟨step, gradient change⟩.
    curvature: f64,
}

/// Minimises `function`, which returns its value and writes its gradient, from `point`.
///
/// L-BFGS (Liu and Nocedal 1989) with a bisection line search for the weak Wolfe conditions (Lewis and Overton 2013).
pub(super) fn minimise(
    operation: &'static str,
    mut point: Vec<f64>,
    settings: Settings,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Result<Vec<f64>> {
    let mut gradient = vec![0.0; point.len()];
    let mut value = function(&point, &mut gradient);
    let tolerance = settings.tolerance * largest(&gradient).max(1.0);
    let mut corrections: VecDeque<Correction> = VecDeque::new();
    for iteration in 0..settings.iterations {
        if largest(&gradient) <= tolerance {
            return Ok(point);
        }
        let direction = descent(&gradient, &corrections);
        let Some(found) = line_search(&point, value, &gradient, &direction, &mut function) else {
            return Err(Error::NotConverged {
                operation,
                iterations: iteration,
                gradient: largest(&gradient),
                tolerance,
            });
        };
        let step = difference(&found.point, &point);
        let gradient_change = difference(&found.gradient, &gradient);
        let curvature = dot(&step, &gradient_change);
        if curvature > 0.0 {
            corrections.push_back(Correction { step, gradient_change, curvature });
            if corrections.len() > settings.memory {
                corrections.pop_front();
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

/// The search direction −H g by the two-loop recursion.
fn descent(gradient: &[f64], corrections: &VecDeque<Correction>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|value| -value).collect();
    let mut weights = Vec::with_capacity(corrections.len());
    for pair in corrections.iter().rev() {
        let weight = dot(&pair.step, &direction) / pair.curvature;
        add(&mut direction, -weight, &pair.gradient_change);
        weights.push(weight);
    }
    if let Some(last) = corrections.back() {
        let scale = last.curvature / dot(&last.gradient_change, &last.gradient_change);
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for (pair, weight) in corrections.iter().zip(weights.iter().rev()) {
        let correction = weight - dot(&pair.gradient_change, &direction) / pair.curvature;
        add(&mut direction, correction, &pair.step);
    }
    direction
}

/// The point accepted by a line search.
struct Accepted {
    point: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// Bisection for a step length that satisfies the weak Wolfe conditions; none after 60 trials.
fn line_search(
    point: &[f64],
    value: f64,
    gradient: &[f64],
    direction: &[f64],
    function: &mut impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Option<Accepted> {
    let slope = dot(gradient, direction);
    // Near the minimum the decrease is smaller than the rounding error of the value.
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
            return Some(Accepted { point: candidate, value: new_value, gradient: new_gradient });
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
    fn a_function_without_a_minimum_is_an_error() {
        let settings = Settings { iterations: 20, ..Settings::default() };
        let result = minimise("test", vec![0.0], settings, |x, g| {
            g[0] = -1.0;
            -x[0]
        });
        assert!(matches!(result, Err(Error::NotConverged { .. })));
    }
}
