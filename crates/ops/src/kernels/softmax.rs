//! Softmax of rows, and its derivatives.
//!
//! With y = softmax(x), ḡ = Σ y·g and u = Σ y·t over a row, the JVP and the VJP are the same map t ↦ y·(t − u). The gradient of
//! ⟨g, y·(t − u)⟩ by x is y·(w − Σ y·w) with w = g·(t − u) − t·ḡ.

use super::Element;
use super::instruction_set::InstructionSet;
use super::uninitialised;

/// Values of one task.
const TASK: usize = 1 << 14;

/// Numbers that inner loops take together: a constant, so that they fill vectors.
const LANES: usize = 16;

/// Changes `row`, whose largest value is finite, to its softmax. Returns ln Σ exp x.
///
/// A row whose values are all −∞ becomes zeros, with +∞ as the logarithm of its sum.
#[inline(always)]
pub(super) fn softmax_row<T: Element>(row: &mut [T]) -> f64 {
    let shift = largest(row);
    if shift.to_f64() == f64::NEG_INFINITY && !row.iter().any(|x| x.to_f64().is_nan()) {
        row.fill(T::default());
        return f64::INFINITY;
    }
    row.iter_mut().for_each(|x| *x = (*x - shift).exp());
    let sum = sum(row);
    let share = T::from_f64(1.0 / sum);
    row.iter_mut().for_each(|x| *x = *x * share);
    shift.to_f64() + sum.ln()
}

#[inline(always)]
fn greater<T: PartialOrd>(x: T, y: T) -> T {
    if x > y { x } else { y }
}

/// The largest number that is not NaN; −∞ if there is none.
#[inline(always)]
fn largest<T: Element>(row: &[T]) -> T {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut partial = [T::from_f64(f64::NEG_INFINITY); LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            partial[lane] = greater(chunk[lane], partial[lane]);
        }
    }
    partial.iter().chain(rest).fold(T::from_f64(f64::NEG_INFINITY), |most, x| greater(*x, most))
}

/// Σ x in f64.
#[inline(always)]
fn sum<T: Element>(row: &[T]) -> f64 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut partial = [0.0; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            partial[lane] += chunk[lane].to_f64();
        }
    }
    partial.iter().sum::<f64>() + rest.iter().map(|x| x.to_f64()).sum::<f64>()
}

/// Σ y·t.
#[inline(always)]
pub(super) fn dot<T: Element>(y: &[T], t: &[T]) -> T {
    let ((y, y_rest), (t, t_rest)) = (y.as_chunks::<LANES>(), t.as_chunks::<LANES>());
    let mut partial = [T::default(); LANES];
    for (y, t) in y.iter().zip(t) {
        for lane in 0..LANES {
            partial[lane] += y[lane] * t[lane];
        }
    }
    let whole: f64 = partial.iter().map(|sum| sum.to_f64()).sum();
    T::from_f64(whole + y_rest.iter().zip(t_rest).map(|(y, t)| y.to_f64() * t.to_f64()).sum::<f64>())
}

/// y·(t − Σ y·t), in place of `t`. Returns Σ y·t.
#[inline(always)]
pub(super) fn product_row<T: Element>(y: &[T], t: &mut [T]) -> T {
    let mean = dot(y, t);
    t.iter_mut().zip(y).for_each(|(t, y)| *t = *y * (*t - mean));
    mean
}

/// The softmax of every row of this many values.
pub(crate) fn softmax<T: Element>(x: &[T], columns: usize) -> Vec<T> {
    uninitialised::changed_copy(x, rows_of_task(columns), |_, block| {
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for row in block.chunks_mut(columns.max(1)) {
                    softmax_row(row);
                }
            },
        );
    })
}

/// y·(t − Σ y·t) of every row; rows of `y` are repeated if `t` has more.
pub(crate) fn product<T: Element>(y: &[T], t: &[T], columns: usize) -> Vec<T> {
    let len = rows_of_task(columns);
    uninitialised::changed_copy(t, len, |index, block| {
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for (row, t) in block.chunks_mut(columns.max(1)).enumerate() {
                    let at = (index * len + row * columns) % y.len();
                    product_row(&y[at..at + t.len()], t);
                }
            },
        );
    })
}

/// The gradient of ⟨g, y·(t − Σ y·t)⟩ by the logits.
pub(crate) fn tangent_cotangent_term<T: Element>(y: &[T], g: &[T], t: &[T], columns: usize) -> Vec<T> {
    let len = rows_of_task(columns);
    uninitialised::changed_copy(g, len, |index, block| {
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for (row, g) in block.chunks_mut(columns.max(1)).enumerate() {
                    let at = index * len + row * columns;
                    let (y, t) = (&y[at..at + g.len()], &t[at..at + g.len()]);
                    let (cotangent, tangent) = (dot(y, g), dot(y, t));
                    g.iter_mut().zip(t).for_each(|(g, t)| *g = *g * (*t - tangent) - *t * cotangent);
                    product_row(y, g);
                }
            },
        );
    })
}

fn rows_of_task(columns: usize) -> usize {
    let columns = columns.max(1);
    columns * (TASK / columns).max(1)
}
