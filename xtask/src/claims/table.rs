//! Tables of recorded claims.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::recorded::{self, Claim, primary};
use super::runs;

/// The text of an anchor.
///
/// # Errors
/// An unknown request, and what is not recorded.
pub(super) fn of_request(request: &str, folder: &Path) -> Result<String> {
    // A long request is broken over lines.
    let request = request.split_whitespace().collect::<Vec<_>>().join(" ");
    let (kind, rest) = request.split_once(' ').unwrap_or((&request, ""));
    let named = || rest.strip_prefix("of ").unwrap_or(rest);
    match kind {
        "of" => Ok(block(&one(&primary(folder, rest)?))),
        "beside" => {
            let (presets, experiments) =
                rest.split_once(':').context("`beside` needs `PRESET PRESET: EXPERIMENT …`")?;
            let presets: Vec<&str> = presets.split_whitespace().collect();
            Ok(block(&beside(&presets, experiments.split_whitespace(), folder)?))
        }
        "runs" => Ok(block(&runs::of_request(named(), folder)?)),
        "counts" => recorded::counts(folder, named()),
        "output" => recorded::output(folder, named()),
        "size" => of_claim(named(), folder, Claim::size),
        "change" => of_claim(named(), folder, Claim::change),
        "statistic" => of_claim(named(), folder, Claim::statistic),
        "fold" => of_claim(named(), folder, Claim::fold),
        _ => bail!(
            "an anchor is `of NAME`, `beside PRESET PRESET: EXPERIMENT …`, `runs of NAME …`, `counts of NAME`, `output of NAME`, \
             or `size`, `change`, `statistic` or `fold` and `of NAME: CLAIM`"
        ),
    }
}

/// A table stands in lines of its own.
fn block(table: &str) -> String {
    format!("\n\n{table}\n")
}

/// The number of one claim, of a request `NAME: CLAIM` or `NAME at COMPARISON: CLAIM`.
fn of_claim(request: &str, folder: &Path, number: fn(&Claim) -> Option<String>) -> Result<String> {
    let (name, claim) = request.split_once(": ").context("a claim is `NAME: CLAIM` or `NAME at COMPARISON: CLAIM`")?;
    let (name, comparison) = name.split_once(" at ").map_or((name, None), |(name, at)| (name, Some(at)));
    let found = recorded::one(folder, name, claim, comparison)?;
    number(&found).with_context(|| format!("{name}-claims.csv has no such number of “{claim}”"))
}

/// The claims of one experiment. A comparison point that all share stands in the header; the sizes among trained runs and the
/// p-values are columns where there are any.
fn one(claims: &[Claim]) -> String {
    type Cell = fn(&Claim) -> Option<String>;
    let optional: [(&str, Cell); 2] = [("trained runs alone", Claim::trained), ("corrected p", Claim::corrected_p)];
    let shown: Vec<&(&str, Cell)> =
        optional.iter().filter(|(_, cell)| claims.iter().any(|claim| cell(claim).is_some())).collect();
    let shared = claims.first().filter(|first| claims.iter().all(|claim| claim.comparison == first.comparison));
    // An interval stays on one line.
    let or_dash = |text: Option<String>| text.map_or_else(|| "–".to_owned(), |text| text.replace(", ", ",\u{a0}"));
    let row = |claim: &Claim| {
        let more: String = shown.iter().map(|(_, cell)| format!(" {} |", or_dash(cell(claim)))).collect();
        let at = if shared.is_some() { String::new() } else { format!(" ({})", claim.comparison) };
        format!("| {}{at} | {} |{more} {} |\n", escaped(&claim.claim), or_dash(claim.number()), claim.verdict)
    };
    let rows: String = claims.iter().map(row).collect();
    let head: String = shown.iter().map(|(words, _)| format!(" {words} |")).collect();
    let at = shared.map_or_else(String::new, |claim| format!(", {}", claim.comparison));
    let rule = "---|".repeat(3 + shown.len());
    format!("| primary claim{at} | size or statistic |{head} verdict |\n|{rule}\n{rows}")
}

/// The claims of several experiments, a column for each preset. The first preset says which claims there are.
fn beside<'a>(presets: &[&str], experiments: impl Iterator<Item = &'a str>, folder: &Path) -> Result<String> {
    let mut columns: Vec<Vec<Claim>> = vec![Vec::new(); presets.len()];
    let mut rows = String::new();
    for experiment in experiments {
        let read = |preset: &&str| primary(folder, &format!("{experiment}-{preset}"));
        let found: Vec<Vec<Claim>> = presets.iter().map(read).collect::<Result<_>>()?;
        let first = found.first().context("an anchor `beside` needs presets before the colon")?;
        for claim in first {
            let same = |other: &&Claim| other.claim == claim.claim && other.comparison == claim.comparison;
            let cell = |claims: &Vec<Claim>| claims.iter().find(same).map_or_else(|| "–".to_owned(), verdict);
            let cells: Vec<String> = found.iter().map(cell).collect();
            rows.push_str(&format!("| {experiment}: {} | {} |\n", escaped(&claim.claim), cells.join(" | ")));
        }
        columns.iter_mut().zip(found).for_each(|(column, claims)| column.extend(claims));
    }
    let header: Vec<String> = presets.iter().zip(&columns).map(|(preset, claims)| head(preset, claims)).collect();
    let rule = "---|".repeat(1 + presets.len());
    Ok(format!("| claim of the paper | {} |\n|{rule}\n{rows}", header.join(" | ")))
}

