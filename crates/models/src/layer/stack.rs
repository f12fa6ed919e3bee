//! Layers one after another, each under its name.

use std::sync::Arc;

use candle_core::Tensor;

use super::{Arrived, Cotangents, Layer, Pairings, Record, Relu, Trace, Traced};
use crate::names::nearest;
use crate::{Error, Pass, Result};

/// Named layers in the order in which they run; a clone shares them.
#[derive(Default, Clone)]
pub(crate) struct Stack(Vec<(String, Arc<dyn Layer>)>);

/// Some layers of a stack traced as one.
struct Step<'a> {
    traced: Traced<'a>,
    /// How many there are.
    layers: usize,
    /// Whether a ReLU is the last of them.
    with_relu: bool,
    /// Whether that leaves its gate to the layer behind: see [`Arrived::ungated`].
    ungated: bool,
}

impl Stack {
    pub(crate) fn push(&mut self, name: impl Into<String>, layer: impl Layer + 'static) {
        self.push_shared(name, Arc::new(layer));
    }

    pub(crate) fn push_shared(&mut self, name: impl Into<String>, layer: Arc<dyn Layer>) {
        self.0.push((name.into(), layer));
    }

    pub(crate) fn into_layers(self) -> impl Iterator<Item = (String, Arc<dyn Layer>)> {
        self.0.into_iter()
    }

