//! The structure of pages of synthetic runs: ids, links, escaping, the size of the script, and the values it shows.

use std::collections::BTreeSet;
use std::fs;

use super::SCRIPT;
use crate::report::tests::{experiment, synthetic};
use crate::report::{Extras, write};
use crate::study::experiment::Experiment;
use crate::study::metric::measures;
use crate::study::store::RunFolder;
use crate::study::sweep;

/// The page of synthetic runs of an experiment.
fn written(experiment: Experiment, indexed: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let planned = sweep::runs(&experiment).unwrap();
    synthetic(folder.path(), &planned);
    let written = write(experiment, planned, folder.path(), Extras { tensorboard: false, indexed }).unwrap();
    fs::read_to_string(written.page).unwrap()
}

/// The values of an attribute, in the order of the page.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The markup of the page without styles and script.
fn markup(page: &str) -> String {
    let mut rest = page;
    let mut markup = String::new();
    while let Some((before, after)) = rest.split_once("<s").filter(|_| true) {
        let skipped = ["tyle", "cript"].iter().find(|name| after.starts_with(**name));
        markup.push_str(before);
        match skipped {
            Some(name) => rest = after.split_once(&format!("</s{name}>")).unwrap().1,
            None => {
                markup.push_str("<s");
                rest = after;
            }
        }
    }
    markup + rest
}

#[test]
fn ids_are_unique_and_every_reference_has_its_target() {
    let page = written(experiment(), true);
    let markup = markup(&page);
    let ids = attributes(&markup, "id");
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len(), "an id is there twice: {ids:?}");
    let labels = ["aria-labelledby", "aria-describedby"].map(|name| attributes(&markup, name)).concat();
    let targets = attributes(&markup, "href").into_iter().filter_map(|href| href.strip_prefix('#'));
    for id in labels.iter().flat_map(|ids| ids.split(' ')).chain(targets) {
        assert!(unique.contains(id), "nothing has the id {id}");
    }
    assert!(attributes(&markup, "href").contains(&"#learning-rate-gc"), "a primary claim is a link to its panel");
    for tag in ["<table", "<svg class=\"chart\""] {
        assert!(markup.matches(tag).count() > 10, "{tag}");
    }
    assert_eq!(markup.matches("<table").count(), markup.matches("<caption").count(), "a table without a caption");
    let drawings = markup.matches("role=\"img\"").count();
    let named = markup.matches("role=\"img\" tabindex=\"0\" aria-label=\"").count();
    assert_eq!((markup.matches("<desc ").count(), named), (drawings, drawings));
}

#[test]
fn the_page_is_one_file_with_a_small_script_and_works_without_it() {
    let page = written(experiment(), true);
    assert_eq!((page.matches("<script").count(), page.matches("<style").count()), (1, 2));
    assert!(page.contains("<script type=\"module\">") && SCRIPT.len() <= 8000, "{} bytes", SCRIPT.len());
    for forbidden in ["fetch(", "import", "innerHTML", "XMLHttpRequest", "http://", "https://"] {
        let allowed = SCRIPT.matches("http://www.w3.org/2000/svg").count();
        let found = SCRIPT.matches(forbidden).count();
        assert!(found == 0 || (forbidden == "http://" && found == allowed), "{forbidden} in the script");
    }
    let markup = markup(&page);
    let outside = ["href", "src"].map(|name| attributes(&markup, name)).concat();
    let files: BTreeSet<&str> = outside.into_iter().filter(|url| !url.starts_with('#')).collect();
    for url in &files {
        let relative = !url.contains(':') && !url.starts_with('/');
        assert!(relative || ["https://arxiv.org/abs/2405.15706", "data:,"].contains(url), "{url}");
    }
    for file in ["../index.html", "measurements.csv", "claims.csv", "summary.md", "figure.svg"] {
        assert!(files.contains(file), "no link to {file}");
    }
    assert_eq!(files.iter().filter(|url| url.starts_with("runs/")).count(), sweep::runs(&experiment()).unwrap().len());
    for needs_a_script in ["<button", "onclick", "<input"] {
        assert!(!markup.contains(needs_a_script), "{needs_a_script} in a page without a script");
    }
    assert!(!written(experiment(), false).contains("index.html"), "a link to an index that is not written");
}

