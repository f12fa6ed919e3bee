//! Rows of a batch sorted by class, and the fixed pieces into which that order is cut.

use std::ops::Range;

/// A stable order of rows by class, with the stretch of every class that occurs.
pub(crate) struct ClassOrder {
    /// Row numbers, sorted by class and, within a class, by row.
    pub(crate) rows: Vec<u32>,
    /// The classes that occur, ascending, each with its stretch of `rows`.
    pub(crate) classes: Vec<(usize, Range<usize>)>,
}

impl ClassOrder {
    pub(crate) fn new(labels: &[u32]) -> Self {
        Self::of(labels, |_| true)
    }

    /// The order of the rows whose class satisfies `wanted`. Memory depends on the number of rows, not on the largest label.
    pub(crate) fn of(labels: &[u32], wanted: impl Fn(usize) -> bool) -> Self {
        let mut found = distinct(labels);
        found.retain(|&label| wanted(label as usize));
        let table = table(&found, labels.len());
        let slot_of = |label: u32| match &table {
            Some(table) => table.get(label as usize).copied().filter(|&slot| slot != ABSENT).map(|slot| slot as usize),
            None => found.binary_search(&label).ok(),
        };
        let mut starts = vec![0usize; found.len() + 1];
        labels.iter().filter_map(|&label| slot_of(label)).for_each(|slot| starts[slot + 1] += 1);
        for slot in 0..found.len() {
            starts[slot + 1] += starts[slot];
        }
        let mut next = starts.clone();
        let mut rows = vec![0u32; starts[found.len()]];
        for (row, &label) in labels.iter().enumerate() {
            if let Some(slot) = slot_of(label) {
                rows[next[slot]] = row as u32;
                next[slot] += 1;
            }
        }
        let classes = found.iter().enumerate().map(|(slot, &label)| (label as usize, starts[slot]..starts[slot + 1]));
        Self { rows, classes: classes.collect() }
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

    /// The slot in `classes` of every position of `rows`.
    pub(crate) fn slots(&self) -> Vec<u32> {
        let mut slots = vec![0u32; self.rows.len()];
        for (slot, (_, stretch)) in self.classes.iter().enumerate() {
            slots[stretch.clone()].fill(slot as u32);
        }
        slots
    }
}

const ABSENT: u32 = u32::MAX;

/// The slot of every label up to the largest, if that takes no more memory than the rows do.
fn table(found: &[u32], rows: usize) -> Option<Vec<u32>> {
    let size = found.last().map_or(0, |&label| label as usize + 1);
    (size <= rows.saturating_add(1024)).then(|| {
        let mut table = vec![ABSENT; size];
        found.iter().enumerate().for_each(|(slot, &label)| table[label as usize] = slot as u32);
        table
    })
}

/// The labels that occur, ascending. Chunks are sorted one after another, so that no copy of all labels is made.
fn distinct(labels: &[u32]) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    for chunk in labels.chunks(1 << 16) {
        found.extend(chunk);
        found.sort_unstable();
        found.dedup();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_stably_and_cuts_within_classes() {
        let order = ClassOrder::new(&[2, 0, 2, 2, 0]);
        assert_eq!(order.rows, [1, 4, 0, 2, 3]);
        assert_eq!(order.classes, [(0, 0..2), (2, 2..5)]);
        assert_eq!(order.pieces(2), [(0, 0..2), (1, 2..4), (1, 4..5)]);
        assert_eq!(order.slots(), [0, 0, 1, 1, 1]);
    }

    #[test]
    fn unwanted_classes_have_no_rows() {
        let order = ClassOrder::of(&[2, 0, u32::MAX, 2, 0], |class| class != 0);
        assert_eq!(order.rows, [0, 3, 2]);
        assert_eq!(order.classes, [(2, 0..2), (u32::MAX as usize, 2..3)]);
    }
}
