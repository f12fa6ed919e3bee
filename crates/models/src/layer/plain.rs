//! Layers without parameters.

use candle_core::Tensor;

use super::{Arrived, ByParameter, Cotangents, Kept, Layer, Pairings, Record, Traced};
use crate::{Pass, Result};
use ops::{
    Activation, PoolSettings, derivative, dropout_mask, gate, gate_each, global_avg_pool2d, global_avg_pool2d_pullback,
    hadamard, max_pool2d, max_pool2d_jvp, max_pool2d_pullback, max_pool2d_traced, repeated,
};

/// An activation.
pub(crate) struct ActivationLayer(pub(crate) Activation);

impl ActivationLayer {
    /// φ′(x)·v of the recorded pass. That of ReLU is read off the output, which need not be computed again.
    fn slope_times(&self, record: &Record, v: &Tensor) -> Result<Tensor> {
        match self.0 {
            Activation::Relu => Ok(gate(v, &record.y.detach())?),
            Activation::Identity => Ok(v.clone()),
            smooth => Ok(hadamard(v, &derivative(smooth, 1, &record.x.detach())?)?),
        }
    }
}

impl Layer for ActivationLayer {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(self.0.forward(x)?)
    }

    fn is_relu(&self) -> bool {
        self.0 == Activation::Relu
    }

    fn trace<'a>(&'a self, arrived: &Arrived, _: &Pass) -> Result<Traced<'a>> {
        let y = self.0.forward(&arrived.x)?;
        let kept = if self.is_relu() { y.clone() } else { arrived.x.clone() };
        let way = move |g: &Tensor, _: &mut ByParameter| match self.0 {
            Activation::Relu => Ok(Some(gate_each(g, &kept)?)),
            smooth => Ok(Some(smooth.jvp(&repeated("activation", &kept, g)?, g)?.1)),
        };
        Ok(Traced::leaf(y, arrived.wanted, way))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        Ok(self.0.jvp(x, dx)?)
    }

    fn pullback(&self, record: &Record, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        // The Jacobian is diagonal: it is its own transpose.
        Ok(Cotangents::leaf(g, self.slope_times(record, g)?))
    }

    fn pair(
        &self,
        record: &Record,
        cotangents: Cotangents,
        t: &Tensor,
        _: &Pass,
        pairings: &mut Pairings<'_>,
    ) -> Result<Tensor> {
        // ⟨g, φ′(x)·t⟩ varies with x by φ″(x)·t·g, which is 0 where φ is made of straight lines.
        if !matches!(self.0, Activation::Relu | Activation::Identity) && pairings.reach(&record.x) {
            let curvature = derivative(self.0, 2, &record.x.detach())?;
            pairings.add(&record.x, hadamard(&hadamard(t, &cotangents.output)?, &curvature)?)?;
        }
        self.slope_times(record, t)
    }
}

/// Max pooling.
pub(crate) struct MaxPool(pub(crate) PoolSettings);

impl Layer for MaxPool {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(max_pool2d(x, self.0)?)
    }

    fn trace<'a>(&'a self, arrived: &Arrived, _: &Pass) -> Result<Traced<'a>> {
        let (y, positions) = max_pool2d_traced(&arrived.x, self.0)?;
        let kept = arrived.keep(|| Kept::Positions(positions.clone()));
        // A maximum is positive exactly where the pixel that it came from is, and the pooled images are smaller.
        let reference = arrived.ungated.then(|| y.clone());
        let way = move |g: &Tensor, _: &mut ByParameter| match &reference {
            Some(reference) => Ok(Some(positions.scatter(&gate_each(g, reference)?)?)),
            None => Ok(Some(positions.scatter(g)?)),
        };
        Ok(Traced { kept, ..Traced::leaf(y, arrived.wanted, way) })
    }

    fn gates_for_relu(&self) -> bool {
        true
    }

    fn as_max_pool(&self) -> Option<&MaxPool> {
        Some(self)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        Ok(max_pool2d_jvp(x, dx, self.0)?)
    }

    fn pullback(&self, record: &Record, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        let input = match &record.kept {
            Kept::Positions(positions) => positions.scatter(g)?,
            _ => max_pool2d_pullback(&record.x.detach(), g, self.0)?,
        };
        Ok(Cotangents::leaf(g, input))
    }

    fn pair(&self, record: &Record, _: Cotangents, t: &Tensor, _: &Pass, _: &mut Pairings<'_>) -> Result<Tensor> {
        match &record.kept {
            Kept::Positions(positions) => Ok(positions.gather(t)?),
            _ => Ok(max_pool2d_jvp(&record.x.detach(), t, self.0)?.1),
        }
    }
}

/// The mean over all pixels: `[n, h, w, c]` to `[n, c]`.
pub(crate) struct GlobalAvgPool;

