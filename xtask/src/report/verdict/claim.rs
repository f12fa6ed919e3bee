//! A claim with its test, before and after the correction for the number of claims.

use statistics::{ClaimTest, Decision, DecisionRules, Judged};

use super::{Finding, Verdict, reasons};
use crate::study::experiment::{Direction, Rules};

/// A claim that is decided together with others.
pub(super) struct Claim {
    /// Its statistics; the verdict is not final.
    pub(super) finding: Finding,
    /// Its test; none with the reason in the finding.
    pub(super) test: Option<ClaimTest>,
    /// A reason for which it stays undecided whatever its test says.
    pub(super) prevented: Option<String>,
}

impl Claim {
    /// A claim that cannot be tested.
    pub(super) fn untested(mut finding: Finding, reason: String) -> Self {
        finding.undecided(reason);
        Self { finding, test: None, prevented: None }
    }

    /// A claim with its test.
    pub(super) fn tested(mut finding: Finding, test: ClaimTest) -> Self {
        finding.statistic = Some(test.coefficient);
        finding.permutation_p_value = test.permutation_p_value;
        finding.size_p_value = test.effect.p_value;
        finding.smallest_p_value = Some(test.smallest_p_value);
        Self { finding, test: Some(test), prevented: None }
    }

    /// Takes the decision about the family.
    pub(super) fn apply(&mut self, judged: Option<Judged>, how: &DecisionRules, family: usize, rules: &Rules) {
        let finding = &mut self.finding;
        (finding.correction, finding.family, finding.decision_level) = (Some(how.correction), family, Some(how.level));
        let Some(judged) = judged else { return };
        (finding.p_value, finding.corrected_p_value) = (Some(judged.p_value), Some(judged.corrected_p_value));
        if let Some(reason) = self.prevented.take() {
            return finding.undecided(reason);
        }
        let unchanged = finding.direction == Some(Direction::Unchanged);
        finding.verdict = match judged.decision {
            // The claim that nothing changes holds where the change is negligible, and fails where there is one.
            Decision::Negligible if unchanged => Verdict::Holds,
            Decision::Holds | Decision::Fails if unchanged => Verdict::Fails,
            Decision::Holds => Verdict::Holds,
            Decision::Fails => Verdict::Fails,
            Decision::Negligible => Verdict::Negligible,
            Decision::Undecided(_) => Verdict::Undecided,
        };
        finding.reason = reasons::of_decision(&judged, finding, how, rules);
    }
}
