//! The rank table: one row a network, one column a score, and the rank correlation of each score with the accuracy.

use anyhow::{Result, anyhow};
use serde::Serialize;
use serde_json::{Value, json};
use statistics::{IntervalSettings, RankCorrelation, RankStatistic, rank_correlation, rank_correlation_in_groups};

use crate::report::Table;
use crate::usage::usage;
use crate::{output, suggest};

/// Networks with their scores.
pub(super) struct RankTable {
    /// The data on which they were measured.
    pub(super) on: String,
    /// The networks.
    pub(super) names: Vec<String>,
    /// How many runs are left out, because a rule excludes them.
    pub(super) excluded_runs: usize,
    /// The group of each network, where networks are not independent: runs of the same seed form a group.
    pub(super) groups: Option<Vec<usize>>,
    /// The scores.
    pub(super) scores: Vec<Score>,
    /// The accuracy that the scores should predict, where it was measured.
    pub(super) accuracy: Option<Score>,
}

/// One column.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Score {
    /// Its name.
    pub(super) name: String,
    /// Its value for each network.
    pub(super) values: Vec<f64>,
    /// The standard error of each value, where it is known.
    pub(super) standard_errors: Option<Vec<Option<f64>>>,
}

/// The rank correlation of a score with the accuracy, or the reason why it is undefined.
pub(super) struct Prediction<'a> {
    pub(super) score: &'a Score,
    pub(super) correlation: Result<RankCorrelation, String>,
}

impl Score {
    /// A column without errors.
    pub(super) fn new(name: &str, values: Vec<f64>) -> Self {
        Self { name: name.to_owned(), values, standard_errors: None }
    }
}

impl RankTable {
    /// The same table sorted by a score, lowest value first.
    pub(super) fn sorted(mut self, by: &str) -> Result<Self> {
        let columns = self.scores.iter().chain(&self.accuracy);
        let Some(score) = columns.clone().find(|score| score.name == by) else {
            let names = columns.map(|score| score.name.as_str());
            return Err(usage(anyhow!("--by {by}: {}", suggest::unknown("score", by, names))));
        };
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_by(|a, b| score.values[*a].total_cmp(&score.values[*b]));
        self.names = picked(&self.names, &order);
        self.groups = self.groups.map(|groups| picked(&groups, &order));
        for score in self.scores.iter_mut().chain(&mut self.accuracy) {
            score.values = picked(&score.values, &order);
            score.standard_errors = score.standard_errors.take().map(|errors| picked(&errors, &order));
        }
        Ok(self)
    }

    /// The rank correlation of each score with the accuracy.
    pub(super) fn predictions(&self) -> Vec<Prediction<'_>> {
        let Some(accuracy) = &self.accuracy else { return Vec::new() };
        let settings = IntervalSettings::default();
        let correlation = |score: &Score| {
            let (x, y) = (&score.values, &accuracy.values);
            let found = match &self.groups {
                Some(groups) => rank_correlation_in_groups(x, y, groups, RankStatistic::Spearman, &settings),
                None => rank_correlation(x, y, RankStatistic::Spearman, &settings),
            };
            found.map_err(|error| error.to_string())
        };
        self.scores.iter().map(|score| Prediction { score, correlation: correlation(score) }).collect()
    }

    /// The document that `--json` writes.
    pub(super) fn document(&self) -> Value {
        let predictions = self.predictions().into_iter().map(|prediction| match prediction.correlation {
            Ok(correlation) => json!({ "score": prediction.score.name, "correlation": without_few(correlation) }),
            Err(reason) => json!({ "score": prediction.score.name, "correlation": null, "undefined": reason }),
        });
        json!({
            "format": output::FORMAT,
            "inputs": self.on,
            "checkpoints": self.names,
            "excluded_runs": self.excluded_runs,
            "scores": self.scores,
            "accuracy": self.accuracy,
            "predictions": predictions.collect::<Vec<_>>(),
        })
    }

    /// Both tables.
    pub(super) fn text(&self) -> String {
        let predictions = self.predictions();
        let mut text = self.table().terminal();
        if !predictions.is_empty() {
            text.push('\n');
            text.push_str(&self.prediction_table(&predictions).terminal());
            for (score, reason) in
                predictions.iter().filter_map(|found| Some((found.score, found.correlation.as_ref().err()?)))
            {
                let line = format!("{}: {reason}", score.name);
                text.push_str(&format!("{}\n", output::wrapped_lines(&line, output::WIDTH, "  ").join("\n")));
            }
        }
        text
    }

    /// Values with their ranks in brackets, 1 the lowest.
    fn table(&self) -> Table {
        let columns: Vec<&Score> = self.scores.iter().chain(&self.accuracy).collect();
        let header = ["checkpoint".to_owned()].into_iter().chain(columns.iter().map(|score| score.name.clone()));
        let row = |index: usize| {
            let cell = |score: &&Score| {
                format!("{} ({})", crate::report::three_digits(score.values[index]), rank(&score.values, index))
            };
            [self.names[index].clone()].into_iter().chain(columns.iter().map(cell)).collect()
        };
        Table {
            summed: false,
            caption: format!("On {}; rank in brackets, 1 the lowest{}", self.on, self.left_out()),
            header: header.collect(),
            rows: (0..self.names.len()).map(row).collect(),
        }
    }

    /// The end of the caption: what is left out.
    fn left_out(&self) -> String {
        match self.excluded_runs {
            0 => String::new(),
            1 => "; without 1 run that is excluded by the rules".to_owned(),
            count => format!("; without {count} runs that are excluded by the rules"),
        }
    }

    fn prediction_table(&self, predictions: &[Prediction<'_>]) -> Table {
        let accuracy = self.accuracy.as_ref().map_or("accuracy", |accuracy| &accuracy.name);
        let row = |prediction: &Prediction<'_>| match &prediction.correlation {
            Ok(found) => vec![
                prediction.score.name.clone(),
                format!("{:+.2}", found.coefficient),
                interval(found),
                format!("{:.3}", found.p_value),
            ],
            Err(_) => vec![prediction.score.name.clone(), "–".to_owned(), "undefined".to_owned(), "–".to_owned()],
        };
        Table {
            summed: false,
            caption: format!("Rank correlation with {accuracy}: Spearman's ρ over {} checkpoints", self.names.len()),
            header: ["score", "ρ", "95 % interval", "p"].map(str::to_owned).to_vec(),
            rows: predictions.iter().map(row).collect(),
        }
    }
}

