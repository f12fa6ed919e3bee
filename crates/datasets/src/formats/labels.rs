//! Labels as a file stores them, and their conversion into class numbers.

use std::collections::{BTreeSet, HashMap};

use crate::{Error, Result};

/// Labels as a file stores them.
#[derive(Debug, Default)]
pub(crate) enum RawLabels {
    #[default]
    None,
    Numbers(Vec<i64>),
    Names(Vec<String>),
}

impl RawLabels {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Numbers(values) => values.len(),
            Self::Names(values) => values.len(),
        }
    }

    pub(crate) fn push_numbers(&mut self, more: Vec<i64>) -> std::result::Result<(), String> {
        match self {
            Self::None => *self = Self::Numbers(more),
            Self::Numbers(values) => values.extend(more),
            Self::Names(_) => return Err("labels are names in one place and numbers in another".to_owned()),
        }
        Ok(())
    }

    pub(crate) fn push_names(&mut self, more: Vec<String>) -> std::result::Result<(), String> {
        match self {
            Self::None => *self = Self::Names(more),
            Self::Names(values) => values.extend(more),
            Self::Numbers(_) => return Err("labels are numbers in one place and names in another".to_owned()),
        }
        Ok(())
    }

    pub(crate) fn append(&mut self, other: Self) -> std::result::Result<(), String> {
        match other {
            Self::None => Ok(()),
            Self::Numbers(values) => self.push_numbers(values),
            Self::Names(values) => self.push_names(values),
        }
    }

    /// The labels as class names; `names` lists the names of the numbers.
    pub(crate) fn named(self, names: &[String], context: &str) -> Result<Self> {
        let Self::Numbers(values) = self else { return Ok(self) };
        let name = |(row, &value): (usize, &i64)| {
            let found = usize::try_from(value).ok().and_then(|value| names.get(value)).cloned();
            let out_of_range =
                || Error::LabelOutOfRange { context: context.to_owned(), row, label: value, classes: names.len() };
            found.ok_or_else(out_of_range)
        };
        Ok(Self::Names(values.iter().enumerate().map(name).collect::<Result<_>>()?))
    }

    /// The labels as class numbers from 0, and the class names.
    ///
    /// Without `names`, the classes are the different labels, sorted.
    pub(crate) fn resolve(self, names: Option<Vec<String>>, context: &str) -> Result<(Vec<u32>, Vec<String>)> {
        match self {
            Self::None => Ok((Vec::new(), names.unwrap_or_default())),
            Self::Numbers(values) => {
                let Some(names) = names else { return numbered(&values, context) };
                let label = |(row, &value): (usize, &i64)| match u32::try_from(value) {
                    Ok(label) if (label as usize) < names.len() => Ok(label),
                    _ => {
                        let (context, classes) = (context.to_owned(), names.len());
                        Err(Error::LabelOutOfRange { context, row, label: value, classes })
                    }
                };
                let labels = values.iter().enumerate().map(label).collect::<Result<_>>()?;
                Ok((labels, names))
            }
            Self::Names(values) => {
                let names = names.unwrap_or_else(|| {
                    let sorted: BTreeSet<&String> = values.iter().collect();
                    sorted.into_iter().cloned().collect()
                });
                let numbers: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
                let label = |value: &String| {
                    numbers.get(value.as_str()).copied().ok_or_else(|| Error::UnknownClass {
                        dataset: context.to_owned(),
                        name: value.clone(),
                        suggestions: crate::error::suggestions(value, names.iter().map(String::as_str)),
                    })
                };
                let labels = values.iter().map(label).collect::<Result<_>>()?;
                Ok((labels, names))
            }
        }
    }
}

/// A column without class names that holds larger numbers is not a label column.
const MAX_UNNAMED: i64 = 1_000_000;

/// Class numbers by the order of the labels, which need not begin at 0.
fn numbered(values: &[i64], context: &str) -> Result<(Vec<u32>, Vec<String>)> {
    if let Some(row) = values.iter().position(|value| !(0..MAX_UNNAMED).contains(value)) {
        let (context, label, classes) = (context.to_owned(), values[row], MAX_UNNAMED as usize);
        return Err(Error::LabelOutOfRange { context, row, label, classes });
    }
    let numbers: BTreeSet<i64> = values.iter().copied().collect();
    let positions: HashMap<i64, u32> = numbers.iter().copied().zip(0..).collect();
    let labels = values.iter().map(|value| positions[value]).collect();
    Ok((labels, numbers.iter().map(i64::to_string).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_class_numbers() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (labels, classes) = RawLabels::Numbers(vec![2, 0]).resolve(None, "x").unwrap();
        assert_eq!((labels, classes), (vec![1, 0], names(&["0", "2"])));
        let (labels, classes) = RawLabels::Names(names(&["b", "a", "b"])).resolve(None, "x").unwrap();
        assert_eq!((labels, classes), (vec![1, 0, 1], names(&["a", "b"])));
        for (value, row) in [(2, 1), (-1, 1), (i64::MAX, 1)] {
            let wrong = RawLabels::Numbers(vec![0, value]).resolve(Some(names(&["a", "b"])), "x");
            assert!(matches!(wrong, Err(Error::LabelOutOfRange { row: at, label, .. }) if (at, label) == (row, value)));
        }
        for wrong in [i64::MAX, -1] {
            let failed = RawLabels::Numbers(vec![0, wrong]).resolve(None, "x");
            assert!(matches!(failed, Err(Error::LabelOutOfRange { row: 1, label, .. }) if label == wrong));
        }
        let unknown = RawLabels::Names(names(&["c"])).resolve(Some(names(&["a"])), "x");
        assert!(matches!(unknown, Err(Error::UnknownClass { .. })));
    }
}
