//! A measure that is added by one entry: it is recorded, tabulated, plotted and claimed as every other.

use std::fs;
use std::path::Path;

use assess::{Entry, Measured, Scale, register};

use super::images::Images;
use super::training::{Training, TrainingOptions};
use crate::provenance::Stopwatch;
use crate::report;
use crate::study::experiment::Experiment;
use crate::study::store::RunFolder;
use crate::study::sweep::{self, PlannedRun};

/// The measure: all that is written to add it.
const SPREAD: Entry = Entry {
    symbol: "s/m",
    label: "spread of the class means",
    short: "spread",
    scale: Scale::Linear,
    ..Entry::new("test_added_spread", "Coefficient of variation of the norms of class means.", |assessment| {
        let report = assessment.train.collapse.as_ref()?;
        Some(Measured::maybe(report.simplex.equinorm, Some(0.125), assessment.train.samples))
    })
};

/// `fig1` with further measures, as a file in a folder.
fn file(root: &Path, also: &str) -> String {
    let text = include_str!("../../../experiments/fig1.toml");
    let path = root.join("fig1.toml");
    fs::write(&path, text.replacen("\n[measure]\n", &format!("\n[measure]\nalso = ['{also}']\n"), 1)).unwrap();
    path.display().to_string()
}

fn experiment(root: &Path) -> Experiment {
    let settings = [
        "data.classes=4",
        "data.train_images_per_class=6",
        "data.test_images_per_class=3",
        "model.width=0.05",
        "train.epochs=1",
        "train.batch_size=8",
        "measure.schedule=[0, 1]",
        "measure.loss_window=8",
        "measure.feature_images_per_class=4",
        "measure.gc_images_per_class=2",
        "measure.layers=[]",
        "rules.resamples=100",
        "sweeps.learning-rate.values=[0.02, 0.1]",
        "sweeps.batch-size.values=[8, 12]",
        "sweeps.l2.values=[0, 1e-2]",
        "report.columns=['learning-rate']",
        "report.rows=['gc', 'test_added_spread']",
        "report.scatter=[{ x = 'test_added_spread', y = 'nc' }]",
        "claims.trends=[{ metrics = ['test_added_spread'], sweeps = { learning-rate = 'rises' }, comparisons = ['equal-epochs'] }]",
        "claims.associations=[{ x = 'test_added_spread', y = 'nc', direction = 'rises', comparisons = ['equal-epochs'] }]",
        "claims.inequalities=[]",
        "claims.courses=[]",
    ];
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    Experiment::resolve(&file(root, "equinorm"), "quick", None, Some(&[0]), &settings).unwrap()
}

/// Executes a run in this process.
fn execute(run: &PlannedRun, results: &Path) {
    let folder = RunFolder::of(results, &run.key);
    folder.create(&run.configuration).unwrap();
    let images = Images::load(&run.configuration, None).unwrap();
    let options = TrainingOptions { attached: false, checkpoint_every: None };
    let (outcome, _) = Training::new(&run.configuration, &images, &folder, options).unwrap().run().unwrap();
    folder.finish(&run.configuration, &outcome, &Stopwatch::start().record(1), &images.files).unwrap();
}

#[test]
fn a_measure_added_by_one_entry_is_in_table_csv_json_plot_and_claim() {
    let spread = register(SPREAD).unwrap();
    let key = spread.key();
    let root = tempfile::tempdir().unwrap();
    let experiment = experiment(root.path());
    let planned = sweep::runs(&experiment).unwrap();
    let also: Vec<&str> = planned[0].configuration.measure.also.iter().map(|measure| measure.key()).collect();
    assert_eq!(also, ["equinorm", key], "what figures and claims name is recorded, and what the file lists");
    planned.iter().for_each(|run| execute(run, root.path()));
    let measurements = RunFolder::of(root.path(), &planned[0].key).measurements().unwrap();
    let [added, equinorm] = ["test_added_spread", "equinorm"]
        .map(|key| measurements[1].value(crate::study::metric::Metric::named(key).unwrap()).unwrap());
    assert_eq!(added, equinorm, "read from the same assessment");

    let extras = report::Extras { tensorboard: true, indexed: false };
    let written = report::write(experiment, planned.clone(), root.path(), extras).unwrap();
    let read = |name: &str| String::from_utf8_lossy(&fs::read(root.path().join(name)).unwrap()).into_owned();
    assert!(written.summary.contains("spread"), "the table: {}", written.summary);
    let csv = read("measurements.csv");
    assert!(csv.lines().next().unwrap().contains(&format!(",{key},{key}_standard_error")), "{csv}");
    assert!(csv.contains(",0.125"), "with its standard error");
    assert!(read("measurements.parquet").contains(key));
    assert!(read("claims.json").contains(key) && read("claims.csv").contains("spread of the class means"));
    assert!(read("figure.svg").contains("spread of the class means"), "the figure");
    let page = read("report.html");
    assert!(
        page.contains(&format!("learning-rate-{key}")) && page.contains(&format!("scatter-{key}-nc")),
        "both plots"
    );
    let events = fs::read_dir(root.path().join("tensorboard")).unwrap().next().unwrap().unwrap().path();
    let events = fs::read(events.join("events.out.tfevents.0.reproduce")).unwrap();
    assert!(String::from_utf8_lossy(&events).contains(key));
}

#[test]
fn unknown_measures_are_refused_with_the_nearest_keys() {
    let root = tempfile::tempdir().unwrap();
    let resolve =
        |name: &str, set: &[String]| format!("{:#}", Experiment::resolve(name, "quick", None, None, set).unwrap_err());
    let drawn = resolve("fig1", &["report.rows=['equinrom']".to_owned()]);
    for message in [drawn, resolve(&file(root.path(), "equinrom"), &[])] {
        assert!(message.contains("equinrom") && message.contains("did you mean `equinorm`"), "{message}");
    }
    let message = resolve(&file(root.path(), "target_nc1"), &[]);
    assert!(message.contains("`target_nc1`") && message.contains("classification"), "{message}");
}
