//! The appendix of the book's page: tables of all recorded figures between two marks. The rest stays unchanged.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::curves;
use super::recorded::{OURS, Ratio, Recorded, Session};
use super::units::cost;

const BEGIN: &str = "<!-- recorded figures: begin; written by `cargo xtask bench` -->";
const END: &str = "<!-- recorded figures: end -->";

/// The appendix with its recorded part replaced.
pub(super) fn with_recorded(page: &str, recorded: &Recorded) -> Result<String> {
    let missing = || format!("the page lacks the mark `{BEGIN}` or `{END}` between which figures are written");
    let (before, rest) = page.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!("{before}{BEGIN}\n\n{}\n{END}{after}", tables(recorded)))
}

fn tables(recorded: &Recorded) -> String {
    if recorded.topics.is_empty() {
        return "Nothing is recorded yet.\n".to_owned();
    }
    let mut text = String::new();
    if !recorded.ratios().is_empty() {
        text.push_str("![Time of a peer over ours, for each row of the summary](results/benchmarks.svg)\n\n");
    }
    if recorded.topics.values().flatten().any(|session| !curves::curves(session).is_empty()) {
        text.push_str("![Cost against size with fitted power and roofline](results/benchmark-curves.svg)\n\n");
    }
    for (topic, sessions) in &recorded.topics {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "## `{topic}`\n");
        for session in sessions {
            let _ = writeln!(text, "{}\n", about(session));
            text.push_str(&compared(&session.ratios(topic)));
            text.push_str(&curves::table(session));
            text.push_str(&alone(session));
        }
    }
    text
}

fn about(session: &Session) -> String {
    let versions: Vec<String> = session.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let quick = if session.quick { " Small shapes and few repetitions: no figure to quote." } else { "" };
    format!(
        "`{}`, {}; {}, {} threads; {}.{quick}",
        session.command,
        session.date,
        session.machine,
        session.threads,
        versions.join(", ")
    )
}

/// The table of our figures beside the peers'.
fn compared(ratios: &[Ratio]) -> String {
    if ratios.is_empty() {
        return String::new();
    }
    let mut text = "| work | ours | peer | | ratio | over the rounds |\n|---|---|---|---|---|---|\n".to_owned();
    for ratio in ratios {
        let best = if ratio.best_peer { "**" } else { "" };
        let range = match ratio.range {
            (least, most) if least == most => "one round".to_owned(),
            (least, most) => format!("{least:.2} to {most:.2}"),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {best}{:.2}{best} | {range} |",
            ratio.work,
            cost(ratio.ours, &ratio.unit),
            ratio.peer,
            cost(ratio.theirs, &ratio.unit),
            ratio.ratio
        );
    }
    text.push('\n');
    text
}

/// The table of our figures without a peer's.
fn alone(session: &Session) -> String {
    let paired = |work: &str| session.figures.iter().any(|other| other.side != OURS && other.work == work);
    let single = session.figures.iter().filter(|figure| figure.side == OURS && !paired(&figure.work));
    let rows: Vec<String> = single
        .filter(|figure| curves::split(&figure.work).is_none())
        .map(|figure| {
            let rate =
                figure.elements.map(|elements| format!("{:.3e}", elements / figure.median())).unwrap_or_default();
            format!("| {} | {} | {rate} |\n", figure.work, cost(figure.median(), &figure.unit))
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("| work, ours alone | cost | elements a second |\n|---|---|---|\n{}\n", rows.concat())
}

#[cfg(test)]
mod tests {
    use super::super::recorded::tests::example;
    use super::*;

    #[test]
    fn the_recorded_part_is_replaced_and_the_rest_stays() {
        let page = format!("# Title\n\n{BEGIN}\nold 7.0× PyTorch\n{END}\n\ntail\n");
        let written = with_recorded(&page, &example()).unwrap();
        assert!(written.starts_with("# Title\n") && written.ends_with("\ntail\n") && !written.contains("old"));
        assert!(
            written.contains("| collapse/full-report/10x2 | 1.00 s | NumPy | 4.00 s | **3.00** | 2.50 to 4.00 |"),
            "{written}"
        );
        assert!(written.contains(
            "`cargo xtask bench collapse`, 2026-11-24 04:00:00 UTC; 2 cores, 2 threads; commit 1234abc, rustc 1.95."
        ));
        assert_eq!(with_recorded(&written, &example()).unwrap(), written);
        assert!(with_recorded("no marks", &example()).is_err());
    }

    #[test]
    fn costs_carry_three_digits() {
        let costs =
            [(12.34, "12.3 s"), (0.0012, "1.20 ms"), (0.4567, "457 ms"), (3.3e-5, "33.0 µs"), (5e-9, "5.00 ns")];
        costs.iter().for_each(|(value, text)| assert_eq!(cost(*value, "s"), *text));
        assert_eq!(cost(120.4, "MiB"), "120 MiB");
    }
}
