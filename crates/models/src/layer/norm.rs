//! Batch norm as a layer, which owns its running statistics.

use candle_core::{DType, Tensor, Var};

use super::{Cotangents, Layer, Record};
use crate::ops::{
    ChannelMoments, batch_norm_eval_affine, batch_norm_train, batch_norm_train_jvp, batch_norm_train_pair,
    batch_norm_train_pullback_with, channel_affine, channel_dot, channel_scale, with_gradient,
};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

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
        batch_norm_eval_affine(&self.gamma, &self.beta, &mean, &variance, EPSILON)
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
        Ok(Record { moments: Some(moments), ..Record::leaf(x, y) })
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        if pass.batch_statistics {
            return batch_norm_train_jvp(x, dx, &self.gamma, &self.beta, EPSILON);
        }
        let (factor, summand) = self.affine()?;
        Ok((channel_affine(x, &factor, &summand)?, channel_scale(dx, &factor)?))
    }

    fn pullback(&self, record: &Record, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        let input = match &record.moments {
            Some(moments) => batch_norm_train_pullback_with(&record.x, g, &self.gamma, EPSILON, moments)?,
            None => channel_scale(g, &self.affine()?.0.detach())?,
        };
        Ok(Cotangents::leaf(g, input))
    }

    fn pair(
        &self,
        record: &Record,
        cotangents: &Cotangents,
        t: &Tensor,
        _: &Pass,
        pairings: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        if let Some(moments) = &record.moments {
            let (tangent, pairing) =
                batch_norm_train_pair(&record.x, &cotangents.output, t, &self.gamma, EPSILON, moments)?;
            pairings.push(pairing);
            return Ok(tangent);
        }
        let (factor, _) = self.affine()?;
        if factor.track_op() {
            pairings.push(with_gradient(&factor, &channel_dot(t, &cotangents.output)?)?);
        }
        channel_scale(t, &factor.detach())
    }
}
