//! Layers: maps with named parameters and their derivatives, the parts of every network.
//!
//! A [`Layer`] must have [`forward`](Layer::forward), and nothing else. Its derivatives then come from candle's graph of that
//! method. A layer with a rule of its own overrides [`linearize`](Layer::linearize), which returns the output together with a
//! [`Tape`]: what the layer keeps of one forward pass, and its three derivatives there.
//!
//! | method of [`Tape`] | gives | used by |
//! |---|---|---|
//! | [`vjp`](Tape::vjp) | Jᵀg, and the gradients by the parameters | training, exact geometric complexity |
//! | [`jvp`](Tape::jvp) | J t | geometric complexity by columns |
//! | [`penalty`](Tape::penalty) | J t, and the gradients of ⟨g, J t⟩ | training with geometric complexity in the loss |
//!
//! [`Sequential`] runs layers one after another, [`Sum`] adds two paths. Before a pass, a [`Sequential`] replaces neighbours such as
//! convolution, batch norm, ReLU and max pool by one fused layer with the same contract; no other code knows of fusion.
//!
//! # The penalty
//!
//! With u = Jᵀv, half the gradient of ‖Jᵀv‖² equals the gradient of ⟨v, J u⟩ with u held fixed. J is a product of one Jacobian
//! per layer. By the product rule the gradient is a sum over layers of ∇⟨gₗ, Jₗ tₗ⟩, the tangent–cotangent terms: gₗ is the
//! cotangent at the layer's output (v after the VJPs of all later layers), tₗ the tangent at its input (u after the JVPs of all
//! earlier layers), and both are held fixed. For a layer that is linear in its weight w the term is ⟨w, W(tₗ, gₗ)⟩ with the
//! bilinear weight gradient W. A convolution thus costs one weight gradient, and no second backward pass is needed.
//!
//! # How to write a layer
//!
//! 1. Make a struct that takes its parameters from a [`Builder`](crate::Builder), by PyTorch's names.
//! 2. Write `forward` with operations that candle's graph differentiates rightly (those of [`ops`] do). The layer now
//!    works everywhere: training, checkpoints, exact geometric complexity, the penalty.
//! 3. For speed, write `linearize`: compute the output from `input.x` and detached parameters, and return a struct that implements
//!    [`Tape`]. It keeps the tensors that its three methods need.
//! 4. In `vjp` and `penalty`, compute a gradient by a parameter only if [`GradientAccumulator::wants`] it. `penalty` also adds the
//!    gradient of ⟨g, J t⟩ by the input, under the identity of `input.x`, unless J is independent of the input.
//! 5. List the parameters with [`LayerLinearization::with_parameters`].
//! 6. Check it: `tests/support/layer_check.rs` compares any layer with finite differences and with candle's graph.
//!
//! A layer that is linear in its input and has no parameters is a [`LinearMap`]; [`Flatten`] is an example, [`Linear`] one with
//! parameters, [`ActivationLayer`] one whose Jacobian depends on the input, and [`Sum`] one with layers inside. A cotangent `g` may
//! have k rows for each row of the output: row r of `g` belongs to row r mod n (see [`ops::repeat_rows`]).
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use models::layer::{GradientAccumulator, Layer, LayerInput};
//! use models::{Pass, Result};
//!
//! /// y = x·s with one learned factor for each feature. Only `forward` is written.
//! struct Scale(Var);
//!
//! impl Layer for Scale {
//!     fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
//!         Ok(x.broadcast_mul(&self.0)?)
//!     }
//! }
//!
//! let scale = Scale(Var::new(&[2f64, 5.], &Device::Cpu)?);
//! let input = LayerInput::new(&Tensor::new(&[[1f64, 3.]], &Device::Cpu)?).by_input();
//! let at = scale.linearize(&input, &Pass::evaluation())?;
//! assert!(at.by_graph);
//! let mut gradients = GradientAccumulator::of_all();
//! let by_input = at.tape.vjp(&Tensor::new(&[[1f64, 1.]], &Device::Cpu)?, &mut gradients)?;
//! assert_eq!(by_input.unwrap().to_vec2::<f64>()?, [[2., 5.]]);
//! assert_eq!(gradients.take(&scale.0).unwrap().to_vec1::<f64>()?, [1., 3.]);
//! # Ok::<(), models::Error>(())
//! ```

