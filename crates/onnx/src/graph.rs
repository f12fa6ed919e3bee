//! A graph up to the measured tensor, as a feature map.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor};
use gc_core::{BatchNormMode, FeatureMap, Linearization};

use crate::evaluate::{Context, Values, evaluate};
use crate::free_batch::Reference;
use crate::input::Input;
use crate::linearization::{Network, Recorded, linearized};
use crate::measured::{Chosen, MeasuredTensor};
use crate::model::{needed, taken};
use crate::node::{Id, Node};
use crate::value::{MOST_ELEMENTS, Value};
use crate::{Error, Result};

/// Integer values of at most this many numbers are recorded.
const RECORDED: usize = 64;

/// A graph up to the measured tensor, with its weights.
///
/// It is a [`FeatureMap`]: the features are the measured tensor, with all dimensions after the first flattened. If the file
/// fixes the batch size, other sizes are evaluated all the same.
///
/// ```no_run
/// use candle_core::{DType, Device, Tensor};
/// use gc_core::GeometricComplexity;
/// use onnx_graph::{Layer, Model};
///
/// let graph = Model::open("net.onnx".as_ref())?.graph(&Layer::Features, DType::F32, &Device::Cpu)?;
/// println!("measured: {}", graph.tensor());
/// let x = Tensor::zeros((8, 3, 32, 32), DType::F32, &Device::Cpu)?;
/// println!("{}", GeometricComplexity::exact().measure_inputs(&graph, &x)?.value);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Graph {
    input: Input,
    nodes: Vec<Node>,
    /// For each node, the values that no later node takes.
    last: Vec<Vec<Id>>,
    constants: HashMap<Id, Value>,
    names: Vec<String>,
    chosen: Chosen,
    dtype: DType,
    device: Device,
    /// What is known of all values, by the shape of the input.
    recorded: Mutex<HashMap<Vec<usize>, Arc<Recorded>>>,
}

/// What a graph is made of.
pub(crate) struct Parts {
    pub(crate) input: Input,
    pub(crate) nodes: Vec<Node>,
    pub(crate) constants: HashMap<Id, Value>,
    pub(crate) names: Vec<String>,
    pub(crate) chosen: Chosen,
    /// The tensors that stay until the end of an evaluation, the chosen one among them.
    pub(crate) kept: Vec<Id>,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
}

/// The weights of a linear layer y = x·weightᵀ + bias.
#[derive(Debug, Clone)]
pub struct LinearHead {
    /// `[out, in]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Option<Tensor>,
}

