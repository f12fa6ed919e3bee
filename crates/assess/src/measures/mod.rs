//! The measures of this crate, one file for each idea.
//!
//! A measure is an entry in one of these files: its key, its definition, and the function that reads it from an
//! [`Assessment`](crate::Assessment). Its handle is a constant, the key in capitals.

mod accuracy;
mod bounds;
mod collapse;
mod complexity;
mod few_shot;
mod head;
mod simplex;
mod training;
mod transfer;
mod variability;

pub use accuracy::*;
pub use bounds::*;
pub use collapse::*;
pub use complexity::*;
pub use few_shot::*;
pub use head::*;
pub use simplex::*;
pub use training::*;
pub use transfer::*;
pub use variability::*;

use crate::{Decomposition, Measure, Measured, Part};
use ::collapse::CollapseReport;

/// All measures by idea.
pub(crate) fn groups() -> [&'static [Measure]; 10] {
    [
        complexity::ALL,
        collapse::ALL,
        variability::ALL,
        simplex::ALL,
        head::ALL,
        accuracy::ALL,
        bounds::ALL,
        few_shot::ALL,
        transfer::ALL,
        training::ALL,
    ]
}

/// Whether collapse was measured, or found to be undefined.
fn has_collapse(part: &Part) -> bool {
    part.moments.is_some() || part.collapse.is_some()
}

/// A factor of the decomposition, or where that was not measured, the value of the collapse report.
fn factor(
    part: &Part,
    factor: fn(&Decomposition) -> Measured,
    value: fn(&CollapseReport) -> (Option<f64>, Option<f64>),
) -> Option<Measured> {
    match &part.decomposition {
        Some(factors) => Some(factor(factors)),
        None => reported_with_error(part, value),
    }
}

/// The same for a measure that needs geometric complexity.
fn factor_of_complexity(
    part: &Part,
    factor: fn(&Decomposition) -> Measured,
    value: fn(&CollapseReport) -> (Option<f64>, Option<f64>),
) -> Option<Measured> {
    match &part.decomposition {
        Some(factors) => part.gc.is_some().then(|| factor(factors)),
        None => reported_with_error(part, value),
    }
}

/// A measure that the collapse report of a part has, in it or in the list of undefined ones.
fn reported(part: &Part, value: fn(&CollapseReport) -> Option<f64>) -> Option<Measured> {
    has_collapse(part).then_some(())?;
    Some(Measured::maybe(part.collapse.as_ref().and_then(value), None, part.samples))
}

/// The same with a standard error.
fn reported_with_error(part: &Part, value: fn(&CollapseReport) -> (Option<f64>, Option<f64>)) -> Option<Measured> {
    has_collapse(part).then_some(())?;
    let (value, error) = part.collapse.as_ref().map_or((None, None), value);
    Some(Measured::maybe(value, error, part.samples))
}

/// Handles and entries of single measures.
macro_rules! measures {
    ($($name:ident = $key:literal: $definition:literal { read: $read:expr, $($field:ident: $value:expr,)* })*) => {
        $(
            #[doc = $definition]
            pub const $name: $crate::Measure = {
                static ENTRY: $crate::Entry =
                    $crate::Entry { $($field: $value,)* ..$crate::Entry::new($key, $definition, $read) };
                $crate::Measure::of(&ENTRY)
            };
        )*
        pub(super) const ALL: &[$crate::Measure] = &[$($name,)*];
    };
}

/// Entries of measures of the training, test and target images, with their handles.
///
/// The measures of a group have the fields of `like`, and their own. `train` has the fields that are different for training images.
macro_rules! part_measures {
    ($(like $base:path { $($train:ident, $test:ident, $target:ident = $key:literal, $noun:literal, $short:literal: $definition:literal {
        read: $read:expr, $($field:ident: $value:expr,)*
    } $(=> train { $($own:ident: $own_value:expr,)* })?)* })*) => {
        $($(
            #[doc = concat!($definition, " Of training images.")]
            pub const $train: $crate::Measure = {
                const SHARED: $crate::Entry = $crate::Entry {
                    label: $noun,
                    transfer_label: Some(concat!("source ", $noun)),
                    short: $short,
                    $($field: $value,)*
                    ..$base.named($key, $definition, |assessment| {
                        let read: fn(&$crate::Part) -> Option<$crate::Measured> = $read;
                        read(&assessment.train)
                    })
                };
                static ENTRY: $crate::Entry = $crate::Entry { $($($own: $own_value,)*)? ..SHARED };
                $crate::Measure::of(&ENTRY)
            };

            #[doc = concat!($definition, " Of test images of the training classes.")]
            pub const $test: $crate::Measure = {
                static ENTRY: $crate::Entry = $crate::Entry {
                    label: concat!("test ", $noun),
                    transfer_label: Some(concat!("source test ", $noun)),
                    short: concat!("test ", $short),
                    part: $crate::PartOf::Test,
                    $($field: $value,)*
                    ..$base.named(
                        concat!("test_", $key),
                        concat!($definition, " Of test images of the training classes."),
                        |assessment| {
                            let read: fn(&$crate::Part) -> Option<$crate::Measured> = $read;
                            assessment.test.as_ref().and_then(read)
                        },
                    )
                };
                $crate::Measure::of(&ENTRY)
            };

            #[doc = concat!($definition, " Of images of the target classes.")]
            pub const $target: $crate::Measure = {
                static ENTRY: $crate::Entry = $crate::Entry {
                    label: concat!("target ", $noun),
                    short: concat!("target ", $short),
                    part: $crate::PartOf::Target,
                    $($field: $value,)*
                    ..$base.named(
                        concat!("target_", $key),
                        concat!($definition, " Of images of the target classes, which training never sees."),
                        |assessment| {
                            let read: fn(&$crate::Part) -> Option<$crate::Measured> = $read;
                            assessment.target.as_ref().and_then(read)
                        },
                    )
                };
                $crate::Measure::of(&ENTRY)
            };
        )*)*
        pub(super) const ALL: &[$crate::Measure] = &[$($($train, $test, $target,)*)*];
    };
}

use measures;
use part_measures;
