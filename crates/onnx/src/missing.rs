//! What a graph needs and this crate does not have.

use std::collections::BTreeMap;

/// The operators and attributes that a graph needs and that are not supported, with the number of nodes that need each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Operators by name, with their domain where it is not the standard's own.
    pub operators: BTreeMap<String, usize>,
    /// Attributes, as `Operator: attribute = value`.
    pub attributes: BTreeMap<String, usize>,
}

impl Missing {
    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.operators.is_empty() && self.attributes.is_empty()
    }

    pub(crate) fn operator(&mut self, name: String) {
        *self.operators.entry(name).or_default() += 1;
    }

    pub(crate) fn attribute(&mut self, what: String) {
        *self.attributes.entry(what).or_default() += 1;
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listed = |entries: &BTreeMap<String, usize>| {
            entries.iter().map(|(name, count)| format!("{name} (×{count})")).collect::<Vec<_>>().join(", ")
        };
        if !self.operators.is_empty() {
            write!(f, "operators {}", listed(&self.operators))?;
        }
        if !self.attributes.is_empty() {
            let between = if self.operators.is_empty() { "" } else { "; " };
            write!(f, "{between}attributes {}", listed(&self.attributes))?;
        }
        Ok(())
    }
}
