//! Cross-entropy of rows of logits, in f64 whatever the precision of the logits.

use super::Element;

/// −(1/n) Σ t·ln softmax over rows of logits, with smoothed one-hot targets.
pub(crate) fn cross_entropy<T: Element>(logits: &[T], labels: &[u32], smoothing: f64) -> f64 {
    let classes = logits.len() / labels.len();
    let mut total = 0.0;
    for (row, label) in logits.chunks_exact(classes).zip(labels) {
        let normaliser = log_sum_exp(row);
        let at_label = row[*label as usize].to_f64();
        let mean = row.iter().map(|logit| logit.to_f64()).sum::<f64>() / classes as f64;
        total += normaliser - (1.0 - smoothing) * at_label - smoothing * mean;
    }
    total / labels.len() as f64
}

/// (softmax − t)/n, the gradient of [`cross_entropy`].
pub(crate) fn cross_entropy_gradient<T: Element>(logits: &[T], labels: &[u32], smoothing: f64) -> Vec<T> {
    let classes = logits.len() / labels.len();
    let share = 1.0 / labels.len() as f64;
    let mut gradient = Vec::with_capacity(logits.len());
    for (row, label) in logits.chunks_exact(classes).zip(labels) {
        let normaliser = log_sum_exp(row);
        gradient.extend(row.iter().enumerate().map(|(class, logit)| {
            let one_hot = if class == *label as usize { 1.0 - smoothing } else { 0.0 };
            let target = one_hot + smoothing / classes as f64;
            T::from_f64(((logit.to_f64() - normaliser).exp() - target) * share)
        }));
    }
    gradient
}

fn log_sum_exp<T: Element>(row: &[T]) -> f64 {
    let largest = row.iter().map(|logit| logit.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    largest + row.iter().map(|logit| (logit.to_f64() - largest).exp()).sum::<f64>().ln()
}
