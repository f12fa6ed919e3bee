//! Claims about effects over seeds: their evidence, their size, and the decision.

mod contrast;
mod decision;
mod effect;
mod trend;

pub use contrast::{Contrast, SeedPair, paired_contrast};
pub use decision::{ClaimTest, Correction, Decision, DecisionRules, Judged, Undecided, decide_claims};
pub use effect::{Effect, SeedValue};
pub use trend::{SweepRun, TrendEvidence, smallest_trend_p_value, trend_evidence, trend_size};
