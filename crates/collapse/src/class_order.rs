//! Rows of a batch in order of their classes, and the fixed pieces into which that order is cut.

use std::ops::Range;

/// A stable order of rows by class, with the stretch of every class that occurs.
pub(crate) struct ClassOrder {
    /// Row numbers, sorted by class and, within a class, by row.
    pub(crate) rows: Vec<u32>,
    /// The classes that occur, ascending, each with its stretch of `rows`.
    pub(crate) classes: Vec<(usize, Range<usize>)>,
}

impl ClassOrder {
    pub(crate) fn new(labels: &[u32], class_count: usize) -> Self {
        let mut starts = vec![0usize; class_count + 1];
        for &label in labels {
            starts[label as usize + 1] += 1;
        }
        for class in 0..class_count {
            starts[class + 1] += starts[class];
        }
        let mut next = starts.clone();
        let mut rows = vec![0u32; labels.len()];
        for (row, &label) in labels.iter().enumerate() {
            let at = &mut next[label as usize];
            rows[*at] = row as u32;
            *at += 1;
        }
        let classes = (0..class_count)
            .filter(|&class| starts[class] < starts[class + 1])
            .map(|class| (class, starts[class]..starts[class + 1]))
            .collect();
        Self { rows, classes }
    }

    /// Pieces of at most `size` rows of one class each: (slot in `classes`, stretch of `rows`).
    pub(crate) fn pieces(&self, size: usize) -> Vec<(usize, Range<usize>)> {
        let cut = |(slot, (_, stretch)): (usize, &(usize, Range<usize>))| {
            let stretch = stretch.clone();
            stretch
                .clone()
                .step_by(size)
                .map(move |start| (slot, start..stretch.end.min(start + size)))
                .collect::<Vec<_>>()
        };
        self.classes.iter().enumerate().flat_map(cut).collect()
    }

    /// The slot of every position of `rows`.
    pub(crate) fn slots(&self) -> Vec<u32> {
        let mut slots = vec![0u32; self.rows.len()];
        for (slot, (_, stretch)) in self.classes.iter().enumerate() {
            slots[stretch.clone()].fill(slot as u32);
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_stably_and_cuts_within_classes() {
        let order = ClassOrder::new(&[2, 0, 2, 2, 0], 4);
        assert_eq!(order.rows, [1, 4, 0, 2, 3]);
        assert_eq!(order.classes, [(0, 0..2), (2, 2..5)]);
        assert_eq!(order.pieces(2), [(0, 0..2), (1, 2..4), (1, 4..5)]);
        assert_eq!(order.slots(), [0, 0, 1, 1, 1]);
    }
}
