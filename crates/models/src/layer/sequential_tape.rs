//! The derivatives of consecutive layers.
//!
//! candle's `backward` starts every gradient from a tensor of zeros and adds to it, and it keeps every tensor of the graph
//! until the end. Here each layer holds only what its derivatives need. A gradient is written once, and
//! [`SequentialTape::into_vjp`] frees what a layer holds as soon as the backward pass has left it.

use candle_core::{Tensor, TensorId};

use super::memo::Memo;
use super::tape::without_tangents;
use super::{Footprint, GradientAccumulator, LayerInput, LayerLinearization, Tape};
use crate::Result;

/// The derivatives of the layers of a [`Sequential`](super::Sequential) at one input.
pub struct SequentialTape<'a> {
    steps: Vec<Step<'a>>,
    tangents: bool,
    has_variables: bool,
    by_graph: bool,
    /// Whether a layer at the start was left out, because no gradient goes through it.
    starts_late: bool,
    /// The memory of the outputs of all layers, an upper bound of what the tapes hold.
    footprint: Footprint,
    /// The cotangents at the outputs of the steps, last step first.
    cotangents: Memo<Vec<Tensor>>,
}

/// The derivatives of one layer.
struct Step<'a> {
    /// The identity of its input.
    input: TensorId,
    /// Whether a layer before it has a parameter that is a variable.
    feeds_variables: bool,
    tape: Box<dyn Tape + 'a>,
}

impl Step<'_> {
    /// The cotangent of the step's input; `by_input` is whether that of the first step's input is asked for.
    fn vjp(&self, g: &Tensor, by_input: bool, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let wanted = by_input || (self.feeds_variables && into.wants_parameters());
        let at_input = into.asking_input(wanted, |into| self.tape.vjp(g, into))?.filter(|_| wanted);
        at_input.map(|at_input| into.take_sum(self.input, at_input)).transpose()
    }
}

impl<'a> SequentialTape<'a> {
    /// No layers yet, at this input.
    pub(super) fn new(input: &LayerInput) -> Self {
        Self {
            steps: Vec::new(),
            tangents: input.tangents,
            has_variables: false,
            by_graph: false,
            starts_late: false,
            footprint: Footprint::default(),
            cotangents: Memo::default(),
        }
    }

    /// Appends the layer that was linearized at `input`. Returns the input of the next layer.
    pub(super) fn push(&mut self, input: &LayerInput, layer: LayerLinearization<'a>) -> LayerInput {
        let LayerLinearization { output, tape, has_variables, by_graph, inside } = layer;
        self.footprint = self.footprint.and(inside).and(Footprint::of(&output));
        if input.by_input || has_variables || self.tangents {
            self.steps.push(Step { input: input.x.id(), feeds_variables: self.has_variables, tape });
        } else {
            self.starts_late = true;
        }
        self.has_variables |= has_variables;
        self.by_graph |= by_graph;
        input.inside(&output, input.by_input || has_variables)
    }

    /// Whether a parameter of a layer is a variable.
    pub fn has_variables(&self) -> bool {
        self.has_variables
    }

    /// Whether candle's graph differentiates a layer.
    pub fn by_graph(&self) -> bool {
        self.by_graph
    }

    /// The memory of the outputs of all layers, an upper bound of what is kept.
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// As [`Tape::vjp`], once: what each layer holds is freed as soon as the backward pass has left it.
    ///
    /// # Errors
    /// As [`Tape::vjp`].
    pub fn into_vjp(mut self, g: Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let by_input = into.wants_input();
        let mut cotangent = Some(g);
        while let Some(step) = self.steps.pop() {
            let Some(g) = cotangent else { return Ok(None) };
            cotangent = step.vjp(&g, by_input, into)?;
        }
        Ok(cotangent.filter(|_| !self.starts_late))
    }
}

impl SequentialTape<'_> {
    /// As [`Tape::vjp`] through the first `count` of its steps.
    pub(super) fn vjp_through(
        &self,
        count: usize,
        g: &Tensor,
        into: &mut GradientAccumulator,
    ) -> Result<Option<Tensor>> {
        let by_input = into.wants_input();
        let keeps_cotangents = self.tangents && !into.wants_parameters();
        let mut cotangents = Vec::new();
        let mut cotangent = Some(g.clone());
        for step in self.steps.iter().take(count).rev() {
            let Some(at_output) = cotangent else { return Ok(None) };
            cotangent = step.vjp(&at_output, by_input, into)?;
            if keeps_cotangents {
                cotangents.push(at_output);
            }
        }
        if keeps_cotangents {
            self.cotangents.keep(g, cotangents);
        }
        Ok(cotangent.filter(|_| !self.starts_late))
    }
}

impl Tape for SequentialTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        self.vjp_through(self.steps.len(), g, into)
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        if !self.tangents {
            return Err(without_tangents());
        }
        self.steps.iter().try_fold(t.clone(), |t, step| step.tape.jvp(&t))
    }

    /// The cotangents inside are those of the last VJP by the input, if it was for `g`; else they are computed here. Each is freed
    /// once it is used, so that what is computed next reuses memory that is still cached.
    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        if !self.tangents {
            return Err(without_tangents());
        }
        let mut cotangents = match self.cotangents.take(g) {
            Some(cotangents) => cotangents,
            None => {
                self.vjp(g, &mut GradientAccumulator::of_input())?;
                self.cotangents.take(g).unwrap_or_default()
            }
        };
        let mut t = t.clone();
        for step in &self.steps {
            let Some(g) = cotangents.pop() else { break };
            t = step.tape.penalty(&g, &t, into)?;
        }
        Ok(t)
    }
}
