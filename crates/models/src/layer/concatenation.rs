//! Several paths from one input whose outputs stand side by side.

use candle_core::{D, Tensor};
use ops::add_detached;

use super::{GradientAccumulator, Layer, LayerInput, LayerLinearization, Sequential, SequentialTape, Tape};
use crate::{Error, Pass, Result};

/// The outputs of several paths, concatenated in the last dimension (channels); an empty path is the identity.
#[derive(Clone)]
pub struct Concatenation {
    /// The paths, in the order of their channels.
    pub paths: Vec<Sequential>,
}

impl Concatenation {
    /// x, then branch(x), as in DenseNet.
    pub fn with_input(branch: Sequential) -> Self {
        Self { paths: vec![Sequential::default(), branch] }
    }
}

fn joined(parts: &[Tensor]) -> Result<Tensor> {
    let Some(first) = parts.first() else {
        let rule = "there is at least one path";
        return Err(Error::Setting { op: "concatenation", name: "paths", value: "0".into(), rule });
    };
    Ok(Tensor::cat(parts, first.rank().saturating_sub(1))?)
}

impl Layer for Concatenation {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        joined(&self.paths.iter().map(|path| path.forward(x, pass)).collect::<Result<Vec<_>>>()?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        let linearized = self.paths.iter().map(|path| path.tape(input, pass)).collect::<Result<Vec<_>>>()?;
        let (outputs, tapes): (Vec<Tensor>, Vec<SequentialTape>) = linearized.into_iter().unzip();
        let widths = outputs.iter().map(|output| Ok(output.dim(D::Minus1)?)).collect::<Result<Vec<_>>>()?;
        let inside = tapes.iter().map(SequentialTape::footprint).reduce(|all, one| all.and(one)).unwrap_or_default();
        let has_variables = tapes.iter().any(SequentialTape::has_variables);
        let by_graph = tapes.iter().any(SequentialTape::by_graph);
        let linearization = LayerLinearization::new(joined(&outputs)?, ConcatenationTape { tapes, widths });
        Ok(linearization.with_memory(inside).with_inside(has_variables, by_graph))
    }

    fn paths(&self) -> Vec<&Sequential> {
        self.paths.iter().collect()
    }
}

struct ConcatenationTape<'a> {
    tapes: Vec<SequentialTape<'a>>,
    /// The channels of each path.
    widths: Vec<usize>,
}

impl ConcatenationTape<'_> {
    /// The parts of a cotangent that belong to the paths.
    fn parts(&self, g: &Tensor) -> Result<Vec<Tensor>> {
        let (mut start, last) = (0, g.rank().saturating_sub(1));
        let part = |width: &usize| {
            let part = g.detach().narrow(last, start, *width)?.contiguous()?;
            start += width;
            Ok(part)
        };
        self.widths.iter().map(part).collect()
    }
}

impl Tape for ConcatenationTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let mut total: Option<Tensor> = None;
        for (tape, part) in self.tapes.iter().zip(self.parts(g)?) {
            total = match (total, tape.vjp(&part, into)?) {
                (Some(total), Some(more)) => Some(add_detached(&total, &more, false)?),
                (total, more) => total.or(more),
            };
        }
        Ok(total.filter(|_| into.wants_input()))
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        joined(&self.tapes.iter().map(|tape| tape.jvp(t)).collect::<Result<Vec<_>>>()?)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let parts = self.tapes.iter().zip(self.parts(g)?);
        joined(&parts.map(|(tape, part)| tape.penalty(&part, t, into)).collect::<Result<Vec<_>>>()?)
    }
}
