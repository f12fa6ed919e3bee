//! `claims`: recorded claims in the text and the tables of README and book.
//!
//! Their numbers stand between two comments, such as `<!-- claims of fig4-cpu --><!-- /claims -->`, and are written from the CSV
//! files in `docs/src/results`:
//!
//! | anchor | text |
//! |---|---|
//! | `claims of NAME` | a table of the primary claims of `NAME-claims.csv` |
//! | `claims beside PRESET PRESET: EXPERIMENT …` | those of several experiments, a column for each preset |
//! | `claims counts of NAME` | how many claims have each verdict |
//! | `claims size of NAME: CLAIM` | the size of a claim with its interval, at equal epochs |
//! | `change`, `fold`, `statistic` for `size` | the size alone, as `48-fold`, or the statistic |
//! | `claims size of NAME at COMPARISON: CLAIM` | the same at another comparison point |
//! | `claims output of NAME` | the terminal output in `NAME-output.txt` |
//! | `claims runs of NAME by SWEEP, …: COLUMN=WORDS, …` | a table of `NAME-end-of-training.csv` |

mod recorded;
mod runs;
mod table;

use std::path::Path;

use anyhow::{Result, bail};

use crate::anchors::{Anchors, Changed, workspace};
use crate::output::say;

/// Arguments of `claims`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Args {
    /// Fail if README or book state other claims than those recorded
    #[arg(long)]
    check: bool,
    /// Write the recorded claims into README and book
    #[arg(long)]
    page: bool,
}

const ANCHORS: Anchors = Anchors { name: "claims" };

/// The folder of the recorded claims.
const RESULTS: &str = "docs/src/results";

/// Runs the command.
pub(crate) fn claims(args: &Args) -> Result<()> {
    let root = workspace()?;
    if args.check {
        return check(&root);
    }
    changed(&root)?.iter().try_for_each(|changed| changed.write(&format!("the claims of {RESULTS}")))
}

fn changed(root: &Path) -> Result<Vec<Changed>> {
    let folder = root.join(RESULTS);
    ANCHORS.changed(root, |request| table::of_request(request, &folder))
}

fn check(root: &Path) -> Result<()> {
    let stale: Vec<String> = changed(root)?.iter().map(|changed| changed.first_difference(root)).collect();
    if !stale.is_empty() {
        bail!("other claims than those of {RESULTS}:\n  {}\nrun `cargo xtask claims --page`", stale.join("\n  "));
    }
    say!("README and book state the claims of {RESULTS}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readme_and_book_state_the_recorded_claims() {
        check(&workspace().unwrap()).unwrap();
    }

    #[test]
    fn another_number_is_found() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        for folder in [RESULTS, "crates"] {
            std::fs::create_dir_all(path.join(folder)).unwrap();
        }
        let claims = "claim,comparison,seeds,statistic,interval_low,interval_high,verdict,primary,size,size_low,size_high,size_unit\n\
                      larger a → lower b,equal epochs,5,-1,-1,-1,holds,true,0.02081,0.0145,0.0297,factor\n";
        std::fs::write(path.join(RESULTS).join("a-cpu-claims.csv"), claims).unwrap();
        let page = "<!-- claims of a-cpu -->\n\n| primary claim, equal epochs | size or statistic | verdict |\n|---|---|---|\n\
                    | larger a → lower b | ×0.0208 [0.0145,\u{a0}0.0297] | holds |\n\n<!-- /claims -->\n";
        std::fs::write(path.join("README.md"), page).unwrap();
        check(path).unwrap();
        std::fs::write(path.join("README.md"), page.replace("0.0208", "0.0209")).unwrap();
        let error = check(path).unwrap_err().to_string();
        assert!(error.contains("README.md, line 5") && error.contains("claims --page"), "{error}");
    }
}
