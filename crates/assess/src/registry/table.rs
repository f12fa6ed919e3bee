//! The table of all measures: those of this crate, then those that were registered at run time.

use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};

use super::entry::Entry;
use super::measure::Measure;
use crate::{Error, Result, measures};

/// The measures that every run of an experiment records, in the order of columns. They come first in the table.
const STANDARD: [&str; 34] = [
    "gc",
    "geometric_collapse",
    "pairwise_geometric_collapse",
    "nc",
    "poincare_constant",
    "path_slope",
    "step_slope",
    "target_nc",
    "nearest_mean_accuracy",
    "ridge_accuracy",
    "test_nc",
    "test_bound",
    "test_accuracy",
    "nearest_mean_error",
    "nearest_mean_bound",
    "nearest_mean_gc_bound",
    "spherical_bound",
    "spherical_gc_bound",
    "mean_variance",
    "mean_inverse_squared_distance",
    "variance_over_gc",
    "gc_over_variance",
    "gc_over_total_variance",
    "test_gc",
    "target_gc",
    "nc_unbiased",
    "target_nc_unbiased",
    "geometric_collapse_unbiased",
    "evaluation_loss",
    "cantelli_bound",
    "directional_bound",
    "target_nearest_mean_error",
    "target_cantelli_bound",
    "target_directional_bound",
];

/// Measures in order, with the position of each key.
#[derive(Default)]
struct Table {
    measures: Vec<Measure>,
    positions: HashMap<&'static str, usize>,
}

impl Table {
    fn push(&mut self, measure: Measure) {
        self.positions.insert(measure.key(), self.measures.len());
        self.measures.push(measure);
    }

    fn of_this_crate() -> Self {
        let all: Vec<Measure> = measures::groups().into_iter().flatten().copied().collect();
        let mut table = Self::default();
        let standard = STANDARD.iter().filter_map(|key| all.iter().find(|measure| measure.key() == *key));
        standard.for_each(|measure| table.push(*measure));
        all.iter().filter(|measure| !is_standard(measure.key())).for_each(|measure| table.push(*measure));
        table
    }
}

fn lock() -> &'static RwLock<Table> {
    static TABLE: OnceLock<RwLock<Table>> = OnceLock::new();
    TABLE.get_or_init(|| RwLock::new(Table::of_this_crate()))
}

/// The table. It is whole even where a thread panicked while it held the lock, because measures are only appended.
fn table() -> RwLockReadGuard<'static, Table> {
    lock().read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn find(key: &str) -> Option<Measure> {
    let table = table();
    table.positions.get(key).and_then(|position| table.measures.get(*position)).copied()
}

pub(super) fn position(key: &str) -> Option<usize> {
    table().positions.get(key).copied()
}

pub(super) fn all() -> Vec<Measure> {
    table().measures.clone()
}

pub(super) fn standard() -> Vec<Measure> {
    table().measures.iter().take(STANDARD.len()).copied().collect()
}

pub(super) fn is_standard(key: &str) -> bool {
    STANDARD.contains(&key)
}

/// Adds a measure at run time, after all others.
///
/// The entry stays for the rest of the process. From then on the measure is found by its key, recorded, plotted and claimed
/// as every other.
///
/// # Errors
/// [`Error::MeasureExists`] for a key that is taken, [`Error::MeasureKey`] for one that is not lower-case letters, digits and
/// underscores.
///
/// ```
/// use assess::{Entry, Error, Measure, Measured, register};
/// let entry = Entry::new("doc_classes", "Number of training classes.", |assessment| {
///     Some(Measured::new(assessment.train.classes as f64, None, assessment.train.samples))
/// });
/// let classes = register(entry)?;
/// assert_eq!(Measure::named("doc_classes")?, classes);
/// assert!(matches!(register(entry), Err(Error::MeasureExists { .. })));
/// # assess::Result::Ok(())
/// ```
pub fn register(entry: Entry) -> Result<Measure> {
    let mut characters = entry.key.chars();
    let starts = characters.next().is_some_and(|first| first.is_ascii_lowercase());
    let goes_on = |next: char| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_';
    if !(starts && characters.all(goes_on)) {
        return Err(Error::MeasureKey { key: entry.key.to_owned() });
    }
    let mut table = lock().write().unwrap_or_else(PoisonError::into_inner);
    if table.positions.contains_key(entry.key) {
        return Err(Error::MeasureExists { key: entry.key.to_owned() });
    }
    let measure = Measure::of(Box::leak(Box::new(entry)));
    table.push(measure);
    Ok(measure)
}
