//! Which tensor of a file belongs to which parameter: prefixes of wrappers, and names that other code gives the same layers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::WeightsFile;
use crate::params::Params;

/// Prefixes that wrappers put in front of every name: PyTorch's parallel modules, `torch.compile`, training frameworks.
const PREFIXES: [&str; 4] = ["module.", "_orig_mod.", "model.", "backbone."];
/// The names that other code gives the last linear layer.
const HEADS: [&str; 6] = ["fc", "linear", "head", "classifier", "last_linear", "head.fc"];

/// A tensor whose parameter has another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenamedTensor {
    /// The name in the file, without prefixes.
    pub file_name: String,
    /// The name of the parameter.
    pub parameter: String,
}

/// The tensors of a file by the names of the parameters that they belong to.
pub(super) struct NameMap {
    /// Parameter name to name in the file.
    pub(super) of_parameter: BTreeMap<String, String>,
    /// The names in the file that belong to no parameter.
    pub(super) unexpected: Vec<String>,
    /// The prefixes that were stripped.
    pub(super) stripped: BTreeSet<String>,
    /// Names in the file, without prefixes, whose parameter has another name.
    pub(super) renamed: Vec<RenamedTensor>,
    /// Where the names are the numbers of an `nn.Sequential`: whether it has a module between its last two linear layers.
    pub(super) module_before_head: Option<bool>,
}

/// A parameter that a name may belong to; smaller is better.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Candidate {
    /// Whether the parameter has another name.
    renamed: bool,
    /// The length of the prefixes that were stripped.
    stripped: usize,
    /// The whole name in the file.
    file_name: String,
}

impl NameMap {
    /// Matches every name of the file to at most one parameter, and every parameter to at most one name.
    pub(super) fn new(params: &Params, file: &WeightsFile) -> Self {
        let numbered = numbered_layers(params, file);
        let mut best: BTreeMap<String, Candidate> = BTreeMap::new();
        for name in file.tensors.keys() {
            let Some((parameter, candidate)) = candidate(params, &numbered, name) else { continue };
            match best.get(&parameter) {
                Some(known) if *known <= candidate => {}
                _ => {
                    best.insert(parameter, candidate);
                }
            }
        }
        let used: BTreeSet<&str> = best.values().map(|candidate| candidate.file_name.as_str()).collect();
        let unexpected = file.tensors.keys().filter(|name| !used.contains(name.as_str())).cloned().collect();
        let mut map = Self {
            of_parameter: BTreeMap::new(),
            unexpected,
            stripped: BTreeSet::new(),
            renamed: Vec::new(),
            module_before_head: None,
        };
        for (parameter, Candidate { renamed, stripped, file_name }) in best {
            let (prefix, rest) = file_name.split_at(stripped);
            if !prefix.is_empty() {
                map.stripped.insert(prefix.to_owned());
            }
            if renamed {
                map.renamed.push(RenamedTensor { file_name: rest.to_owned(), parameter: parameter.clone() });
            }
            map.of_parameter.insert(parameter, file_name);
        }
        if !numbered.is_empty() {
            let mut numbers: Vec<usize> = numbered.keys().filter_map(|name| number_of_layer(name)).collect();
            numbers.sort_unstable();
            map.module_before_head = numbers.as_slice().last_chunk().map(|[before, head]| head - before > 1);
        }
        map
    }
}

/// N of the name `….N.weight`.
fn number_of_layer(name: &str) -> Option<usize> {
    name.strip_suffix(".weight")?.rsplit('.').next()?.parse().ok()
}

/// The length of the known prefixes at the start of a name, one entry for each number of prefixes that are stripped.
pub(super) fn prefix_lengths(name: &str) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(0), move |length| {
        let rest = name.get(*length..)?;
        PREFIXES.iter().find(|prefix| rest.starts_with(**prefix)).map(|prefix| length + prefix.len())
    })
}

/// A name without all its known prefixes.
pub(super) fn without_prefixes(name: &str) -> &str {
    prefix_lengths(name).last().and_then(|length| name.get(length..)).unwrap_or(name)
}

