//! Multi-head self-attention of packed rows (q | k | v), one head of one sample at a time.
//!
//! Of one head, with S = scale·q kᵀ + bias, P = softmax(S) over rows, and row sums P·X written ⟨X⟩:
//!
//! | what | formula |
//! |---|---|
//! | value | P v |
//! | VJP, with G = g vᵀ and R = P·(G − ⟨G⟩) | by q scale·R k, by k scale·Rᵀ q, by v Pᵀ g, by the bias R |
//! | JVP, with U = scale·(tq kᵀ + q tkᵀ) and Ṗ = P·(U − ⟨U⟩) | Ṗ v + P tv |
//! | ⟨g, J t⟩, with W = G·(U − ⟨U⟩) − U·⟨G⟩ + g tvᵀ and M = P·(W − ⟨W⟩) | by q scale·(M k + R tk), by k scale·(Mᵀ q + Rᵀ tq), by v Ṗᵀ g, by the bias M |
//!
//! Of the weights P only the logarithm of each row's sum is kept. They are computed again from it, as T. Dao et al.,
//! "FlashAttention", NeurIPS 2022 (arXiv 2205.14135) do.

use std::mem::MaybeUninit;

use super::Element;
use super::instruction_set::InstructionSet;
use super::matmul::Matrix;
use super::panels::Panels;
use super::shared::{Shared, for_each_task};
use super::softmax::{dot, product_row, softmax_row};
use super::uninitialised::{writable, written};

/// The samples are divided into at most this many parts.
const PARTS: usize = 16;
/// A row of weights is padded to a multiple of this length.
const ROW: usize = 16;

/// The sizes of one attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) samples: usize,
    pub(crate) tokens: usize,
    pub(crate) heads: usize,
    /// Columns of one head.
    pub(crate) head_width: usize,
    pub(crate) scale: f64,
    pub(crate) causal: bool,
}

/// The logits' summand `[heads, tokens, tokens]`, and the mask.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a, T> {
    pub(crate) bias: Option<&'a [T]>,
    pub(crate) mask: Option<&'a Mask>,
}

/// Which keys each query sees: `[samples, rows, tokens]` with one row for all queries or one for each. Sample i has the mask i mod
/// samples.
#[derive(Debug, Clone)]
pub(crate) struct Mask {
    pub(crate) visible: Vec<u8>,
    pub(crate) samples: usize,
    pub(crate) rows: usize,
}

/// A part of the cotangents, a part of the samples, and a head.
#[derive(Clone, Copy)]
struct Task {
    part: usize,
    first: usize,
    end: usize,
    head: usize,
}

impl Sizes {
    /// Columns of q, of k, of v, and of the value.
    pub(crate) fn width(&self) -> usize {
        self.heads * self.head_width
    }

    /// Numbers between the rows of weights and logits: whole vectors, so that no loop over a row ends with single numbers.
    fn row(&self) -> usize {
        self.tokens.next_multiple_of(ROW)
    }

    /// Numbers of the weights of one head.
    pub(super) fn square(&self) -> usize {
        self.tokens * self.row()
    }

    /// Runs `work` for every part of the cotangents of each sample, part of the samples and head, in parallel, with the number of
    /// the task.
    fn for_each_task(&self, products: usize, cotangent_parts: usize, work: impl Fn(usize, Task) + Send + Sync) {
        let part = self.samples.div_ceil(PARTS).max(1);
        let multiplications = self.samples * self.heads * self.square() * self.head_width * products;
        for_each_task(self.tasks(cotangent_parts), multiplications, |task| {
            let first = task / self.heads % self.sample_parts() * part;
            let end = (first + part).min(self.samples);
            let part = task / self.heads / self.sample_parts();
            work(task, Task { part, first, end, head: task % self.heads });
        });
    }

    fn sample_parts(&self) -> usize {
        self.samples.div_ceil(self.samples.div_ceil(PARTS).max(1))
    }

    fn tasks(&self, cotangent_parts: usize) -> usize {
        cotangent_parts * self.sample_parts() * self.heads
    }

    /// The parts into which this number of cotangents of each sample is divided: few samples alone would make few tasks.
    fn cotangent_parts(&self, each: usize) -> usize {
        PARTS.div_ceil(self.sample_parts() * self.heads).min(each)
    }

