//! Recorded figures in the text of README and book.
//!
//! | anchor | text |
//! |---|---|
//! | `bench ratio KEY` | the peer's cost over ours |
//! | `bench range KEY` | lowest and highest ratio over the rounds |
//! | `bench ours KEY`, `bench theirs KEY` | the two costs |
//! | `bench table KEY …` | a table of these comparisons |
//! | `bench summary` | the table of the summary |
//!
//! The keys are those of [`super::named`].

use anyhow::{Context, Result, bail};

use super::named::{self, Named};
use super::recorded::{Ratio, Recorded};
use super::units::cost;
use crate::anchors::Anchors;

/// The anchors of this kind.
pub(super) const ANCHORS: Anchors = Anchors { name: "bench" };

/// The page with the text of every anchor replaced by what is recorded.
///
/// An anchor without an end, with an unknown field or key, or whose comparison is not recorded, is an error with its line.
#[cfg(test)]
fn filled(page: &str, recorded: &Recorded) -> Result<String> {
    ANCHORS.filled(page, |request| value(request, recorded))
}

/// The text of an anchor.
pub(super) fn value(request: &str, recorded: &Recorded) -> Result<String> {
    let words: Vec<&str> = request.split_whitespace().collect();
    match words[..] {
        ["summary"] => Ok(format!("\n\n{}\n", named::summary(recorded))),
        ["table", ref keys @ ..] if !keys.is_empty() => {
            let rows = keys.iter().map(|key| Named::find(key)).collect::<Result<Vec<_>>>()?;
            Ok(format!("\n\n{}\n", named::table(rows, recorded)))
        }
        [field @ ("ratio" | "range" | "ours" | "theirs"), key] => {
            let missing = || format!("`{key}` is not among the recorded figures: measure it or take the anchor out");
            let ratio = Named::find(key)?.recorded(recorded).with_context(missing)?;
            Ok(of_field(field, &ratio))
        }
        _ => bail!("an anchor is `summary`, `table KEY …`, or `ratio`, `range`, `ours` or `theirs` with one key"),
    }
}

fn of_field(field: &str, ratio: &Ratio) -> String {
    match field {
        "ratio" => named::shown(ratio.ratio),
        "range" => named::range(ratio),
        "ours" => cost(ratio.ours, &ratio.unit),
        _ => cost(ratio.theirs, &ratio.unit),
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::OURS;
    use super::super::recorded::tests::{example, figure};
    use super::*;

    fn recorded() -> Recorded {
        let work = "gc/exact, vgg13, p=512/each image of 3x32x32, cpu";
        let mut recorded = example();
        let session = &mut recorded.topics.get_mut("collapse").unwrap()[0];
        session.figures = vec![figure(work, OURS, &[0.2, 0.1], None), figure(work, "PyTorch", &[0.3, 0.3], None)];
        recorded
    }

    #[test]
    fn anchors_are_filled_and_the_rest_stays() {
        let page = "A ratio of <!-- bench ratio exact-gc -->7<!-- /bench -->,\nfrom <!-- bench ours exact-gc --><!-- /bench \
                    -->; `<!-- bench ratio KEY -->` is an example.\n";
        let text = filled(page, &recorded()).unwrap();
        let expected = "A ratio of <!-- bench ratio exact-gc -->2.2<!-- /bench -->,\nfrom <!-- bench ours exact-gc -->150 \
                        ms<!-- /bench -->; `<!-- bench ratio KEY -->` is an example.\n";
        assert_eq!(text, expected);
        assert_eq!(filled(&text, &recorded()).unwrap(), text);
        assert_eq!(filled("no anchor\n", &Recorded::default()).unwrap(), "no anchor\n");
    }

    #[test]
    fn a_table_stands_on_lines_of_its_own() {
        let text = filled("<!-- bench table exact-gc --><!-- /bench -->", &recorded()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[6]), (7, "<!-- bench table exact-gc -->", "<!-- /bench -->"));
        assert_eq!(lines[4], "| exact GC of VGG-13, an image | 150 ms | PyTorch | 300 ms | 2.2 | 2 rounds |");
    }

    #[test]
    fn every_wrong_anchor_is_an_error_with_its_line() {
        for (anchor, reason) in [
            ("<!-- bench ratio exact-gc -->1", "without its end"),
            ("<!-- bench ratio speed --><!-- /bench -->", "no comparison has the key `speed`"),
            ("<!-- bench ratio episodes --><!-- /bench -->", "not among the recorded figures"),
            ("<!-- bench mean exact-gc --><!-- /bench -->", "an anchor is"),
            ("<!-- bench table --><!-- /bench -->", "an anchor is"),
        ] {
            let error = filled(&format!("one\n{anchor}"), &recorded()).unwrap_err();
            let text = format!("{error:#}");
            assert!(text.starts_with("line 2: ") && text.contains(reason), "{text}");
        }
    }
}
