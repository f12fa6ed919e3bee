//! How the tensors of a file of weights differ from the parameters of a network.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::WeightsFile;
use super::family_guess::family;
use super::names::{NameMap, RenamedTensor, without_prefixes};
use crate::params::{Params, Role};

/// The most names of each kind of difference that the message lists.
const LISTED: usize = 5;

/// The name of a tensor and its shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorShape {
    /// The name.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
}

/// A tensor of another shape than its parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeMismatch {
    /// The name of the parameter.
    pub name: String,
    /// The shape of the parameter.
    pub expected: Vec<usize>,
    /// The shape in the file.
    pub found: Vec<usize>,
}

/// The tensors that are missing, unexpected or of another shape, and how names were matched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WeightsReport {
    /// Parameters that the file does not hold, with the shapes that were expected.
    pub missing: Vec<TensorShape>,
    /// Tensors of the file that belong to no parameter, with their shapes.
    pub unexpected: Vec<TensorShape>,
    /// Tensors of another shape than their parameters.
    pub misshapen: Vec<ShapeMismatch>,
    /// The prefixes that were stripped from names in the file.
    #[serde(default)]
    pub stripped_prefixes: Vec<String>,
    /// Tensors whose parameters have other names.
    #[serde(default)]
    pub renamed: Vec<RenamedTensor>,
    /// Where the names are the numbers of an `nn.Sequential`: whether it has a module between its last two linear layers.
    #[serde(default)]
    pub module_before_head: Option<bool>,
    /// The keys under which the state dict was found in a PyTorch file, outermost first.
    #[serde(default)]
    pub wrappers: Vec<String>,
    /// Other keys of a PyTorch file that hold tensors too, which were not read.
    #[serde(default)]
    pub ignored: Vec<String>,
    /// The name of the network's head.
    #[serde(default)]
    pub head: Option<String>,
    /// The family of networks that the names in the file look like.
    #[serde(default)]
    pub looks_like: Option<String>,
    /// Number of parameters that the file holds in their shape.
    #[serde(default)]
    pub matched: usize,
}

impl WeightsReport {
    /// Compares a network's parameters with values by name. A missing batch count is no difference, as older files lack it.
    pub(crate) fn compare(params: &Params, values: &BTreeMap<String, Tensor>) -> Self {
        let mut report = Self { head: params.head_name().map(str::to_owned), ..Self::default() };
        for (name, parameter) in params.iter() {
            let expected = parameter.var.dims().to_vec();
            match values.get(name) {
                None if parameter.role == Role::BatchCount => {}
                None => report.missing.push(TensorShape { name: name.to_owned(), shape: expected }),
                Some(value) if value.dims() != expected => {
                    let found = value.dims().to_vec();
                    report.misshapen.push(ShapeMismatch { name: name.to_owned(), expected, found });
                }
                Some(_) => report.matched += 1,
            }
        }
        for (name, value) in values {
            if params.get(name).is_none() {
                report.unexpected.push(TensorShape { name: name.clone(), shape: value.dims().to_vec() });
            }
        }
        report
    }

    /// Compares a network's parameters with the values of a file that were matched to them.
    pub(super) fn of_file(
        params: &Params,
        values: &BTreeMap<String, Tensor>,
        map: NameMap,
        file: &WeightsFile,
    ) -> Self {
        let shape = |name: String| {
            let shape = file.tensors.get(&name).map(|tensor| tensor.dims().to_vec()).unwrap_or_default();
            TensorShape { name, shape }
        };
        let names: Vec<&str> = file.names().map(without_prefixes).collect();
        Self {
            unexpected: map.unexpected.into_iter().map(shape).collect(),
            stripped_prefixes: map.stripped.into_iter().collect(),
            renamed: map.renamed,
            module_before_head: map.module_before_head,
            wrappers: file.wrappers.clone(),
            ignored: file.ignored.clone(),
            looks_like: family(&names).map(str::to_owned),
            ..Self::compare(params, values)
        }
    }

    /// Whether nothing differs.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }

    /// Whether the only difference is that the file holds no head.
    pub fn lacks_only_head(&self) -> bool {
        let of_head = |name: &str| {
            self.head.as_deref().is_some_and(|head| name.strip_prefix(head).is_some_and(|rest| rest.starts_with('.')))
        };
        let only_head = self.missing.len() == 2 && self.missing.iter().all(|tensor| of_head(&tensor.name));
        only_head && self.unexpected.is_empty() && self.misshapen.is_empty()
    }