    /// q, k or v (0, 1, 2) of one head of a packed row block.
    pub(super) fn operand<'a, T>(&self, x: &'a [T], row: usize, head: usize, which: usize) -> Matrix<'a, T> {
        let stride = 3 * self.width();
        let start = row * self.tokens * stride + which * self.width() + head * self.head_width;
        Matrix { elements: &x[start..], sizes: [self.tokens, self.head_width], strides: [stride, 1] }
    }

    /// One head of the value or of a cotangent.
    pub(super) fn output<'a, T>(&self, y: &'a [T], row: usize, head: usize) -> Matrix<'a, T> {
        let start = row * self.tokens * self.width() + head * self.head_width;
        Matrix { elements: &y[start..], sizes: [self.tokens, self.head_width], strides: [self.width(), 1] }
    }

    pub(super) fn weights<'a, T>(&self, p: &'a [T]) -> Matrix<'a, T> {
        Matrix { elements: p, sizes: [self.tokens; 2], strides: [self.row(), 1] }
    }

    /// Writes a·b to rows of weights, or adds it. What lies beyond the tokens becomes `beyond`.
    pub(super) fn product<T: Element>(&self, a: Matrix<'_, T>, b: &Panels<T>, to: &mut [T], add: bool, beyond: T) {
        b.multiply_into(a, to, self.row(), add);
        to.chunks_exact_mut(self.row()).for_each(|row| row[self.tokens..].fill(beyond));
    }
}

/// Where tasks write one head of their rows: disjoint columns of a shared buffer.
#[derive(Clone, Copy)]
struct Columns<T> {
    start: Shared<T>,
    stride: usize,
    tokens: usize,
}

impl<T: Element> Columns<T> {
    fn new(buffer: &mut [MaybeUninit<T>], stride: usize, tokens: usize) -> Self {
        Self { start: Shared::new(buffer.as_mut_ptr().cast()), stride, tokens }
    }

    /// Writes a·b, or adds it.
    ///
    /// # Safety
    /// The block of `row` from `column` on lies within the buffer, and only the calling task writes it.
    unsafe fn write(self, row: usize, column: usize, a: Matrix<'_, T>, b: &Panels<T>, add: bool) {
        // SAFETY: the caller vouches for the block.
        unsafe {
            let start = self.start.get().add(row * self.tokens * self.stride + column);
            b.multiply(a, (start, self.stride), add);
        }
    }
}

/// The logits of one head of one sample.
fn logits<T: Element>(sizes: &Sizes, terms: Terms<'_, T>, x: &[T], sample: usize, head: usize, out: &mut [T]) {
    let (q, k) = (sizes.operand(x, sample, head, 0), sizes.operand(x, sample, head, 1));
    let hidden = T::from_f64(f64::NEG_INFINITY);
    sizes.product(q, &Panels::of(T::from_f64(sizes.scale), k.transposed()), out, false, hidden);
    if let Some(bias) = terms.bias {
        let bias = bias[head * sizes.tokens * sizes.tokens..].chunks_exact(sizes.tokens);
        for (logits, bias) in out.chunks_exact_mut(sizes.row()).zip(bias) {
            logits.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += *bias);
        }
    }
    if let Some(mask) = terms.mask {
        let start = sample % mask.samples * mask.rows * sizes.tokens;
        for (query, logits) in out.chunks_exact_mut(sizes.row()).enumerate() {
            let row = start + query % mask.rows * sizes.tokens;
            let visible = &mask.visible[row..][..sizes.tokens];
            logits.iter_mut().zip(visible).filter(|(_, visible)| **visible == 0).for_each(|(logit, _)| *logit = hidden);
        }
    }
    if sizes.causal {
        for (query, logits) in out.chunks_exact_mut(sizes.row()).enumerate() {
            logits[query + 1..].fill(hidden);
        }
    }
}

/// The weights of one head, from the logarithms of the sums of its rows.
pub(super) fn weights<T: Element>(
    sizes: &Sizes,
    terms: Terms<'_, T>,
    x: &[T],
    log_sums: &[f64],
    [sample, head]: [usize; 2],
    out: &mut [T],
) {
    logits(sizes, terms, x, sample, head, out);
    let log_sums = &log_sums[(sample * sizes.heads + head) * sizes.tokens..][..sizes.tokens];
    InstructionSet::best().vectorised(
        #[inline(always)]
        || {
            for (row, log_sum) in out.chunks_exact_mut(sizes.row()).zip(log_sums) {
                let shift = T::from_f64(*log_sum);
                row.iter_mut().for_each(|logit| *logit = (*logit - shift).exp());
            }
        },
    );
}

