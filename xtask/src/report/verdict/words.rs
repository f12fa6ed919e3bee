//! Findings in words: their sizes, their evidence, and the sentences that lead a report.

use serde::Serialize;
use statistics::Correction;

use super::size::{SizeOver, SizeUnit};
use super::{ClaimKind, Finding, Size, Verdict, reasons};
use crate::report::chart::plain;
use crate::report::results::Results;
use crate::report::table::{self, signed, three_digits};
use crate::study::experiment::{Direction, Plan};
use crate::study::metric::measures;

/// A sentence about one or more primary claims that have the same verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LeadSentence {
    /// The verdict on all of them.
    pub(crate) verdict: Verdict,
    /// What was found, with sizes.
    pub(crate) text: String,
    /// The claims in words.
    pub(crate) claims: Vec<String>,
    /// The evidence for each claim: its statistic with interval, p-value, corrected p-value, correction and level.
    pub(crate) evidence: Vec<String>,
}

/// The primary claims in sentences: those that fail first, then those that hold, then the others.
///
/// Trends of the same sweep, comparison and verdict are one sentence, and so are contrasts of the same levels.
pub(crate) fn lead(results: &Results, findings: &[Finding]) -> Vec<LeadSentence> {
    let plan = &results.experiment.plan;
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.primary) {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| same_sentence(first, finding))) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    let mut sentences: Vec<LeadSentence> = groups.iter().filter_map(|group| sentence(plan, group, findings)).collect();
    sentences.sort_by_key(|sentence| sentence.verdict);
    sentences
}

fn same_sentence(one: &Finding, other: &Finding) -> bool {
    let trends = is_change(one) && one.kind == other.kind && one.levels == other.levels;
    let sizes = one.size.zip(other.size).is_some_and(|(one, other)| one.over == other.over);
    trends && sizes && (one.verdict, &one.sweep, one.comparison) == (other.verdict, &other.sweep, other.comparison)
}

/// Whether it is about the change of a metric over a sweep.
fn is_change(finding: &Finding) -> bool {
    matches!(finding.kind, ClaimKind::Trend | ClaimKind::Contrast)
}

fn sentence(plan: &Plan, group: &[&Finding], findings: &[Finding]) -> Option<LeadSentence> {
    let first = group.first()?;
    let text = match (first.kind, first.size) {
        (ClaimKind::Trend | ClaimKind::Contrast, Some(size)) => {
            format!("{}{}", trends(plan, group, size), beside(plan, first, findings))
        }
        _ => first.sentence(plan),
    };
    let claims = group.iter().map(|finding| finding.claim.clone()).collect();
    let evidence = group.iter().map(|finding| finding.evidence_words()).collect();
    Some(LeadSentence { verdict: first.verdict, text, claims, evidence })
}

/// The size of GC in the same sweep, where no primary claim is about it: what the sweep did to GC belongs to the sentence.
fn beside(plan: &Plan, first: &Finding, findings: &[Finding]) -> String {
    let same = |finding: &&Finding| {
        finding.metrics == [measures::GC]
            && finding.kind == first.kind
            && (&finding.sweep, &finding.levels, finding.comparison) == (&first.sweep, &first.levels, first.comparison)
    };
    match findings.iter().find(same) {
        Some(gc) if !gc.primary => gc
            .size
            .map(|size| format!("; it multiplies {} by {}", metric(plan, gc, 0), size.number()))
            .unwrap_or_default(),
        _ => String::new(),
    }
}

