//! Batch norm as a layer, which owns its running statistics.

use candle_core::{DType, Tensor, Var};

use super::{Arrived, ByParameter, Cotangents, Kept, Layer, Pairings, Record, Relu, Traced};
use crate::params::{Builder, Role};
use crate::{Error, Pass, Result};
use ops::{
    ChannelMoments, NormalisedBatch, batch_norm_eval_affine, batch_norm_recorded, batch_norm_traced, batch_norm_train,
    batch_norm_train_jvp, channel_affine, channel_dot, channel_scale, channel_sum,
};

/// PyTorch's default ε.
const EPSILON: f64 = 1e-5;
/// PyTorch's default momentum: the share of a new batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// Batch norm with PyTorch's names `weight`, `bias`, `running_mean`, `running_var`, `num_batches_tracked`.
pub(crate) struct BatchNorm2d {
    gamma: Tensor,
    beta: Tensor,
    running_mean: Var,
    running_variance: Var,
    batch_count: Var,
}

impl BatchNorm2d {
    pub(crate) fn new(mut builder: Builder<'_>, channels: usize) -> Result<Self> {
        Ok(Self {
            gamma: builder.tensor("weight", &[channels], Role::NormScale)?,
            beta: builder.tensor("bias", &[channels], Role::NormShift)?,
            running_mean: builder.var("running_mean", &[channels], Role::RunningMean)?,
            running_variance: builder.var("running_var", &[channels], Role::RunningVariance)?,
            batch_count: builder.var("num_batches_tracked", &[], Role::BatchCount)?,
        })
    }

    fn update(&self, moments: &ChannelMoments) -> Result<()> {
        blend(&self.running_mean, &moments.mean)?;
        blend(&self.running_variance, &moments.unbiased_variance())?;
        let count = (self.batch_count.as_detached_tensor() + 1.0)?;
        Ok(self.batch_count.set(&count)?)
    }

    /// Factor and summand in evaluation mode; γ and β stay in the graph, the statistics do not.
    fn affine(&self) -> Result<(Tensor, Tensor)> {
        let (mean, variance) = (self.running_mean.as_detached_tensor(), self.running_variance.as_detached_tensor());
        Ok(batch_norm_eval_affine(&self.gamma, &self.beta, &mean, &variance, EPSILON)?)
    }

    /// Factor and summand in evaluation mode, unless one of γ and β is a variable.
    pub(super) fn constants(&self) -> Result<Option<(Tensor, Tensor)>> {
        let tracked = self.gamma.track_op() || self.beta.track_op();
        (!tracked).then(|| self.affine()).transpose()
    }

    /// In training mode, with a ReLU behind it or without.
    fn trace_training<'a>(&'a self, arrived: &Arrived, relu: Option<Relu>, pass: &Pass) -> Result<Traced<'a>> {
        let rectify = relu.is_some();
        let mut batch = batch_norm_traced(&arrived.x, &self.gamma, &self.beta, EPSILON, rectify)?;
        let y = batch.value()?;
        if pass.update_running {
            self.update(&batch.moments)?;
        }
        batch.rectify = relu == Some(Relu::Gates);
        let kept = arrived.keep(|| Kept::Moments(batch.moments.clone()));
        let (wanted, x) = (arrived.wanted, arrived.x.clone());
        let back = move |g: &Tensor, into: &mut ByParameter| -> Result<Option<Tensor>> {
            // What a penalty found for the input joins here, in the same pass over the memory.
            let found = into.take(&x);
            let gradients = batch.gradients(g, wanted, found.as_ref())?;
            for (parameter, gradient) in [(&self.gamma, gradients.gamma), (&self.beta, gradients.beta)] {
                if parameter.track_op() {
                    into.add(parameter, gradient)?;
                }
            }
            Ok(gradients.input.filter(|_| wanted))
        };
        Ok(Traced { kept, ..Traced::leaf(y, arrived.wants(&[&self.gamma, &self.beta]), back) })
    }

    /// In evaluation mode.
    fn trace_evaluation<'a>(&'a self, arrived: &Arrived) -> Result<Traced<'a>> {
        let (factor, summand) = self.affine()?;
        let (factor, summand) = (factor.detach(), summand.detach());
        let y = channel_affine(&arrived.x, &factor, &summand)?;
        let (wanted, x) = (arrived.wanted, self.gamma.track_op().then(|| arrived.x.clone()));
        let back = move |g: &Tensor, into: &mut ByParameter| -> Result<Option<Tensor>> {
            if let Some(x) = &x {
                into.add(&self.gamma, self.gamma_gradient(x, g)?)?;
            }
            if self.beta.track_op() {
                into.add(&self.beta, channel_sum(g)?)?;
            }
            Ok(wanted.then(|| channel_scale(g, &factor)).transpose()?)
        };
        Ok(Traced::leaf(y, arrived.wants(&[&self.gamma, &self.beta]), back))
    }

    /// Σ g·(x − μ)/√(σ² + ε) with the running statistics.
    fn gamma_gradient(&self, x: &Tensor, g: &Tensor) -> Result<Tensor> {
        let mean = self.running_mean.as_detached_tensor();
        let centred = (channel_dot(x, g)? - (mean * channel_sum(g)?)?)?;
        Ok((centred / self.running_deviation()?)?)
    }

    /// √(σ² + ε) with the running variance.
    fn running_deviation(&self) -> Result<Tensor> {
        Ok(self.running_variance.as_detached_tensor().affine(1.0, EPSILON)?.sqrt()?)
    }
}

