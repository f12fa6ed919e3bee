//! How the tensors of a weights file differ from the parameters of a network.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::Tensor;

use super::{Params, Role};

/// Which tensors are missing, unexpected or of another shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WeightsReport {
    /// Parameters that the file does not hold, with the shapes that were expected.
    pub missing: Vec<(String, Vec<usize>)>,
    /// Tensors of the file that the network has no place for, with their shapes.
    pub unexpected: Vec<(String, Vec<usize>)>,
    /// Name, shape expected, shape found.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl WeightsReport {
    /// Compares a network's parameters with values by name; a missing batch count is no difference (older files lack it).
    pub(crate) fn compare(params: &Params, values: &BTreeMap<String, Tensor>) -> Self {
        let mut report = Self::default();
        for (name, parameter) in params.iter() {
            let expected = parameter.var.dims().to_vec();
            match values.get(name) {
                None if parameter.role == Role::BatchCount => {}
                None => report.missing.push((name.to_owned(), expected)),
                Some(value) if value.dims() != expected => {
                    report.misshapen.push((name.to_owned(), expected, value.dims().to_vec()));
                }
                Some(_) => {}
            }
        }
        for (name, value) in values {
            if params.get(name).is_none() {
                report.unexpected.push((name.clone(), value.dims().to_vec()));
            }
        }
        report
    }

    /// What to do about the differences that are met most often.
    fn advice(&self) -> String {
        if let Some(classes) = self.other_classes() {
            return format!("they are for {classes} classes: set `classes = {classes}`");
        }
        match self.prefix() {
            Some(prefix) => {
                format!("every name in the file has `{prefix}` in front: save the state dict of what it wraps")
            }
            None => "choose the architecture they were saved from".to_owned(),
        }
    }

    /// The number of classes of the file, where only the head differs, by its rows.
    fn other_classes(&self) -> Option<usize> {
        let rows = self.misshapen.iter().map(|(_, expected, found)| match (expected.as_slice(), found.as_slice()) {
            ([_, expected @ ..], [rows, found @ ..]) if expected == found => Some(*rows),
            _ => None,
        });
        let rows = rows.collect::<Option<Vec<usize>>>()?;
        let (classes, others) = rows.split_first()?;
        let head_alone = self.missing.is_empty() && self.unexpected.is_empty();
        (head_alone && others.iter().all(|rows| rows == classes)).then_some(*classes)
    }

    /// What a wrapper (`module.` of PyTorch's parallel ones, `model.` of many trainers) put in front of every name.
    fn prefix(&self) -> Option<&str> {
        let (first, _) = self.unexpected.first()?;
        let prefix = self.missing.iter().find_map(|(name, _)| first.strip_suffix(name.as_str()))?;
        let carries = |name: &String| name.starts_with(prefix);
        (prefix.ends_with('.') && self.unexpected.iter().all(|(name, _)| carries(name))).then_some(prefix)
    }

    /// Whether nothing differs.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for WeightsReport {
    /// One line with what to do, then one for each kind of difference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the weights do not fit the architecture; {}", self.advice())?;
        let named = |(name, shape): &(String, Vec<usize>)| format!("`{name}` {shape:?}");
        let misshapen = |(name, expected, found): &(String, Vec<usize>, Vec<usize>)| {
            format!("`{name}` is {found:?} where {expected:?} is expected")
        };
        for (what, entries) in [
            ("missing", self.missing.iter().map(named).collect::<Vec<_>>()),
            ("of another shape", self.misshapen.iter().map(misshapen).collect()),
            ("unexpected", self.unexpected.iter().map(named).collect()),
        ] {
            if !entries.is_empty() {
                write!(f, "\n  {what} ({}): {}", entries.len(), entries.join(", "))?;
            }
        }
        Ok(())
    }
}
