//! Enumeration of permutations.

/// Calls `visit` with every order of the first `length` values (Heap's algorithm, 1963).
pub(crate) fn for_each_permutation<T>(values: &mut [T], length: usize, visit: &mut impl FnMut(&[T])) {
    if length <= 1 {
        return visit(values);
    }
    for i in 0..length {
        for_each_permutation(values, length - 1, visit);
        if i + 1 < length {
            values.swap(if length.is_multiple_of(2) { i } else { 0 }, length - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permutation_is_visited_once() {
        let mut seen = std::collections::HashSet::new();
        for_each_permutation(&mut [1, 2, 3, 4], 4, &mut |order| assert!(seen.insert(order.to_vec())));
        assert_eq!(seen.len(), 24);
    }
}
