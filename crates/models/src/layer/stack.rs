//! Layers one after another, each under its name.

use candle_core::Tensor;

use super::{Cotangents, Layer, Record};
use crate::names::nearest;
use crate::{Error, Pass, Result};

/// Named layers in the order in which they run.
#[derive(Default)]
pub(crate) struct Stack(Vec<(String, Box<dyn Layer>)>);

impl Stack {
    pub(crate) fn push(&mut self, name: impl Into<String>, layer: impl Layer + 'static) {
        self.0.push((name.into(), Box::new(layer)));
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// How many layers run until the one of this name has.
    pub(crate) fn position(&self, name: &str) -> Result<usize> {
        self.names().position(|known| known == name).map(|index| index + 1).ok_or_else(|| Error::UnknownName {
            what: "layer",
            name: name.to_owned(),
            nearest: nearest(name, self.names()),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The output of the first `count` layers.
    pub(crate) fn forward(&self, x: &Tensor, pass: &Pass, count: usize) -> Result<Tensor> {
        self.0.iter().take(count).try_fold(x.clone(), |x, (_, layer)| layer.forward(&x, pass))
    }

    /// The output of the first `count` layers and its tangent.
    pub(crate) fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass, count: usize) -> Result<(Tensor, Tensor)> {
        self.0.iter().take(count).try_fold((x.clone(), dx.clone()), |(x, dx), (_, layer)| layer.jvp(&x, &dx, pass))
    }

    /// The records of the first `count` layers.
    pub(crate) fn record(&self, x: &Tensor, pass: &Pass, count: usize) -> Result<Vec<Record>> {
        let mut records: Vec<Record> = Vec::with_capacity(count);
        for (_, layer) in self.0.iter().take(count) {
            let record = layer.record(records.last().map_or(x, |record| &record.y), pass)?;
            records.push(record);
        }
        Ok(records)
    }

    /// The cotangents of the recorded layers, in the order of the layers, and the one at the input.
    pub(crate) fn pullback(&self, records: &[Record], g: &Tensor, pass: &Pass) -> Result<(Vec<Cotangents>, Tensor)> {
        let mut cotangents = Vec::with_capacity(records.len());
        let mut g = g.clone();
        for ((_, layer), record) in self.0.iter().zip(records).rev() {
            let at_layer = layer.pullback(record, &g, pass)?;
            g = at_layer.input.clone();
            cotangents.push(at_layer);
        }
        cotangents.reverse();
        Ok((cotangents, g))
    }

    /// The tangent behind the recorded layers; their pairings are added. See [`Layer::pair`].
    pub(crate) fn pair(
        &self,
        records: &[Record],
        cotangents: &[Cotangents],
        t: &Tensor,
        pass: &Pass,
        pairings: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        let layers = self.0.iter().zip(records).zip(cotangents);
        layers
            .into_iter()
            .try_fold(t.clone(), |t, (((_, layer), record), at_layer)| layer.pair(record, at_layer, &t, pass, pairings))
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
