//! Layer, group, instance and RMS norm of channels-last data: sets of values of one sample, scaled to mean square 1.
//!
//! With x̂ = (x − μ)·r, r = 1/√(σ² + ε), means ⟨·⟩ over one set, ĝ = γ·g, A = ⟨x̂ĝ⟩ and B = ⟨x̂t⟩:
//!
//! | what | formula |
//! |---|---|
//! | value | γ·x̂ + β |
//! | VJP | r·(ĝ − ⟨ĝ⟩ − x̂·A), by γ Σ g·x̂, by β Σ g |
//! | JVP | γ·r·(t − ⟨t⟩ − x̂·B) |
//! | ⟨g, J t⟩ by the input | r²·(x̂·(3AB − ⟨ĝt⟩ + ⟨ĝ⟩⟨t⟩) − A·(t − ⟨t⟩) − B·(ĝ − ⟨ĝ⟩)) |
//! | ⟨g, J t⟩ by γ | Σ g·r·(t − ⟨t⟩ − x̂·B) |
//!
//! RMS norm has no μ, ⟨ĝ⟩ and ⟨t⟩, and σ² is the mean square. All sums are in f64.

use rayon::prelude::*;

use super::Element;
use super::instruction_set::InstructionSet;
use super::shared::Shared;
use super::uninitialised::changed_copy;

/// Values of one task: enough to hide the scheduling.
const TASK: usize = 1 << 14;
/// Partial sums of one reduction.
const LANES: usize = 16;

/// The sets of values that one norm scales: in each sample, all pixels of a group of neighbouring channels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sets {
    pub(crate) pixels: usize,
    pub(crate) channels: usize,
    /// Groups of channels; divides the channels.
    pub(crate) groups: usize,
    /// Whether the mean of the set is subtracted. RMS norm does not subtract it.
    pub(crate) centred: bool,
    pub(crate) epsilon: f64,
}

/// Mean (0 if the sets are not centred) and 1/√(σ² + ε) of one set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    mean: f64,
    inverse: f64,
}

/// Consecutive values of one set, in which the channel counts up.
struct Run {
    start: usize,
    channel: usize,
}

impl Sets {
    fn sample_len(&self) -> usize {
        self.pixels * self.channels
    }

    fn run_len(&self) -> usize {
        self.channels / self.groups
    }

    fn count(&self) -> f64 {
        (self.pixels * self.run_len()) as f64
    }

    /// The runs of one set of a sample that starts at `sample`.
    #[inline(always)]
    fn runs(&self, sample: usize, group: usize) -> impl Iterator<Item = Run> + use<> {
        let (channels, channel) = (self.channels, group * self.run_len());
        (0..self.pixels).map(move |pixel| Run { start: sample + pixel * channels + channel, channel })
    }

    /// Values per task: whole samples.
    fn task_len(&self) -> usize {
        let sample = self.sample_len().max(1);
        sample * (TASK / sample).max(1)
    }
}

impl Moments {
    #[inline(always)]
    fn normal<T: Element>(self, x: T) -> f64 {
        (x.to_f64() - self.mean) * self.inverse
    }
}

/// Sums of `terms` over four slices of one length, in a fixed order.
#[inline(always)]
fn sums<T: Element, const N: usize>(slices: [&[T]; 4], terms: impl Fn([T; 4]) -> [f64; N]) -> [f64; N] {
    let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = slices.map(|slice| slice.as_chunks::<LANES>());
    let mut partial = [[0.0; LANES]; N];
    for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
        for lane in 0..LANES {
            let terms = terms([a[lane], b[lane], c[lane], d[lane]]);
            partial.iter_mut().zip(terms).for_each(|(sum, term)| sum[lane] += term);
        }
    }
    let mut total = partial.map(|lanes| lanes.iter().sum::<f64>());
    for (((a, b), c), d) in a_rest.iter().zip(b_rest).zip(c_rest).zip(d_rest) {
        total.iter_mut().zip(terms([*a, *b, *c, *d])).for_each(|(sum, term)| *sum += term);
    }
    total
}

fn add<const N: usize>(left: [f64; N], right: [f64; N]) -> [f64; N] {
    std::array::from_fn(|index| left[index] + right[index])
}

