//! Evaluates a whole graph on named inputs, without derivatives: for comparison with other programs.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use crate::build::{Constant, build};
use crate::evaluate::{Context, Values, evaluate};
use crate::message::Kind;
use crate::model::taken;
use crate::node::{Attribute, Id, Node};
use crate::operators;
use crate::value::{MOST_ELEMENTS, Value, Whole};
use crate::weights::Weights;
use crate::{Error, Model, Result};

/// The producer of the standard's test cases.
const STANDARD: &str = "backend-test";

/// An input or output of a graph.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Array {
    /// Floats.
    Floats(Tensor),
    /// Integers, or booleans as 0 and 1; u64 has the same bits.
    Integers {
        /// The sizes.
        dims: Vec<usize>,
        /// The numbers in row-major order.
        values: Vec<i64>,
    },
}

impl Array {
    /// Integers in row-major order.
    ///
    /// # Errors
    /// [`Error::Operand`] if the sizes do not have that many elements.
    pub fn integers(dims: Vec<usize>, values: Vec<i64>) -> Result<Self> {
        if dims.iter().product::<usize>() != values.len() {
            return Err(crate::error::operand(format!("{} integers for the shape {dims:?}", values.len())));
        }
        Ok(Self::Integers { dims, values })
    }
}

impl Model {
    /// The outputs of the graph for these inputs by name, with floats of this dtype on the CPU.
    ///
    /// Nothing is freed or chosen: the inputs have the sizes that the graph expects. [`Model::graph`] is for measuring.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with everything that is missing, [`Error::Inputs`] for an input without a value, and the errors of
    /// nodes.
    pub fn run(&self, inputs: &[(&str, Array)], dtype: DType) -> Result<Vec<Array>> {
        let message = self.message()?;
        let mut weights = Weights::new(self.folder(), dtype, &Device::Cpu);
        let program = build(&message, &mut weights)?;
        let missing = operators::missing(&program.nodes);
        if !missing.is_empty() {
            return Err(Error::Unsupported(missing));
        }
        let mut constants: HashMap<Id, Value> = HashMap::new();
        for id in program.nodes.iter().flat_map(taken).chain(program.outputs.iter().copied()) {
            if let (Some(constant), false) = (program.constants.get(&id), constants.contains_key(&id)) {
                constants.insert(
                    id,
                    match constant {
                        Constant::Stored(tensor) => weights.read(tensor)?,
                        Constant::Value(value) => value.clone(),
                    },
                );
            }
        }
        let mut values = Values::new(&constants);
        for (name, array) in inputs {
            let Some(id) = program.scope.get(name) else {
                return Err(Error::Inputs { inputs: vec![(*name).to_owned()] });
            };
            let stated = message.graph.inputs.iter().find(|input| input.name == *name).map_or(0, |input| input.element);
            values.insert(
                *id,
                match array {
                    Array::Floats(tensor) => tensor.to_dtype(dtype)?.into(),
                    Array::Integers { dims, values } => {
                        let kind = Kind::of(stated).ok().filter(|kind| !kind.is_float()).unwrap_or(Kind::I64);
                        Whole::new(kind, dims.clone(), values.clone()).into()
                    }
                },
            );
        }
        let context = Context {
            dtype,
            device: &Device::Cpu,
            names: &program.names,
            freed: None,
            most: MOST_ELEMENTS,
            rounds: true,
            unrounded_lengths: message.producer == STANDARD,
        };
        let half: HashMap<Id, i64> = message
            .graph
            .inputs
            .iter()
            .filter(|input| matches!(Kind::of(input.element), Ok(Kind::F16 | Kind::Bf16)))
            .filter_map(|input| Some((*program.scope.get(input.name)?, input.element)))
            .collect();
        for node in &program.nodes {
            // The type of a float is not kept with its value. An input states it.
            let like = node.inputs.get(1).copied().flatten().and_then(|id| half.get(&id));
            match like {
                Some(kind) if node.op == "CastLike" => {
                    let attributes = vec![("to".to_owned(), Attribute::Integer(*kind))];
                    evaluate(&Node { op: "Cast".to_owned(), attributes, ..node.clone() }, &mut values, context)?;
                }
                _ => evaluate(node, &mut values, context)?,
            }
        }
        let array = |id: &Id| match values.get(*id) {
            Some(Value::Float(tensor)) => Ok(Array::Floats(tensor.clone())),
            Some(Value::Whole(whole)) => Ok(Array::Integers { dims: whole.dims.clone(), values: whole.data.to_vec() }),
            None => Err(crate::error::unsupported(format!("the output `{}`", program.names[*id]))),
        };
        program.outputs.iter().map(array).collect()
    }
}