impl Graph {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { input, nodes, constants, names, chosen, kept, dtype, device } = parts;
        let last = last_uses(&nodes, kept);
        let recorded = Mutex::default();
        Self { input, nodes, last, constants, names, chosen, dtype, device, recorded }
    }

    /// The graph up to a tensor of this one, with the same weights.
    pub(crate) fn up_to(&self, chosen: &Chosen) -> Self {
        let wanted: Vec<Id> = chosen.wanted().collect();
        let nodes = needed(self.nodes.clone(), &wanted);
        let used: HashSet<Id> = nodes.iter().flat_map(taken).chain(wanted).collect();
        let constants = self.constants.iter().filter(|(id, _)| used.contains(id));
        Self::new(Parts {
            input: self.input.clone(),
            constants: constants.map(|(id, value)| (*id, value.clone())).collect(),
            nodes,
            names: self.names.clone(),
            chosen: chosen.clone(),
            kept: vec![chosen.id],
            dtype: self.dtype,
            device: self.device.clone(),
        })
    }

    /// The tensor that is measured.
    pub fn tensor(&self) -> &MeasuredTensor {
        &self.chosen.tensor
    }

    /// The name of the input.
    pub fn input(&self) -> &str {
        &self.input.name
    }

    /// The sizes of one sample, where the file states them all.
    pub fn sample(&self) -> Option<Vec<usize>> {
        self.input.sizes.as_deref()?.get(1..)?.iter().copied().collect()
    }

    /// The dtype of the weights and of the inputs.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The weights of the linear layer that takes the measured tensor, where that layer is the classifier.
    ///
    /// # Errors
    /// Weights of a shape that no linear layer has.
    pub fn head(&self) -> Result<Option<LinearHead>> {
        let Some(layer) = &self.chosen.head else { return Ok(None) };
        let constant = |id: Id| self.constants.get(&id).map(Value::float).transpose();
        let Some(weight) = constant(layer.weight)? else { return Ok(None) };
        if weight.rank() != 2 {
            return Ok(None);
        }
        let weight = if layer.is_transposed { weight.clone() } else { weight.t()?.contiguous()? };
        let weight = weight.affine(layer.factors[0], 0.0)?;
        let outputs = weight.dim(0)?;
        let bias = match layer.bias.map(constant).transpose()?.flatten() {
            None => None,
            Some(bias) if bias.elem_count() == outputs => Some(bias.flatten_all()?.affine(layer.factors[1], 0.0)?),
            Some(bias) if bias.elem_count() == 1 => {
                let bias = bias.flatten_all()?.affine(layer.factors[1], 0.0)?;
                Some(bias.broadcast_as(outputs)?.contiguous()?)
            }
            Some(_) => return Ok(None),
        };
        Ok(Some(LinearHead { weight, bias }))
    }

    /// Refuses samples of another shape than the graph states.
    ///
    /// # Errors
    /// [`Error::SampleShape`].
    pub fn check_sample(&self, sample: &[usize]) -> Result<()> {
        let Some((_, stated)) = self.input.sizes.as_deref().and_then(<[_]>::split_first) else { return Ok(()) };
        let fits = |(stated, size): (&Option<usize>, &usize)| stated.is_none_or(|stated| stated == *size);
        if stated.len() == sample.len() && stated.iter().zip(sample).all(fits) {
            return Ok(());
        }
        let size = |size: &Option<usize>| size.map_or_else(|| "any".to_owned(), |size| size.to_string());
        let expected = stated.iter().map(size).collect::<Vec<_>>().join(", ");
        Err(Error::SampleShape { input: self.input.name.clone(), expected, got: sample.to_vec() })
    }

    /// The measured tensor for a batch `[n, …]`, in its own shape.
    ///
    /// # Errors
    /// [`Error::SampleShape`], [`Error::DType`], [`Error::Node`] for a node that cannot be evaluated, [`Error::Rows`] if the
    /// first dimension of the tensor is not n.
    pub fn evaluate(&self, x: &Tensor) -> Result<Tensor> {
        let tensor = self.evaluate_each(x, std::slice::from_ref(&self.chosen))?.pop();
        tensor.ok_or_else(|| self.missing(&self.chosen))
    }

    /// The same for several tensors that stay until the end of an evaluation.
    pub(crate) fn evaluate_each(&self, x: &Tensor, tensors: &[Chosen]) -> Result<Vec<Tensor>> {
        let (samples, sample) = x.dims().split_first().map_or((0, &[][..]), |(samples, sample)| (*samples, sample));
        self.check_sample(sample)?;
        if x.dtype() != self.dtype {
            return Err(Error::DType { expected: self.dtype, got: x.dtype() });
        }
        let reference = self.reference(x.dims())?;
        let values = self.run(x, reference.as_ref(), &mut |_, _| {})?;
        let checked = |chosen: &Chosen| {
            let name = || chosen.tensor.name.clone();
            let value = values.get(chosen.id).ok_or_else(|| self.missing(chosen))?;
            let Value::Float(tensor) = value else { return Err(Error::IntegerLayer { tensor: name() }) };
            if tensor.dims().first() != Some(&samples) {
                return Err(Error::Rows { tensor: name(), got: tensor.dims().to_vec(), samples });
            }
            Ok(tensor.clone())
        };
        tensors.iter().map(checked).collect()
    }

    fn missing(&self, chosen: &Chosen) -> Error {
        Error::Operand(format!("the tensor `{}` has no value", chosen.tensor.name))
    }

    /// The shapes at the batch size of the file, for an input of another batch size; none for the size of the file.
    fn reference(&self, input: &[usize]) -> Result<Option<Reference>> {
        let Some((&samples, sample)) = input.split_first() else { return Ok(None) };
        let stated = self.input.sizes.as_deref().and_then(|sizes| *sizes.first()?);
        let Some(stated) = stated.filter(|stated| *stated != samples && *stated > 0) else { return Ok(None) };
        let dims: Vec<usize> = std::iter::once(stated).chain(sample.iter().copied()).collect();
        let recorded = self.recorded(&dims)?;
        Ok(Some(Reference {
            stated,
            samples,
            shapes: recorded.shapes.clone(),
            wholes: recorded.wholes.clone(),
            outer: std::cell::RefCell::default(),
        }))
    }

    /// The shapes of all values and the small integer values for an input of this shape. They do not depend on its numbers, and are
    /// found by an evaluation at zeros.
    fn recorded(&self, input: &[usize]) -> Result<Arc<Recorded>> {
        let lock = || self.recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = lock().get(input) {
            return Ok(known.clone());
        }
        let mut recorded = Recorded::default();
        let mut record = |id: Id, value: &Value| {
            recorded.shapes.insert(id, value.dims().to_vec());
            if let Value::Whole(whole) = value
                && whole.data.len() <= RECORDED
            {
                recorded.wholes.insert(id, whole.clone());
            }
        };
        for (id, value) in &self.constants {
            record(*id, value);
        }
        let x = Tensor::zeros(input, self.dtype, &self.device)?;
        record(self.input.id, &x.clone().into());
        self.run(&x, self.reference(input)?.as_ref(), &mut record)?;
        let recorded = Arc::new(recorded);
        lock().insert(input.to_vec(), recorded.clone());
        Ok(recorded)
    }

    /// Evaluates the nodes; the values are those that stay until the end.
    fn run(&self, x: &Tensor, freed: Option<&Reference>, record: &mut dyn FnMut(Id, &Value)) -> Result<Values<'_>> {
        let context = Context {
            dtype: self.dtype,
            device: &self.device,
            names: &self.names,
            freed,
            most: MOST_ELEMENTS,
            rounds: false,
            unrounded_lengths: false,
        };
        let mut values = Values::new(&self.constants);
        values.insert(self.input.id, x.clone().into());
        for (node, last) in self.nodes.iter().zip(&self.last) {
            evaluate(node, &mut values, context)?;
            for id in node.outputs.iter().flatten() {
                if let Some(value) = values.get(*id) {
                    record(*id, value);
                }
            }
            last.iter().for_each(|id| values.release(*id));
        }
        Ok(values)
    }

    fn has_batch_norm(&self) -> bool {
        self.nodes.iter().any(|node| node.op == "BatchNormalization")
    }
}

