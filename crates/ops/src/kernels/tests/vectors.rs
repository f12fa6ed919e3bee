//! Comparisons, selections and indices of every vector type, lane by lane against their definition.

use super::super::Element;
use super::super::instruction_set::{InstructionSet, Job};
use super::super::simd::Vector;

/// More than the lanes of any vector, so that both ends of a load can be seen.
const SPACE: usize = 20;

/// Two vectors of numbers, with NaN, infinities and zeros of both signs, and their indices.
struct Case<T> {
    one: Vec<T>,
    other: Vec<T>,
    at: Vec<u32>,
    other_at: Vec<u32>,
    count: usize,
}

fn case<T: Element>(count: usize) -> Case<T> {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, -2.5];
    let value = |index: usize| T::from_f64(special[index % special.len()]);
    Case {
        one: (0..SPACE).map(value).collect(),
        other: (0..SPACE).map(|index| value(index / 2 + count)).collect(),
        // Every second pair differs, in the highest bit only.
        at: (0..SPACE as u32).map(|index| index.wrapping_mul(0x8000_0001)).collect(),
        other_at: (0..SPACE as u32).collect(),
        count,
    }
}

/// Writes the results of one operation after another to the arrays.
struct Operations<'a, T> {
    case: &'a Case<T>,
    values: [*mut T; 6],
    indices: [*mut u32; 2],
}

impl<T: Element> Job<T> for Operations<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        let (case, count) = (self.case, self.case.count);
        // SAFETY: every array has more places than a vector has lanes.
        unsafe {
            let (one, other) = (V::load_up_to(case.one.as_ptr(), count), V::load_up_to(case.other.as_ptr(), count));
            let at = V::load_indices(case.at.as_ptr(), count);
            let other_at = V::load_indices(case.other_at.as_ptr(), count);
            let (yes, no) = (V::constant(1.0), V::zero());
            V::select(one.less(other), yes, no).store_up_to(self.values[0], count);
            V::select(one.at_most(other), yes, no).store_up_to(self.values[1], count);
            let stays = one.stays_before(other);
            V::select(stays, yes, no).store_up_to(self.values[2], count);
            V::select(V::same_index(at, other_at), yes, no).store_up_to(self.values[3], count);
            V::constant(3.0).keep(stays).store_up_to(self.values[4], count);
            V::constant(3.0).clear(stays).store_up_to(self.values[5], count);
            V::store_indices(V::select_indices(stays, at, V::splat_index(u32::MAX)), self.indices[0], count);
            V::store_indices(other_at, self.indices[1], count);
        }
    }
}

fn check<T: Element + std::fmt::Debug>() {
    for set in InstructionSet::available() {
        for count in 1..=set.lanes::<T>() + 1 {
            let case = case::<T>(count);
            let untouched = T::from_f64(7.0);
            let (mut values, mut indices) = ([[untouched; SPACE]; 6], [[7u32; SPACE]; 2]);
            let operations = Operations {
                case: &case,
                values: values.each_mut().map(|values| values.as_mut_ptr()),
                indices: indices.each_mut().map(|indices| indices.as_mut_ptr()),
            };
            // SAFETY: every array has more places than a vector has lanes.
            unsafe { set.run(&operations) };
            let written = count.min(set.lanes::<T>());
            for lane in 0..SPACE {
                let (one, other) = (case.one[lane].to_f64(), case.other[lane].to_f64());
                let stays = one.is_nan() || one >= other;
                let same = case.at[lane] == case.other_at[lane];
                let truths = [one < other, one <= other, stays, same].map(|truth| f64::from(u8::from(truth)));
                let [less, at_most, first, same] = truths;
                let expected = [less, at_most, first, same, 3.0 * first, 3.0 - 3.0 * first];
                let chosen = if stays { case.at[lane] } else { u32::MAX };
                let (expected, at) =
                    if lane < written { (expected, [chosen, case.other_at[lane]]) } else { ([7.0; 6], [7; 2]) };
                let found = values.map(|values| values[lane].to_f64());
                assert_eq!((found, indices.map(|indices| indices[lane])), (expected, at), "{set:?} {count} {lane}");
            }
        }
    }
}

#[test]
fn comparisons_select_values_and_indices() {
    check::<f32>();
    check::<f64>();
}
