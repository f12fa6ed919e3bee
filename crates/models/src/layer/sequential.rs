//! Named layers that run one after another, and their fusion.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::{Cotangents, Layer, LayerInput, LayerLinearization, LayerResiduals, ReluMask, TangentCotangentTerms, Tape};
use crate::similar_names::most_similar;
use crate::{Error, Pass, Result};

/// Named layers in the order in which they run; a clone shares them.
#[derive(Default, Clone)]
pub(crate) struct Sequential(Vec<(String, Arc<dyn Layer>)>);

/// One or more consecutive layers that were linearized as one.
struct Fused<'a> {
    linearization: LayerLinearization<'a>,
    /// The number of layers.
    layers: usize,
    /// Whether the last of them is a ReLU.
    with_relu: bool,
    /// Whether the next layer applies the mask of that ReLU: see [`LayerInput::relu_mask_pending`].
    relu_mask_pending: bool,
}

impl Sequential {
    pub(crate) fn push(&mut self, name: impl Into<String>, layer: impl Layer + 'static) {
        self.push_shared(name, Arc::new(layer));
    }

    pub(crate) fn push_shared(&mut self, name: impl Into<String>, layer: Arc<dyn Layer>) {
        self.0.push((name.into(), layer));
    }

    pub(crate) fn into_layers(self) -> impl Iterator<Item = (String, Arc<dyn Layer>)> {
        self.0.into_iter()
    }

    /// The names in the order of the layers; the layers inside a layer come before it.
    pub(crate) fn names(&self) -> Vec<String> {
        let of = |(name, layer): &(String, Arc<dyn Layer>)| {
            let inside = layer.names_inside().into_iter().map(|inside| format!("{name}.{inside}"));
            inside.chain([name.clone()]).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    /// The layers up to and including the one of this name.
    ///
    /// The name of a group means the last layer of the group. A name may also be that of a layer inside a composite layer.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest names.
    pub(crate) fn up_to(&self, name: &str) -> Result<Sequential> {
        self.find(name).ok_or_else(|| {
            let known = self.names();
            let nearest = most_similar(name, known.iter().map(String::as_str));
            Error::UnknownName { what: "layer", name: name.to_owned(), nearest }
        })
    }

    /// As [`Sequential::up_to`]; none where no layer has this name.
    pub(crate) fn find(&self, name: &str) -> Option<Sequential> {
        let is_inside = |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        if let Some(last) = self.0.iter().rposition(|(known, _)| known == name || is_inside(known)) {
            return Some(Sequential(self.0.iter().take(last + 1).cloned().collect()));
        }
        self.0.iter().enumerate().find_map(|(index, (known, layer))| {
            let inside = layer.find_inside(name.strip_prefix(known.as_str())?.strip_prefix('.')?)?;
            let before = self.0.iter().take(index).cloned();
            let inside = inside.0.into_iter().map(|(name, layer)| (format!("{known}.{name}"), layer));
            Some(Sequential(before.chain(inside).collect()))
        })
    }

    /// The output of all layers.
    pub(crate) fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let (mut x, mut layers) = (x.clone(), self.0.iter().map(|(_, layer)| layer).peekable());
        while let Some(layer) = layers.next() {
            let fused = match layers.peek() {
                Some(next) if next.is_relu() => layer.forward_with_relu(&x, pass)?,
                _ => None,
            };
            if fused.is_some() {
                layers.next();
            }
            x = fused.map_or_else(|| layer.forward(&x, pass), Ok)?;
        }
        Ok(x)
    }

    /// The output of all layers and its tangent.
    pub(crate) fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        self.0.iter().try_fold((x.clone(), dx.clone()), |(x, dx), (_, layer)| layer.jvp(&x, &dx, pass))
    }