/// `work(first element, parts)` for parts of `len` elements of slices of one length, in parallel; results in order.
fn tasks<T: Send, R: Send>(
    outputs: Vec<&mut [T]>,
    len: usize,
    work: impl Fn(usize, &mut [&mut [T]]) -> R + Sync + Send,
) -> Vec<R> {
    let count = outputs.first().map_or(0, |output| output.len().div_ceil(len));
    let mut parts: Vec<Vec<&mut [T]>> = (0..count).map(|_| Vec::new()).collect();
    for output in outputs {
        parts.iter_mut().zip(output.chunks_mut(len)).for_each(|(parts, part)| parts.push(part));
    }
    let run = |(index, mut parts): (usize, Vec<&mut [T]>)| {
        InstructionSet::best().vectorised(|| work(index * len, &mut parts))
    };
    if count < 2 {
        return parts.into_iter().enumerate().map(run).collect();
    }
    parts.into_par_iter().enumerate().map(run).collect()
}

#[inline(always)]
fn moments_of_set<T: Element>(sets: &Sets, x: &[T], sample: usize, group: usize) -> Moments {
    let mean = if sets.centred { mean_of_set(sets, x, sample, group, |x| x.to_f64()) } else { 0.0 };
    let variance = mean_of_set(sets, x, sample, group, |x| (x.to_f64() - mean) * (x.to_f64() - mean));
    Moments { mean, inverse: 1.0 / (variance + sets.epsilon).sqrt() }
}

#[inline(always)]
fn mean_of_set<T: Element>(sets: &Sets, x: &[T], sample: usize, group: usize, term: impl Fn(T) -> f64) -> f64 {
    let mut total = 0.0;
    for run in sets.runs(sample, group) {
        let x = &x[run.start..][..sets.run_len()];
        let [of_run] = sums([x; 4], |[x, ..]| [term(x)]);
        total += of_run;
    }
    total / sets.count()
}

/// γ·x̂ + β, and the moments of every set, sample by sample.
pub(crate) fn value<T: Element>(sets: &Sets, x: &[T], gamma: &[T], beta: &[T]) -> (Vec<T>, Vec<Moments>) {
    let (sample, len) = (sets.sample_len(), sets.run_len());
    let mut moments = vec![Moments::default(); x.len() / sample.max(1) * sets.groups];
    let all = Shared::new(moments.as_mut_ptr());
    let y = changed_copy(x, sets.task_len(), |task, y| {
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for (index, set, group) in sets_in(sets, task * sets.task_len(), y.len()) {
                    let moments = moments_of_set(sets, y, index * sample, group);
                    // SAFETY: there is one entry for each set, and only this task has the set.
                    unsafe { *all.get().add(set) = moments };
                    for run in sets.runs(index * sample, group) {
                        let (gamma, beta) = (&gamma[run.channel..][..len], &beta[run.channel..][..len]);
                        for ((y, gamma), beta) in y[run.start..][..len].iter_mut().zip(gamma).zip(beta) {
                            *y = T::from_f64(moments.normal(*y) * gamma.to_f64() + beta.to_f64());
                        }
                    }
                }
            },
        );
    });
    (y, moments)
}

/// The sets of a task whose first element is `first`: the sample within the task, the set among all, the group.
fn sets_in(sets: &Sets, first: usize, length: usize) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
    let (sample, groups) = (sets.sample_len().max(1), sets.groups);
    let before = first / sample;
    (0..length / sample)
        .flat_map(move |index| (0..groups).map(move |group| (index, (before + index) * groups + group, group)))
}

/// What a pass knows of the value.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) moments: &'a [Moments],
    pub(crate) gamma: &'a [T],
}

