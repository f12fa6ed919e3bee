//! Experiment files, and how a preset and the command line are applied to them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use toml::Table;

use super::configuration::{Configuration, SECTIONS};
use super::metric::Metric;
pub(crate) use super::plan::{Axes, ComparisonPoint, Course, Direction, Inequality, Overlay, Plan, Rules, Sweep};
use super::settings;
use crate::files::LARGEST_TEXT;
use crate::suggest;
use crate::usage::usage;

/// The embedded experiments by name, in the order of the paper.
const EMBEDDED: [(&str, &str); 10] = [
    ("fig1", include_str!("../../experiments/fig1.toml")),
    ("fig2", include_str!("../../experiments/fig2.toml")),
    ("fig3", include_str!("../../experiments/fig3.toml")),
    ("fig4", include_str!("../../experiments/fig4.toml")),
    ("resnet18-cifar10", include_str!("../../experiments/resnet18-cifar10.toml")),
    ("vgg11-mnist", include_str!("../../experiments/vgg11-mnist.toml")),
    ("vgg11-fashion-mnist", include_str!("../../experiments/vgg11-fashion-mnist.toml")),
    ("resnet50-cifar100", include_str!("../../experiments/resnet50-cifar100.toml")),
    ("mini-imagenet", include_str!("../../experiments/mini-imagenet.toml")),
    ("gc-penalty", include_str!("../../experiments/gc-penalty.toml")),
];

/// Most primary claims of an experiment.
const MOST_PRIMARY: usize = 8;

/// One experiment with preset, data set and command-line settings applied.
#[derive(Debug, Clone)]
pub(crate) struct Experiment {
    /// Name of the experiment, part of the results folder's name.
    pub(crate) name: String,
    /// Name of the preset that was applied.
    pub(crate) preset: String,
    /// The contents of the file after all overrides.
    pub(crate) plan: Plan,
    /// The same as a tree of keys, in which sweeps set single values.
    tree: Table,
}

/// An experiment file to which nothing has been applied.
struct ExperimentFile {
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

    /// Reads the experiment `name` (a file if it ends in `.toml`) and applies, in this order: the preset, the data set, the
    /// sections `on` the data set, the seeds, and each `key=value`.
    ///
    /// # Errors
    /// An unknown experiment, preset or key, a value of another type, settings that contradict each other. Unknown names of
    /// experiments and presets are errors in the command line.
    pub(crate) fn resolve(
        name: &str,
        preset: &str,
        data: Option<&str>,
        seeds: Option<&[u64]>,
        assignments: &[String],
    ) -> Result<Self> {
        let source = ExperimentFile::read(name)?;
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
        Ok(ExperimentFile::read(name)?.presets.keys().cloned().collect())
    }

    /// The configuration of one run: a seed, and at most one key set to another value.
    pub(crate) fn configuration(&self, seed: u64, swept: Option<(&str, &toml::Value)>) -> Result<Configuration> {
        let mut tree = self.tree.clone();
        if let Some((key, value)) = swept {
            settings::put(&mut tree, key, value)?;
        }
        let mut configuration = Configuration::from_experiment(&tree, seed, self.largest_batch_size())
            .with_context(|| swept.map_or_else(String::new, |(key, value)| format!("sweep of `{key}` at {value}")))?;
        configuration.measure.also = self.also();
        Ok(configuration)
    }

    /// The measures beyond the standard ones that the file lists, and those that its figures and claims name.
    fn also(&self) -> Vec<Metric> {
        let named = self.plan.metrics().chain(self.plan.measure.also.iter().copied());
        let also: BTreeSet<Metric> = named.filter(|metric| !metric.is_standard()).collect();
        also.into_iter().collect()
    }

    /// The largest batch size among all runs.
    fn largest_batch_size(&self) -> usize {
        let swept = self.plan.sweeps.values().filter(|sweep| sweep.key == "train.batch_size");
        let sizes = swept.flat_map(|sweep| &sweep.values).filter_map(|value| usize::try_from(value.as_integer()?).ok());
        sizes.fold(self.plan.train.batch_size, usize::max)
    }

