//! Which tensor of a network its features are.

use serde::Serialize;

/// The tensor whose values are the features.
#[derive(Serialize)]
pub(crate) struct Tensor {
    /// What it is.
    pub(crate) layer: String,
    /// Its name in an ONNX graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tensor: Option<String>,
    /// Whether the choice is a guess: an ONNX graph does not say which linear layer is the classifier.
    pub(crate) is_guess: bool,
    /// How names of weights were matched.
    pub(crate) notes: Vec<String>,
}
