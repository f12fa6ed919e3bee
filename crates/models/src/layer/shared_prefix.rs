//! The outputs of several sequences from one pass over the layers that they share.

use std::sync::Arc;

use candle_core::Tensor;

use super::compile::Mode;
use super::{Layer, Sequential};
use crate::{Pass, Result};

/// The outputs of sequences at the same input. Layers with which several sequences start run once, unless a fused operation
/// crosses the place where one of them ends: outputs have the same bits as those of each sequence alone.
pub(crate) fn forward_each(sequences: &[Sequential], x: &Tensor, pass: &Pass) -> Result<Vec<Tensor>> {
    let mode = Mode::of(pass, true);
    let mut ends: Vec<Sequential> = sequences.to_vec();
    for (index, one) in sequences.iter().enumerate() {
        ends.extend(sequences[..index].iter().map(|other| one.first(one.common_start(other))));
    }
    ends.sort_by_key(|end| end.layers.len());
    let mut done: Vec<(Sequential, Tensor)> = vec![(Sequential::default(), x.clone())];
    for end in ends {
        if done.iter().any(|(earlier, _)| earlier.is_same(&end)) {
            continue;
        }
        let continued = done.iter().filter(|(earlier, _)| end.can_continue(earlier, mode));
        let longest = continued.max_by_key(|(earlier, _)| earlier.layers.len());
        let (start, y) = longest.map_or((0, x), |(earlier, y)| (earlier.layers.len(), y));
        let output = end.after(start).forward(y, pass)?;
        done.push((end, output));
    }
    let output = |sequence: &Sequential| {
        let found = done.iter().find(|(earlier, _)| earlier.is_same(sequence));
        found.map_or_else(|| sequence.forward(x, pass), |(_, output)| Ok(output.clone()))
    };
    sequences.iter().map(output).collect()
}

impl Sequential {
    /// The number of layers with which both start.
    fn common_start(&self, other: &Self) -> usize {
        let pairs = self.layers.iter().zip(&other.layers);
        pairs.take_while(|((_, one), (_, other))| std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))).count()
    }

    fn is_same(&self, other: &Self) -> bool {
        self.layers.len() == other.layers.len() && self.common_start(other) == self.layers.len()
    }

    /// Whether this sequence starts with all layers of `earlier`, and no fused operation crosses its end.
    fn can_continue(&self, earlier: &Self, mode: Mode) -> bool {
        let start = earlier.layers.len();
        let operations = |sequence: &Self| sequence.compiled(mode).count();
        self.common_start(earlier) == start && operations(earlier) + operations(&self.after(start)) == operations(self)
    }

    fn first(&self, count: usize) -> Self {
        self.layers.iter().take(count).cloned().collect()
    }

    fn after(&self, count: usize) -> Self {
        self.layers.iter().skip(count).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::Device;
    use ops::Activation;

    use super::*;
    use crate::layer::ActivationLayer;

    /// The identity, which counts its forward passes.
    #[derive(Clone, Default)]
    struct Counted(Arc<AtomicUsize>);

    impl Layer for Counted {
        fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(x.clone())
        }
    }

    #[test]
    fn shared_layers_run_once() {
        let counted = Counted::default();
        let mut whole = Sequential::default();
        for name in ["a", "b", "c"] {
            whole.push(name, counted.clone());
            whole.push(format!("{name}-act"), ActivationLayer(Activation::Gelu));
        }
        let names = ["c", "a", "b-act", "a"];
        let sequences: Vec<Sequential> = names.iter().map(|name| whole.up_to(name).unwrap()).collect();
        let x = Tensor::new(&[[0.5f32, -2.0]], &Device::Cpu).unwrap();
        let together = forward_each(&sequences, &x, &Pass::evaluation()).unwrap();
        assert_eq!(counted.0.swap(0, Ordering::SeqCst), 3);
        for (sequence, output) in sequences.iter().zip(&together) {
            let alone = sequence.forward(&x, &Pass::evaluation()).unwrap();
            assert_eq!(alone.to_vec2::<f32>().unwrap(), output.to_vec2::<f32>().unwrap());
        }
        assert_eq!(counted.0.load(Ordering::SeqCst), 3 + 1 + 2 + 1);
        assert!(forward_each(&[], &x, &Pass::evaluation()).unwrap().is_empty());
    }
}
