//! Loss and accuracy of the head on features.

use candle_core::{DType, Tensor};

use super::Assembly;
use super::forward::Forward;
use crate::{Error, Measured, PartOf, Result};

/// Loss and accuracy, where they are measured.
#[derive(Default)]
pub(super) struct HeadResults {
    pub(super) loss: Option<Measured>,
    pub(super) accuracy: Option<Measured>,
}

impl Assembly<'_> {
    /// Loss and accuracy on training or test images, of a head that has the classes of the data.
    pub(super) fn head_results(&self, part: PartOf, forward: &Forward, classes: usize) -> Result<HeadResults> {
        let Some(logits) = self.network.logits.as_ref().filter(|_| part != PartOf::Target) else {
            return Ok(HeadResults::default());
        };
        let rows = forward.rows.to_device(&forward.device)?;
        let logits = logits(&rows).map_err(|source| Error::Network { part: part.name(), source })?;
        if logits.dims() != [forward.labels.len(), classes] {
            return Ok(HeadResults::default());
        }
        Ok(HeadResults {
            loss: Some(cross_entropy(&logits, &forward.labels)?),
            accuracy: Some(accuracy(&logits, &forward.labels)?),
        })
    }
}

/// Mean cross-entropy in nats.
fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Measured> {
    let logits = logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let loss = |(scores, label): (&Vec<f64>, &u32)| {
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        scores.get(*label as usize).map(|own| highest + sum.ln() - own)
    };
    let losses: Vec<f64> = logits.iter().zip(labels).filter_map(loss).collect();
    let count = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / count;
    let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (count - 1.0);
    Ok(Measured::new(mean, Some((variance / count).sqrt()), losses.len()))
}

/// Share of images whose highest score is that of their class.
fn accuracy(logits: &Tensor, labels: &[u32]) -> Result<Measured> {
    let guesses = logits.argmax(1)?.to_vec1::<u32>()?;
    let right = guesses.iter().zip(labels).filter(|(guess, label)| guess == label).count();
    Ok(Measured::share(right, labels.len()))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn loss_and_accuracy_by_hand() {
        // Two classes with scores 0 and ln 3: probabilities 1/4 and 3/4.
        let logits = Tensor::new(&[[0f64, 3f64.ln()], [0.0, 3f64.ln()]], &Device::Cpu).unwrap();
        let loss = cross_entropy(&logits, &[1, 0]).unwrap();
        let (low, high) = ((4.0f64 / 3.0).ln(), 4f64.ln());
        assert!((loss.value.unwrap() - (low + high) / 2.0).abs() < 1e-15);
        // s/√2 of two values is half of their difference.
        assert!((loss.standard_error.unwrap() - (high - low) / 2.0).abs() < 1e-15);
        assert_eq!(accuracy(&logits, &[1, 0]).unwrap().value, Some(0.5));
    }
}