fn picked<T: Clone>(values: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|index| values[*index].clone()).collect()
}

/// Number of networks, or of seeds of runs, below which the bootstrap covers too seldom, so that no interval is given.
const FEWEST: usize = 8;

/// A rank correlation as JSON, with null for the intervals of few networks or seeds.
fn without_few(found: RankCorrelation) -> Value {
    let mut document = json!(found);
    if found.groups < FEWEST
        && let Value::Object(fields) = &mut document
    {
        fields.values_mut().filter(|value| value.get("level").is_some()).for_each(|interval| *interval = Value::Null);
    }
    document
}

/// The interval of a rank correlation.
fn interval(found: &RankCorrelation) -> String {
    match found.groups {
        few if few < FEWEST && few < found.samples => format!("none below {FEWEST} seeds"),
        few if few < FEWEST => format!("none below {FEWEST} networks"),
        _ => format!("{:+.2} to {:+.2}", found.bootstrap.low, found.bootstrap.high),
    }
}

/// 1 plus the number of smaller values.
fn rank(values: &[f64], index: usize) -> usize {
    1 + values.iter().filter(|value| **value < values[index]).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank_table() -> RankTable {
        RankTable {
            on: "data".to_owned(),
            names: ["c", "a", "b", "d"].map(str::to_owned).to_vec(),
            excluded_runs: 0,
            groups: None,
            scores: vec![Score::new("gc", vec![3.0, 1.0, 2.0, 4.0]), Score::new("flat", vec![1.0; 4])],
            accuracy: Some(Score::new("accuracy", vec![0.5, 0.9, 0.7, 0.4])),
        }
    }

    #[test]
    fn rows_are_sorted_and_scores_correlated_with_the_accuracy() {
        let sorted = rank_table().sorted("gc").unwrap();
        assert_eq!(sorted.names, ["a", "b", "c", "d"]);
        let predictions = sorted.predictions();
        assert_eq!(predictions[0].correlation.as_ref().unwrap().coefficient, -1.0);
        assert!(predictions[1].correlation.is_err(), "a score that is the same for all predicts nothing");
        let text = sorted.text();
        assert!(text.contains("-1.00") && text.contains("undefined"), "{text}");
    }

    /// Whole seeds are resampled, so that their number counts and not that of the runs.
    #[test]
    fn few_seeds_have_no_interval() {
        let values: Vec<f64> = (0..12).map(|run| f64::from(run * run % 7 + run)).collect();
        let of_seeds = |seeds: usize| RankTable {
            on: "data".to_owned(),
            names: (0..12).map(|run| run.to_string()).collect(),
            excluded_runs: 0,
            groups: Some((0..12).map(|run| run % seeds).collect()),
            scores: vec![Score::new("gc", values.clone())],
            accuracy: Some(Score::new("accuracy", (0..12).map(f64::from).collect())),
        };
        let (three, nine) = (of_seeds(3), of_seeds(9));
        assert!(three.text().contains("none below 8 seeds") && !nine.text().contains("none below"));
        let bootstrap = |table: &RankTable| table.document()["predictions"][0]["correlation"]["bootstrap"].clone();
        assert!(bootstrap(&three).is_null() && bootstrap(&nine)["level"] == 0.95);
    }

    #[test]
    fn an_unknown_score_is_refused_with_the_known_ones() {
        let message = rank_table().sorted("gcc").err().unwrap().to_string();
        assert!(message.contains("did you mean `gc`"), "{message}");
    }
}