impl Layer for GlobalAvgPool {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(global_avg_pool2d(x)?)
    }

    fn trace<'a>(&'a self, arrived: &Arrived, _: &Pass) -> Result<Traced<'a>> {
        let (_, height, width, _) = arrived.x.dims4()?;
        let way = move |g: &Tensor, _: &mut ByParameter| Ok(Some(global_avg_pool2d_pullback(g, [height, width])?));
        let y = global_avg_pool2d(&arrived.x)?;
        Ok(Traced::leaf(y, arrived.wanted, way))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((global_avg_pool2d(x)?, global_avg_pool2d(dx)?))
    }

    fn pullback(&self, record: &Record, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        let (_, height, width, _) = record.x.dims4()?;
        Ok(Cotangents::leaf(g, global_avg_pool2d_pullback(g, [height, width])?))
    }

    fn pair(&self, _: &Record, _: Cotangents, t: &Tensor, _: &Pass, _: &mut Pairings<'_>) -> Result<Tensor> {
        Ok(global_avg_pool2d(t)?)
    }
}

/// `[n, h, w, c]` to `[n, c·h·w]` in PyTorch's order: channel first, then row, then column; vectors stay as they are.
pub(crate) struct Flatten;

impl Flatten {
    fn apply(x: &Tensor) -> Result<Tensor> {
        if x.rank() == 2 {
            return Ok(x.clone());
        }
        Ok(x.permute((0, 3, 1, 2))?.contiguous()?.flatten_from(1)?)
    }

    /// The transpose, for inputs of this shape but for their number.
    fn undo(g: &Tensor, shape: &[usize]) -> Result<Tensor> {
        match shape {
            &[_, height, width, channels] => {
                Ok(g.reshape(((), channels, height, width))?.permute((0, 2, 3, 1))?.contiguous()?)
            }
            _ => Ok(g.clone()),
        }
    }
}

impl Layer for Flatten {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Flatten::apply(x)
    }

    fn trace<'a>(&'a self, arrived: &Arrived, _: &Pass) -> Result<Traced<'a>> {
        let shape = arrived.x.dims().to_vec();
        let way = move |g: &Tensor, _: &mut ByParameter| Flatten::undo(g, &shape).map(Some);
        let y = Flatten::apply(&arrived.x)?;
        Ok(Traced::leaf(y, arrived.wanted, way))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, _: &Pass) -> Result<(Tensor, Tensor)> {
        Ok((Flatten::apply(x)?, Flatten::apply(dx)?))
    }

    fn pullback(&self, record: &Record, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        Ok(Cotangents::leaf(g, Flatten::undo(g, record.x.dims())?))
    }

    fn pair(&self, _: &Record, _: Cotangents, t: &Tensor, _: &Pass, _: &mut Pairings<'_>) -> Result<Tensor> {
        Flatten::apply(t)
    }
}

/// Dropout, which draws from the seed and step of the pass and from its own name.
pub(crate) struct Dropout {
    pub(crate) name: String,
    pub(crate) probability: f64,
}

impl Dropout {
    fn mask(&self, x: &Tensor, pass: &Pass) -> Result<Option<Tensor>> {
        let Some((seed, step)) = pass.dropout else {
            return Ok(None);
        };
        let mut stream = streams::stream(seed, &format!("models/dropout/{}", self.name), step);
        Ok(Some(dropout_mask(x, self.probability, &mut stream)?))
    }
}

impl Layer for Dropout {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok(self.mask(x, pass)?.map_or_else(|| Ok(x.clone()), |mask| hadamard(x, &mask))?)
    }

    fn trace<'a>(&'a self, arrived: &Arrived, pass: &Pass) -> Result<Traced<'a>> {
        let mask = self.mask(&arrived.x, pass)?;
        let y = mask.as_ref().map_or_else(|| Ok(arrived.x.clone()), |mask| hadamard(&arrived.x, mask))?;
        let way = move |g: &Tensor, _: &mut ByParameter| {
            let mask = mask.as_ref().map(|mask| repeated("dropout", mask, g)).transpose()?;
            Ok(Some(mask.map_or_else(|| Ok(g.clone()), |mask| hadamard(g, &mask))?))
        };
        Ok(Traced::leaf(y, arrived.wanted, way))
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        match self.mask(x, pass)? {
            Some(mask) => Ok((hadamard(x, &mask)?, hadamard(dx, &mask)?)),
            None => Ok((x.clone(), dx.clone())),
        }
    }

    fn pullback(&self, record: &Record, g: &Tensor, pass: &Pass) -> Result<Cotangents> {
        let input = self.mask(&record.x, pass)?.map_or_else(|| Ok(g.clone()), |mask| hadamard(g, &mask))?;
        Ok(Cotangents::leaf(g, input))
    }

    fn pair(&self, record: &Record, _: Cotangents, t: &Tensor, pass: &Pass, _: &mut Pairings<'_>) -> Result<Tensor> {
        Ok(self.mask(&record.x, pass)?.map_or_else(|| Ok(t.clone()), |mask| hadamard(t, &mask))?)
    }
}