    /// The output of all layers, outside any graph, and the backward pass from it.
    pub(crate) fn linearize<'a>(&'a self, mut input: LayerInput, pass: &Pass) -> Result<(Tensor, Tape<'a>)> {
        let (mut tape, mut next) = (Tape::default(), 0);
        while let Some(fused) = self.linearize_from(next, &input, pass)? {
            next += fused.layers;
            let (x, needs_gradient) = tape.push(&input, fused.linearization, fused.with_relu);
            let relu_mask_pending = fused.relu_mask_pending;
            input = LayerInput { x, needs_gradient, relu_mask_pending, keeps_residuals: input.keeps_residuals };
        }
        Ok((input.x, tape))
    }

    /// The layer at this index, linearized together with the layers after it that can be fused with it; none after the last.
    ///
    /// | fused | when |
    /// |---|---|
    /// | batch norm into the weights of the convolution in front of it | in evaluation mode without residuals |
    /// | a layer with the ReLU after it | where the layer has a fused operation |
    /// | convolution, ReLU and max pool | constant weights, without residuals |
    fn linearize_from<'a>(&'a self, index: usize, input: &LayerInput, pass: &Pass) -> Result<Option<Fused<'a>>> {
        let at = |index: usize| self.0.get(index).map(|(_, layer)| layer.as_ref());
        let Some(layer) = at(index) else { return Ok(None) };
        let norm = at(index + 1).and_then(|next| next.as_batch_norm());
        let folded = match (layer.as_convolution(), norm) {
            (Some(convolution), Some(norm)) if !pass.batch_statistics && !input.keeps_residuals => {
                convolution.with_batch_norm(norm)?
            }
            _ => None,
        };
        let layers = 1 + usize::from(folded.is_some());
        let without_relu = |linearization| Fused { linearization, layers, with_relu: false, relu_mask_pending: false };
        if at(index + layers).is_some_and(|next| next.is_relu()) {
            let after_relu = at(index + layers + 1);
            let convolution = folded.as_ref().or_else(|| layer.as_convolution());
            if let (Some(convolution), Some(pool)) = (convolution, after_relu.and_then(|next| next.as_max_pool()))
                && let Some(linearization) = convolution.linearize_with_relu_and_pool(input, pool, pass)?
            {
                return Ok(Some(Fused { layers: layers + 2, ..without_relu(linearization) }));
            }
            let relu_mask_pending = after_relu.is_some_and(|next| next.applies_relu_mask());
            let mask = if relu_mask_pending { ReluMask::NextLayer } else { ReluMask::ThisLayer };
            let linearization = match &folded {
                Some(folded) => folded.linearize_with_own_relu(input, mask, pass)?,
                None => layer.linearize_with_relu(input, mask, pass)?,
            };
            if let Some(linearization) = linearization {
                let layers = layers + 1;
                return Ok(Some(Fused { linearization, layers, with_relu: true, relu_mask_pending }));
            }
        }
        let linearization = match &folded {
            Some(folded) => folded.linearize_owned(input, pass)?,
            None => layer.linearize(input, pass)?,
        };
        Ok(Some(without_relu(linearization)))
    }

    /// The residuals of all layers. A ReLU that is fused with the layer in front of it has its output as its input too.
    pub(crate) fn forward_with_residuals(&self, x: &Tensor, pass: &Pass) -> Result<Vec<LayerResiduals>> {
        let mut residuals: Vec<LayerResiduals> = Vec::with_capacity(self.0.len());
        let mut layers = self.0.iter().map(|(_, layer)| layer).peekable();
        while let Some(layer) = layers.next() {
            let x = residuals.last().map_or(x, |layer| &layer.output).clone();
            let fused = match layers.peek() {
                Some(next) if next.is_relu() => layer.forward_with_relu(&x, pass)?,
                _ => None,
            };
            match fused {
                // The derivative of a ReLU is the same at its input and at its output.
                Some(y) => {
                    layers.next();
                    residuals.extend([LayerResiduals::new(&x, y.clone()), LayerResiduals::new(&y, y.clone())]);
                }
                None => residuals.push(layer.forward_with_residuals(&x, pass)?),
            }
        }
        Ok(residuals)
    }

    /// The cotangents of all layers, in the order of the layers, and the cotangent of the input. A ReLU that is fused with the
    /// layer in front of it has none.
    pub(crate) fn vjp(
        &self,
        residuals: &[LayerResiduals],
        g: &Tensor,
        pass: &Pass,
    ) -> Result<(Vec<Option<Cotangents>>, Tensor)> {
        let mut cotangents = Vec::with_capacity(residuals.len());
        let (mut g, mut layers) = (g.clone(), self.0.iter().map(|(_, layer)| layer).zip(residuals).rev().peekable());
        while let Some((layer, residuals)) = layers.next() {
            let fused = match layers.peek() {
                Some((before, residuals)) if layer.is_relu() => before.vjp_with_relu(residuals, &g)?,
                _ => None,
            };
            if fused.is_some() {
                layers.next();
                cotangents.push(None);
            }
            let at_layer = fused.map_or_else(|| layer.vjp(residuals, &g, pass), Ok)?;
            g = at_layer.input.clone();
            cotangents.push(Some(at_layer));
        }
        cotangents.reverse();
        Ok((cotangents, g))
    }

    /// The tangent after all layers; the layers' tangent–cotangent terms are added to `terms`. See [`Layer::penalty_jvp`].
    ///
    /// The cotangents of a layer are freed once it is done, so that what is computed next reuses memory that is still cached.
    pub(crate) fn penalty_jvp(
        &self,
        residuals: &[LayerResiduals],
        cotangents: Vec<Option<Cotangents>>,
        t: &Tensor,
        pass: &Pass,
        terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        let mut t = t.clone();
        let mut layers = self.0.iter().map(|(_, layer)| layer).zip(residuals).zip(cotangents).peekable();
        while let Some(((layer, residuals), at_layer)) = layers.next() {
            // A ReLU without cotangents was fused with the layer in front of it.
            let Some(at_layer) = at_layer else { continue };
            t = match layers.peek() {
                Some((_, None)) => layer.penalty_jvp_with_relu(residuals, at_layer, &t, terms)?,
                _ => layer.penalty_jvp(residuals, at_layer, &t, pass, terms)?,
            };
        }
        Ok(t)
    }

    /// The name of the first layer whose output holds a value that is not finite.
    pub(crate) fn first_non_finite(&self, x: &Tensor, pass: &Pass) -> Option<String> {
        let mut x = x.clone();
        for (name, layer) in &self.0 {
            x = layer.forward(&x, pass).ok()?;
            let sum = x.to_dtype(DType::F64).and_then(|x| x.abs()?.sum_all()?.to_scalar::<f64>()).ok()?;
            if !sum.is_finite() {
                return Some(name.clone());
            }
        }
        None
    }
}