fn candidate(params: &Params, numbered: &BTreeMap<String, String>, name: &str) -> Option<(String, Candidate)> {
    let of = |renamed, stripped| Candidate { renamed, stripped, file_name: name.to_owned() };
    let rest = |length: usize| name.get(length..).unwrap_or(name);
    let known = prefix_lengths(name).find(|length| params.get(rest(*length)).is_some());
    if let Some(length) = known {
        return Some((rest(length).to_owned(), of(false, length)));
    }
    let other = prefix_lengths(name).find_map(|length| Some((renamed(params, rest(length))?, length)));
    let numbered = || Some((numbered.get(name)?.clone(), name.len() - without_prefixes(name).len()));
    let (parameter, length) = other.or_else(numbered)?;
    Some((parameter, of(true, length)))
}

/// The parameter that other code names `name`.
fn renamed(params: &Params, name: &str) -> Option<String> {
    let known = |name: String| params.get(&name).is_some().then_some(name);
    // The projection of a shortcut in the CIFAR ResNets that most repositories copy.
    let shortcut = name.split('.').map(|part| if part == "shortcut" { "downsample" } else { part });
    let shortcut = known(shortcut.collect::<Vec<_>>().join("."));
    shortcut.or_else(|| {
        let (layer, kind) = name.rsplit_once('.')?;
        let is_head = HEADS.contains(&layer) && matches!(kind, "weight" | "bias");
        is_head.then(|| known(format!("{}.{kind}", params.head_name()?))).flatten()
    })
}

/// The linear layers of an `nn.Sequential`, `0.weight`, `2.weight`, … in a common prefix, as the layers of an MLP: names in the
/// file to names of parameters, if there are as many of both.
fn numbered_layers(params: &Params, file: &WeightsFile) -> BTreeMap<String, String> {
    let Some(head) = params.head_name() else { return BTreeMap::new() };
    let mut ours: Vec<(usize, String)> = params
        .names()
        .filter_map(|name| {
            let number = name.strip_prefix("embed.")?.strip_suffix(".weight")?.parse().ok()?;
            Some((number, name.strip_suffix(".weight")?.to_owned()))
        })
        .collect();
    ours.sort();
    ours.push((usize::MAX, head.to_owned()));
    let mut theirs: Vec<(usize, String)> = file
        .tensors
        .keys()
        .filter_map(|name| Some((number_of_layer(name)?, name.strip_suffix(".weight")?.to_owned())))
        .collect();
    theirs.sort();
    let parent = |layer: &str| layer.rsplit_once('.').map_or("", |(parent, _)| parent).to_owned();
    let one_parent = theirs.windows(2).all(|pair| matches!(pair, [a, b] if parent(&a.1) == parent(&b.1)));
    if ours.len() < 2 || ours.len() != theirs.len() || !one_parent {
        return BTreeMap::new();
    }
    let pairs = theirs.into_iter().zip(ours);
    let named = pairs.flat_map(|((_, their), (_, our))| {
        ["weight", "bias"].map(|kind| (format!("{their}.{kind}"), format!("{our}.{kind}")))
    });
    named.collect()
}

/// The weight of the last linear layer in a file: of the head of this name, or of a name that other code gives it.
pub(super) fn head_weight<'a>(head: &str, file: &'a WeightsFile) -> Option<&'a candle_core::Tensor> {
    let of_layer = |layer: &str| {
        let wanted = format!("{layer}.weight");
        let matching =
            file.tensors.iter().filter(|(name, tensor)| without_prefixes(name) == wanted && tensor.rank() == 2);
        matching.map(|(_, tensor)| tensor).next()
    };
    let numbered = || {
        let layers = file.tensors.iter().filter_map(|(name, tensor)| {
            Some((without_prefixes(name).strip_suffix(".weight")?.parse::<usize>().ok()?, tensor))
        });
        layers.max_by_key(|(number, _)| *number).map(|(_, tensor)| tensor)
    };
    of_layer(head).or_else(|| HEADS.iter().find_map(|other| of_layer(other))).or_else(numbered)
}