    /// The resolved experiment as a TOML file.
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
            let section = sweep.key.split('.').next().unwrap_or_default();
            if !SECTIONS.contains(&section) {
                bail!(
                    "sweeps.{name}.key: `{}` is no setting of a run; the settings of a run are in {}",
                    sweep.key,
                    SECTIONS.join(", ")
                );
            }
            if let Some((other, _)) = plan.sweeps.iter().find(|(other, own)| *other != name && own.key == sweep.key) {
                bail!("sweeps.{name} and sweeps.{other} vary the same key `{}`", sweep.key);
            }
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
        let mut measured = plan.metrics().chain(plan.measure.also.iter().copied());
        if let Some(metric) = measured.find(|metric| !plan.task.measures(*metric)) {
            bail!(
                "the measure `{}` is drawn, claimed or in measure.also, but the task `{}` does not measure it",
                metric.key(),
                plan.task.name()
            );
        }
        if plan.claims.primary_count() > MOST_PRIMARY {
            bail!("claims: expected at most {MOST_PRIMARY} primary claims, got {}", plan.claims.primary_count());
        }
        for trend in &plan.claims.trends {
            if let Some(metric) = trend.primary.iter().find(|metric| !trend.metrics.contains(metric)) {
                bail!("claims.trends: `{}` is primary, but not among its metrics", metric.key());
            }
        }
        let related = plan.claims.associations.iter().map(|claim| claim.direction);
        if related
            .chain(plan.claims.courses.iter().map(|claim| claim.direction))
            .any(|goes| goes == Direction::Unchanged)
        {
            bail!("claims: the direction `unchanged` is for trends; an association or a course `rises` or `falls`");
        }
        if plan.claims.coverage_primary && !plan.claims.coverage {
            bail!("claims.coverage_primary contradicts claims.coverage = false: no coverage is claimed");
        }
        if plan.claims.coverage && plan.measure.estimators.is_none() {
            bail!("claims.coverage contradicts measure: there are no measure.estimators");
        }
        self.plan.rules.check()
    }
}