/// `λ 0 → 0.01 multiplies GC by 0.05 [0.04, 0.06] and target NC by 0.92 [0.85, 0.99] at equal epochs`.
fn trends(plan: &Plan, group: &[&Finding], size: Size) -> String {
    let Some(first) = group.first() else { return String::new() };
    let label = first.sweep.as_ref().and_then(|name| plan.sweeps.get(name)).map_or("", |sweep| &sweep.label);
    let range = match (&first.levels, size.range()) {
        (Some([from, to]), _) => format!(" {from} → {to}"),
        (None, Some((from, to))) => format!(" {} → {}", plain(from), plain(to)),
        (None, None) => String::new(),
    };
    let of = |unit: SizeUnit| group.iter().filter(move |finding| finding.size.is_some_and(|size| size.unit == unit));
    let one = |finding: &&&Finding, between: &str| {
        let name = metric(plan, finding, 0);
        let number = finding.size.map_or_else(String::new, |size| size.number());
        format!("{name}{between}{number}{}", remarks(finding))
    };
    let factors: Vec<String> = of(SizeUnit::Factor).map(|finding| one(&finding, " by ")).collect();
    let points: Vec<String> = of(SizeUnit::Points).map(|finding| one(&finding, " by ")).collect();
    let mut parts = Vec::new();
    if !factors.is_empty() {
        parts.push(format!("multiplies {}", listed(&factors)));
    }
    if !points.is_empty() {
        parts.push(format!("changes {}", listed(&points)));
    }
    let untrained = match first.kind {
        _ if group.iter().any(|finding| finding.trained_size.is_some()) => "",
        ClaimKind::Contrast => "; not all of these runs are trained",
        _ => "; fewer than two values have trained runs alone",
    };
    format!("{label}{range} {} at {}{untrained}", listed(&parts), table::comparison(first))
}

/// What belongs to the size of a finding: the size from trained runs alone, the claim where the size contradicts it, and the reason
/// of a finding that is undecided.
fn remarks(finding: &Finding) -> String {
    let claimed = finding.direction.filter(|_| contradicts(finding));
    let claimed = claimed.map(|direction| format!("claimed: {}", direction.comparative()));
    let reason = (finding.verdict == Verdict::Undecided).then(|| finding.reason.clone());
    let remarks: Vec<String> = trained(finding).into_iter().chain(claimed).chain(reason).collect();
    if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join("; ")) }
}

/// The size from trained runs alone, if it is over fewer values.
fn trained(finding: &Finding) -> Option<String> {
    let (size, trained) = (finding.size?, finding.trained_size?);
    let (from, to) = trained.range()?;
    let words = || format!("trained runs alone, {} → {}: {}", plain(from), plain(to), trained.number());
    (size.over != trained.over).then(words)
}

/// Whether the size lies on the other side than claimed.
fn contradicts(finding: &Finding) -> bool {
    let sign = finding.size.map(|size| match size.unit {
        SizeUnit::Factor => size.change - 1.0,
        SizeUnit::Points => size.change,
    });
    match (sign, finding.direction) {
        (Some(sign), Some(Direction::Rises)) => sign < 0.0,
        (Some(sign), Some(Direction::Falls)) => sign > 0.0,
        (Some(_), Some(Direction::Unchanged)) => finding.verdict == Verdict::Fails,
        _ => false,
    }
}

fn metric(plan: &Plan, finding: &Finding, index: usize) -> &'static str {
    finding.metrics.get(index).map_or("", |metric| plan.task.label_of(*metric))
}

/// `a`, `a and b`, `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

impl Finding {
    /// The finding as a sentence with its size.
    pub(crate) fn sentence(&self, plan: &Plan) -> String {
        let reason = if self.verdict == Verdict::Undecided { format!(": {}", self.reason) } else { String::new() };
        match (self.kind, self.size) {
            (ClaimKind::Trend | ClaimKind::Contrast, Some(size)) => trends(plan, &[self], size),
            (ClaimKind::Association, _) if self.statistic.is_some() => {
                let size = self.size.map_or_else(String::new, |size| {
                    let (x, y) = (metric(plan, self, 0), metric(plan, self, 1));
                    format!("; {y} {} of {x}", self.size_cell(Some(size)).replace("per doubling", "for each doubling"))
                });
                format!("{}: {}{size}{}{reason}", self.claim, self.statistic_words(), self.concordance())
            }
            (ClaimKind::Course | ClaimKind::Coverage, _) if self.statistic.is_some() => {
                format!("{}: {}{reason}", self.claim, self.statistic_words())
            }
            _ => format!("{}: {}", self.claim, self.reason),
        }
    }

