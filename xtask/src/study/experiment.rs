//! Experiment files, and how a preset and the command line are applied to them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use toml::Table;

use super::configuration::{Configuration, SECTIONS, one_line};
use super::metric::Metric;
pub(crate) use super::plan::{
    Axes, ComparisonPoint, Contrast, Course, Direction, Inequality, Overlay, Plan, Rules, Sweep,
};
use super::settings;
use crate::files::LARGEST_TEXT;
use crate::suggest;
use crate::usage::usage;

/// The embedded experiments by name: those of the paper in its order, then those beyond it.
const EMBEDDED: [(&str, &str); 12] = [
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
    ("vit", include_str!("../../experiments/vit.toml")),
    ("recipes", include_str!("../../experiments/recipes.toml")),
];

/// The keys whose product is the number of images per step.
const PER_STEP: [&str; 2] = ["train.batch_size", "train.accumulate"];

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
            anyhow!("experiment `{}`, preset `{preset}`: {}", source.name, one_line(error))
        })?;
        let experiment = Self { name: source.name, preset: preset.to_owned(), plan, tree };
        experiment.check().with_context(|| format!("experiment `{}`, preset `{preset}`", experiment.name))?;
        Ok(experiment)
    }

    /// The presets of the experiment `name`.
    pub(crate) fn presets(name: &str) -> Result<Vec<String>> {
        Ok(ExperimentFile::read(name)?.presets.keys().cloned().collect())
    }

    /// The configuration of one run: a seed, and at most one level of a sweep, by the name of the sweep and the index of the level.
    pub(crate) fn configuration(&self, seed: u64, swept: Option<(&str, usize)>) -> Result<Configuration> {
        let mut tree = self.tree.clone();
        let mut level = String::new();
        if let Some((name, index)) = swept
            && let Some(sweep) = self.plan.sweeps.get(name)
            && let Some(value) = sweep.values.get(index)
        {
            level = format!("sweep of `{}` at {}", sweep.key.as_deref().unwrap_or(name), sweep.names()[index]);
            apply(&mut tree, sweep, value).with_context(|| format!("sweeps.{name}"))?;
        }
        let built = Configuration::from_experiment(&tree, seed, self.largest_images_per_step());
        let mut configuration = if level.is_empty() { built } else { built.context(level) }?;
        configuration.measure.also = self.also();
        Ok(configuration)
    }

    /// The measures beyond the standard ones that the file lists, and those that its figures and claims name.
    fn also(&self) -> Vec<Metric> {
        let named = self.plan.metrics().chain(self.plan.measure.also.iter().copied());
        let also: BTreeSet<Metric> = named.filter(|metric| !metric.is_standard()).collect();
        also.into_iter().collect()
    }

    /// The configurations of the first seed: of the base, and of each level of each sweep.
    pub(crate) fn configurations(&self) -> Result<Vec<Configuration>> {
        let seed = self.plan.seeds.first().copied().unwrap_or_default();
        let levels =
            self.plan.sweeps.iter().flat_map(|(name, sweep)| (0..sweep.values.len()).map(move |at| (name, at)));
        let swept = levels.map(|(name, at)| self.configuration(seed, Some((name, at))));
        std::iter::once(self.configuration(seed, None)).chain(swept).collect()
    }

    /// The largest number of images per step among all runs.
    fn largest_images_per_step(&self) -> usize {
        let sets_it = |sweep: &&Sweep| sweep.keys().iter().any(|key| PER_STEP.contains(&key.as_str()));
        let mut largest = self.plan.train.images_per_step();
        for sweep in self.plan.sweeps.values().filter(sets_it) {
            for value in &sweep.values {
                let mut tree = self.tree.clone();
                if apply(&mut tree, sweep, value).is_ok() {
                    let [batch, accumulate] = PER_STEP.map(|key| {
                        settings::find(&tree, key)
                            .and_then(|value| usize::try_from(value.as_integer()?).ok())
                            .unwrap_or(1)
                    });
                    largest = largest.max(batch.saturating_mul(accumulate));
                }
            }
        }
        largest
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
        if plan.sweeps.is_empty() {
            self.configuration(plan.seeds[0], None)?;
        }
        for (name, sweep) in &plan.sweeps {
            self.check_sweep(name, sweep)?;
        }
        let claimed = plan.claims.trends.iter().flat_map(|trend| trend.sweeps.keys());
        for name in plan.report.columns.iter().chain(claimed.clone()) {
            sweep_named(plan, name)?;
        }
        if let Some(name) = claimed.into_iter().find(|name| !plan.sweeps[*name].is_ordered()) {
            bail!(
                "claims.trends: the levels of the sweep `{name}` have no order; claim their differences by claims.contrasts"
            );
        }
        plan.claims.contrasts.iter().try_for_each(|contrast| check_contrast(plan, contrast))?;
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
            bail!(
                "claims: the direction `unchanged` is for trends and contrasts; an association or a course `rises` or `falls`"
            );
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
            return Err(if self.presets.is_empty() {
                anyhow!("experiment `{}` has no presets: add a table such as `[presets.{preset}]`", self.name)
            } else {
                usage(anyhow!("experiment `{}`: {}", self.name, suggest::unknown("preset", preset, known)))
            });
        };
        let (mut over, origin) = (over.clone(), format!("experiment `{}`, preset `{preset}`", self.name));
        let on_in_preset = section(&mut over, "on", &self.name)?;
        settings::check_known(&tree, &format!("experiment `{}`", self.name))?;
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

