//! Parsers of command-line values that several commands share.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use models::Architecture;

use crate::study::experiment::Experiment;

/// A parser of any text that names the usual values, so that shells complete them.
#[derive(Clone)]
pub(crate) struct Suggested(fn() -> Vec<&'static str>);

impl TypedValueParser for Suggested {
    type Value = String;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&clap::Arg>, text: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, text)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.0)().into_iter().map(PossibleValue::new)))
    }
}

/// A name of an architecture.
pub(crate) fn architecture() -> Suggested {
    Suggested(Architecture::names)
}

/// A name of a data set; the beginnings of addresses are suggested too.
pub(crate) fn data_set() -> Suggested {
    Suggested(|| datasets::entries().iter().map(|entry| entry.name).chain(["hub:", "folder:"]).collect())
}

/// A name of an experiment, or `all`.
pub(crate) fn experiment() -> Suggested {
    Suggested(|| Experiment::names().chain(["all"]).collect())
}

/// A name of a preset of the experiments.
pub(crate) fn preset() -> Suggested {
    Suggested(|| vec!["quick", "cpu", "paper-lite", "paper"])
}

/// Parses a count of at least one.
///
/// # Errors
/// Text that is no whole number, and 0.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number from 1".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// Parses a count from 1 to `MAX`. Larger counts would exceed any memory before a message could be given.
///
/// # Errors
/// Text that is no whole number in this range.
pub(crate) fn up_to<const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MAX).contains(&count) => Ok(count),
        _ => Err(format!("expected a whole number from 1 to {MAX}")),
    }
}

/// Parses a seed.
///
/// # Errors
/// Text that is no whole number below 2⁶⁴.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        format!("expected a whole number from 0 to {}; several are written as 0,1,2 where they are taken", u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::{at_least_one, seed, up_to};

    #[test]
    fn seeds_are_whole_numbers() {
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        for text in ["0..3", "-1", "1.5", "", "18446744073709551616"] {
            assert!(seed(text).unwrap_err().contains("whole number from 0"), "{text}");
        }
    }

    #[test]
    fn counts_have_a_ceiling() {
        assert_eq!(up_to::<10>("10"), Ok(10));
        for text in ["0", "11", "18446744073709551616", "-1", "ten"] {
            assert!(up_to::<10>(text).unwrap_err().contains("1 to 10"), "{text}");
        }
    }

    #[test]
    fn counts_start_at_one() {
        assert_eq!(at_least_one("7"), Ok(7));
        for text in ["0", "-1", "1.5", "", "many"] {
            assert!(at_least_one(text).is_err(), "{text}");
        }
    }
}
