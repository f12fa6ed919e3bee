//! Networks whose blocks count from the start.

use candle_core::Tensor;
use models::Network;

/// The network with layer scale 1. Initial factors of 1e-6 would hide the blocks from a comparison of results.
///
/// **Errors** those of candle.
pub fn with_unit_layer_scale(network: Network) -> candle_core::Result<Network> {
    for (name, parameter) in network.params().iter().filter(|(name, _)| name.ends_with(".gamma")) {
        debug_assert_eq!(parameter.var.rank(), 1, "{name} has one factor for each channel");
        parameter.var.set(&Tensor::ones_like(&parameter.var)?)?;
    }
    Ok(network)
}