    /// What was done to match the names, one sentence each; empty where the names were those of the parameters.
    ///
    /// ```
    /// use models::WeightsReport;
    /// let mut report = WeightsReport::default();
    /// assert!(report.notes().is_empty());
    /// report.stripped_prefixes = vec!["module.".into()];
    /// assert_eq!(report.notes(), ["the prefix `module.` was stripped from names in the file"]);
    /// ```
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.wrappers.is_empty() {
            let keys: Vec<String> = self.wrappers.iter().map(|key| format!("`{key}`")).collect();
            notes.push(format!("the state dict is that under {}", keys.join(" in ")));
        }
        if !self.ignored.is_empty() {
            notes.push(format!("the file also holds tensors under {}, which were not read", quoted(&self.ignored)));
        }
        match self.stripped_prefixes.as_slice() {
            [] => {}
            [one] => notes.push(format!("the prefix `{one}` was stripped from names in the file")),
            many => notes.push(format!("the prefixes {} were stripped from names in the file", quoted(many))),
        }
        if let Some(RenamedTensor { file_name: from, parameter: to }) = self.renamed.first() {
            let (count, more) = (self.renamed.len(), if self.renamed.len() > 1 { ", …" } else { "" });
            notes.push(format!("{count} tensors have other names in the file: `{from}` is `{to}`{more}"));
        }
        if let Some(module) = self.module_before_head {
            let (has, key) = if module { ("a", "true") } else { ("no", "false") };
            notes.push(format!(
                "the `nn.Sequential` of the file has {has} module between its last two linear layers: for an activation, \
                 `activation_before_head = {key}`"
            ));
        }
        if self.lacks_only_head() {
            let head = self.head.as_deref().unwrap_or("head");
            notes.push(format!(
                "the file holds no head: `{head}` keeps its initial values, and the features do not need it"
            ));
        }
        notes
    }

    /// The likeliest reason for the differences, and what to do.
    fn advice(&self) -> String {
        if let Some(classes) = self.other_classes() {
            return format!("they are for {classes} classes: set `classes = {classes}`");
        }
        if self.lacks_only_head() {
            return "only the head is missing: load the body alone, since features do not need a head".into();
        }
        let looks = self.looks_like.as_ref().map(|family| format!("; its names look like those of {family}"));
        let looks = looks.unwrap_or_default();
        let differing = self.missing.len() + self.misshapen.len();
        if self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.iter().all(is_position) {
            return "only the positions differ: they belong to images or sequences of another size; set `input_size` (or `tokens`) to \
                    that of the weights, or interpolate those of images (`interpolate_positions`, `--interpolate-positions`)"
                .into();
        }
        if self.missing.is_empty() && self.unexpected.is_empty() {
            return format!(
                "the names fit, but not all shapes ({differing} differ): they are of another width, kernel or input size{looks}; \
                            choose the architecture they were saved from"
            );
        }
        if self.matched * 10 < differing {
            let total = self.matched + differing;
            return format!(
                "only {} of {total} parameters fit: another architecture{looks}; choose the architecture they were saved from",
                self.matched
            );
        }
        if self.missing.is_empty() && self.misshapen.is_empty() {
            return format!(
                "every parameter is there, and the file holds more: a deeper network, or further modules{looks}; choose \
                            the architecture they were saved from (in Rust, `load_matching` takes what fits)"
            );
        }
        format!(
            "{} parameters fit and {differing} do not: another depth or form of the network{looks}; choose the architecture \
                 they were saved from",
            self.matched
        )
    }

    /// The number of classes of the file, where only the head differs, by its rows.
    fn other_classes(&self) -> Option<usize> {
        let rows = self.misshapen.iter().map(|tensor| match (tensor.expected.as_slice(), tensor.found.as_slice()) {
            ([_, expected @ ..], [rows, found @ ..]) if expected == found => Some(*rows),
            _ => None,
        });
        let rows = rows.collect::<Option<Vec<usize>>>()?;
        let (classes, others) = rows.split_first()?;
        let head_alone = self.missing.is_empty() && self.unexpected.is_empty();
        (head_alone && others.iter().all(|rows| rows == classes)).then_some(*classes)
    }
}

/// Whether a tensor holds one vector for each position: `[1, tokens, width]`.
fn is_position(tensor: &ShapeMismatch) -> bool {
    matches!((tensor.expected.as_slice(), tensor.found.as_slice()), ([1, _, width], [1, _, other]) if width == other)
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for WeightsReport {
    /// One line with the likeliest reason, then one line for each kind of difference with its first five names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the weights do not fit the architecture; {}", self.advice())?;
        let named = |tensor: &TensorShape| format!("`{}` {:?}", tensor.name, tensor.shape);
        let misshapen = |tensor: &ShapeMismatch| {
            format!("`{}` is {:?} where {:?} is expected", tensor.name, tensor.found, tensor.expected)
        };
        for (what, count, first) in [
            ("missing", self.missing.len(), self.missing.iter().take(LISTED).map(named).collect::<Vec<_>>()),
            ("of another shape", self.misshapen.len(), self.misshapen.iter().take(LISTED).map(misshapen).collect()),
            ("unexpected", self.unexpected.len(), self.unexpected.iter().take(LISTED).map(named).collect()),
        ] {
            if count > 0 {
                write!(f, "\n  {what} ({count}): {}", first.join(", "))?;
            }
            if count > LISTED {
                write!(f, " and {} more", count - LISTED)?;
            }
        }
        for note in self.notes() {
            write!(f, "\n  {note}")?;
        }
        Ok(())
    }
}
