//! The products of a linear layer over many rows, such as tokens: y = φ(x)·wᵀ + b, with a function φ of the elements or without one.
//!
//! A block of rows and its product stay in the private cache of a core, where φ and other changes of the elements cost no pass over
//! memory. Every element of a product is the same chain of additions as in a pointwise convolution.

use std::mem::MaybeUninit;

use super::Element;
use super::instruction_set::{InstructionSet, Job};
use super::matmul::Matrix;
use super::packing::pack;
use super::panel::{Onto, PanelProduct};
use super::panels::{Panels, panel_width};
use super::scratch::Scratch;
use super::shared::{Shared, for_each_task};
use super::simd::Vector;
use super::uninitialised::written;

/// Rows of one block.
const ROWS: usize = 48;
/// Rows whose products one chain of the weight's gradient sums.
const CHAIN: usize = 128;
/// The maximal number of slabs, whose sums are added at the end.
const SLABS: usize = 8;
/// Numbers in the sums of all slabs together.
const SUM_NUMBERS: usize = 1_200_000;
/// Columns that one task adds up at the end.
const COLUMNS: usize = 16;

/// Changes some elements in place.
pub(crate) type Change<'a, T> = Option<&'a (dyn Fn(&mut [T]) + Sync)>;
/// Changes the elements from this index on in place.
pub(crate) type ChangeAt<'a, T> = Option<&'a (dyn Fn(usize, &mut [T]) + Sync)>;

/// The sizes of a linear layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

/// φ(x)·wᵀ + b for `x` `[rows, in]` and a weight `[out, in]`, changed by `after`.
pub(crate) fn forward<T: Element>(
    sizes: Sizes,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    phi: Change<'_, T>,
    after: ChangeAt<'_, T>,
) -> Vec<T> {
    let Sizes { rows, inputs, outputs } = sizes;
    multiply(rows, x, Matrix::row_major(weight, [outputs, inputs]).transposed(), bias, phi, after)
}

/// g·w for `g` `[rows, out]`, changed by `after`.
pub(crate) fn input_gradient<T: Element>(sizes: Sizes, g: &[T], weight: &[T], after: ChangeAt<'_, T>) -> Vec<T> {
    let Sizes { rows, inputs, outputs } = sizes;
    multiply(rows, g, Matrix::row_major(weight, [outputs, inputs]), None, None, after)
}

/// `a` `[rows, depth]`, changed by `before`, times `b`, plus a bias; the product is changed by `after`.
fn multiply<T: Element>(
    rows: usize,
    a: &[T],
    b: Matrix<'_, T>,
    bias: Option<&[T]>,
    before: Change<'_, T>,
    after: ChangeAt<'_, T>,
) -> Vec<T> {
    let [depth, columns] = b.sizes;
    let panels = &Panels::in_parallel(b);
    assert_eq!(a.len(), rows * depth, "length of the left operand");
    assert!(bias.is_none_or(|bias| bias.len() == columns), "one bias for each column");
    let write = |y: &mut [MaybeUninit<T>]| {
        let y = Shared::new(y.as_mut_ptr().cast::<T>());
        for_each_task(rows.div_ceil(ROWS), rows * depth * columns, |block| {
            let first = block * ROWS;
            let count = ROWS.min(rows - first);
            let mut from = &a[first * depth..][..count * depth];
            let mut changed = Scratch::<T>::new(if before.is_some() { from.len() } else { 0 });
            if let Some(change) = before {
                let changed = changed.slice();
                changed.copy_from_slice(from);
                change(changed);
                from = changed;
            }
            let to = y.get().wrapping_add(first * columns);
            // SAFETY: the rows of the block lie within `y`, and no other task writes them.
            let to = unsafe {
                panels.set.run(&Block { a: Matrix::row_major(from, [count, depth]), panels, bias, to });
                std::slice::from_raw_parts_mut(to, count * columns)
            };
            if let Some(change) = after {
                change(first * columns, to);
            }
        });
    };
    // SAFETY: the blocks cover the rows.
    unsafe { written(rows * columns, write) }
}

/// The product of some rows with all panels.
///
/// # Safety
/// For [`Job::run`]: `to` is writable for the rows of `a` and all columns.
struct Block<'a, T> {
    a: Matrix<'a, T>,
    panels: &'a Panels<T>,
    bias: Option<&'a [T]>,
    to: *mut T,
}

