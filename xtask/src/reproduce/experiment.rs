//! Experiment files: what is trained, swept, measured, drawn and claimed, and how a preset is resolved from one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use toml::Table;

use super::configuration::{Configuration, Data, Measure, Model, Train};
use super::metric::Metric;
use super::settings;
use crate::suggest;

/// The experiments that come with the binary, by name.
const EMBEDDED: [(&str, &str); 2] =
    [("fig1", include_str!("../../experiments/fig1.toml")), ("fig4", include_str!("../../experiments/fig4.toml"))];

/// Which classes the measures look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Task {
    /// Train on source classes, measure there and on target classes that training never saw.
    Transfer,
    /// Train on all classes, measure on their training and test images.
    Classification,
}

/// One experiment with preset, data set and command-line settings applied.
#[derive(Debug, Clone)]
pub(crate) struct Experiment {
    /// Name of the experiment, part of the results folder's name.
    pub(crate) name: String,
    /// Name of the preset that was applied.
    pub(crate) preset: String,
    /// Everything the experiment says, as it stands after all overrides.
    pub(crate) plan: Plan,
    /// The same as a tree, in which sweeps set single keys.
    tree: Table,
}

/// The contents of an experiment file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// What the experiment is about, in one line.
    pub(crate) title: String,
    /// Which figure of the paper it reproduces.
    pub(crate) figure: String,
    /// Which classes the measures look at.
    pub(crate) task: Task,
    /// One run of every configuration for each seed.
    pub(crate) seeds: Vec<u64>,
    /// What images there are.
    pub(crate) data: Data,
    /// What is trained.
    pub(crate) model: Model,
    /// How it is trained.
    pub(crate) train: Train,
    /// What is measured, when, and on how many images.
    pub(crate) measure: Measure,
    /// What is varied, one key at a time.
    pub(crate) sweeps: BTreeMap<String, Sweep>,
    /// What the report draws.
    pub(crate) report: Layout,
    /// When a run counts and when a claim holds.
    pub(crate) rules: Rules,
    /// What the paper says will be seen.
    pub(crate) claims: Claims,
}

/// One key of the configuration and the values that it takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sweep {
    /// Name for people.
    pub(crate) label: String,
    /// Dotted key of the configuration.
    pub(crate) key: String,
    /// Its values, in rising order.
    pub(crate) values: Vec<toml::Value>,
}

impl Sweep {
    /// The values as numbers.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        self.values.iter().filter_map(number).collect()
    }
}

/// The number in a TOML value, if it is one.
pub(crate) fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// What the figure shows: a column for each sweep, a row for each metric, then scatter plots.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// Sweeps, left to right.
    pub(crate) columns: Vec<String>,
    /// Metrics along training, top to bottom.
    pub(crate) rows: Vec<Metric>,
    /// Pairs of metrics at the end of training.
    pub(crate) scatter: Vec<Axes>,
}

/// The two axes of a scatter plot.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Axes {
    /// Horizontal.
    pub(crate) x: Metric,
    /// Vertical.
    pub(crate) y: Metric,
}

/// The rules by which runs are excluded and verdicts given, fixed before any result is seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// A run whose training loss ends above this share of ln k (the loss of a uniform guess) is under-trained.
    pub(crate) under_trained_above: f64,
    /// Level of the bootstrap interval; a verdict also needs a permutation test below one minus this.
    pub(crate) confidence: f64,
    /// Bootstrap resamples.
    pub(crate) resamples: usize,
}

/// What the paper claims, as statements that numbers can decide.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    /// Metrics that move one way as a swept value rises.
    pub(crate) trends: Vec<Trend>,
    /// Metrics that move together, or oppositely, over runs.
    pub(crate) associations: Vec<Association>,
    /// Metrics of which one is never larger than the other.
    pub(crate) inequalities: Vec<Inequality>,
}

/// Each of `metrics` moves as stated with the value of each of `sweeps`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trend {
    /// What moves.
    pub(crate) metrics: Vec<Metric>,
    /// Which way, as the swept value rises.
    pub(crate) sweeps: BTreeMap<String, Direction>,
    /// When the runs are compared.
    pub(crate) readouts: Vec<Readout>,
}

/// Over the runs of a sweep, and of all sweeps, `x` and `y` move together or oppositely.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Association {
    /// One metric.
    pub(crate) x: Metric,
    /// The other.
    pub(crate) y: Metric,
    /// Which way `y` goes as `x` rises.
    pub(crate) direction: Direction,
    /// When the runs are compared.
    pub(crate) readouts: Vec<Readout>,
}

/// At every measured point of every run, `lesser` ≤ `greater`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inequality {
    /// The side that is bounded.
    pub(crate) lesser: Metric,
    /// The side that bounds.
    pub(crate) greater: Metric,
}