/// For each node, the values that it is the last to take.
fn last_uses(nodes: &[Node], kept: Vec<Id>) -> Vec<Vec<Id>> {
    let mut seen: HashSet<Id> = kept.into_iter().collect();
    let mut last: Vec<Vec<Id>> = Vec::with_capacity(nodes.len());
    for node in nodes.iter().rev() {
        let outputs = node.outputs.iter().flatten().copied();
        last.push(taken(node).chain(outputs).filter(|id| seen.insert(*id)).collect());
    }
    last.reverse();
    last
}

impl FeatureMap for &Graph {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        (**self).features(x)
    }

    fn linearize(&self, x: &Tensor) -> gc_core::Result<Option<Box<dyn Linearization + '_>>> {
        (**self).linearize(x)
    }

    fn batch_norm(&self) -> BatchNormMode {
        (**self).batch_norm()
    }
}

impl FeatureMap for Graph {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        let features = self.evaluate(x).and_then(|tensor| Ok(tensor.flatten_from(1)?));
        Ok(features.map_err(Error::into_candle)?)
    }

    fn linearize(&self, x: &Tensor) -> gc_core::Result<Option<Box<dyn Linearization + '_>>> {
        let fits = self.check_sample(x.dims().get(1..).unwrap_or_default()).is_ok() && x.dtype() == self.dtype;
        if !fits {
            return Ok(None);
        }
        let context = Context {
            dtype: self.dtype,
            device: &self.device,
            names: &self.names,
            freed: None,
            most: MOST_ELEMENTS,
            rounds: false,
            unrounded_lengths: false,
        };
        let (nodes, constants) = (&self.nodes, &self.constants);
        let network = Network { nodes, constants, context, input: self.input.id, output: self.chosen.id };
        if !network.has_rules() {
            return Ok(None);
        }
        let linearization = self.recorded(x.dims()).and_then(|recorded| linearized(&network, &recorded, x));
        Ok(linearization.map_err(Error::into_candle)?)
    }

    fn batch_norm(&self) -> BatchNormMode {
        if self.has_batch_norm() { BatchNormMode::Evaluation } else { BatchNormMode::Unstated }
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("tensor", &self.chosen.tensor)
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}
