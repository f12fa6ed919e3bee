//! Slices of an experiment: every n-th run, so that several machines, or several commands, share the runs of one plan.

use std::fmt;
use std::str::FromStr;

use crate::study::sweep::PlannedRun;

/// One of several equal shares of the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    /// From 1.
    index: usize,
    count: usize,
}

impl Slice {
    /// The runs of this slice: one of every `count` runs in the order of the plan.
    pub(super) fn of(self, runs: &[PlannedRun]) -> Vec<PlannedRun> {
        runs.iter().skip(self.index - 1).step_by(self.count).cloned().collect()
    }
}

impl FromStr for Slice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            _ => Err("expected I/N with whole numbers 1 ≤ I ≤ N, such as 2/6".to_owned()),
        }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::experiment::Experiment;
    use crate::study::sweep;

    #[test]
    fn every_run_is_in_one_slice() {
        let experiment = Experiment::resolve("fig4", "quick", None, None, &[]).unwrap();
        let runs = sweep::runs(&experiment).unwrap();
        for count in [1, 3, 7, 100] {
            let slices = (1..=count).map(|index| format!("{index}/{count}").parse::<Slice>().unwrap().of(&runs));
            let mut keys: Vec<String> = slices.flatten().map(|run| run.key).collect();
            let mut all: Vec<String> = runs.iter().map(|run| run.key.clone()).collect();
            keys.sort();
            all.sort();
            assert_eq!(keys, all);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", ""] {
            assert!(text.parse::<Slice>().unwrap_err().contains("such as 2/6"), "{text}");
        }
        assert_eq!("2/6".parse::<Slice>().unwrap().to_string(), "2/6");
    }
}
