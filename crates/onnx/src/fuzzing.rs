//! Entry points for fuzzers: the reader accepts any bytes without a panic and with bounded memory. They are not a part of the
//! public interface.

use candle_core::{DType, Device};

use crate::{Layer, Model};

/// Any bytes as a graph: read, inlined, and folded.
pub fn model(bytes: &[u8]) {
    let Ok(model) = Model::from_bytes(bytes.to_vec()) else { return };
    let _ = model.nodes();
    for layer in [Layer::Features, Layer::Output] {
        let _ = model.graph(&layer, DType::F32, &Device::Cpu);
    }
}
