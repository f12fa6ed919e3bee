//! Evaluates nodes in order.

use std::collections::HashMap;

use candle_core::{DType, Device};

use crate::error::unsupported;
use crate::free_batch::Reference;
use crate::node::{Id, Node};
use crate::operators::{self, Call, control};
use crate::value::Value;
use crate::{Error, Result};

/// What evaluation needs to know beside the values.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The dtype of floats.
    pub(crate) dtype: DType,
    pub(crate) device: &'a Device,
    /// The name of each value, for messages.
    pub(crate) names: &'a [String],
    /// Shapes at the batch size of the file, where that is fixed and another one is evaluated.
    pub(crate) freed: Option<&'a Reference>,
    /// How many elements a node may produce from nothing.
    pub(crate) most: usize,
    /// Whether a cast to 16-bit floats rounds. A measured network does not round, because rounding has no useful derivative.
    pub(crate) rounds: bool,
    /// Whether resizing with `align_corners` divides by the length before it is rounded down. The standard's own test cases do so;
    /// its text, PyTorch and ONNX Runtime divide by the actual length.
    pub(crate) unrounded_lengths: bool,
}

/// The most iterations of all loops of one evaluation.
const MOST_ITERATIONS: usize = 1 << 16;

/// The values that are known so far.
pub(crate) struct Values<'a> {
    constants: &'a HashMap<Id, Value>,
    computed: HashMap<Id, Value>,
    /// How many further numbers may be computed and kept; none is stated where the input of the graph decides.
    left: Option<usize>,
    iterations: usize,
}

impl<'a> Values<'a> {
    pub(crate) fn new(constants: &'a HashMap<Id, Value>) -> Self {
        Self { constants, computed: HashMap::new(), left: None, iterations: 0 }
    }

    /// Values of which at most `most` numbers are computed.
    pub(crate) fn limited(constants: &'a HashMap<Id, Value>, most: usize) -> Self {
        Self { left: Some(most), ..Self::new(constants) }
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Value> {
        self.computed.get(&id).or_else(|| self.constants.get(&id))
    }

    pub(crate) fn insert(&mut self, id: Id, value: Value) {
        let count = value.count();
        let before = self.computed.insert(id, value).map_or(0, |before| before.count());
        self.left = self.left.map(|left| left.saturating_add(before).saturating_sub(count));
    }

    /// Frees a value that no later node needs.
    pub(crate) fn release(&mut self, id: Id) {
        self.computed.remove(&id);
    }

    /// Counts one iteration of a loop.
    pub(crate) fn count_iteration(&mut self) -> Result<()> {
        self.iterations += 1;
        if self.iterations > MOST_ITERATIONS {
            return Err(unsupported(format!("more than {MOST_ITERATIONS} iterations of loops")));
        }
        Ok(())
    }

    /// The values that were computed.
    pub(crate) fn into_computed(self) -> HashMap<Id, Value> {
        self.computed
    }
}

/// Evaluates one node and stores its outputs.
pub(crate) fn evaluate(node: &Node, values: &mut Values, context: Context) -> Result<()> {
    let mut inputs: Vec<Option<Value>> = Vec::with_capacity(node.inputs.len());
    for input in &node.inputs {
        let value = match input {
            None => None,
            Some(id) => {
                let name = || context.names.get(*id).map_or("", String::as_str);
                Some(values.get(*id).ok_or_else(|| unsupported(format!("the tensor `{}`", name())))?.clone())
            }
        };
        inputs.push(value);
    }
    let described = |error: Error| match error {
        error @ Error::Node { .. } => error,
        error => Error::Node {
            node: node.display(context.names).to_owned(),
            op: node.op.clone(),
            shapes: shapes(&inputs),
            is_unsupported: matches!(error, Error::UnsupportedForm(_)),
            reason: with_batch(error.to_string(), context.freed),
        },
    };
    let outputs = if control::is_control(node) {
        control::outputs(node, &inputs, values, context).map_err(described)?
    } else {
        let adapted = match context.freed {
            Some(reference) => reference.adapted(node, inputs.clone()).map_err(described)?,
            None => inputs.clone(),
        };
        let call = Call { node, inputs: &adapted, context };
        if let Some(left) = values.left {
            operators::growth::check(&call, left).map_err(described)?;
        }
        operators::apply(&call).map_err(described)?
    };
    for (id, value) in node.outputs.iter().zip(outputs) {
        if let Some(id) = id {
            values.insert(*id, value);
        }
    }
    Ok(())
}

/// The reason of an error, with the batch where the file fixes another one.
fn with_batch(reason: String, freed: Option<&Reference>) -> String {
    match freed {
        Some(Reference { stated, samples, .. }) if !reason.contains("dynamic") => format!(
            "{reason}; the file fixes a batch of {stated}, and {samples} samples are evaluated: export the graph with a dynamic first \
             dimension"
        ),
        _ => reason,
    }
}

fn shapes(inputs: &[Option<Value>]) -> String {
    let shape = |input: &Option<Value>| input.as_ref().map_or("–".to_owned(), |value| format!("{:?}", value.dims()));
    inputs.iter().map(shape).collect::<Vec<_>>().join(", ")
}
