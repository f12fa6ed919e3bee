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
}

/// The values that are known so far.
pub(crate) struct Values<'a> {
    constants: &'a HashMap<Id, Value>,
    computed: HashMap<Id, Value>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(constants: &'a HashMap<Id, Value>) -> Self {
        Self { constants, computed: HashMap::new() }
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Value> {
        self.computed.get(&id).or_else(|| self.constants.get(&id))
    }

    pub(crate) fn insert(&mut self, id: Id, value: Value) {
        self.computed.insert(id, value);
    }

    /// Frees a value that no later node needs.
    pub(crate) fn release(&mut self, id: Id) {
        self.computed.remove(&id);
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
            reason: error.to_string(),
        },
    };
    let outputs = if control::is_control(node) {
        control::outputs(node, &inputs, values, context).map_err(described)?
    } else {
        let adapted = match context.freed {
            Some(reference) => reference.adapted(node, inputs.clone()).map_err(described)?,
            None => inputs.clone(),
        };
        operators::apply(&Call { node, inputs: &adapted, context }).map_err(described)?
    };
    for (id, value) in node.outputs.iter().zip(outputs) {
        if let Some(id) = id {
            values.insert(*id, value);
        }
    }
    Ok(())
}

fn shapes(inputs: &[Option<Value>]) -> String {
    let shape = |input: &Option<Value>| input.as_ref().map_or("–".to_owned(), |value| format!("{:?}", value.dims()));
    inputs.iter().map(shape).collect::<Vec<_>>().join(", ")
}