mod accumulator;
mod activation;
mod attention;
mod average_pool;
mod batch_norm;
mod compile;
mod concatenation;
mod conv;
mod conv1d;
mod cross_attention;
mod dropout;
mod flatten;
mod gate;
mod graph;
mod input;
mod layer_scale;
mod linear;
mod linear_attention;
mod linear_map;
mod memo;
mod mlp;
mod module;
mod operation;
mod pool;
mod prelu;
mod random_mask;
mod sample_norm;
mod selection;
mod sequential;
mod sequential_tape;
mod shared_prefix;
mod stochastic_depth;
mod sum;
mod tape;
mod tokens;
mod windows;

use candle_core::Tensor;
use ops::Activation;

pub use accumulator::GradientAccumulator;
pub use activation::ActivationLayer;
pub use attention::Attention;
pub(crate) use attention::require_heads;
pub use average_pool::{AdaptiveAvgPool, AvgPool, ChannelShuffle};
pub use batch_norm::BatchNorm2d;
pub use concatenation::Concatenation;
pub use conv::{Conv2d, ConvSizes};
pub use conv1d::Conv1d;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use gate::SqueezeExcitation;
pub(crate) use graph::relative_change;
pub use input::{Addend, LayerInput};
pub use layer_scale::LayerScale;
pub use linear::Linear;
pub use linear_map::LinearMap;
pub use module::CandleModule;
pub use pool::{GlobalAvgPool, MaxPool};
pub use prelu::Prelu;
pub use sample_norm::SampleNorm;
pub use sequential::Sequential;
pub use sequential_tape::SequentialTape;
pub(crate) use shared_prefix::forward_each;
pub use stochastic_depth::StochasticDepth;
pub use sum::Sum;
pub use tape::{Footprint, LayerLinearization, LinearTape, Tape};
pub use tokens::{ClassToken, PositionEmbedding, TokenPool, Tokens, TransposeTokens};
pub use windows::{DivideWindows, JoinWindows, MergePatches, WindowAttention, Windows};

use crate::{Pass, Result};

/// A differentiable map with named parameters.
///
/// **Shapes** between layers images are `[n, h, w, c]`, tokens `[n, t, d]` and vectors `[n, p]`.
///
/// **Conventions** outside training-mode batch norm, row i of the output depends on row i of the input only.
pub trait Layer: Send + Sync {
    /// The output for `x`, with candle's graph down to `x` and to the parameters that are variables.
    ///
    /// # Errors
    /// Those of the operations inside, such as a wrong shape.
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor>;

    /// The output, outside any graph, and the derivatives there.
    ///
    /// The default differentiates [`Layer::forward`] by candle's graph: VJPs are as exact as candle's rules, one backward pass for
    /// each cotangent of a sample. JVPs and the penalty's terms are central differences, because candle's gradients have no graph
    /// that could be differentiated again. Their relative error is about 1e-9 in f64 and 1e-3 in f32 for a smooth map.
    /// [`LayerLinearization::by_graph`] is then `true`. A map that draws random numbers in `forward` is not supported.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        graph::linearize(self, input, pass)
    }

    /// As [`Layer::linearize`], with the output plus `addend` in place of the output, if this layer computes both in one pass over memory.
    /// The derivatives are those of the layer alone. None by default: the two are then added.
    ///
    /// # Errors
    /// As [`Layer::linearize`].
    fn linearize_plus<'a>(&'a self, _addend: &Addend, _input: &LayerInput, _pass: &Pass) -> WithSum<'a> {
        Ok(None)
    }

    /// What a [`Sequential`] may fuse this layer with.
    fn kind(&self) -> Kind<'_> {
        Kind::Other
    }

    /// Whether each vector along the last dimension of the output is the same function of that of the input, so that one token can
    /// be selected before this layer as well as after it.
    fn is_pointwise(&self) -> bool {
        false
    }

    /// The sequences of named layers inside this one that start at its input.
    fn paths(&self) -> Vec<&Sequential> {
        Vec::new()
    }
}

/// What [`Layer::linearize_plus`] gives.
pub type WithSum<'a> = Result<Option<LayerLinearization<'a>>>;

/// A layer as a [`Sequential`] sees it when it fuses neighbours.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Kind<'a> {
    /// A convolution.
    Conv2d(&'a Conv2d),
    /// Batch norm.
    BatchNorm2d(&'a BatchNorm2d),
    /// An activation.
    Activation(Activation),
    /// A linear layer.
    Linear(&'a Linear),
    /// Multi-head self-attention.
    Attention(&'a Attention),
    /// One learned factor per channel.
    LayerScale(&'a LayerScale),
    /// A vector from tokens.
    TokenPool(TokenPool),
    /// Max pooling.
    MaxPool(&'a MaxPool),
    /// A sum of two paths.
    Sum(&'a Sum),
    /// Any other layer, which is never fused.
    Other,
}
