//! Images as tokens: reshaping, class tokens, position embeddings, and vectors from tokens.

use candle_core::Tensor;
use ops::nhwc::{channel_shift, channel_sum};

use super::{GradientAccumulator, Kind, Layer, LayerInput, LayerLinearization, LinearMap, LinearTape, Tape};
use crate::params::{Builder, Role};
use crate::{Error, Pass, Result};

/// Pixels as tokens: `[n, h, w, c]` to `[n, h·w, c]`, row by row. After a convolution whose stride is its kernel it makes the tokens
/// of a patch embedding.
#[derive(Debug, Clone, Copy)]
#[doc(alias = "PatchEmbedding")]
pub struct Tokens;

impl LinearMap for Tokens {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.contiguous()?.flatten(1, 2)?)
    }

    fn transpose(&self, g: &Tensor, input: &[usize]) -> Result<Tensor> {
        Ok(g.contiguous()?.reshape([&g.dims()[..1], input.get(1..).unwrap_or_default()].concat())?)
    }
}

/// Tokens as rows of features: `[n, t, d]` to `[n, d, t]`, its own inverse. In MLP-Mixer, linear layers after it mix tokens.
#[derive(Debug, Clone, Copy)]
pub struct TransposeTokens;

impl LinearMap for TransposeTokens {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.transpose(1, 2)?.contiguous()?)
    }

    fn transpose(&self, g: &Tensor, _: &[usize]) -> Result<Tensor> {
        self.apply(g)
    }
}

/// A vector from tokens: `[n, t, d]` to `[n, d]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenPool {
    /// The token of this index, such as the class token 0.
    Token(usize),
    /// The last token, as of a causal decoder.
    Last,
    /// The mean over all tokens.
    Mean,
}

impl TokenPool {
    fn index(&self, tokens: usize) -> Result<usize> {
        let index = match self {
            TokenPool::Token(index) => *index,
            _ => tokens.saturating_sub(1),
        };
        if index < tokens {
            return Ok(index);
        }
        let rule = "the index is below the number of tokens";
        Err(Error::Setting { op: "token pool", name: "token", value: format!("{index} of {tokens}"), rule })
    }
}

/// The number of tokens of `[n, t, d]`.
fn tokens(shape: &[usize]) -> Result<usize> {
    let &[_, tokens, _] = shape else {
        let rule = "the input is a batch of tokens [n, t, d]".into();
        return Err(Error::Shape { op: "tokens", left: shape.to_vec(), right: Vec::new(), rule });
    };
    Ok(tokens)
}

impl LinearMap for TokenPool {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let tokens = tokens(x.dims())?;
        Ok(match self {
            TokenPool::Mean => x.mean(1)?,
            one => x.narrow(1, one.index(tokens)?, 1)?.contiguous()?.squeeze(1)?,
        })
    }

    fn transpose(&self, g: &Tensor, input: &[usize]) -> Result<Tensor> {
        let (one, tokens) = (g.unsqueeze(1)?, tokens(input)?);
        if *self == TokenPool::Mean {
            let (n, _, width) = one.dims3()?;
            return Ok(one.affine(1.0 / tokens as f64, 0.0)?.broadcast_as((n, tokens, width))?.contiguous()?);
        }
        let index = self.index(tokens)?;
        Ok(one.pad_with_zeros(1, index, tokens - index - 1)?)
    }

    fn kind(&self) -> Kind<'_> {
        Kind::TokenPool(*self)
    }
}

/// A learned token in front of the others: `[n, t, d]` to `[n, t + 1, d]`.
#[derive(Debug, Clone)]
pub struct ClassToken {
    token: Tensor,
}

impl ClassToken {
    /// The token `[1, 1, width]` under the name `name` (timm: `cls_token`).
    ///
    /// # Errors
    /// [`Error::Shape`] when a parameter of this name exists with another shape.
    pub fn new(mut builder: Builder<'_>, name: &str, width: usize) -> Result<Self> {
        Ok(Self { token: builder.tensor(name, &[1, 1, width], Role::TruncatedNormal { deviation: 0.02 })? })
    }
}

/// `x` behind `first`, which is repeated for every sample.
fn behind(first: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (samples, _, width) = x.dims3()?;
    Ok(Tensor::cat(&[&first.broadcast_as((samples, 1, width))?, x], 1)?)
}

impl Layer for ClassToken {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        behind(&self.token, x)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let y = behind(&self.token.detach(), &input.x)?;
        let linear = LinearTape::new(
            |t: &Tensor| Ok(t.pad_with_zeros(1, 1, 0)?),
            |g: &Tensor| Ok(g.narrow(1, 1, g.dim(1)? - 1)?.contiguous()?),
        );
        let by_parameter = |g: &Tensor| Ok(g.narrow(1, 0, 1)?.sum_keepdim(0)?);
        let tape = ParameterTape { linear, parameter: &self.token, by_parameter };
        Ok(LayerLinearization::new(y, tape).with_parameters([&self.token]))
    }
}

/// x plus one learned vector for each token.
#[derive(Debug, Clone)]
pub struct PositionEmbedding {
    positions: Tensor,
}

impl PositionEmbedding {
    /// The vectors `[1, tokens, width]` under the name `name` (timm: `pos_embed`).
    ///
    /// # Errors
    /// [`Error::Shape`] when a parameter of this name exists with another shape.
    pub fn new(mut builder: Builder<'_>, name: &str, tokens: usize, width: usize) -> Result<Self> {
        let role = Role::TruncatedNormal { deviation: 0.02 };
        Ok(Self { positions: builder.tensor(name, &[1, tokens, width], role)? })
    }
}

impl Layer for PositionEmbedding {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        if x.dims().get(1..) != self.positions.dims().get(1..) {
            return Err(Error::Shape {
                op: "position embedding",
                left: x.dims().to_vec(),
                right: self.positions.dims().to_vec(),
                rule: "there is one position for each token; another image size has other tokens".into(),
            });
        }
        let sum = channel_shift(&x.contiguous()?.flatten_from(1)?, &self.positions.flatten_all()?)?;
        Ok(sum.reshape(x.shape())?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        let y = self.forward(&input.x, pass)?.detach();
        let same = |v: &Tensor| -> Result<Tensor> { Ok(v.clone()) };
        let by_parameter =
            |g: &Tensor| Ok(channel_sum(&g.contiguous()?.flatten_from(1)?)?.reshape(self.positions.shape())?);
        let tape = ParameterTape { linear: LinearTape::new(same, same), parameter: &self.positions, by_parameter };
        Ok(LayerLinearization::new(y, tape).with_parameters([&self.positions]))
    }
}

/// The derivatives of a map that is linear in its input plus a term that is linear in its parameter.
struct ParameterTape<'a, L, P> {
    linear: L,
    parameter: &'a Tensor,
    /// The gradient of ⟨g, y⟩ by the parameter.
    by_parameter: P,
}

impl<L: Tape, P: Fn(&Tensor) -> Result<Tensor> + Send + Sync> Tape for ParameterTape<'_, L, P> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        if into.wants(self.parameter) {
            into.add(self.parameter, (self.by_parameter)(&g.detach())?)?;
        }
        self.linear.vjp(g, into)
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        self.linear.jvp(t)
    }

    fn penalty(&self, _: &Tensor, t: &Tensor, _: &mut GradientAccumulator) -> Result<Tensor> {
        self.linear.jvp(t)
    }
}