impl ExperimentFile {
    fn read(name: &str) -> Result<Self> {
        if name.ends_with(".toml") {
            let path = Path::new(name);
            let text = support::read_text(path, LARGEST_TEXT)
                .with_context(|| format!("cannot read the experiment file {}", path.display()))?;
            let stem = path.file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
            return Self::parse(&stem, &text);
        }
        let (_, text) = EMBEDDED.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            usage(anyhow!("{}, or the path of a .toml file", suggest::unknown("experiment", name, Experiment::names())))
        })?;
        Self::parse(name, text)
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let mut tree: Table = toml::from_str(text).with_context(|| format!("experiment `{name}` is not TOML"))?;
        let presets = section(&mut tree, "presets", name)?;
        let on = section(&mut tree, "on", name)?;
        Ok(Self { name: name.to_owned(), tree, presets, on })
    }

    /// The file with the preset applied, then the section `on` the data set of the file, then that of the preset.
    fn applied(&self, preset: &str, data: Option<&str>) -> Result<Table> {
        let mut tree = self.tree.clone();
        let known = self.presets.keys().map(String::as_str);
        let Some(over) = self.presets.get(preset).and_then(toml::Value::as_table) else {
            return Err(usage(anyhow!("{} (experiment `{}`)", suggest::unknown("preset", preset, known), self.name)));
        };
        let (mut over, origin) = (over.clone(), format!("experiment `{}`, preset `{preset}`", self.name));
        let on_in_preset = section(&mut over, "on", &self.name)?;
        settings::overlay(&mut tree, &over, &origin)?;
        if let Some(set) = data {
            settings::put(&mut tree, "data.set", &toml::Value::String(set.to_owned()))?;
        }
        let set = tree.get("data").and_then(|data| data.get("set")).and_then(toml::Value::as_str).map(str::to_owned);
        for (on, origin) in [(&self.on, format!("experiment `{}`", self.name)), (&on_in_preset, origin)] {
            if let Some((set, over)) = set.as_ref().and_then(|set| Some((set, on.get(set)?.as_table()?))) {
                settings::overlay(&mut tree, over, &format!("{origin}, on `{set}`"))?;
            }
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
                    assert!(sweep.values.len() >= 4, "{name} {preset}: {} has too few values", sweep.label);
                }
                let seeds = if preset == "quick" { 3 } else { 5 };
                assert!(experiment.plan.seeds.len() >= seeds, "{name} {preset} has too few seeds");
            }
        }
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest_ones() {
        assert!(fails("fig-4", "quick", &[]).contains("unknown experiment `fig-4`; did you mean `fig4`"));
        assert!(fails("fig4", "quikc", &[]).contains("unknown preset `quikc`; did you mean `quick`"));
        assert!(fails("fig4", "quick", &["train.rate=1"]).contains("unknown key `train.rate`"));
    }

    #[test]
    fn contradicting_settings_are_refused() {
        assert!(fails("fig4", "quick", &["sweeps.l2.values=[0, 0]"]).contains("without duplicates"));
        assert!(fails("fig4", "quick", &["sweeps.l2.values=[0]"]).contains("at least two"));
        assert!(fails("fig4", "quick", &["seeds=[1, 1]"]).contains("1 is there twice"));
        assert!(fails("fig4", "quick", &["train.learning_rate=-1"]).contains("train.learning_rate"));
        assert!(fails("fig4", "quick", &["sweeps.batch-size.values=[0, 8]"]).contains("train.batch_size"));
        assert!(fails("fig4", "quick", &["measure.schedule=[0.5, 2.0]"]).contains("measure.schedule"));
        assert!(fails("fig4", "quick", &["rules.equal_loss_level=1"]).contains("rules.equal_loss_level"));
        assert!(fails("fig4", "quick", &["rules.confidence=95"]).contains("rules.confidence"));
        assert!(
            fails("fig4", "quick", &["rules.negligible_factor=0.95"]).contains("expected a number from 1, got 0.95")
        );
        assert!(fails("fig4", "quick", &["rules.negligible_points=-1"]).contains("expected a number from 0, got -1"));
        assert!(fails("fig4", "quick", &["rules.trained_below=0.95"]).contains("rules.trained_below"));
        assert!(fails("fig4", "quick", &["rules.false_discovery_rate=1"]).contains("rules.false_discovery_rate"));
        assert!(fails("fig4", "quick", &["train.mixed_precision=true"]).contains("train.device is `cpu`"));
    }

    #[test]
    fn a_configuration_has_the_seed_and_the_swept_value() {
        let experiment = Experiment::resolve("fig4", "quick", None, Some(&[3]), &[]).unwrap();
        let base = experiment.configuration(3, None).unwrap();
        let faster = experiment.configuration(3, Some(("train.learning_rate", &toml::Value::Float(7.0)))).unwrap();
        assert_eq!(base.seed, 3);
        assert_eq!(faster.train.learning_rate, 7.0);
        assert_ne!(base.key().unwrap(), faster.key().unwrap());
    }

    #[test]
    fn files_with_the_earlier_names_of_keys_are_read() {
        for (name, text) in EMBEDDED {
            let earlier = text
                .replace("comparisons = ", "readouts = ")
                .replace("\"equal-loss\"", "\"matched-loss\"")
                .replace("[[report.overlays]]", "[[report.together]]");
            let plan = |text: &str| -> Plan {
                let file = ExperimentFile::parse(name, text).unwrap();
                file.applied("quick", None).unwrap().try_into().unwrap()
            };
            assert_eq!(serde_json::to_string(&plan(&earlier)).unwrap(), serde_json::to_string(&plan(text)).unwrap());
        }
        let earlier = |key: &str| EMBEDDED.iter().any(|(_, text)| text.contains(key));
        assert!(earlier("comparisons = ") && earlier("equal-loss") && earlier("[[report.overlays]]"));
    }
}