/// The gradients by the input, plus `addend`, and by γ and β if wanted, for `g` with one or more samples per sample of `x`.
pub(crate) fn gradients<T: Element>(
    sets: &Sets,
    Kept { x, moments, gamma }: Kept<'_, T>,
    g: &[T],
    by_parameters: bool,
    addend: Option<&[T]>,
) -> (Vec<T>, Option<[Vec<f64>; 2]>) {
    let (sample, len) = (sets.sample_len(), sets.run_len());
    let slot = if by_parameters { 2 * sets.channels } else { 0 };
    let mut slots = vec![0.0f64; g.len().div_ceil(sets.task_len()) * slot];
    let all = Shared::new(slots.as_mut_ptr());
    let dx = changed_copy(g, sets.task_len(), |task, dx| {
        let first = task * sets.task_len();
        // SAFETY: every task has a slot of its own.
        let sums = unsafe { std::slice::from_raw_parts_mut(all.get().add(task * slot), slot) };
        let (by_gamma, by_beta) = sums.split_at_mut(slot / 2);
        InstructionSet::best().vectorised(
            #[inline(always)]
            || {
                for (index, set, group) in sets_in(sets, first, dx.len()) {
                    let moments = moments[set % moments.len()];
                    let at = (first + index * sample) % x.len();
                    let [along, mean] = cotangent_means(sets, x, dx, gamma, moments, [at, index * sample], group);
                    for run in sets.runs(index * sample, group) {
                        let x = &x[at + run.start - index * sample..][..len];
                        let dx = &mut dx[run.start..][..len];
                        if by_parameters {
                            let [by_gamma, by_beta] =
                                [&mut *by_gamma, &mut *by_beta].map(|sums| &mut sums[run.channel..][..len]);
                            for (((by_gamma, by_beta), x), g) in by_gamma.iter_mut().zip(by_beta).zip(x).zip(&*dx) {
                                *by_gamma += g.to_f64() * moments.normal(*x);
                                *by_beta += g.to_f64();
                            }
                        }
                        for ((dx, x), gamma) in dx.iter_mut().zip(x).zip(&gamma[run.channel..][..len]) {
                            let tilted = dx.to_f64() * gamma.to_f64() - mean - moments.normal(*x) * along;
                            *dx = T::from_f64(moments.inverse * tilted);
                        }
                        if let Some(addend) = addend {
                            for (dx, addend) in dx.iter_mut().zip(&addend[first + run.start..]) {
                                *dx += *addend;
                            }
                        }
                    }
                }
            },
        );
    });
    let total = |from: usize| -> Vec<f64> {
        let of = |channel: usize| slots.iter().skip(from + channel).step_by(2 * sets.channels).sum();
        (0..sets.channels).map(of).collect()
    };
    (dx, by_parameters.then(|| [total(0), total(sets.channels)]))
}

/// ⟨x̂ĝ⟩ and ⟨ĝ⟩ of one set; the latter is 0 if the sets are not centred.
#[inline(always)]
fn cotangent_means<T: Element>(
    sets: &Sets,
    x: &[T],
    g: &[T],
    gamma: &[T],
    moments: Moments,
    [x_at, g_at]: [usize; 2],
    group: usize,
) -> [f64; 2] {
    let len = sets.run_len();
    let mut total = [0.0; 2];
    for run in sets.runs(0, group) {
        let (x, g) = (&x[x_at + run.start..][..len], &g[g_at + run.start..][..len]);
        let gamma = &gamma[run.channel..][..len];
        let of_run = sums([x, g, gamma, gamma], |[x, g, gamma, _]| {
            let scaled = g.to_f64() * gamma.to_f64();
            [moments.normal(x) * scaled, scaled]
        });
        total = add(total, of_run);
    }
    let [along, mean] = total.map(|total| total / sets.count());
    [along, if sets.centred { mean } else { 0.0 }]
}

/// The JVP γ·r·(t − ⟨t⟩ − x̂·⟨x̂t⟩).
pub(crate) fn tangent<T: Element>(sets: &Sets, x: &[T], moments: &[Moments], gamma: &[T], t: &[T]) -> Vec<T> {
    let (sample, len) = (sets.sample_len(), sets.run_len());
    let ones = vec![T::from_f64(1.0); sets.channels];
    let mut dy = vec![T::default(); t.len()];
    tasks(
        vec![&mut dy],
        sets.task_len(),
        #[inline(always)]
        |first, parts| {
            for dy in parts {
                for (index, set, group) in sets_in(sets, first, dy.len()) {
                    let moments = moments[set % moments.len()];
                    let at = (first + index * sample) % x.len();
                    let [along, mean] =
                        cotangent_means(sets, x, t, &ones, moments, [at, first + index * sample], group);
                    for run in sets.runs(index * sample, group) {
                        let (x, t) = (&x[at + run.start - index * sample..][..len], &t[first + run.start..][..len]);
                        let gamma = &gamma[run.channel..][..len];
                        for (((dy, x), t), gamma) in dy[run.start..][..len].iter_mut().zip(x).zip(t).zip(gamma) {
                            let tilted = t.to_f64() - mean - moments.normal(*x) * along;
                            *dy = T::from_f64(gamma.to_f64() * moments.inverse * tilted);
                        }
                    }
                }
            }
        },
    );
    dy
}

