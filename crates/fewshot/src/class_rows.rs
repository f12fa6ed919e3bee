//! Rows grouped by class.

use std::collections::BTreeMap;

/// One class and the rows with its label, ascending. Memory is proportional to the rows, not to the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClassRows {
    pub(crate) label: u32,
    pub(crate) rows: Vec<usize>,
}

impl ClassRows {
    /// All classes of `labels`, by ascending label.
    pub(crate) fn of(labels: &[u32]) -> Vec<ClassRows> {
        let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (row, &label) in labels.iter().enumerate() {
            classes.entry(label).or_default().push(row);
        }
        classes.into_iter().map(|(label, rows)| ClassRows { label, rows }).collect()
    }
}
