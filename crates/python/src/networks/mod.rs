//! Networks in files, computed by this project's own kernels: state dicts of known families, and ONNX graphs.

mod features;
mod loaded;
mod source;
mod tensor;

pub(crate) use features::network_features;
pub(crate) use loaded::Loaded;
pub(crate) use source::Source;
pub(crate) use tensor::Tensor;
