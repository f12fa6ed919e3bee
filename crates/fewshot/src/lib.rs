//! Few-shot episodes, heads and accuracies with intervals on frozen, labelled features.
