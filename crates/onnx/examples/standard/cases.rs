//! The test cases of the Python package `onnx`, as `tests/standard/export.py` writes them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use onnx_graph::{Array, Error, Model};

/// What became of a case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// All outputs agree.
    Passed,
    /// An operator, an attribute or a type is missing, for this reason.
    Unsupported(String),
    /// An output differs, or a supported graph is refused.
    Failed(String),
}

/// One case: its name, operator and outcome.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) operator: String,
    pub(crate) outcome: Outcome,
}

/// Runs every case of a file.
pub(crate) fn run(path: &Path) -> candle_core::Result<Vec<Case>> {
    let mut by_case: BTreeMap<String, HashMap<String, Tensor>> = BTreeMap::new();
    for (key, tensor) in candle_core::safetensors::load(path, &Device::Cpu)? {
        if let Some((case, part)) = key.split_once("//") {
            by_case.entry(case.to_owned()).or_default().insert(part.to_owned(), tensor);
        }
    }
    by_case
        .into_iter()
        .map(|(name, parts)| {
            let operator = text(&parts["op"])?;
            let outcome = match parts.get("skipped") {
                Some(reason) => Outcome::Unsupported(text(reason)?),
                None => outcome(&parts)?,
            };
            Ok(Case { name, operator, outcome })
        })
        .collect()
}

fn text(tensor: &Tensor) -> candle_core::Result<String> {
    Ok(String::from_utf8_lossy(&tensor.to_vec1::<u8>()?).into_owned())
}

fn array(tensor: &Tensor) -> candle_core::Result<Array> {
    if tensor.dtype().is_float() {
        return Ok(Array::Floats(tensor.clone()));
    }
    let values = tensor.flatten_all()?.to_vec1::<i64>()?;
    Ok(Array::integers(tensor.dims().to_vec(), values).expect("as many numbers as the shape has"))
}

fn outcome(parts: &HashMap<String, Tensor>) -> candle_core::Result<Outcome> {
    // Cases of f64 are computed in f64, all others in f32.
    let is_double = parts.iter().any(|(key, tensor)| !key.starts_with("tol") && tensor.dtype() == DType::F64);
    let dtype = if is_double { DType::F64 } else { DType::F32 };
    let inputs: Vec<(&str, Array)> = parts
        .iter()
        .filter_map(|(key, tensor)| Some((key.strip_prefix("in/")?, array(tensor))))
        .map(|(name, array)| Ok((name, array?)))
        .collect::<candle_core::Result<_>>()?;
    let model = Model::from_bytes(parts["model"].to_vec1::<u8>()?);
    let outputs = match model.and_then(|model| model.run(&inputs, dtype)) {
        Ok(outputs) => outputs,
        Err(
            error @ (Error::Unsupported(_)
            | Error::UnsupportedForm(_)
            | Error::ElementType { .. }
            | Error::Node { is_unsupported: true, .. }),
        ) => return Ok(Outcome::Unsupported(error.to_string())),
        Err(error) => return Ok(Outcome::Failed(error.to_string())),
    };
    let tolerance: Vec<f64> = parts["tolerance"].to_vec1()?;
    let expected = parts.keys().filter(|key| key.starts_with("out/")).count();
    for at in 0..expected {
        let known = &parts[&format!("out/{at}")];
        let Some(found) = outputs.get(at) else { return Ok(Outcome::Failed(format!("there is no output {at}"))) };
        if let Some(difference) = difference(found, known, [tolerance[0], tolerance[1]])? {
            return Ok(Outcome::Failed(format!("output {at}: {difference}")));
        }
    }
    Ok(Outcome::Passed)
}

/// What differs, with NumPy's meaning of the tolerances: |a − b| ≤ absolute + relative·|b|.
fn difference(found: &Array, known: &Tensor, [relative, absolute]: [f64; 2]) -> candle_core::Result<Option<String>> {
    let (dims, values): (Vec<usize>, Vec<f64>) = match found {
        Array::Floats(tensor) => (tensor.dims().to_vec(), tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?),
        Array::Integers { dims, values } => (dims.clone(), values.iter().map(|value| *value as f64).collect()),
        _ => return Ok(Some("another kind of array".to_owned())),
    };
    if dims != known.dims() {
        return Ok(Some(format!("shape {dims:?}, expected {:?}", known.dims())));
    }
    let known: Vec<f64> = known.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let differs = |a: f64, b: f64| {
        let same = a == b || (a.is_nan() && b.is_nan());
        let is_close = (a - b).abs() <= absolute + relative * b.abs();
        !same && !is_close
    };
    Ok(values
        .iter()
        .zip(&known)
        .position(|(a, b)| differs(*a, *b))
        .map(|at| format!("{} at {at}, expected {}", values[at], known[at])))
}

/// The page of the book: the number of cases of each operator by outcome.
pub(crate) fn table(cases: &[Case]) -> String {
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, &str> = BTreeMap::new();
    let mut total = [0; 3];
    for case in cases {
        let at = match &case.outcome {
            Outcome::Passed => 0,
            Outcome::Unsupported(reason) => {
                reasons.entry(&case.operator).or_insert(reason);
                1
            }
            Outcome::Failed(_) => 2,
        };
        counts.entry(&case.operator).or_default()[at] += 1;
        total[at] += 1;
    }
    let [passed, unsupported, failed] = total;
    let mut page = format!(
        "# ONNX operators\n\nThe test cases of the Python package `onnx`: those of its operators, its models, and its classic \
         networks. A case passes if\nall outputs agree within the tolerances of the package. A case is unsupported if the graph is \
         refused with what is missing. The\npage is written by `cargo run --release -p geometric-onnx --example standard` from the \
         cases that\n`crates/onnx/tests/standard/export.py` exports.\n\n{} cases: {passed} passed, {unsupported} unsupported, {failed} \
         failed.\n\n| operator | passed | unsupported | failed | first reason |\n|---|---|---|---|---|\n",
        cases.len()
    );
    for (operator, [passed, unsupported, failed]) in counts {
        let reason = reasons.get(operator).and_then(|reason| reason.lines().next()).unwrap_or("");
        let reason = reason.replace("the measured tensor depends on what is not supported here: ", "").replace('|', "\\|");
        let short: String = reason.chars().take(90).collect();
        let cut = if short.len() < reason.len() { "…" } else { "" };
        page.push_str(&format!("| {operator} | {passed} | {unsupported} | {failed} | {short}{cut} |\n"));
    }
    page
}