/// Which way a metric goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    /// Up.
    Rises,
    /// Down.
    Falls,
}

/// At which point of training runs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Readout {
    /// At the end, all runs having seen the same number of images.
    EqualEpochs,
    /// When the running training loss first fell below the lowest level that all compared runs reached.
    MatchedLoss,
}

/// The text of an experiment file before anything is applied to it.
struct Source {
    name: String,
    tree: Table,
    presets: Table,
    on: Table,
}

impl Experiment {
    /// Names of the embedded experiments.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
        EMBEDDED.iter().map(|(name, _)| *name)
    }

    /// Reads the experiment `name` (or the file, where it ends in `.toml`) and applies, in this order: the preset,
    /// what the file says `on` the data set, the data set, the seeds, and each `key=value`.
    ///
    /// # Errors
    /// An unknown experiment, preset or key, a value of the wrong type, a setting that contradicts another.
    pub(crate) fn resolve(
        name: &str,
        preset: &str,
        data: Option<&str>,
        seeds: Option<&[u64]>,
        assignments: &[String],
    ) -> Result<Self> {
        let source = Source::read(name)?;
        let mut tree = source.applied(preset, data)?;
        if let Some(seeds) = seeds {
            let seeds = seeds.iter().map(|seed| i64::try_from(*seed).map(toml::Value::Integer));
            let seeds = seeds.collect::<Result<Vec<_>, _>>().context("a seed may be at most 9223372036854775807")?;
            settings::put(&mut tree, "seeds", &toml::Value::Array(seeds))?;
        }
        for assignment in assignments {
            settings::assign(&mut tree, assignment)?;
        }
        let plan: Plan = tree.clone().try_into().map_err(|error: toml::de::Error| {
            anyhow!("experiment `{}`, preset `{preset}`: {}", source.name, error.to_string().trim().replace('\n', " "))
        })?;
        let experiment = Self { name: source.name, preset: preset.to_owned(), plan, tree };
        experiment.check().with_context(|| format!("experiment `{}`, preset `{preset}`", experiment.name))?;
        Ok(experiment)
    }

    /// The presets of the experiment `name`.
    pub(crate) fn presets(name: &str) -> Result<Vec<String>> {
        Ok(Source::read(name)?.presets.keys().cloned().collect())
    }

    /// The configuration of one run: a seed, and at most one key set to another value.
    pub(crate) fn configuration(&self, seed: u64, swept: Option<(&str, &toml::Value)>) -> Result<Configuration> {
        let mut tree = self.tree.clone();
        if let Some((key, value)) = swept {
            settings::put(&mut tree, key, value)?;
        }
        Configuration::from_experiment(&tree, seed)
            .with_context(|| swept.map_or_else(String::new, |(key, value)| format!("sweep of `{key}` at {value}")))
    }

    /// What was resolved, as a TOML file.
    pub(crate) fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string_pretty(&self.tree)?)
    }

    fn check(&self) -> Result<()> {
        let plan = &self.plan;
        distinct(&plan.seeds, "seeds")?;
        if plan.seeds.is_empty() {
            bail!("seeds: at least one is needed");
        }
        plan.measure.check()?;
        for (name, sweep) in &plan.sweeps {
            check_values(name, sweep)?;
            for value in &sweep.values {
                self.configuration(plan.seeds[0], Some((&sweep.key, value)))?;
            }
        }
        let claimed = plan.claims.trends.iter().flat_map(|trend| trend.sweeps.keys());
        for name in plan.report.columns.iter().chain(claimed) {
            if !plan.sweeps.contains_key(name) {
                bail!(suggest::unknown("sweep", name, plan.sweeps.keys().map(String::as_str)));
            }
        }
        self.plan.rules.check()
    }
}

impl Source {
    fn read(name: &str) -> Result<Self> {
        if name.ends_with(".toml") {
            let path = Path::new(name);
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the experiment file {}", path.display()))?;
            let stem = path.file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
            return Self::parse(&stem, &text);
        }
        let (_, text) = EMBEDDED.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            anyhow!("{}, or the path of a .toml file", suggest::unknown("experiment", name, Experiment::names()))
        })?;
        Self::parse(name, text)
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let mut tree: Table = toml::from_str(text).with_context(|| format!("experiment `{name}` is not TOML"))?;
        let presets = section(&mut tree, "presets", name)?;
        let on = section(&mut tree, "on", name)?;
        Ok(Self { name: name.to_owned(), tree, presets, on })
    }

    fn applied(&self, preset: &str, data: Option<&str>) -> Result<Table> {
        let mut tree = self.tree.clone();
        let known = self.presets.keys().map(String::as_str);
        let Some(over) = self.presets.get(preset).and_then(toml::Value::as_table) else {
            bail!("{} (experiment `{}`)", suggest::unknown("preset", preset, known), self.name);
        };
        settings::overlay(&mut tree, over, &format!("experiment `{}`, preset `{preset}`", self.name))?;
        if let Some(set) = data {
            settings::put(&mut tree, "data.set", &toml::Value::String(set.to_owned()))?;
        }
        let set = tree.get("data").and_then(|data| data.get("set")).and_then(toml::Value::as_str);
        if let Some((set, over)) = set.and_then(|set| Some((set.to_owned(), self.on.get(set)?.as_table()?))) {
            settings::overlay(&mut tree, over, &format!("experiment `{}`, on `{set}`", self.name))?;
        }
        Ok(tree)
    }
}