impl Experiment {
    /// Refuses a sweep of fewer than two levels, of keys that are no settings of a run, whose levels are out of order or the same,
    /// and levels that no run can have.
    fn check_sweep(&self, name: &str, sweep: &Sweep) -> Result<()> {
        if sweep.values.len() < 2 {
            bail!("sweeps.{name}.values: expected at least two values, got {}", sweep.values.len());
        }
        for value in &sweep.values {
            for (key, _) in sweep.assignments(value).with_context(|| format!("sweeps.{name}.values"))? {
                let section = key.split('.').next().unwrap_or_default();
                if !SECTIONS.contains(&section) {
                    bail!(
                        "sweeps.{name}: `{key}` is no setting of a run; the settings of a run are in {}",
                        SECTIONS.join(", ")
                    );
                }
            }
        }
        if sweep.is_ordered() {
            let numbers = sweep.numbers();
            if let Some(pair) = numbers.windows(2).find(|pair| pair[0] >= pair[1]) {
                bail!(
                    "sweeps.{name}.values: expected rising values without duplicates, got {} before {}",
                    pair[0],
                    pair[1]
                );
            }
        }
        let names = sweep.names();
        let twice = |index: &usize| names[..*index].contains(&names[*index]);
        if let Some(index) = (1..names.len()).find(twice) {
            bail!("sweeps.{name}.values: two values are called `{}`; give each a `name` of its own", names[index]);
        }
        let same_key = |(other, own): &(&String, &Sweep)| *other != name && own.key.is_some() && own.key == sweep.key;
        if let Some((other, _)) = self.plan.sweeps.iter().find(same_key) {
            let key = sweep.key.as_deref().unwrap_or_default();
            bail!("sweeps.{name} and sweeps.{other} vary the same key `{key}`");
        }
        let seed = self.plan.seeds[0];
        let mut keys: Vec<String> = Vec::new();
        for (index, own) in names.iter().enumerate() {
            let key = self.configuration(seed, Some((name, index)))?.key()?;
            if let Some(same) = keys.iter().position(|known| *known == key) {
                bail!("sweeps.{name}.values: `{}` and `{own}` are the same run", names[same]);
            }
            keys.push(key);
        }
        Ok(())
    }
}

/// Sets the keys of one level of a sweep.
fn apply(tree: &mut Table, sweep: &Sweep, value: &toml::Value) -> Result<()> {
    sweep.assignments(value)?.iter().try_for_each(|(key, value)| settings::put(tree, key, value))
}

