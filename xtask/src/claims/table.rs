//! Tables of recorded claims.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::recorded::{Claim, primary};

/// The text of an anchor.
///
/// # Errors
/// An unknown request, and claims that are not recorded.
pub(super) fn of_request(request: &str, folder: &Path) -> Result<String> {
    let table = if let Some(name) = request.strip_prefix("of ") {
        one(&primary(folder, name.trim())?)
    } else if let Some((presets, experiments)) = request.strip_prefix("beside ").and_then(|rest| rest.split_once(':')) {
        let presets: Vec<&str> = presets.split_whitespace().collect();
        beside(&presets, experiments.split_whitespace(), folder)?
    } else {
        bail!("an anchor is `of NAME` or `beside PRESET PRESET: EXPERIMENT …`");
    };
    Ok(format!("\n\n{table}\n"))
}

/// The claims of one experiment.
fn one(claims: &[Claim]) -> String {
    let row = |claim: &Claim| {
        let number = claim.number().unwrap_or_else(|| "–".to_owned());
        format!("| {} ({}) | {number} | {} |\n", escaped(&claim.claim), claim.comparison, claim.verdict)
    };
    let rows: String = claims.iter().map(row).collect();
    format!("| primary claim | size or statistic | verdict |\n|---|---|---|\n{rows}")
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
                        | larger a → lower b (equal epochs) | ×0.0208 [0.0145, 0.0297] | holds |\n\
                        | b ≤ \\|c\\| (all points) | – | vacuous |\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn presets_stand_beside_each_other() {
        let text = of_request("beside cpu quick: e", folder().path()).unwrap();
        let expected = "\n\n| claim of the paper | real images (`cpu`, 5 seeds) | glyphs (`quick`, 3 seeds) |\n|---|---|---|\n\
                        | e: larger a → lower b | holds: ×0.0208 [0.0145, 0.0297] | undecided: ×0.5 |\n\
                        | e: b ≤ \\|c\\| | vacuous | – |\n\n";
        assert_eq!(text, expected);
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
        ] {
            let error = format!("{:#}", of_request(request, folder.path()).unwrap_err());
            assert!(error.contains(reason), "{request}: {error}");
        }
        std::fs::write(folder.path().join("g-claims.csv"), "a,b\n1,2\n").unwrap();
        let error = format!("{:#}", of_request("of g", folder.path()).unwrap_err());
        assert!(error.contains("no table of claims"), "{error}");
    }
}