impl BatchNorm2d {
    /// The recorded batch, if its own statistics normalised it.
    fn recorded(&self, record: &Record, rectify: bool) -> Result<Option<NormalisedBatch>> {
        let Kept::Moments(moments) = &record.kept else { return Ok(None) };
        Ok(Some(batch_norm_recorded(&record.x, &self.gamma, &self.beta, EPSILON, moments, rectify)?))
    }

    fn pair_batch(
        &self,
        batch: &NormalisedBatch,
        record: &Record,
        cotangents: &Cotangents,
        t: &Tensor,
        pairings: &mut Pairings<'_>,
    ) -> Result<Tensor> {
        let [tangent, by_input, by_scale] = batch.pairing(&cotangents.output, t)?;
        pairings.add(&record.x, by_input)?;
        if self.gamma.track_op() {
            pairings.add(&self.gamma, by_scale)?;
        }
        Ok(tangent)
    }
}

/// running ← (1 − momentum)·running + momentum·batch.
fn blend(running: &Var, batch: &[f64]) -> Result<()> {
    let old: Vec<f64> = running.as_detached_tensor().to_dtype(DType::F64)?.to_vec1()?;
    let new: Vec<f64> = old.iter().zip(batch).map(|(old, batch)| (1.0 - MOMENTUM) * old + MOMENTUM * batch).collect();
    let new = Tensor::from_vec(new, running.shape(), running.device())?.to_dtype(running.dtype())?;
    Ok(running.set(&new)?)
}

impl Layer for BatchNorm2d {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok(self.record(x, pass)?.y)
    }

    fn record(&self, x: &Tensor, pass: &Pass) -> Result<Record> {
        if !pass.batch_statistics {
            let (factor, summand) = self.affine()?;
            return Ok(Record::leaf(x, channel_affine(x, &factor, &summand)?));
        }
        let (y, moments) = batch_norm_train(x, &self.gamma, &self.beta, EPSILON)?;
        if pass.update_running {
            self.update(&moments)?;
        }
        Ok(Record { kept: Kept::Moments(moments), ..Record::leaf(x, y) })
    }

    fn trace<'a>(&'a self, arrived: &Arrived, pass: &Pass) -> Result<Traced<'a>> {
        if pass.batch_statistics { self.trace_training(arrived, None, pass) } else { self.trace_evaluation(arrived) }
    }

    fn trace_with_relu<'a>(&'a self, arrived: &Arrived, relu: Relu, pass: &Pass) -> Result<Option<Traced<'a>>> {
        pass.batch_statistics.then(|| self.trace_training(arrived, Some(relu), pass)).transpose()
    }

    fn as_batch_norm(&self) -> Option<&BatchNorm2d> {
        Some(self)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        if pass.batch_statistics {
            return Ok(batch_norm_train_jvp(x, dx, &self.gamma, &self.beta, EPSILON)?);
        }
        let (factor, summand) = self.affine()?;
        Ok((channel_affine(x, &factor, &summand)?, channel_scale(dx, &factor)?))
    }

    fn pullback(&self, record: &Record, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        let input = match self.recorded(record, false)? {
            Some(batch) => batch.input_gradient(g)?,
            None => channel_scale(g, &self.affine()?.0.detach())?,
        };
        Ok(Cotangents::leaf(g, input))
    }

    fn pullback_with_relu(&self, record: &Record, g: &Tensor) -> Result<Option<Cotangents>> {
        let Some(batch) = self.recorded(record, true)? else { return Ok(None) };
        Ok(Some(Cotangents::leaf(g, batch.input_gradient(g)?)))
    }

    fn pair(
        &self,
        record: &Record,
        cotangents: Cotangents,
        t: &Tensor,
        _: &Pass,
        pairings: &mut Pairings<'_>,
    ) -> Result<Tensor> {
        if let Some(batch) = self.recorded(record, false)? {
            return self.pair_batch(&batch, record, &cotangents, t, pairings);
        }
        if self.gamma.track_op() {
            let by_factor = channel_dot(t, &cotangents.output)?;
            pairings.add(&self.gamma, (by_factor / self.running_deviation()?)?)?;
        }
        Ok(channel_scale(t, &self.affine()?.0.detach())?)
    }

    fn pair_with_relu(
        &self,
        record: &Record,
        cotangents: Cotangents,
        t: &Tensor,
        pairings: &mut Pairings<'_>,
    ) -> Result<Tensor> {
        match self.recorded(record, true)? {
            Some(batch) => self.pair_batch(&batch, record, &cotangents, t, pairings),
            None => Err(Error::Candle(candle_core::Error::BackwardNotSupported { op: "pair-with-relu" })),
        }
    }
}