fn sweep_named<'a>(plan: &'a Plan, name: &str) -> Result<&'a Sweep> {
    let unknown = || anyhow!(suggest::unknown("sweep", name, plan.sweeps.keys().map(String::as_str)));
    plan.sweeps.get(name).ok_or_else(unknown)
}

/// Refuses a contrast of one level, of unknown levels, and without a metric.
fn check_contrast(plan: &Plan, contrast: &Contrast) -> Result<()> {
    let Contrast { sweep: name, from, to, .. } = contrast;
    let sweep = sweep_named(plan, name).context("claims.contrasts")?;
    let names = sweep.names();
    let level = |value: &toml::Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let unknown = || suggest::unknown("level", &text, names.iter().map(String::as_str)).replace("\n ", ";");
        sweep.level(value).ok_or_else(|| anyhow!("claims.contrasts: {} (sweep `{name}`)", unknown()))
    };
    if level(from)? == level(to)? {
        bail!(
            "claims.contrasts: a contrast is between two levels of the sweep `{name}`, but from and to are both {from}"
        );
    }
    if contrast.metrics.is_empty() || contrast.comparisons.is_empty() {
        bail!(
            "claims.contrasts: the contrast of {from} and {to} needs at least one of `metrics` and one of `comparisons`"
        );
    }
    match contrast.primary.iter().find(|metric| !contrast.metrics.contains(metric)) {
        Some(metric) => bail!("claims.contrasts: `{}` is primary, but not among its metrics", metric.key()),
        None => Ok(()),
    }
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
                    // A trend needs four values; categories are compared in pairs.
                    let least = if sweep.is_ordered() { 4 } else { 2 };
                    assert!(sweep.values.len() >= least, "{name} {preset}: {} has too few values", sweep.label);
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
        let layers = fails("vit", "quick", &["measure.layer_images_per_class=151"]);
        assert!(layers.contains("= 151 contradicts data.train_images_per_class = 150"), "{layers}");
        for setting in ["train.mixed_precision", "train.tf32"] {
            let error = fails("fig4", "quick", &[&format!("{setting}=true")]);
            assert!(error.contains(setting) && error.contains("train.device is `cpu`"), "{error}");
        }
        let both = ["train.device=cuda:0", "train.mixed_precision=true", "train.tf32=true"];
        assert!(fails("fig4", "quick", &both).contains("mixed_precision (bf16) is true too"));
    }

    #[test]
    fn sweeps_and_contrasts_that_make_no_sense_are_refused_in_one_line() {
        let set = |assignments: &[&str]| fails("recipes", "quick", assignments);
        let levels = |values: &str| set(&[&format!("sweeps.architecture.values={values}")]);
        for (message, words) in [
            (levels("[{ name = 'VGG', model.width = 0.5 }]"), "expected at least two values, got 1"),
            (levels("[1, 2]"), "without a `key` every value is a table of keys"),
            (
                levels("[{ name = 'a', model.width = 0.5 }, { name = 'a', model.width = 0.2 }]"),
                "two values are called `a`",
            ),
            (levels("[{ name = 'VGG', model.width = 0.5 }, { name = 'ViT', model.width = 0.5 }]"), "are the same run"),
            (levels("[{ name = 'VGG', model.widht = 0.5 }, { name = 'ViT' }]"), "did you mean `model.width`"),
            (levels("[{ name = 'VGG', rules.confidence = 0.5 }, { name = 'ViT' }]"), "is no setting of a run"),
            (
                levels("[{ name = 'VGG' }, { name = 'ViT', train.optimizer = 'sgd', train.beta1 = 0.8 }]"),
                "train.beta1 contradicts train.optimizer = \"sgd\"",
            ),
            (levels("[{ name = 'VGG' }, { name = 'ViT', train.schedule.warmup_epochs = 19.0 }]"), "train.epochs = 15"),
            (
                levels("[{ name = 'VGG' }, { name = 'ViT', train.batch_size = 1201 }]"),
                "there are only 1200 training images",
            ),
            (
                levels("[{ name = 'VGG' }, { name = 'ViT', data.augmentation.crop_padding = 32 }]"),
                "images of 32×32 pixels allow at most 31",
            ),
            (
                levels("[{ name = 'VGG' }, { name = 'ViTs', model.width = 0.3 }]"),
                "unknown level `ViT`; did you mean `ViTs`?",
            ),
            (set(&["train.optimizer=adamv"]), "did you mean `adam"),
            (set(&["train.weight_decay=0.1"]), "unknown key `train.weight_decay`"),
            (set(&["train.schedule.kind=cosin"]), "did you mean `cosine`?"),
        ] {
            assert!(message.contains(words), "{words}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
        let contrast = |from: &str, to: &str, sweep: &str| {
            let mut experiment = Experiment::resolve("recipes", "quick", None, None, &[]).unwrap();
            let claim = &mut experiment.plan.claims.contrasts[0];
            (claim.from, claim.to) = (from.into(), to.into());
            claim.sweep = sweep.to_owned();
            format!("{:#}", experiment.check().unwrap_err())
        };
        let one = contrast("none", "none", "augmentation");
        assert!(one.contains("a contrast is between two levels of the sweep `augmentation`"), "{one}");
        let unknown = contrast("non", "crop and flip", "augmentation");
        assert!(unknown.contains("unknown level `non`; did you mean `none`?") && !unknown.contains('\n'), "{unknown}");
        assert!(contrast("none", "crop and flip", "augmentations").contains("did you mean `augmentation`?"));
        let mut trend = Experiment::resolve("vit", "quick", None, None, &[]).unwrap();
        trend.plan.claims.trends[0].sweeps.insert("optimizer".to_owned(), Direction::Rises);
        let message = trend.check().unwrap_err().to_string();
        assert!(message.contains("the levels of the sweep `optimizer` have no order"), "{message}");
    }

    #[test]
    fn levels_of_several_keys_set_them_all() {
        let experiment = Experiment::resolve("recipes", "quick", None, None, &[]).unwrap();
        let of = |sweep: &str, level: usize| experiment.configuration(0, Some((sweep, level))).unwrap();
        let (sgd, vit) = (of("recipe", 0), of("architecture", 2));
        assert_eq!((sgd.train.optimizer.name(), sgd.train.momentum, sgd.train.decay), ("sgd", 0.9, 0.0));
        assert_eq!((vit.model.architecture.as_str(), vit.train.optimizer.name()), ("vit-mini-cifar", "adamw"));
        // The base is a level of each of the three sweeps, and one run.
        let runs = crate::study::sweep::runs(&experiment).unwrap();
        assert_eq!(runs.len(), 25);
        let base = runs.iter().find(|run| run.positions.len() == 3).unwrap();
        assert!(base.description().contains("recipe AdamW, cosine · augmentation crop and flip · architecture VGG"));
        // Preparing batches ahead changes no result, and no key.
        let ahead = Experiment::resolve("recipes", "quick", None, None, &["data.prefetch=3".to_owned()]).unwrap();
        let (ahead, plain) = (ahead.configuration(0, None).unwrap(), experiment.configuration(0, None).unwrap());
        assert_eq!((ahead.data.prefetch, ahead.key().unwrap()), (3, plain.key().unwrap()));
        assert_eq!(ahead.first_difference(&plain).unwrap(), None);
    }

    #[test]
    fn a_configuration_has_the_seed_and_the_swept_value() {
        let experiment = Experiment::resolve("fig4", "quick", None, Some(&[3]), &[]).unwrap();
        let base = experiment.configuration(3, None).unwrap();
        let faster = experiment.configuration(3, Some(("learning-rate", 3))).unwrap();
        assert_eq!(base.seed, 3);
        assert_eq!(faster.train.learning_rate, 0.4);
        assert_ne!(base.key().unwrap(), faster.key().unwrap());
    }

    #[test]
    fn files_with_the_earlier_names_of_keys_are_read() {
        // Contrasts came later, and have no earlier names.
        for (name, text) in EMBEDDED.into_iter().filter(|(_, text)| !text.contains("[[claims.contrasts]]")) {
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
