//! Slopes of the loss along training, which only the trainer knows.

use super::measures;
use crate::PartOf;

/// Where the learning path is used.
const PATH: &str = "Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706): the slope of the learning path";

measures! {
    PATH_SLOPE = "path_slope":
        "Running mean of the squared norm of the loss gradient, the slope of the learning path." {
        read: |assessment| assessment.slopes?.path,
        symbol: "mean ‖∇L‖²", label: "learning-path slope", short: "slope",
        source: PATH, unit: "nats² per parameter²", part: PartOf::Training,
    }
    STEP_SLOPE = "step_slope": "Squared norm of the loss gradient at this step." {
        read: |assessment| assessment.slopes?.step,
        symbol: "‖∇L‖²", label: "slope at the step", short: "step slope",
        source: PATH, unit: "nats² per parameter²", part: PartOf::Training,
    }
}