fn section(tree: &mut Table, key: &str, name: &str) -> Result<Table> {
    match tree.remove(key) {
        None => Ok(Table::new()),
        Some(toml::Value::Table(table)) => Ok(table),
        Some(_) => bail!("experiment `{name}`: `{key}` must be a table"),
    }
}

impl Rules {
    fn check(&self) -> Result<()> {
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            bail!("rules.confidence: expected a number between 0 and 1, got {}", self.confidence);
        }
        if self.resamples < 100 {
            bail!("rules.resamples: expected at least 100, got {}", self.resamples);
        }
        if !(self.under_trained_above > 0.0 && self.under_trained_above <= 1.0) {
            bail!("rules.under_trained_above: expected a share of ln k in (0, 1], got {}", self.under_trained_above);
        }
        Ok(())
    }
}

fn check_values(name: &str, sweep: &Sweep) -> Result<()> {
    let numbers = sweep.numbers();
    if numbers.len() != sweep.values.len() || numbers.len() < 2 {
        bail!("sweeps.{name}.values: expected at least two numbers, got {:?}", sweep.values);
    }
    if let Some(pair) = numbers.windows(2).find(|pair| pair[0] >= pair[1]) {
        bail!("sweeps.{name}.values: expected rising values without duplicates, got {} before {}", pair[0], pair[1]);
    }
    Ok(())
}

fn distinct(seeds: &[u64], what: &str) -> Result<()> {
    let mut sorted = seeds.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => bail!("{what}: {} is there twice", pair[0]),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(name: &str, preset: &str, set: &[&str]) -> String {
        let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
        format!("{:#}", Experiment::resolve(name, preset, None, None, &set).unwrap_err())
    }

    #[test]
    fn every_embedded_experiment_resolves_at_every_preset() {
        for name in Experiment::names() {
            for preset in Experiment::presets(name).unwrap() {
                let experiment = Experiment::resolve(name, &preset, None, None, &[]).unwrap();
                for sweep in experiment.plan.sweeps.values() {
                    assert!(sweep.values.len() >= 4, "{name} {preset}: {} has fewer than four values", sweep.label);
                }
            }
        }
    }

    #[test]
    fn names_that_are_not_known_come_back_with_the_nearest() {
        assert!(fails("fig-4", "quick", &[]).contains("unknown experiment `fig-4`; did you mean `fig4`"));
        assert!(fails("fig4", "quikc", &[]).contains("unknown preset `quikc`; did you mean `quick`"));
        assert!(fails("fig4", "quick", &["train.rate=1"]).contains("unknown key `train.rate`"));
    }

    #[test]
    fn contradictions_are_named() {
        assert!(fails("fig4", "quick", &["sweeps.l2.values=[0, 0]"]).contains("without duplicates"));
        assert!(fails("fig4", "quick", &["sweeps.l2.values=[0]"]).contains("at least two"));
        assert!(fails("fig4", "quick", &["seeds=[1, 1]"]).contains("1 is there twice"));
        assert!(fails("fig4", "quick", &["train.learning_rate=-1"]).contains("train.learning_rate"));
        assert!(fails("fig4", "quick", &["sweeps.batch-size.values=[0, 8]"]).contains("train.batch_size"));
        assert!(fails("fig4", "quick", &["measure.schedule=[0.5, 2.0]"]).contains("measure.schedule"));
        assert!(fails("fig4", "quick", &["rules.confidence=95"]).contains("rules.confidence"));
    }

    #[test]
    fn the_seed_and_one_key_make_a_configuration() {
        let experiment = Experiment::resolve("fig4", "quick", None, Some(&[3]), &[]).unwrap();
        let base = experiment.configuration(3, None).unwrap();
        let faster = experiment.configuration(3, Some(("train.learning_rate", &toml::Value::Float(7.0)))).unwrap();
        assert_eq!(base.seed, 3);
        assert_eq!(faster.train.learning_rate, 7.0);
        assert_ne!(base.key().unwrap(), faster.key().unwrap());
    }
}
