//! Named layers that run one after another.

use std::sync::{Arc, OnceLock};

use candle_core::{DType, Tensor};
use ops::host;

use super::compile::{Mode, compile};
use super::{Addend, Kind, Layer, LayerInput, LayerLinearization, SequentialTape};
use crate::similar_names::most_similar;
use crate::{Error, Pass, Result};

/// Named layers in the order in which they run; a clone shares them. An empty sequence is the identity.
///
/// ```
/// use models::layer::{ActivationLayer, Flatten, Sequential, Sum};
/// use models::ops::Activation;
/// let mut branch = Sequential::default();
/// branch.push("act", ActivationLayer(Activation::Gelu));
/// let mut layers = Sequential::default();
/// layers.push("block", Sum::residual(branch));
/// layers.push("flatten", Flatten);
/// assert_eq!(layers.names(), ["block.act", "block", "flatten"]);
/// ```
#[derive(Default)]
pub struct Sequential {
    pub(super) layers: Vec<Named>,
    /// The layers with neighbours fused, for each [`Mode`].
    compiled: [OnceLock<Vec<Arc<dyn Layer>>>; Mode::COUNT],
}

/// A layer with its name.
type Named = (String, Arc<dyn Layer>);

impl Clone for Sequential {
    fn clone(&self) -> Self {
        self.layers.iter().cloned().collect()
    }
}

impl FromIterator<Named> for Sequential {
    fn from_iter<I: IntoIterator<Item = Named>>(layers: I) -> Self {
        Self { layers: layers.into_iter().collect(), ..Self::default() }
    }
}

impl IntoIterator for Sequential {
    type Item = Named;
    type IntoIter = std::vec::IntoIter<Named>;

    fn into_iter(self) -> Self::IntoIter {
        self.layers.into_iter()
    }
}

impl Sequential {
    /// Appends a layer.
    pub fn push(&mut self, name: impl Into<String>, layer: impl Layer + 'static) {
        self.push_shared(name, Arc::new(layer));
    }

    /// Appends a layer that may be shared with other sequences.
    pub fn push_shared(&mut self, name: impl Into<String>, layer: Arc<dyn Layer>) {
        self.layers.push((name.into(), layer));
        self.compiled = Default::default();
    }

    /// Whether there is no layer.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The names in the order of the layers; the layers inside a layer come before it.
    pub fn names(&self) -> Vec<String> {
        let of = |(name, layer): &Named| {
            let inside = layer.paths().into_iter().flat_map(Sequential::names);
            let inside = inside.map(|inside| format!("{name}.{inside}")).collect::<Vec<_>>();
            inside.into_iter().chain([name.clone()])
        };
        self.layers.iter().flat_map(of).collect()
    }

    /// The layers up to and including the one of this name.
    ///
    /// The name of a group means the last layer of the group. A name may also be that of a layer inside a layer.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest names.
    pub fn up_to(&self, name: &str) -> Result<Sequential> {
        self.find(name).ok_or_else(|| {
            let known = self.names();
            let nearest = most_similar(name, known.iter().map(String::as_str));
            Error::UnknownName { what: "layer", name: name.to_owned(), nearest }
        })
    }

    /// As [`Sequential::up_to`]; none where no layer has this name.
    fn find(&self, name: &str) -> Option<Sequential> {
        let is_inside = |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        if let Some(last) = self.layers.iter().rposition(|(known, _)| known == name || is_inside(known)) {
            return Some(self.layers.iter().take(last + 1).cloned().collect());
        }
        self.layers.iter().enumerate().find_map(|(index, (known, layer))| {
            let rest = name.strip_prefix(known.as_str())?.strip_prefix('.')?;
            let inside = layer.paths().into_iter().find_map(|path| path.find(rest))?;
            let inside = inside.layers.into_iter().map(|(name, layer)| (format!("{known}.{name}"), layer));
            Some(self.layers.iter().take(index).cloned().chain(inside).collect())
        })
    }

    /// Whether a layer, or one inside it, is batch norm, so that training and evaluation differ.
    pub fn has_batch_norm(&self) -> bool {
        let has = |layer: &Arc<dyn Layer>| {
            matches!(layer.kind(), Kind::BatchNorm2d(_)) || layer.paths().into_iter().any(Sequential::has_batch_norm)
        };
        self.layers.iter().any(|(_, layer)| has(layer))
    }

    /// The layers with neighbours fused, for passes in this mode.
    pub(super) fn compiled(&self, mode: Mode) -> impl Iterator<Item = &dyn Layer> {
        let cell = self.compiled.get(mode.index());
        let compiled = cell.map(|cell| cell.get_or_init(|| compile(self.layers.iter().map(|(_, layer)| layer), mode)));
        compiled.into_iter().flatten().map(AsRef::as_ref)
    }

    /// As [`Layer::linearize`], with the tape of the sequence itself.
    ///
    /// # Errors
    /// Those of the layers.
    pub fn tape<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<(Tensor, SequentialTape<'a>)> {
        self.tape_plus(None, input, pass)
    }

    /// As [`Sequential::tape`], with the sum of the output and `addend` in place of the output. The tape is that of the sequence alone.
    ///
    /// # Errors
    /// Those of the layers.
    pub(super) fn tape_plus<'a>(
        &'a self,
        addend: Option<&Addend>,
        input: &LayerInput,
        pass: &Pass,
    ) -> Result<(Tensor, SequentialTape<'a>)> {
        let (mut tape, mut at, mut addend) = (SequentialTape::new(input), input.clone(), addend);
        let mut layers = self.compiled(Mode::of(pass, input.tangents)).peekable();
        while let Some(layer) = layers.next() {
            let last = addend.filter(|_| layers.peek().is_none());
            let with_sum = last.map_or(Ok(None), |addend| layer.linearize_plus(addend, &at, pass))?;
            if with_sum.is_some() {
                addend = None;
            }
            let linearization = with_sum.map_or_else(|| layer.linearize(&at, pass), Ok)?;
            at = tape.push(&at, linearization);
        }
        let output = addend.map_or_else(|| Ok(at.x.clone()), |addend| addend.plus(&at.x))?;
        Ok((output, tape))
    }

    /// The name of the first layer whose output holds a value that is not finite.
    pub(crate) fn first_non_finite(&self, x: &Tensor, pass: &Pass) -> Option<String> {
        let mut x = x.clone();
        for (name, layer) in &self.layers {
            x = layer.forward(&x, pass).ok()?;
            let sum = x.to_dtype(DType::F64).and_then(|x| x.abs()?.sum_all()).ok()?;
            let sum = host::read_scalar(&sum).ok()?;
            if !sum.is_finite() {
                return Some(name.clone());
            }
        }
        None
    }
}

impl Layer for Sequential {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let mode = Mode::of(pass, true);
        self.compiled(mode).try_fold(x.clone(), |x, layer| layer.forward(&x, pass))
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        let (output, tape) = self.tape(input, pass)?;
        let (inside, has_variables, by_graph) = (tape.footprint(), tape.has_variables(), tape.by_graph());
        Ok(LayerLinearization::new(output, tape).with_memory(inside).with_inside(has_variables, by_graph))
    }

    fn paths(&self) -> Vec<&Sequential> {
        vec![self]
    }
}