/// The value, and the logarithm of each row's sum.
pub(crate) fn value<T: Element>(sizes: &Sizes, terms: Terms<'_, T>, x: &[T]) -> (Vec<T>, Vec<f64>) {
    let mut log_sums = vec![0.0; sizes.samples * sizes.heads * sizes.tokens];
    let sums = Shared::new(log_sums.as_mut_ptr());
    let write =
        |y: &mut [MaybeUninit<T>]| value_to(sizes, terms, x, Columns::new(y, sizes.width(), sizes.tokens), sums);
    // SAFETY: the tasks write every head of every sample.
    let y = unsafe { written(sizes.samples * sizes.tokens * sizes.width(), write) };
    (y, log_sums)
}

fn value_to<T: Element>(sizes: &Sizes, terms: Terms<'_, T>, x: &[T], to: Columns<T>, sums: Shared<f64>) {
    sizes.for_each_task(2, 1, |_, task| {
        let mut p = vec![T::default(); sizes.square()];
        for sample in task.first..task.end {
            logits(sizes, terms, x, sample, task.head, &mut p);
            let start = (sample * sizes.heads + task.head) * sizes.tokens;
            // SAFETY: the sums hold the rows of this sample and head, which only this task writes.
            let sums = unsafe { std::slice::from_raw_parts_mut(sums.get().add(start), sizes.tokens) };
            InstructionSet::best().vectorised(
                #[inline(always)]
                || {
                    for (row, sum) in p.chunks_exact_mut(sizes.row()).zip(sums) {
                        *sum = softmax_row(row);
                    }
                },
            );
            let v = Panels::of(T::from_f64(1.0), sizes.operand(x, sample, task.head, 2));
            // SAFETY: only this task writes the columns of this sample and head.
            unsafe { to.write(sample, task.head * sizes.head_width, sizes.weights(&p), &v, false) };
        }
    });
}

/// What a pass knows of the value.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a, T> {
    pub(crate) terms: Terms<'a, T>,
    pub(crate) x: &'a [T],
    pub(crate) log_sums: &'a [f64],
}

/// The sums of one task's gradients by the bias, written into a slot of its own.
fn add_to<T: Element>(sums: &mut [f64], values: &[T]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value.to_f64());
}

/// The sums of all parts, for each head: `[heads, tokens, tokens]`.
fn by_head(sizes: &Sizes, slots: &[f64]) -> Vec<f64> {
    let mut total = vec![0.0; sizes.heads * sizes.square()];
    for part in slots.chunks_exact(total.len().max(1)) {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total.chunks_exact(sizes.row()).flat_map(|row| &row[..sizes.tokens]).copied().collect()
}

/// The gradients by the packed input, and by the bias if wanted. `g` has `each` rows per sample: row r belongs to sample r mod
/// samples.
pub(crate) fn gradients<T: Element>(
    sizes: &Sizes,
    kept: Kept<'_, T>,
    g: &[T],
    each: usize,
    by_bias: bool,
) -> (Vec<T>, Option<Vec<f64>>) {
    let tasks = sizes.tasks(sizes.cotangent_parts(each));
    let mut slots = vec![0.0; if by_bias { tasks * sizes.square() } else { 0 }];
    let sums = Shared::new(slots.as_mut_ptr());
    let write = |dx: &mut [MaybeUninit<T>]| {
        gradients_to(sizes, kept, (g, each), by_bias, Columns::new(dx, 3 * sizes.width(), sizes.tokens), sums);
    };
    // SAFETY: the tasks write queries, keys and values of every head of every row.
    let dx = unsafe { written(each * kept.x.len(), write) };
    (dx, by_bias.then(|| by_head(sizes, &slots)))
}

fn gradients_to<T: Element>(
    sizes: &Sizes,
    kept: Kept<'_, T>,
    (g, each): (&[T], usize),
    by_bias: bool,
    to: Columns<T>,
    sums: Shared<f64>,
) {
    let (width, scale, one) = (sizes.width(), T::from_f64(sizes.scale), T::from_f64(1.0));
    let parts = sizes.cotangent_parts(each);
    sizes.for_each_task(5 * each, parts, |number, task| {
        let (mut p, mut r) = (vec![T::default(); sizes.square()], vec![T::default(); sizes.square()]);
        let mut bias_sums = vec![0.0; if by_bias { sizes.square() } else { 0 }];
        let column = task.head * sizes.head_width;
        for sample in task.first..task.end {
            weights(sizes, kept.terms, kept.x, kept.log_sums, [sample, task.head], &mut p);
            let [q, k, v] = [0, 1, 2].map(|which| sizes.operand(kept.x, sample, task.head, which));
            let (q, k, v) = (Panels::of(scale, q), Panels::of(scale, k), Panels::of(one, v.transposed()));
            let cotangents = task.part * each / parts..(task.part + 1) * each / parts;
            for row in cotangents.map(|cotangent| cotangent * sizes.samples + sample) {
                let g = sizes.output(g, row, task.head);
                sizes.product(g, &v, &mut r, false, T::default());
                times_softmax_jacobian(sizes, &p, &mut r);
                add_to(&mut bias_sums, &r);
                let (g, r, p) = (Panels::of(one, g), sizes.weights(&r), sizes.weights(&p));
                // SAFETY: only this task writes the columns of this row and head.
                unsafe {
                    to.write(row, column, r, &k, false);
                    to.write(row, width + column, r.transposed(), &q, false);
                    to.write(row, 2 * width + column, p.transposed(), &g, false);
                }
            }
        }
        // SAFETY: every task has a slot of its own.
        unsafe { copy_to_slot(sums, number, &bias_sums) };
    });
}

/// Copies the sums of a task to its slot.
///
/// # Safety
/// The slots hold this task, and no other task writes its slot.
unsafe fn copy_to_slot(slots: Shared<f64>, number: usize, sums: &[f64]) {
    // SAFETY: the caller vouches for the slot.
    unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr(), slots.get().add(number * sums.len()), sums.len()) }
}

