//! The registry of measures: names, definitions, scales, and how each is read from an assessment.

mod entry;
mod measure;
mod table;

pub use entry::{Direction, Entry, Needs, PartOf, Read, Scale};
pub use measure::Measure;
pub use table::register;
