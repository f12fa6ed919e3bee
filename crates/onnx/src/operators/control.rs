//! `If`, `Loop` and `Scan`. Loops are unrolled while they are evaluated.

use std::collections::HashSet;

use crate::error::{operand, unsupported};
use crate::evaluate::{Context, Values, evaluate};
use crate::model::taken;
use crate::node::{Attribute, Branch, Id, Node};
use crate::value::{Value, axis};
use crate::{Error, Result};

/// The most iterations of a loop.
const MOST_ITERATIONS: usize = 1 << 12;

/// Whether a node has graphs of its own.
pub(crate) fn is_control(node: &Node) -> bool {
    node.domain.is_empty() && matches!(node.op.as_str(), "If" | "Loop" | "Scan")
}

/// What a node has that is not supported.
pub(super) fn refuses(node: &Node) -> Option<String> {
    match node.op.as_str() {
        "If" => ["then_branch", "else_branch"]
            .iter()
            .any(|name| body(node, name).is_ok_and(|branch| !branch.inputs.is_empty()))
            .then(|| "a branch with inputs".to_owned()),
        "Scan" if node.version < 9 => {
            Some("operator sets before 9; export the graph with `opset_version=20`".to_owned())
        }
        _ => None,
    }
}

/// The outputs of a node with graphs of its own.
pub(crate) fn outputs(
    node: &Node,
    inputs: &[Option<Value>],
    values: &mut Values,
    context: Context,
) -> Result<Vec<Value>> {
    match node.op.as_str() {
        "If" => {
            let condition =
                inputs.first().and_then(Option::as_ref).ok_or_else(|| operand("the condition is missing"))?;
            let name = if condition.number()? != 0.0 { "then_branch" } else { "else_branch" };
            run(body(node, name)?, Vec::new(), values, context)
        }
        "Loop" => repeated(node, inputs, values, context),
        _ => scanned(node, inputs, values, context),
    }
}

fn body<'n>(node: &'n Node, name: &str) -> Result<&'n Branch> {
    match node.attribute(name) {
        Some(Attribute::Branch(branch)) => Ok(branch),
        _ => Err(operand(format!("the graph `{name}` is missing"))),
    }
}

/// The outputs of a body for these inputs.
fn run(branch: &Branch, given: Vec<Value>, values: &mut Values, context: Context) -> Result<Vec<Value>> {
    if given.len() != branch.inputs.len() {
        return Err(operand(format!("{} values for a body with {} inputs", given.len(), branch.inputs.len())));
    }
    for (id, value) in branch.inputs.iter().zip(given) {
        values.insert(*id, value);
    }
    for node in &branch.nodes {
        evaluate(node, values, context)?;
    }
    let value = |id: &Id| values.get(*id).cloned().ok_or_else(|| operand("a branch does not compute its output"));
    branch.outputs.iter().map(value).collect()
}

/// `Loop`: state goes through the body; further outputs of the iterations are stacked.
fn repeated(node: &Node, inputs: &[Option<Value>], values: &mut Values, context: Context) -> Result<Vec<Value>> {
    let body = body(node, "body")?;
    let given = |at: usize| inputs.get(at).and_then(Option::as_ref);
    let count = given(0).map(Value::number).transpose()?.unwrap_or(f64::INFINITY);
    let mut goes_on = given(1).map(Value::number).transpose()?.unwrap_or(1.0) != 0.0;
    let mut state: Vec<Value> = inputs.iter().skip(2).flatten().cloned().collect();
    let kept = state.len();
    let mut rows: Vec<Vec<Value>> = Vec::new();
    let mut iteration = 0usize;
    while goes_on && (iteration as f64) < count {
        if iteration == MOST_ITERATIONS {
            return Err(unsupported(format!("a loop of more than {MOST_ITERATIONS} iterations")));
        }
        values.count_iteration()?;
        let number = crate::value::Whole::new(crate::message::Kind::I64, vec![], vec![iteration as i64]);
        let flag = crate::value::Whole::new(crate::message::Kind::Bool, vec![], vec![1]);
        let start = [Value::from(number), Value::from(flag)].into_iter();
        let mut outputs = run(body, start.chain(state).collect(), values, context)?.into_iter();
        let condition = outputs.next().ok_or_else(|| operand("the body has no condition"))?;
        goes_on = condition.number()? != 0.0;
        state = outputs.by_ref().take(kept).collect();
        rows.push(outputs.collect());
        iteration += 1;
    }
    let stacked = stacked(&rows, body.outputs.len().saturating_sub(1 + kept), |_| 0)?;
    Ok(state.into_iter().chain(stacked).collect())
}

/// Each output of all iterations, along a new dimension.
fn stacked(rows: &[Vec<Value>], count: usize, axis_of: impl Fn(usize) -> i64) -> Result<Vec<Value>> {
    let one = |at: usize| -> Result<Value> {
        if rows.is_empty() {
            return Err(unsupported("a loop without iterations whose outputs are stacked"));
        }
        let parts: Vec<Value> = rows
            .iter()
            .map(|row| {
                let value = row.get(at).ok_or_else(|| operand("an iteration lacks an output"))?;
                let mut dims = value.dims().to_vec();
                dims.insert(axis(axis_of(at), dims.len() + 1)?, 1);
                value.reshaped(dims)
            })
            .collect::<Result<_>>()?;
        let along = axis(axis_of(at), parts.first().map_or(1, |part| part.dims().len()))?;
        super::joining::concatenated(&parts.iter().collect::<Vec<_>>(), along)
    };
    (0..count).map(one).collect()
}