/// The verdict with its number.
fn verdict(claim: &Claim) -> String {
    claim.number().map_or_else(|| claim.verdict.clone(), |number| format!("{}: {number}", claim.verdict))
}

/// The data of a preset, its name, and its number of seeds.
fn head(preset: &str, claims: &[Claim]) -> String {
    let data = match preset {
        "quick" => "glyphs",
        "cpu" => "real images",
        other => other,
    };
    let seeds = || claims.iter().map(|claim| claim.seeds);
    let seeds = match (seeds().min(), seeds().max()) {
        (Some(least), Some(most)) if least < most => format!(", {least} to {most} seeds"),
        (Some(seeds), _) => format!(", {seeds} seeds"),
        _ => String::new(),
    };
    format!("{data} (`{preset}`{seeds})")
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "claim,comparison,seeds,statistic,interval_low,interval_high,verdict,primary,size,size_low,size_high,size_unit\n";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, rows: &str| std::fs::write(folder.path().join(name), format!("{HEADER}{rows}")).unwrap();
        let trend = "larger a → lower b,equal epochs,5,-1,-1,-1,holds,true,0.0208,0.0145,0.0297,factor\n";
        let bound = "b ≤ |c|,all points,5,1,,,vacuous,true,,,,\n";
        let exploratory = "larger a → lower d,equal epochs,5,-1,-1,-1,holds,false,0.5,0.4,0.6,factor\n";
        write("e-cpu-claims.csv", &format!("{trend}{bound}{exploratory}"));
        write("e-quick-claims.csv", "larger a → lower b,equal epochs,3,-1,,,undecided,true,0.5,,,factor\n");
        write("none-cpu-claims.csv", exploratory);
        folder
    }

    #[test]
    fn a_table_has_the_primary_claims_of_an_experiment() {
        let text = of_request("of e-cpu", folder().path()).unwrap();
        let expected = "\n\n| primary claim | size or statistic | verdict |\n|---|---|---|\n\
                        | larger a → lower b (equal epochs) | ×0.0208 [0.0145,\u{a0}0.0297] | holds |\n\
                        | b ≤ \\|c\\| (all points) | – | vacuous |\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn sizes_among_trained_runs_and_p_values_are_columns() {
        let folder = tempfile::tempdir().unwrap();
        let header =
            HEADER.trim_end().to_owned() + ",trained_size,trained_size_low,trained_size_high,corrected_p_value\n";
        let rows = "a,equal epochs,5,1,,,holds,true,0.5,,,factor,0.7,0.6,0.8,0.0312\nb,all points,5,1,,,vacuous,true,,,,,,,,\n";
        std::fs::write(folder.path().join("e-claims.csv"), header + rows).unwrap();
        let expected = "\n\n| primary claim | size or statistic | trained runs alone | corrected p | verdict |\n|---|---|---|---|---|\n\
                        | a (equal epochs) | ×0.500 | ×0.700 [0.600,\u{a0}0.800] | 0.031 | holds |\n\
                        | b (all points) | – | – | – | vacuous |\n\n";
        assert_eq!(of_request("of e", folder.path()).unwrap(), expected);
    }

    #[test]
    fn presets_stand_beside_each_other() {
        let text = of_request("beside cpu quick: e", folder().path()).unwrap();
        let expected = "\n\n| claim of the paper | real images (`cpu`, 5 seeds) | glyphs (`quick`, 3 seeds) |\n|---|---|---|\n\
                        | e: larger a → lower b | holds: ×0.0208 [0.0145, 0.0297] | undecided: ×0.500 |\n\
                        | e: b ≤ \\|c\\| | vacuous | – |\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_number_stands_in_a_sentence() {
        let folder = folder();
        let text = |request: &str| of_request(request, folder.path()).unwrap();
        assert_eq!(text("size of e-cpu: larger a → lower b"), "×0.0208 [0.0145, 0.0297]");
        assert_eq!(text("fold of e-cpu at equal epochs:\n  larger a → lower b"), "48-fold");
        assert_eq!(text("change of e-cpu: larger a → lower b"), "×0.0208");
        assert_eq!(text("statistic of e-cpu: b ≤ |c|"), "+1.00");
        assert_eq!(text("counts of e-cpu"), "of all 3 claims 2 hold and 1 is vacuous");
    }

    #[test]
    fn what_is_not_recorded_is_an_error() {
        let folder = folder();
        for (request, reason) in [
            ("of f-cpu", "cannot read"),
            ("of none-cpu", "no primary claim"),
            ("beside cpu: f", "cannot read"),
            ("beside : e", "needs presets"),
            ("table e", "an anchor is"),
            ("size of e-cpu", "a claim is"),
            ("size of e-cpu: b ≤ |c|", "no such number"),
            ("size of e-cpu: larger a → lower e", "0 claims"),
            ("counts of f", "cannot read"),
            ("output of f", "cannot read"),
            ("runs of f by l2: gc", "cannot read"),
        ] {
            let error = format!("{:#}", of_request(request, folder.path()).unwrap_err());
            assert!(error.contains(reason), "{request}: {error}");
        }
        std::fs::write(folder.path().join("g-claims.csv"), "a,b\n1,2\n").unwrap();
        let error = format!("{:#}", of_request("of g", folder.path()).unwrap_err());
        assert!(error.contains("no table of claims"), "{error}");
    }
}