/// The JVP, and the gradients of ⟨g, J t⟩ by the input and by γ.
pub(crate) struct Term<T> {
    pub(crate) tangent: Vec<T>,
    pub(crate) by_input: Vec<T>,
    pub(crate) by_gamma: Vec<f64>,
}

/// The JVP and the tangent–cotangent term of one cotangent and one tangent per sample.
pub(crate) fn tangent_cotangent_term<T: Element>(
    sets: &Sets,
    x: &[T],
    moments: &[Moments],
    gamma: &[T],
    g: &[T],
    t: &[T],
) -> Term<T> {
    let (sample, len) = (sets.sample_len(), sets.run_len());
    let (mut tangent, mut by_input) = (vec![T::default(); x.len()], vec![T::default(); x.len()]);
    let partial = tasks(
        vec![&mut tangent, &mut by_input],
        sets.task_len(),
        #[inline(always)]
        |first, parts| {
            let mut by_gamma = vec![0.0; sets.channels];
            let [tangent, by_input] = parts else { return by_gamma };
            for (index, set, group) in sets_in(sets, first, tangent.len()) {
                let moments = moments[set];
                let means = Means::of(sets, [x, g, t], gamma, moments, first + index * sample, group);
                for run in sets.runs(index * sample, group) {
                    let [x, g, t] = [x, g, t].map(|values| &values[first + run.start..][..len]);
                    let gamma = &gamma[run.channel..][..len];
                    let outputs = tangent[run.start..][..len].iter_mut().zip(&mut by_input[run.start..][..len]);
                    let outputs = outputs.zip(&mut by_gamma[run.channel..][..len]);
                    for ((((outputs, x), g), t), gamma) in outputs.zip(x).zip(g).zip(t).zip(gamma) {
                        let ((tangent, by_input), by_gamma) = outputs;
                        let [normal_tangent, gradient] = means.at(moments, [*x, *g, *t, *gamma]);
                        *tangent = T::from_f64(gamma.to_f64() * normal_tangent);
                        *by_input = T::from_f64(gradient);
                        *by_gamma += g.to_f64() * normal_tangent;
                    }
                }
            }
            by_gamma
        },
    );
    let by_gamma = partial.iter().fold(vec![0.0; sets.channels], |mut total: Vec<f64>, partial| {
        total.iter_mut().zip(partial).for_each(|(total, partial)| *total += partial);
        total
    });
    Term { tangent, by_input, by_gamma }
}

/// Means over one set, as the formulas of the module name them.
struct Means {
    along_cotangent: f64,
    along_tangent: f64,
    product: f64,
    cotangent: f64,
    tangent: f64,
}

impl Means {
    #[inline(always)]
    fn of<T: Element>(
        sets: &Sets,
        [x, g, t]: [&[T]; 3],
        gamma: &[T],
        moments: Moments,
        sample: usize,
        group: usize,
    ) -> Self {
        let len = sets.run_len();
        let mut total = [0.0; 5];
        for run in sets.runs(sample, group) {
            let [x, g, t] = [x, g, t].map(|values| &values[run.start..][..len]);
            let of_run = sums([x, g, t, &gamma[run.channel..][..len]], |[x, g, t, gamma]| {
                let (normal, g, t) = (moments.normal(x), g.to_f64() * gamma.to_f64(), t.to_f64());
                [normal * g, normal * t, g * t, g, t]
            });
            total = add(total, of_run);
        }
        let [along_cotangent, along_tangent, product, cotangent, tangent] = total.map(|total| total / sets.count());
        let (cotangent, tangent) = if sets.centred { (cotangent, tangent) } else { (0.0, 0.0) };
        Self { along_cotangent, along_tangent, product: product - cotangent * tangent, cotangent, tangent }
    }

    /// The JVP of x̂, and the gradient of ⟨g, J t⟩ by x, at one value.
    #[inline(always)]
    fn at<T: Element>(&self, moments: Moments, [x, g, t, gamma]: [T; 4]) -> [f64; 2] {
        let normal = moments.normal(x);
        let (g, t) = (g.to_f64() * gamma.to_f64() - self.cotangent, t.to_f64() - self.tangent);
        let (a, b) = (self.along_cotangent, self.along_tangent);
        let gradient = normal * (3.0 * a * b - self.product) - a * t - b * g;
        [moments.inverse * (t - normal * b), moments.inverse * moments.inverse * gradient]
    }
}