/// P·(X − ⟨X⟩) in place of X.
pub(super) fn times_softmax_jacobian<T: Element>(sizes: &Sizes, p: &[T], x: &mut [T]) {
    InstructionSet::best().vectorised(
        #[inline(always)]
        || {
            for (p, x) in p.chunks_exact(sizes.row()).zip(x.chunks_exact_mut(sizes.row())) {
                product_row(p, x);
            }
        },
    );
}

/// U = scale·(tq kᵀ + q tkᵀ) of one head.
fn logit_tangent<T: Element>(sizes: &Sizes, x: &[T], t: &[T], [sample, head]: [usize; 2], out: &mut [T]) {
    let [[q, k], [tq, tk]] = [x, t].map(|x| [0, 1].map(|which| sizes.operand(x, sample, head, which)));
    let scale = T::from_f64(sizes.scale);
    sizes.product(tq, &Panels::of(scale, k.transposed()), out, false, T::default());
    sizes.product(q, &Panels::of(scale, tk.transposed()), out, true, T::default());
}

/// The JVP.
pub(crate) fn tangent<T: Element>(sizes: &Sizes, kept: Kept<'_, T>, t: &[T]) -> Vec<T> {
    let write = |dy: &mut [MaybeUninit<T>]| tangent_to(sizes, kept, t, Columns::new(dy, sizes.width(), sizes.tokens));
    // SAFETY: the tasks write every head of every sample.
    unsafe { written(sizes.samples * sizes.tokens * sizes.width(), write) }
}

fn tangent_to<T: Element>(sizes: &Sizes, kept: Kept<'_, T>, t: &[T], to: Columns<T>) {
    sizes.for_each_task(5, 1, |_, task| {
        let (mut p, mut u) = (vec![T::default(); sizes.square()], vec![T::default(); sizes.square()]);
        for sample in task.first..task.end {
            let at = [sample, task.head];
            weights(sizes, kept.terms, kept.x, kept.log_sums, at, &mut p);
            logit_tangent(sizes, kept.x, t, at, &mut u);
            times_softmax_jacobian(sizes, &p, &mut u);
            // SAFETY: only this task writes the columns of this sample and head.
            unsafe { write_tangent(sizes, to, [&p, &u], [kept.x, t], at) };
        }
    });
}

/// Writes Ṗ v + P tv of one head.
///
/// # Safety
/// Only the calling task writes the columns of this sample and head.
unsafe fn write_tangent<T: Element>(
    sizes: &Sizes,
    to: Columns<T>,
    [p, p_tangent]: [&[T]; 2],
    [x, t]: [&[T]; 2],
    [sample, head]: [usize; 2],
) {
    let column = head * sizes.head_width;
    let [v, tv] = [x, t].map(|x| Panels::of(T::from_f64(1.0), sizes.operand(x, sample, head, 2)));
    // SAFETY: the caller vouches for the columns.
    unsafe {
        to.write(sample, column, sizes.weights(p_tangent), &v, false);
        to.write(sample, column, sizes.weights(p), &tv, true);
    }
}

/// The JVP, and the gradients of ⟨g, J t⟩ by the packed input and by the bias.
pub(crate) struct Term<T> {
    pub(crate) tangent: Vec<T>,
    pub(crate) by_input: Vec<T>,
    pub(crate) by_bias: Option<Vec<f64>>,
}