    /// The statistic with its interval, such as `mean ρ −0.53 [−0.75, −0.20]`.
    fn statistic_words(&self) -> String {
        let name = match self.kind {
            ClaimKind::Trend | ClaimKind::Course => "mean ρ ",
            ClaimKind::Contrast => "mean sign ",
            ClaimKind::Association => "partial ρ ",
            ClaimKind::Inequality | ClaimKind::Coverage => "share ",
        };
        let interval = self.interval.map_or_else(String::new, |_| format!(" [{}]", table::interval(self)));
        format!("{name}{}{interval}", table::statistic(self))
    }

    /// Granulated coefficient and worst sign error of an association.
    fn concordance(&self) -> String {
        let granulated = self.granulated_coefficient.map(|value| format!("granulated τ {}", signed(value)));
        let sign = self.sign_error.map(|value| {
            let place = self.sign_error_in.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
            format!("worst sign error {value:.2}{place}")
        });
        let parts: Vec<String> = granulated.into_iter().chain(sign).collect();
        if parts.is_empty() { String::new() } else { format!("; {}", parts.join(", ")) }
    }

    /// The size of the effect in words; for a claim without a size, its statistic or reason.
    pub(crate) fn size_words(&self) -> String {
        match (self.kind, self.size) {
            (ClaimKind::Trend | ClaimKind::Contrast, Some(size)) => {
                let trained = trained(self).map_or_else(String::new, |words| format!(" ({words})"));
                format!("{}{trained}.", capital(&size.words()))
            }
            (ClaimKind::Association | ClaimKind::Course, size) if self.statistic.is_some() => {
                let size = size.map_or_else(String::new, |size| format!("; {}", size.words()));
                format!("{}{size}.", capital(&self.statistic_words()))
            }
            _ => format!("{}.", capital(&self.reason)),
        }
    }

    /// The evidence in words, such as `mean ρ −1.00, p 0.004, corrected 0.031 (Holm, 8 claims, level 0.05)`.
    pub(crate) fn evidence_words(&self) -> String {
        let mut parts: Vec<String> = self.statistic.map(|_| self.statistic_words()).into_iter().collect();
        parts.extend(self.p_value.map(|p| format!("p {}", reasons::p_value(p))));
        parts.extend(self.corrected_p_value.map(|p| {
            let by = self.correction.map_or("", correction_words);
            let level = self.decision_level.map_or_else(String::new, |level| format!(", level {level:.2}"));
            format!("corrected {} ({by}, {} claims{level})", reasons::p_value(p), self.family)
        }));
        parts.join(", ")
    }

    /// The size as a factor or points with its interval, or the closest ratio of an inequality; for tables.
    pub(crate) fn size_cell(&self, size: Option<Size>) -> String {
        match (size, self.largest_ratio) {
            (Some(size), _) if size.unit == SizeUnit::Factor && size.over == SizeOver::Doubling => {
                format!("×{} per doubling", size.number())
            }
            (Some(size), _) if size.unit == SizeUnit::Factor => format!("×{}", size.number()),
            (Some(size), _) if size.over == SizeOver::Doubling => format!("{} per doubling", size.number()),
            (Some(size), _) => size.number(),
            (None, Some(ratio)) => format!("closest ratio {}", three_digits(ratio)),
            (None, None) => "–".to_owned(),
        }
    }
}

/// The correction for people.
pub(crate) fn correction_words(correction: Correction) -> &'static str {
    match correction {
        Correction::Holm => "Holm",
        Correction::BenjaminiHochberg => "Benjamini–Hochberg",
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