#[test]
fn decomposition_mediation_courses_and_layers_have_their_panels_and_tables() {
    let settings = ["measure.layers=[\"features.3\", \"features.21\"]".to_owned()];
    let page = markup(&written(Experiment::resolve("fig4", "quick", None, Some(&[0, 1]), &settings).unwrap(), false));
    for id in ["decomposition-runs", "decomposition-training", "course-gc-nc", "layers-0", "layers-3"] {
        assert!(page.contains(&format!("<figure id=\"{id}\"")), "{id}");
    }
    for caption in
        ["Mediation of the penalty", "share of each term in the variance of log NC", "Layers at the end of training"]
    {
        assert!(page.contains(&format!("<caption>{caption}")) || page.contains(caption), "{caption}");
    }
    assert!(page.contains("Over runs: GC ") && page.contains("Along training: GC "));
    assert!(page.contains("data-name=\"features.21\"") && page.contains(">features.21</text>"));
    // Three terms and the variance, for each run at the end and at each point after the initial network.
    let panel = page.split("<figure id=\"decomposition-runs\"").nth(1).unwrap().split("</svg>").next().unwrap();
    let runs = sweep::runs(&Experiment::resolve("fig4", "quick", None, Some(&[0, 1]), &[]).unwrap()).unwrap().len();
    let ended = panel.matches("<g class=\"point").count() / 4;
    assert!(ended >= runs - 4 && panel.matches("class=\"fit ").count() == 4, "{ended} of {runs}");
}

#[test]
fn names_from_the_experiment_file_are_text() {
    let hostile = "</script><img src=x onerror=alert(1)>\\\"'&";
    let settings = [
        format!("title=\"{hostile}\""),
        format!("sweeps.learning-rate.label=\"{hostile}\""),
        "sweeps.learning-rate.values=[0.005, 0.02, 0.1, 0.4]".to_owned(),
    ];
    let page = written(Experiment::resolve("fig4", "quick", None, Some(&[0, 1]), &settings).unwrap(), false);
    assert!(page.contains("&lt;/script&gt;&lt;img src=x"), "the name is shown");
    assert!(!page.contains("<img") && page.matches("</script>").count() == 1);
}

#[test]
fn the_lead_comes_before_everything_else_and_counts_nothing() {
    let page = markup(&written(experiment(), true));
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not there"));
    let order = ["<h1>", "class=\"sentence\"", "class=\"lead\"", "How this run differs from the paper", "<figure"];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])));
    assert!(
        at("class=\"sentence\"") < at("<caption>Primary claims")
            && at("<caption>Primary claims") < at("<caption>Exploratory claims")
    );
    let visible: String =
        page.split('<').filter_map(|tag| tag.split_once('>')).map(|(_, text)| format!("{text} ")).collect();
    for word in ["claims hold", "claims fail", "claims with"] {
        assert!(!visible.contains(word), "{word}");
    }
}

#[test]
fn the_values_under_the_pointer_are_those_of_the_table_and_of_the_runs() {
    let folder = tempfile::tempdir().unwrap();
    let planned = sweep::runs(&experiment()).unwrap();
    synthetic(folder.path(), &planned);
    let extras = Extras { tensorboard: false, indexed: false };
    let page = fs::read_to_string(write(experiment(), planned.clone(), folder.path(), extras).unwrap().page).unwrap();
    let page = markup(&page);
    let figures: Vec<&str> =
        page.split("<figure ").skip(1).map(|rest| rest.split("</figure>").next().unwrap()).collect();
    assert!(figures.len() > 15);
    for figure in &figures {
        let (drawing, numbers) = figure.split_once("<details").unwrap();
        let points: Vec<&str> = drawing.split("<g class=\"point").skip(1).collect();
        let rows: Vec<&str> = numbers.split("<tr><th").skip(2).collect();
        assert!(!points.is_empty() && points.len() <= rows.len(), "{figure}");
        let in_rows: Vec<Vec<&str>> = rows.iter().map(|row| attributes(row, "value")).collect();
        for point in points {
            let value = |name: &str| attributes(point, name).first().copied();
            let own: Vec<&str> = match value("data-low") {
                Some(low) => {
                    // A place with a name has no number in the table.
                    let x = value("data-x").filter(|_| value("data-name").is_none());
                    x.into_iter().chain([value("data-y").unwrap(), low, value("data-high").unwrap()]).collect()
                }
                None => [value("data-x"), value("data-x-error"), value("data-y"), value("data-y-error")]
                    .into_iter()
                    .flatten()
                    .collect(),
            };
            assert!(in_rows.contains(&own), "{own:?} is no row of the table in {figure}");
        }
    }
    let scatter = figures.iter().find(|figure| figure.starts_with("id=\"scatter-gc-target_nc\"")).unwrap();
    for run in &planned {
        let measurements = RunFolder::of(folder.path(), &run.key).measurements().unwrap();
        let Some(last) = measurements.iter().find(|at| (at.epoch - 3.0).abs() < 1e-9) else { continue };
        let (x, y) = (last.value(measures::GC).unwrap(), last.value(measures::TARGET_NC).unwrap());
        assert!(scatter.contains(&format!("data-x=\"{x}\" data-y=\"{y}\"")), "{}", run.description());
    }
}