/// `Scan`: state goes through the body together with one row of each scanned input.
fn scanned(node: &Node, inputs: &[Option<Value>], values: &mut Values, context: Context) -> Result<Vec<Value>> {
    let body = body(node, "body")?;
    let scans = usize::try_from(node.integer("num_scan_inputs", 0)?).unwrap_or(0);
    let given: Vec<Value> = inputs.iter().flatten().cloned().collect();
    let kept = given.len().checked_sub(scans).filter(|_| scans > 0).ok_or_else(|| operand("nothing is scanned"))?;
    let list = |name: &str, at: usize| -> Result<i64> {
        Ok(node.integers(name)?.and_then(|list| list.get(at).copied()).unwrap_or(0))
    };
    let (state, sequences) = given.split_at(kept);
    let mut state = state.to_vec();
    let mut axes = Vec::with_capacity(scans);
    for (at, sequence) in sequences.iter().enumerate() {
        axes.push(axis(list("scan_input_axes", at)?, sequence.dims().len())?);
    }
    let length = sequences.iter().zip(&axes).map(|(sequence, axis)| sequence.dims()[*axis]).min().unwrap_or(0);
    if length > MOST_ITERATIONS {
        return Err(unsupported(format!("a scan of more than {MOST_ITERATIONS} rows")));
    }
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(length);
    for iteration in 0..length {
        values.count_iteration()?;
        let mut start = state;
        for (at, (sequence, axis)) in sequences.iter().zip(&axes).enumerate() {
            let place = if list("scan_input_directions", at)? == 0 { iteration } else { length - 1 - iteration };
            let row = super::indexing::select(sequence, *axis, &[place])?;
            let mut dims = row.dims().to_vec();
            dims.remove(*axis);
            start.push(row.reshaped(dims)?);
        }
        let mut outputs = run(body, start, values, context)?.into_iter();
        state = outputs.by_ref().take(kept).collect();
        rows.push(outputs.collect());
    }
    let count = body.outputs.len().saturating_sub(kept);
    for at in 0..count {
        if list("scan_output_directions", at)? != 0 {
            // A reversed output is not written by any exporter that is known.
            return Err(unsupported("scan_output_directions = 1"));
        }
    }
    let axes = |at: usize| list("scan_output_axes", at).unwrap_or(0);
    Ok(state.into_iter().chain(stacked(&rows, count, axes)?).collect())
}

/// The values that depend on the numbers of the input, and not on its shape alone.
pub(crate) fn numeric(nodes: &[Node], inputs: &[Id]) -> HashSet<Id> {
    let mut found: HashSet<Id> = inputs.iter().copied().collect();
    spread(nodes, &mut found);
    found
}

/// Adds the values that nodes compute from those of the set.
fn spread(nodes: &[Node], found: &mut HashSet<Id>) {
    for node in nodes {
        if matches!(node.op.as_str(), "Shape" | "Size") || !taken(node).any(|id| found.contains(&id)) {
            continue;
        }
        found.extend(node.outputs.iter().flatten());
        for (_, attribute) in &node.attributes {
            let Attribute::Branch(branch) = attribute else { continue };
            // The inputs of a body: number of the iteration and condition of a loop, then those of the node.
            let (skipped, own) = if node.op == "Loop" { (2, 2) } else { (0, 0) };
            for (id, given) in branch.inputs.iter().skip(own).zip(node.inputs.iter().skip(skipped)) {
                if given.is_some_and(|given| found.contains(&given)) {
                    found.insert(*id);
                }
            }
            // Until nothing changes, because state that one iteration computes is an input of the next.
            let mut before = 0;
            while found.len() != before {
                before = found.len();
                spread(&branch.nodes, found);
                let outputs = branch.outputs.iter().skip(usize::from(node.op == "Loop"));
                let carried: Vec<Id> = branch
                    .inputs
                    .iter()
                    .skip(own)
                    .zip(outputs)
                    .filter(|(_, output)| found.contains(output))
                    .map(|(input, _)| *input)
                    .collect();
                found.extend(carried);
            }
        }
    }
}

/// Returns an error for a loop whose number of iterations depends on the numbers of the input.
pub(crate) fn require_fixed_counts(nodes: &[Node], numeric: &HashSet<Id>, names: &[String]) -> Result<()> {
    for node in nodes {
        for (_, attribute) in &node.attributes {
            if let Attribute::Branch(branch) = attribute {
                require_fixed_counts(&branch.nodes, numeric, names)?;
            }
        }
        if node.op != "Loop" || !node.domain.is_empty() {
            continue;
        }
        let condition = body(node, "body")?.outputs.first().copied();
        let decides = node.inputs.iter().take(2).flatten().copied().chain(condition);
        if decides.into_iter().any(|id| numeric.contains(&id)) {
            return Err(Error::LoopCount { node: node.display(names).to_owned() });
        }
    }
    Ok(())
}
