//! The box at the top of the page: how the runs differ from the paper.

use maud::{Markup, html};

use super::scrolling;
use crate::report::from_paper::{self, Difference};
use crate::report::results::Results;
use crate::study::experiment::Experiment;

/// The preset with the paper's network and images.
const PAPER: &str = "paper";

/// The box.
pub(super) fn differences(results: &Results) -> Markup {
    let name = &results.experiment.name;
    let paper = Experiment::presets(name).is_ok_and(|presets| presets.iter().any(|preset| preset == PAPER));
    differences_box(&from_paper::differences(results), paper)
}

fn differences_box(differences: &[Difference], has_paper: bool) -> Markup {
    html! {
        section.box aria-labelledby="differences" {
            h2 #differences { "How this run differs from the paper" }
            @if !has_paper {
                p { "The experiment file has no preset " code { (PAPER) } ", so there is nothing to compare it with." }
            } @else if differences.is_empty() {
                p { "By network, data, images, epochs and seeds it is the preset " code { (PAPER) } "." }
            } @else {
                (scrolling("How this run differs from the paper", html! {
                    table.facts {
                        caption.hidden { "How this run differs from the paper" }
                        thead { tr { th scope="col" {} th.words scope="col" { "this run" } th.words scope="col" { "the paper" } } }
                        tbody {
                            @for Difference { setting, here, paper } in differences {
                                tr { th scope="row" { (setting) } td.words { (here) } td.words.quiet { (paper) } }
                            }
                        }
                    }
                }))
            }
            p.quiet.small {
                "The paper's side is the preset " code { (PAPER) } " of the experiment file. What the paper does not state, such as its \
                 grids and numbers of steps, is this project's choice in both."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_has_both_values_of_each_setting_or_says_that_there_is_nothing_to_compare() {
        let here = Difference { setting: "network", here: "<small>".to_owned(), paper: "resnet18".to_owned() };
        let text = differences_box(&[here], true).into_string();
        assert!(text.contains("&lt;small&gt;") && text.contains("resnet18") && text.contains("the paper"), "{text}");
        assert!(differences_box(&[], true).into_string().contains("it is the preset"));
        assert!(differences_box(&[], false).into_string().contains("nothing to compare it with"));
    }
}