impl<T: Element> Job<T> for Block<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let columns = self.panels.columns;
        for column in self.panels.starts() {
            let to = self.to.wrapping_add(column);
            let onto = self.bias.map_or(Onto::Zero, |bias| Onto::Columns(bias[column..].as_ptr()));
            // SAFETY: the bias has one value for each column; the caller vouches for `to`.
            unsafe {
                self.panels.multiply_panel(self.a, column, onto, (to, columns));
            }
        }
    }
}

/// The gradients of ⟨g, φ(x)·wᵀ + b⟩ by the weight `[out, in]`, and by the bias if wanted.
pub(crate) fn parameter_gradients<T: Element>(
    sizes: Sizes,
    x: &[T],
    g: &[T],
    phi: Change<'_, T>,
    by_bias: bool,
) -> (Vec<T>, Option<Vec<f64>>) {
    let Sizes { rows, inputs, outputs } = sizes;
    assert_eq!([x.len(), g.len()], [rows * inputs, rows * outputs], "lengths of the input and the cotangent");
    let (x, g) = (Side { values: x, width: inputs, change: phi }, Side { values: g, width: outputs, change: None });
    // The left operand is copied once more for each group of panels, so it is the narrower one.
    let transposed = inputs <= outputs;
    let (left, right) = if transposed { (x, g) } else { (g, x) };
    Sums::new(InstructionSet::best(), rows, [left, right], transposed, by_bias).compute()
}

/// One operand of the weight's gradient: rows of `width` values.
#[derive(Clone, Copy)]
struct Side<'a, T> {
    values: &'a [T],
    width: usize,
    change: Change<'a, T>,
}

/// The sums of left ᵀ·right over slabs of chains of rows.
struct Sums<'a, T> {
    set: InstructionSet,
    rows: usize,
    left: Side<'a, T>,
    right: Side<'a, T>,
    /// Whether the cotangent is the right operand, so that the product is the transpose of the gradient.
    transposed: bool,
    /// Whether the rows of the cotangent are summed too.
    by_bias: bool,
    slabs: usize,
    /// Each slab is computed in this many groups of panels.
    groups: usize,
    /// `right.width` rounded up to a multiple of every vector length.
    stride: usize,
}

