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

    /// Another number of classes is the difference that is met most often: only the head then differs, by its rows.
    fn advice(&self) -> String {
        let rows = self.misshapen.iter().map(|(_, expected, found)| match (expected.as_slice(), found.as_slice()) {
            ([_, expected @ ..], [rows, found @ ..]) if expected == found => Some(*rows),
            _ => None,
        });
        let rows: Option<Vec<usize>> = rows.collect();
        match rows.as_deref() {
            Some([classes, others @ ..])
                if self.missing.is_empty()
                    && self.unexpected.is_empty()
                    && others.iter().all(|rows| rows == classes) =>
            {
                format!("they are for {classes} classes: set `classes = {classes}`")
            }
            _ => "choose the architecture they were saved from".to_owned(),
        }
    }

    /// Whether nothing differs.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for WeightsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let listed = |entries: &[(String, Vec<usize>)]| -> String {
            entries.iter().map(|(name, shape)| format!("`{name}` {shape:?}")).collect::<Vec<_>>().join(", ")
        };
        if !self.missing.is_empty() {
            parts.push(format!("missing {}", listed(&self.missing)));
        }
        if !self.misshapen.is_empty() {
            let entries: Vec<String> = self
                .misshapen
                .iter()
                .map(|(name, expected, found)| format!("`{name}` is {found:?} where {expected:?} is expected"))
                .collect();
            parts.push(entries.join(", "));
        }
        if !self.unexpected.is_empty() {
            parts.push(format!("unexpected {}", listed(&self.unexpected)));
        }
        write!(f, "the weights do not fit the architecture: {}; {}", parts.join("; "), self.advice())
    }
}