/// The JVP and the tangent–cotangent term of one cotangent and one tangent per sample.
pub(crate) fn tangent_cotangent_term<T: Element>(
    sizes: &Sizes,
    kept: Kept<'_, T>,
    g: &[T],
    t: &[T],
    by_bias: bool,
) -> Term<T> {
    let (width, stride) = (sizes.width(), 3 * sizes.width());
    let mut dy = vec![T::default(); sizes.samples * sizes.tokens * width];
    let mut dx = vec![T::default(); kept.x.len()];
    let mut slots = vec![0.0; if by_bias { sizes.tasks(1) * sizes.square() } else { 0 }];
    let to_tangent = Columns::new(writable(&mut dy), width, sizes.tokens);
    let (to, sums) = (Columns::new(writable(&mut dx), stride, sizes.tokens), Shared::new(slots.as_mut_ptr()));
    sizes.for_each_task(13, 1, |number, task| {
        let mut bias_sums = vec![0.0; if by_bias { sizes.square() } else { 0 }];
        let mut squares = Squares::new(sizes);
        let column = task.head * sizes.head_width;
        for sample in task.first..task.end {
            let at = [sample, task.head];
            squares.fill(sizes, kept, g, t, at);
            let Squares { p, u, r, m, .. } = &squares;
            add_to(&mut bias_sums, m);
            let scale = T::from_f64(sizes.scale);
            let [q, k, tq, tk] = [(kept.x, 0), (kept.x, 1), (t, 0), (t, 1)]
                .map(|(x, which)| Panels::of(scale, sizes.operand(x, sample, task.head, which)));
            let g = Panels::of(T::from_f64(1.0), sizes.output(g, sample, task.head));
            let [r, m] = [r, m].map(|square| sizes.weights(square));
            // SAFETY: only this task writes the columns of this sample and head.
            unsafe {
                write_tangent(sizes, to_tangent, [p, u], [kept.x, t], at);
                to.write(sample, column, m, &k, false);
                to.write(sample, column, r, &tk, true);
                to.write(sample, width + column, m.transposed(), &q, false);
                to.write(sample, width + column, r.transposed(), &tq, true);
                to.write(sample, 2 * width + column, sizes.weights(u).transposed(), &g, false);
            }
        }
        // SAFETY: every task has a slot of its own.
        unsafe { copy_to_slot(sums, number, &bias_sums) };
    });
    Term { tangent: dy, by_input: dx, by_bias: by_bias.then(|| by_head(sizes, &slots)) }
}

/// P, Ṗ (in `u`), R and M of one head, as the module names them.
struct Squares<T> {
    p: Vec<T>,
    u: Vec<T>,
    r: Vec<T>,
    m: Vec<T>,
}

impl<T: Element> Squares<T> {
    fn new(sizes: &Sizes) -> Self {
        let square = || vec![T::default(); sizes.square()];
        Self { p: square(), u: square(), r: square(), m: square() }
    }

    fn fill(&mut self, sizes: &Sizes, kept: Kept<'_, T>, g: &[T], t: &[T], [sample, head]: [usize; 2]) {
        weights(sizes, kept.terms, kept.x, kept.log_sums, [sample, head], &mut self.p);
        logit_tangent(sizes, kept.x, t, [sample, head], &mut self.u);
        let g = sizes.output(g, sample, head);
        let [v, tv] = [kept.x, t].map(|x| sizes.operand(x, sample, head, 2));
        let one = T::from_f64(1.0);
        sizes.product(g, &Panels::of(one, v.transposed()), &mut self.r, false, T::default());
        sizes.product(g, &Panels::of(one, tv.transposed()), &mut self.m, false, T::default());
        let row = sizes.row();
        let rows = self.p.chunks_exact(row).zip(self.u.chunks_exact_mut(row));
        let rows = rows.zip(self.r.chunks_exact_mut(row).zip(self.m.chunks_exact_mut(row)));
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for ((p, u), (r, m)) in rows {
                    let (tangent, cotangent) = (dot(p, u), dot(p, r));
                    for ((m, u), r) in m.iter_mut().zip(&*u).zip(&*r) {
                        *m += *r * (*u - tangent) - *u * cotangent;
                    }
                    product_row(p, m);
                    u.iter_mut().zip(p).for_each(|(u, p)| *u = *p * (*u - tangent));
                    r.iter_mut().zip(p).for_each(|(r, p)| *r = *p * (*r - cotangent));
                }
            },
        );
    }
}