impl<'a, T: Element> Sums<'a, T> {
    fn new(set: InstructionSet, rows: usize, [left, right]: [Side<'a, T>; 2], transposed: bool, by_bias: bool) -> Self {
        let stride = right.width.next_multiple_of(COLUMNS);
        let slabs = (SUM_NUMBERS / (left.width * stride)).clamp(1, SLABS).min(rows.div_ceil(2 * CHAIN));
        let panels = right.width.div_ceil(panel_width::<T>(set, right.width));
        let groups = SLABS.div_ceil(slabs).min(panels);
        Self { set, rows, left, right, transposed, by_bias, slabs, groups, stride }
    }

    fn slab_numbers(&self) -> usize {
        self.left.width * self.stride
    }

    fn compute(&self) -> (Vec<T>, Option<Vec<f64>>) {
        let mut scratch = Scratch::<T>::new(self.slabs * self.slab_numbers());
        let bias_width = if self.transposed { self.right.width } else { self.left.width };
        let mut bias = vec![0.0f64; self.slabs * bias_width];
        let (sums, bias_sums) = (Shared::new(scratch.pointer()), Shared::new(bias.as_mut_ptr()));
        let chains = self.rows.div_ceil(CHAIN);
        let work = self.rows * self.left.width * self.right.width;
        for_each_task(self.slabs * self.groups, work, |task| {
            let (slab, group) = (task / self.groups, task % self.groups);
            // SAFETY: scratch and bias hold all slabs. Each task writes its own columns of its own slab.
            let (to, bias) =
                unsafe { (sums.get().add(slab * self.slab_numbers()), bias_sums.get().add(slab * bias_width)) };
            let start = |slab: usize| (slab * chains).div_ceil(self.slabs);
            for chain in start(slab)..start(slab + 1) {
                let first = chain * CHAIN;
                let onto = if chain == start(slab) { Onto::Zero } else { Onto::Itself };
                // SAFETY: as above.
                unsafe { self.add(first, CHAIN.min(self.rows - first), group, onto, to, bias) };
            }
        });
        let total = |column: usize| bias.iter().skip(column).step_by(bias_width).sum();
        (self.finish(sums), self.by_bias.then(|| (0..bias_width).map(total).collect()))
    }

    /// Adds the products of a chain of rows to the columns of a group of panels.
    ///
    /// # Safety
    /// `to` and `bias` are those of a slab, and no other task accesses the columns of this group.
    unsafe fn add(&self, first: usize, count: usize, group: usize, onto: Onto<T>, to: *mut T, bias: *mut f64) {
        let (left, right) = (self.left, self.right);
        // Rows a power of two apart would share the sets of the cache.
        let row = left.width.next_multiple_of(COLUMNS) + COLUMNS;
        let mut copied = Scratch::<T>::new(count * row);
        for (to, from) in copied.slice().chunks_exact_mut(row).zip(left.values[first * left.width..].chunks(left.width))
        {
            to[..left.width].copy_from_slice(from);
            if let Some(change) = left.change {
                change(&mut to[..left.width]);
            }
        }
        if self.by_bias && !self.transposed && group == 0 {
            // SAFETY: the caller vouches for the sums of the left columns, which the first group adds.
            unsafe { add_rows(copied.slice(), [row, left.width], bias) };
        }
        let width = panel_width::<T>(self.set, right.width);
        let panels = right.width.div_ceil(width);
        let mut packed = Scratch::<T>::new(count * width);
        for panel in group * panels / self.groups..(group + 1) * panels / self.groups {
            let column = panel * width;
            let columns = width.min(right.width - column);
            let rows = Matrix::row_major(right.values, [self.rows, right.width]);
            pack(self.set, T::from_f64(1.0), rows, [first, column], packed.slice(), width);
            if let Some(change) = right.change {
                change(packed.slice());
            }
            // SAFETY: the scratches hold the rows; the caller vouches for the sums of these columns.
            unsafe {
                if self.by_bias && self.transposed {
                    add_rows(packed.slice(), [width, columns], bias.add(column));
                }
                let product = PanelProduct {
                    rows: left.width,
                    depth: count,
                    columns,
                    a: copied.pointer().cast_const(),
                    a_row: 1,
                    a_depth: row,
                    b: packed.pointer().cast_const(),
                    b_row: width,
                    b_len: count * width,
                    c: to.add(column),
                    c_row: self.stride,
                    onto,
                };
                product.compute(self.set);
            }
        }
    }

    /// Sums the slabs in order and writes `[out, in]`.
    fn finish(&self, sums: Shared<T>) -> Vec<T> {
        let (rows, columns) = (self.left.width, self.right.width);
        let steps = if self.transposed { [1, rows] } else { [columns, 1] };
        let write = |to: &mut [MaybeUninit<T>]| {
            let to = Shared::new(to.as_mut_ptr().cast::<T>());
            for_each_task(columns.div_ceil(COLUMNS), self.slabs * rows * columns, |task| {
                let first = task * COLUMNS;
                for row in 0..rows {
                    let mut total = [T::default(); COLUMNS];
                    for slab in 0..self.slabs {
                        // SAFETY: the stride of the sums is a multiple of `COLUMNS`.
                        let sums = unsafe { sums.get().add(slab * self.slab_numbers() + row * self.stride + first) };
                        for (column, total) in total.iter_mut().enumerate() {
                            // SAFETY: as above.
                            *total += unsafe { *sums.add(column) };
                        }
                    }
                    for (column, total) in total.into_iter().enumerate().take(columns - first) {
                        // SAFETY: each task has its own columns of the gradient.
                        unsafe { *to.get().add(row * steps[0] + (first + column) * steps[1]) = total };
                    }
                }
            });
        };
        // SAFETY: the tasks cover the columns.
        unsafe { written(rows * columns, write) }
    }
}

/// Adds the sums of the columns, each summed over the rows in the precision of the values.
///
/// # Safety
/// `sums` are writable for `columns` numbers.
unsafe fn add_rows<T: Element>(values: &[T], [row, columns]: [usize; 2], sums: *mut f64) {
    let mut partial = vec![T::default(); columns];
    InstructionSet::best().vectorised(
        #[inline(always)]
        || {
            for values in values.chunks_exact(row) {
                partial.iter_mut().zip(values).for_each(|(sum, value)| *sum += *value);
            }
        },
    );
    for (column, partial) in partial.into_iter().enumerate() {
        // SAFETY: the caller vouches for the sums.
        unsafe { *sums.add(column) += partial.to_f64() };
    }
}
