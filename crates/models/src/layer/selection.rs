//! The selection of one token, moved in front of what it commutes with.
//!
//! A layer that acts on each token by itself needs only the selected one, and a sum of two paths is selected in each path. After the
//! last attention of a transformer with a class token, one token of all is left to compute.

use std::sync::Arc;

use super::{Kind, Layer, Sum, TokenPool};

/// The same map, with the selection of a token as early as it can be. Layers before and after are the same.
pub(super) fn select_early(mut layers: Vec<Arc<dyn Layer>>) -> Vec<Arc<dyn Layer>> {
    while let Some(at) = (1..layers.len()).find(|at| can_be_earlier(&layers[at - 1], &layers[*at])) {
        match layers[at - 1].kind() {
            Kind::Sum(sum) => {
                let paths = [&sum.branch, &sum.shortcut].map(|path| {
                    let mut path = path.clone();
                    path.push_shared("selection", Arc::clone(&layers[at]));
                    path
                });
                let [branch, shortcut] = paths;
                layers[at - 1] = Arc::new(Sum { branch, shortcut });
                layers.remove(at);
            }
            _ => layers.swap(at - 1, at),
        }
    }
    layers
}

/// Whether `next` selects a token of the output of `layer` that could be selected before.
fn can_be_earlier(layer: &Arc<dyn Layer>, next: &Arc<dyn Layer>) -> bool {
    let selects = matches!(next.kind(), Kind::TokenPool(TokenPool::Token(_) | TokenPool::Last));
    selects && (layer.is_pointwise() || matches!(layer.kind(), Kind::Sum(_)))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use ops::{Activation, AttentionSettings};

    use super::*;
    use crate::layer::{ActivationLayer, Attention, GradientAccumulator, LayerInput, Sequential, Tape};
    use crate::{Access, Initialisation, Params, Pass};

    /// A block of a transformer, GELU and the selection of a token.
    fn layers(pool: TokenPool) -> Vec<(String, Arc<dyn Layer>)> {
        let mut params = Params::new(DType::F64, &Device::Cpu);
        let mut builder = params.builder(Initialisation::Pytorch, 0, Access::Frozen);
        let attention = Attention::between_linear_layers(builder.under("attn"), 4, AttentionSettings::new(2)).unwrap();
        let layers: [Arc<dyn Layer>; 3] =
            [Arc::new(Sum::residual(attention)), Arc::new(ActivationLayer(Activation::Gelu)), Arc::new(pool)];
        layers.into_iter().enumerate().map(|(index, layer)| (index.to_string(), layer)).collect()
    }

    #[test]
    fn the_selected_token_and_its_derivatives_stay_the_same() {
        let draw = |shape: &[usize], seed: f64| {
            let numbers: Vec<f64> = (0..shape.iter().product()).map(|i| (i as f64 * 0.7 + seed).sin()).collect();
            Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
        };
        let (x, g) = (draw(&[2, 3, 4], 0.0), draw(&[2, 4], 1.0));
        for pool in [TokenPool::Token(1), TokenPool::Last] {
            let named = layers(pool);
            let moved = select_early(named.iter().map(|(_, layer)| Arc::clone(layer)).collect());
            // The selection is in both paths of the sum, in front of GELU.
            assert_eq!(moved.len(), 2);
            let all: Sequential = named.into_iter().collect();
            let input = LayerInput::new(&x).by_input();
            let (y, tape) = all.tape(&input, &Pass::evaluation()).unwrap();
            let by_input = tape.vjp(&g, &mut GradientAccumulator::of_input()).unwrap().unwrap();
            // One layer after the other, without compilation.
            let (mut at, mut tapes) = (input, Vec::new());
            for (_, layer) in &all.layers {
                let linearization = layer.linearize(&at, &Pass::evaluation()).unwrap();
                at = LayerInput::new(&linearization.output).by_input();
                tapes.push(linearization.tape);
            }
            assert_eq!(y.to_vec2::<f64>().unwrap(), at.x.to_vec2::<f64>().unwrap());
            let mut expected = g.clone();
            for tape in tapes.iter().rev() {
                expected = tape.vjp(&expected, &mut GradientAccumulator::of_input()).unwrap().unwrap();
            }
            let difference = (by_input - expected).unwrap().abs().unwrap().sum_all().unwrap();
            assert!(difference.to_scalar::<f64>().unwrap() < 1e-12);
        }
    }

    #[test]
    fn a_mean_stays_behind() {
        let mean = layers(TokenPool::Mean).into_iter().map(|(_, layer)| layer).collect();
        assert_eq!(select_early(mean).len(), 3);
    }
}