    /// The names in the order of the layers; those inside a layer come before its own.
    pub(crate) fn names(&self) -> Vec<String> {
        let of = |(name, layer): &(String, Arc<dyn Layer>)| {
            let inside = layer.names_inside().into_iter().map(|inside| format!("{name}.{inside}"));
            inside.chain([name.clone()]).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    /// The layers up to and including the one of this name.
    ///
    /// The name of a group means the last layer under it, and a name may point inside a layer with a path of its own.
    pub(crate) fn up_to(&self, name: &str) -> Result<Stack> {
        self.find(name).ok_or_else(|| {
            let known = self.names();
            let nearest = nearest(name, known.iter().map(String::as_str));
            Error::UnknownName { what: "layer", name: name.to_owned(), nearest }
        })
    }

    /// As [`Stack::up_to`]; none where nothing has this name.
    pub(crate) fn find(&self, name: &str) -> Option<Stack> {
        let lies_under = |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        if let Some(last) = self.0.iter().rposition(|(known, _)| known == name || lies_under(known)) {
            return Some(Stack(self.0.iter().take(last + 1).cloned().collect()));
        }
        self.0.iter().enumerate().find_map(|(index, (known, layer))| {
            let inside = layer.find_inside(name.strip_prefix(known.as_str())?.strip_prefix('.')?)?;
            let before = self.0.iter().take(index).cloned();
            let inside = inside.0.into_iter().map(|(name, layer)| (format!("{known}.{name}"), layer));
            Some(Stack(before.chain(inside).collect()))
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

    /// The output of all layers for a plain tensor, and the way back.
    pub(crate) fn trace<'a>(&'a self, mut arrived: Arrived, pass: &Pass) -> Result<(Tensor, Trace<'a>)> {
        let (mut trace, mut next) = (Trace::default(), 0);
        while let Some(step) = self.trace_from(next, &arrived, pass)? {
            next += step.layers;
            let (x, wanted) = trace.push(&arrived, step.traced, step.with_relu);
            arrived = Arrived { x, wanted, ungated: step.ungated, recorded: arrived.recorded };
        }
        Ok((arrived.x, trace))
    }

    /// The layer at this index, traced together with what lies behind it and can be one with it; none after the last.
    ///
    /// A ReLU is done together with the layer in front of it where that layer can. Unless there is to be a record of each, batch
    /// norm that only scales and shifts is drawn into the weights of the convolution in front of it, and a max pool is passed
    /// together with the ReLU and the convolution in front of it.
    fn trace_from<'a>(&'a self, index: usize, arrived: &Arrived, pass: &Pass) -> Result<Option<Step<'a>>> {
        let at = |index: usize| self.0.get(index).map(|(_, layer)| layer.as_ref());
        let Some(layer) = at(index) else { return Ok(None) };
        let norm = at(index + 1).and_then(|behind| behind.as_batch_norm());
        let folded = match (layer.as_convolution(), norm) {
            (Some(convolution), Some(norm)) if !pass.batch_statistics && !arrived.recorded => {
                convolution.with_batch_norm(norm)?
            }
            _ => None,
        };
        let layers = 1 + usize::from(folded.is_some());
        let plain = |traced| Step { traced, layers, with_relu: false, ungated: false };
        if at(index + layers).is_some_and(|behind| behind.is_relu()) {
            let behind = at(index + layers + 1);
            let convolution = folded.as_ref().or_else(|| layer.as_convolution());
            if let (Some(convolution), Some(pool)) = (convolution, behind.and_then(|behind| behind.as_max_pool()))
                && let Some(traced) = convolution.traced_with_pool(arrived, pool, pass)?
            {
                return Ok(Some(Step { layers: layers + 2, ..plain(traced) }));
            }
            let ungated = behind.is_some_and(|behind| behind.gates_for_relu());
            let relu = if ungated { Relu::Gated } else { Relu::Gates };
            let traced = match &folded {
                Some(folded) => folded.traced_with_relu(arrived, relu, pass)?,
                None => layer.trace_with_relu(arrived, relu, pass)?,
            };
            if let Some(traced) = traced {
                return Ok(Some(Step { traced, layers: layers + 1, with_relu: true, ungated }));
            }
        }
        match &folded {
            Some(folded) => folded.traced(arrived, pass),
            None => layer.trace(arrived, pass),
        }
        .map(|traced| Some(plain(traced)))
    }

    /// The records of all layers.
    pub(crate) fn record(&self, x: &Tensor, pass: &Pass) -> Result<Vec<Record>> {
        let mut records: Vec<Record> = Vec::with_capacity(self.0.len());
        let mut layers = self.0.iter().map(|(_, layer)| layer).peekable();
        while let Some(layer) = layers.next() {
            let x = records.last().map_or(x, |record| &record.y).clone();
            let fused = match layers.peek() {
                Some(next) if next.is_relu() => layer.forward_with_relu(&x, pass)?,
                _ => None,
            };
            match fused {
                // The ReLU's output stands for its input too: its slope is the same at both.
                Some(y) => {
                    layers.next();
                    records.extend([Record::leaf(&x, y.clone()), Record::leaf(&y, y.clone())]);
                }
                None => records.push(layer.record(&x, pass)?),
            }
        }
        Ok(records)
    }

    /// The cotangents of the recorded layers, in the order of the layers, and the one at the input. A ReLU that is passed
    /// together with the layer in front of it has none of its own.
    pub(crate) fn pullback(
        &self,
        records: &[Record],
        g: &Tensor,
        pass: &Pass,
    ) -> Result<(Vec<Option<Cotangents>>, Tensor)> {
        let mut cotangents = Vec::with_capacity(records.len());
        let (mut g, mut layers) = (g.clone(), self.0.iter().map(|(_, layer)| layer).zip(records).rev().peekable());
        while let Some((layer, record)) = layers.next() {
            let both = match layers.peek() {
                Some((before, record)) if layer.is_relu() => before.pullback_with_relu(record, &g)?,
                _ => None,
            };
            if both.is_some() {
                layers.next();
                cotangents.push(None);
            }
            let at_layer = both.map_or_else(|| layer.pullback(record, &g, pass), Ok)?;
            g = at_layer.input.clone();
            cotangents.push(Some(at_layer));
        }
        cotangents.reverse();
        Ok((cotangents, g))
    }

    /// The tangent behind the recorded layers; their pairings are added. See [`Layer::pair`]. The cotangents are freed on the way:
    /// what comes after finds their memory still in a cache.
    pub(crate) fn pair(
        &self,
        records: &[Record],
        cotangents: Vec<Option<Cotangents>>,
        t: &Tensor,
        pass: &Pass,
        pairings: &mut Pairings<'_>,
    ) -> Result<Tensor> {
        let mut t = t.clone();
        let mut layers = self.0.iter().map(|(_, layer)| layer).zip(records).zip(cotangents).peekable();
        while let Some(((layer, record), at_layer)) = layers.next() {
            // None stands behind the layer that its ReLU was passed with.
            let Some(at_layer) = at_layer else { continue };
            t = match layers.peek() {
                Some((_, None)) => layer.pair_with_relu(record, at_layer, &t, pairings)?,
                _ => layer.pair(record, at_layer, &t, pass, pairings)?,
            };
        }
        Ok(t)
    }

    /// The first layer whose output holds a value that is not finite.
    pub(crate) fn first_non_finite(&self, x: &Tensor, pass: &Pass) -> Option<String> {
        let mut x = x.clone();
        for (name, layer) in &self.0 {
            x = layer.forward(&x, pass).ok()?;
            let sum = x.to_dtype(candle_core::DType::F64).and_then(|x| x.abs()?.sum_all()?.to_scalar::<f64>()).ok()?;
            if !sum.is_finite() {
                return Some(name.clone());
            }
        }
        None
    }
}
