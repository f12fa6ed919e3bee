//! The differences of a run from the paper: network, images, training and seeds, compared with the preset `paper`.

use maud::{Markup, html};

use super::scrolling;
use crate::report::chart::plain;
use crate::study::experiment::{Experiment, Plan};

/// The preset with the paper's network and images.
const PAPER: &str = "paper";

/// One setting in which the runs differ from the paper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The name of the setting.
    pub(crate) name: &'static str,
    /// Its value in these runs.
    pub(crate) here: String,
    /// Its value in the preset `paper`.
    pub(crate) paper: String,
}

/// The settings in which the experiment differs from its preset `paper`; none if the program has no such preset of it.
pub(crate) fn differences(experiment: &Experiment) -> Option<Vec<Difference>> {
    if !Experiment::names().any(|name| name == experiment.name) {
        return None;
    }
    let paper = Experiment::resolve(&experiment.name, PAPER, None, None, &[]).ok()?;
    let settings = settings(&experiment.plan).into_iter().zip(settings(&paper.plan));
    let differing = settings.filter(|((_, here), (_, paper))| here != paper);
    Some(differing.map(|((name, here), (_, paper))| Difference { name, here, paper }).collect())
}

/// The differences in one line, for the index and the terminal; none without a comparison.
pub(crate) fn in_one_line(experiment: &Experiment) -> Option<String> {
    let differences = differences(experiment)?;
    let words = differences.iter().map(|Difference { name, here, paper }| format!("{name}: {here}, not {paper}"));
    let words: Vec<String> = words.collect();
    Some(if words.is_empty() { "as in the preset paper".to_owned() } else { words.join("; ") })
}

/// The settings that are compared, with their values in words.
fn settings(plan: &Plan) -> [(&'static str, String); 7] {
    let (data, model, train) = (&plan.data, &plan.model, &plan.train);
    let width = if model.width == 1.0 { String::new() } else { format!(", width ×{}", plain(model.width)) };
    let norm = if model.batch_norm { "with batch norm" } else { "without batch norm" };
    let classes = |count: usize| if count == 0 { "all classes".to_owned() } else { format!("{count} classes") };
    let mut images = format!(
        "{}, {} training and {} test images each",
        classes(data.classes),
        data.train_images_per_class,
        data.test_images_per_class
    );
    if plan.task == crate::task::Task::Transfer {
        images.push_str(&format!(
            "; {} of the target, {} images each",
            classes(data.target_classes),
            data.target_images_per_class
        ));
    }
    [
        ("network", format!("{} {norm}{width}", model.architecture)),
        ("data", data_set(&data.set)),
        ("images", images),
        ("epochs", plain(train.epochs)),
        (
            "learning rate and batch outside of their sweeps",
            format!("{} and {}", plain(train.learning_rate), train.batch_size),
        ),
        ("images whose GC is measured", format!("{} per class", plan.measure.gc_images_per_class)),
        ("seeds", plan.seeds.len().to_string()),
    ]
}

fn data_set(name: &str) -> String {
    if name == "glyphs" { "glyphs (images drawn by the program)".to_owned() } else { name.to_owned() }
}

/// The box at the top of the page.
pub(super) fn differences_box(experiment: &Experiment) -> Markup {
    html! {
        section.box aria-labelledby="differences" {
            h2 #differences { "How this run differs from the paper" }
            @match differences(experiment) {
                None => p { "The experiment file is not one of the paper's experiments, so there is nothing to compare it with." },
                Some(differences) if differences.is_empty() => p {
                    "By network, data, images, epochs and seeds it is the preset " code { (PAPER) } "."
                },
                Some(differences) => (scrolling("How this run differs from the paper", html! {
                    table.facts {
                        caption.hidden { "How this run differs from the paper" }
                        thead { tr { th scope="col" {} th.words scope="col" { "this run" } th.words scope="col" { "the paper" } } }
                        tbody {
                            @for Difference { name, here, paper } in &differences {
                                tr { th scope="row" { (name) } td.words { (here) } td.words.quiet { (paper) } }
                            }
                        }
                    }
                })),
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
    fn the_settings_that_differ_from_the_paper_are_named_with_both_values() {
        let quick = Experiment::resolve("fig4", "quick", None, Some(&[0]), &[]).unwrap();
        let found = differences(&quick).unwrap();
        let of = |name: &str| found.iter().find(|difference| difference.name == name).unwrap();
        assert_eq!(of("network").here, "vgg-small with batch norm");
        assert!(of("network").paper.starts_with("resnet18-cifar"), "{:?}", of("network"));
        assert_eq!(
            (of("data").here.as_str(), of("data").paper.as_str()),
            ("glyphs (images drawn by the program)", "cifar-fs")
        );
        assert_eq!((of("seeds").here.as_str(), of("seeds").paper.as_str()), ("1", "5"));
        assert_eq!((of("epochs").here.as_str(), of("epochs").paper.as_str()), ("5", "200"));
        let page = differences_box(&quick).into_string();
        assert!(page.contains("resnet18-cifar") && page.contains("the paper"), "{page}");
        assert!(in_one_line(&quick).unwrap().contains("epochs: 5, not 200"));
    }

    #[test]
    fn the_paper_itself_and_other_experiments_have_no_differences() {
        let paper = Experiment::resolve("fig1", PAPER, None, None, &[]).unwrap();
        assert_eq!(differences(&paper).unwrap(), []);
        let mut other = paper;
        other.name = "<mine>".to_owned();
        assert_eq!(differences(&other), None);
        assert!(differences_box(&other).into_string().contains("nothing to compare"));
    }
}
