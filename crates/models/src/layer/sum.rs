//! Two paths from one input whose outputs are added, as in residual networks.

use std::mem::take;

use candle_core::Tensor;
use ops::{add_detached, relu_mask_rows};

use super::{
    Cotangents, GradientAccumulator, Layer, LayerInput, LayerLinearization, LayerResiduals, ReluMask, Residuals,
    Sequential, TangentCotangentTerms,
};
use crate::{Error, Pass, Result};

/// branch(x) + shortcut(x); an empty shortcut is the identity.
pub(crate) struct Sum {
    pub(crate) branch: Sequential,
    pub(crate) shortcut: Sequential,
}

impl Sum {
    /// `mask` is the layer that applies the mask of a fused ReLU; none without a ReLU.
    fn linearize_fused<'a>(
        &'a self,
        input: &LayerInput,
        mask: Option<ReluMask>,
        pass: &Pass,
    ) -> Result<LayerLinearization<'a>> {
        let needs_gradient = input.needs_gradient;
        let path_input =
            || LayerInput { keeps_residuals: input.keeps_residuals, ..LayerInput::first(&input.x, needs_gradient) };
        let (of_branch, mut branch) = self.branch.linearize(path_input(), pass)?;
        let (of_shortcut, mut shortcut) = self.shortcut.linearize(path_input(), pass)?;
        let residuals =
            input.residuals(|| Residuals::Paths(vec![take(&mut branch.residuals), take(&mut shortcut.residuals)]));
        let y = add_detached(&of_branch, &of_shortcut, mask.is_some())?;
        let inside = branch.footprint.and(shortcut.footprint);
        let any = needs_gradient || !branch.is_empty() || !shortcut.is_empty();
        let own_mask = (mask == Some(ReluMask::ThisLayer)).then(|| y.clone());
        let vjp = move |g: &Tensor, into: &mut GradientAccumulator| -> Result<Option<Tensor>> {
            let g = match &own_mask {
                Some(mask) => relu_mask_rows(g, mask)?,
                None => g.clone(),
            };
            let (by_branch, by_shortcut) = (branch.vjp(&g, into)?, shortcut.vjp(&g, into)?);
            Ok(match (by_branch, by_shortcut) {
                (Some(one), Some(other)) if needs_gradient => Some(add_detached(&one, &other, false)?),
                _ => None,
            })
        };
        Ok(LayerLinearization { inside, residuals, ..LayerLinearization::new(y, any, vjp) })
    }
}

impl Layer for Sum {
    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        self.linearize_fused(input, None, pass)
    }

    fn linearize_with_relu<'a>(
        &'a self,
        input: &LayerInput,
        mask: ReluMask,
        pass: &Pass,
    ) -> Result<Option<LayerLinearization<'a>>> {
        self.linearize_fused(input, Some(mask), pass).map(Some)
    }

    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok((self.branch.forward(x, pass)? + self.shortcut.forward(x, pass)?)?)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        let (branch, d_branch) = self.branch.jvp(x, dx, pass)?;
        let (shortcut, d_shortcut) = self.shortcut.jvp(x, dx, pass)?;
        Ok(((branch + shortcut)?, (d_branch + d_shortcut)?))
    }

    fn names_inside(&self) -> Vec<String> {
        [self.branch.names(), self.shortcut.names()].concat()
    }

    fn find_inside(&self, name: &str) -> Option<Sequential> {
        self.branch.find(name).or_else(|| self.shortcut.find(name))
    }

    fn forward_with_residuals(&self, x: &Tensor, pass: &Pass) -> Result<LayerResiduals> {
        let branch = self.branch.forward_with_residuals(x, pass)?;
        let shortcut = self.shortcut.forward_with_residuals(x, pass)?;
        let output = |layers: &[LayerResiduals]| layers.last().map_or(x, |last| &last.output).clone();
        let y = (output(&branch) + output(&shortcut))?;
        Ok(LayerResiduals { extra: Residuals::Paths(vec![branch, shortcut]), ..LayerResiduals::new(x, y) })
    }

    fn vjp(&self, residuals: &LayerResiduals, g: &Tensor, pass: &Pass) -> Result<Cotangents> {
        let [branch, shortcut] = both(paths(residuals))?;
        let (branch, by_branch) = self.branch.vjp(branch, g, pass)?;
        let (shortcut, by_shortcut) = self.shortcut.vjp(shortcut, g, pass)?;
        let input = (by_branch + by_shortcut)?;
        Ok(Cotangents { output: g.clone(), input, inner: vec![branch, shortcut] })
    }

    fn penalty_jvp(
        &self,
        residuals: &LayerResiduals,
        cotangents: Cotangents,
        t: &Tensor,
        pass: &Pass,
        terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        let ([branch, shortcut], [at_branch, at_shortcut]) = (both(paths(residuals))?, both(cotangents.inner)?);
        let of_branch = self.branch.penalty_jvp(branch, at_branch, t, pass, terms)?;
        let of_shortcut = self.shortcut.penalty_jvp(shortcut, at_shortcut, t, pass, terms)?;
        Ok((of_branch + of_shortcut)?)
    }
}

/// The residuals of the two paths.
fn paths(residuals: &LayerResiduals) -> &[Vec<LayerResiduals>] {
    match &residuals.extra {
        Residuals::Paths(paths) => paths,
        _ => &[],
    }
}

/// The two entries of a list: that of the branch and that of the shortcut.
fn both<T>(inner: impl IntoIterator<Item = T>) -> Result<[T; 2]> {
    let inner: Vec<T> = inner.into_iter().collect();
    inner.try_into().map_err(|inner: Vec<T>| Error::Setting {
        op: "sum of two paths",
        name: "number of paths with residuals",
        value: inner.len().to_string(),
        rule: "there are two, the branch and the shortcut",
    })
}
