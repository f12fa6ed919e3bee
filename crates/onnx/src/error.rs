//! The errors of this crate.

use std::path::PathBuf;

use candle_core::DType;

use crate::Missing;

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The errors of reading and evaluating ONNX graphs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The bytes are no ONNX graph.
    #[error("reading ONNX: {what}: {reason}")]
    Malformed {
        /// The message of `onnx.proto3` in which the error is.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The weights of a tensor are not where the graph says.
    #[error("reading ONNX: the weights of `{tensor}`: {reason}")]
    External {
        /// The tensor.
        tensor: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A tensor has an element type that no operator takes.
    #[error(
        "reading ONNX: the tensor `{tensor}` has elements of type {kind}; expected floats of 16 to 64 bits, integers or booleans"
    )]
    ElementType {
        /// The tensor.
        tensor: String,
        /// Its element type.
        kind: String,
    },
    /// The number of iterations of a loop depends on the input.
    #[error(
        "node `{node}` (Loop): the number of iterations depends on the numbers of the input, so that the features jump where it changes; \
         export the network with a fixed number of iterations (`torch.jit.trace` and `dynamo=True` unroll such loops)"
    )]
    LoopCount {
        /// The node.
        node: String,
    },
    /// The graph has another number of inputs than one.
    #[error(
        "the graph has the inputs {inputs:?}; expected one input on which the features depend: store the others in the graph when it is exported"
    )]
    Inputs {
        /// The inputs that have no value in the file.
        inputs: Vec<String>,
    },
    /// The input has integers.
    #[error(
        "the input `{input}` has integers, which have no derivative; embed first: export the network from its embedded inputs \
         [n, t, d] (`inputs_embeds` in Transformers) and measure on those"
    )]
    IntegerInput {
        /// The input.
        input: String,
    },
    /// The input has an unsupported number of dimensions.
    #[error("the input `{input}` has {rank} dimensions; expected 2 to 5, the first of which is the sample")]
    InputRank {
        /// The input.
        input: String,
        /// Its number of dimensions.
        rank: usize,
    },
    /// An operator or an attribute is not supported.
    #[error("the measured tensor depends on what is not supported here: {0}")]
    Unsupported(Missing),
    /// The output is not that of a linear layer, so there is no classifier whose input would be the features.
    #[error(
        "the output `{output}` is not computed by a linear layer, so that the features are not known{last}; measure the output \
         with `--layer output`, or another tensor with `--layer NAME`"
    )]
    NoClassifier {
        /// The output of the graph.
        output: String,
        /// The last linear layer, in words; empty where there is none.
        last: String,
    },
    /// The graph has no linear layer.
    #[error(
        "the graph has no linear layer with constant weights; name the tensor to measure with `--layer NAME`, or `--layer output`"
    )]
    NoLinearLayer,
    /// No layer was named.
    #[error("no layer was named; name at least one node or tensor")]
    NoLayers,
    /// No node or tensor has the name.
    #[error("unknown node or tensor `{name}`{hint}; the graph has {count} nodes, the last of which are {last}")]
    UnknownLayer {
        /// The name.
        name: String,
        /// The nearest names, in words; empty where none is near.
        hint: String,
        /// The number of nodes.
        count: usize,
        /// The names of the last nodes.
        last: String,
    },
    /// The measured tensor does not depend on the input.
    #[error("`{tensor}` does not depend on the input `{input}`; name another tensor")]
    Constant {
        /// The tensor.
        tensor: String,
        /// The input.
        input: String,
    },
    /// The measured tensor has integers or booleans.
    #[error("`{tensor}` has integers, which have no derivative; name another tensor")]
    IntegerLayer {
        /// The tensor.
        tensor: String,
    },
    /// Samples have another shape than the graph states.
    #[error("a sample has shape {got:?}, the input `{input}` takes [{expected}]")]
    SampleShape {
        /// The input.
        input: String,
        /// The sizes that the graph states.
        expected: String,
        /// The shape of a sample.
        got: Vec<usize>,
    },
    /// The inputs have another dtype than the weights.
    #[error("the inputs are {got:?}, the graph was read as {expected:?}")]
    DType {
        /// The dtype of the graph.
        expected: DType,
        /// The dtype of the inputs.
        got: DType,
    },
    /// The first dimension of the measured tensor is not the samples.
    #[error(
        "`{tensor}` has shape {got:?} for {samples} samples; expected one row per sample. If the graph was exported with a fixed \
         batch, export it with a dynamic first dimension; else name a tensor whose first dimension is the batch"
    )]
    Rows {
        /// The tensor.
        tensor: String,
        /// Its shape.
        got: Vec<usize>,
        /// The number of samples.
        samples: usize,
    },
    /// A node cannot be evaluated.
    #[error("node `{node}` ({op}) on {shapes}: {reason}")]
    Node {
        /// The name of the node, or of its first output.
        node: String,
        /// The operator.
        op: String,
        /// The shapes of its inputs.
        shapes: String,
        /// The reason.
        reason: String,
        /// Whether the node needs what is missing here, so that nothing is wrong with the graph.
        is_unsupported: bool,
    },
    /// What only a value shows: a form of an operator that is missing here.
    #[error("{0} is not supported")]
    UnsupportedForm(String),
    /// An operand or an attribute of a node does not fit.
    #[error("{0}")]
    Operand(String),
    /// An operation of candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// An operation of `ops` failed.
    #[error(transparent)]
    Ops(#[from] ops::Error),
}

/// Bytes that are no ONNX graph.
pub(crate) fn malformed(what: &'static str, reason: impl Into<String>) -> Error {
    Error::Malformed { what, reason: reason.into() }
}

/// An operand or an attribute that does not fit.
pub(crate) fn operand(reason: impl Into<String>) -> Error {
    Error::Operand(reason.into())
}

/// A form of an operator that is missing here.
pub(crate) fn unsupported(what: impl Into<String>) -> Error {
    Error::UnsupportedForm(what.into())
}

impl Error {
    /// The error as one of candle, for traits whose errors are candle's.
    pub(crate) fn into_candle(self) -> candle_core::Error {
        match self {
            Self::Candle(error) => error,
            error => candle_core::Error::Msg(error.to_string()),
        }
    }
}
