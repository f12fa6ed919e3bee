//! Recorded figures, with the machine and the command that measured them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::files::write_whole;

/// The name of our own side among the figures.
pub(super) const OURS: &str = "ours";

/// Everything recorded, by topic. A topic has more than one session where single benchmarks were recorded again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Recorded {
    pub(super) topics: BTreeMap<String, Vec<Session>>,
}

/// Figures of one topic, measured in one session: at one commit, on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) command: String,
    pub(super) date: String,
    pub(super) threads: usize,
    pub(super) quick: bool,
    pub(super) machine: String,
    pub(super) versions: BTreeMap<String, String>,
    pub(super) figures: Vec<Figure>,
}

/// The cost of one piece of work on one side. Less is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    /// The work; both sides give the same work the same name.
    pub(super) work: String,
    /// The library.
    pub(super) side: String,
    /// `s` or `MiB`.
    pub(super) unit: String,
    /// The median of each round.
    pub(super) rounds: Vec<f64>,
    /// Samples, images or operations processed, where the number is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) elements: Option<f64>,
    /// For a point of a cost curve: the work that every implementation must do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) least: Option<Least>,
}

/// The least work of one repetition, as declared by the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Least {
    pub(super) operations: f64,
    pub(super) bytes: f64,
}

impl Figure {
    /// Whether both are figures of the same work by the same side.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        (&self.work, &self.side, &self.unit) == (&other.work, &other.side, &other.unit)
    }

    /// Median over the rounds.
    pub(super) fn median(&self) -> f64 {
        median(&self.rounds)
    }

    /// The cost of each round, divided by the number of elements where both sides state it.
    fn costs<'a>(&'a self, other: &Self) -> impl Iterator<Item = f64> + 'a {
        let each = if self.elements.is_some() && other.elements.is_some() { self.elements.unwrap_or(1.0) } else { 1.0 };
        self.rounds.iter().map(move |cost| cost / each)
    }
}

/// A peer's cost over ours.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ratio {
    pub(super) topic: String,
    pub(super) work: String,
    pub(super) peer: String,
    pub(super) unit: String,
    pub(super) ours: f64,
    pub(super) theirs: f64,
    /// Median over rounds of the peer's cost divided by ours in the same round; above 1 ours is cheaper.
    pub(super) ratio: f64,
    /// Lowest and highest over the rounds.
    pub(super) range: (f64, f64),
    /// Rounds in which both sides ran.
    pub(super) rounds: usize,
    /// Whether no other peer does the same work at less cost.
    pub(super) best_peer: bool,
}

impl Recorded {
    /// Reads the file; without a file nothing is recorded.
    pub(super) fn read(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                serde_json::from_str(&text).with_context(|| format!("{} is no record of figures", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        write_whole(path, format!("{}\n", serde_json::to_string_pretty(self)?).as_bytes())
    }

    /// Records a session of a whole topic in place of all earlier ones.
    pub(super) fn replace(&mut self, topic: &str, session: Session) {
        self.topics.insert(topic.to_owned(), vec![session]);
    }

    /// Records a session of some of a topic's benchmarks. Earlier figures of the same work, also those of peers, are removed:
    /// two sides are compared within a session only.
    pub(super) fn merge(&mut self, topic: &str, session: Session) {
        let sessions = self.topics.entry(topic.to_owned()).or_default();
        let measured = |figure: &Figure| session.figures.iter().any(|new| new.work == figure.work);
        sessions.iter_mut().for_each(|earlier| earlier.figures.retain(|figure| !measured(figure)));
        sessions.retain(|earlier| !earlier.figures.is_empty());
        sessions.push(session);
    }

    /// The ratio of each peer's figure to ours of the same work.
    pub(super) fn ratios(&self) -> Vec<Ratio> {
        let each = |(topic, sessions): (&String, &Vec<Session>)| -> Vec<Ratio> {
            sessions.iter().flat_map(|session| session.ratios(topic)).collect()
        };
        self.topics.iter().flat_map(each).collect()
    }
}

impl Session {
    /// Commit, machine and threads.
    pub(super) fn place(&self) -> String {
        let commit =
            self.versions.get("commit").map_or("an unknown commit".to_owned(), |commit| format!("commit {commit}"));
        format!("{commit}, {}, {} threads", self.machine, self.threads)
    }

    /// Whether this work was measured.
    pub(super) fn has(&self, work: &str) -> bool {
        self.figures.iter().any(|figure| figure.work == work)
    }

    pub(super) fn ratios(&self, topic: &str) -> Vec<Ratio> {
        let ours = self.figures.iter().filter(|figure| figure.side == OURS);
        let mut ratios: Vec<Ratio> = ours
            .flat_map(|ours| {
                let same = |peer: &&Figure| peer.side != OURS && peer.work == ours.work && peer.unit == ours.unit;
                self.figures.iter().filter(same).filter_map(|peer| Ratio::new(topic, ours, peer)).collect::<Vec<_>>()
            })
            .collect();
        let all = ratios.clone();
        for ratio in &mut ratios {
            let rivals = all.iter().filter(|other| (&other.work, &other.unit) == (&ratio.work, &ratio.unit));
            ratio.best_peer = rivals.map(|other| other.ratio).fold(f64::INFINITY, f64::min) >= ratio.ratio;
        }
        ratios
    }
}

impl Ratio {
    fn new(topic: &str, ours: &Figure, peer: &Figure) -> Option<Self> {
        let rounds: Vec<f64> = peer.costs(ours).zip(ours.costs(peer)).map(|(theirs, ours)| theirs / ours).collect();
        let ends = rounds.iter().fold((f64::INFINITY, 0.0f64), |(low, high), &ratio| (low.min(ratio), high.max(ratio)));
        let costs = |figure: &Figure, other: &Figure| median(&figure.costs(other).collect::<Vec<_>>());
        (!rounds.is_empty()).then(|| Self {
            topic: topic.to_owned(),
            work: ours.work.clone(),
            peer: peer.side.clone(),
            unit: ours.unit.clone(),
            ours: costs(ours, peer),
            theirs: costs(peer, ours),
            ratio: median(&rounds),
            range: ends,
            rounds: rounds.len(),
            best_peer: false,
        })
    }
}

/// The middle value, or the mean of the two middle ones; NaN of nothing.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn figure(work: &str, side: &str, rounds: &[f64], elements: Option<f64>) -> Figure {
        Figure {
            work: work.into(),
            side: side.into(),
            unit: "s".into(),
            rounds: rounds.to_vec(),
            elements,
            least: None,
        }
    }

    pub(crate) fn example() -> Recorded {
        let figures = vec![
            figure("collapse/full-report/10x2", OURS, &[1.0, 2.0, 1.0], None),
            figure("collapse/full-report/10x2", "NumPy", &[3.0, 5.0, 4.0], None),
            figure("collapse/full-report/10x2", "neural-collapse", &[9.0, 9.0, 9.0], None),
            figure("episodes", OURS, &[2.0], Some(100.0)),
            figure("episodes", "easyfsl", &[1.0], Some(5.0)),
        ];
        let session = Session {
            command: "cargo xtask bench collapse".into(),
            date: "2026-11-24 04:00:00 UTC".into(),
            threads: 2,
            quick: false,
            machine: "2 cores".into(),
            versions: BTreeMap::from([
                ("commit".to_owned(), "1234abc".to_owned()),
                ("rustc".to_owned(), "1.95".to_owned()),
            ]),
            figures,
        };
        Recorded { topics: BTreeMap::from([("collapse".to_owned(), vec![session])]) }
    }

    #[test]
    fn a_single_benchmark_is_recorded_beside_the_others() {
        let mut recorded = example();
        let mut again = recorded.topics["collapse"][0].clone();
        again.figures = vec![figure("episodes", OURS, &[1.0, 1.0, 1.0], Some(100.0))];
        again.versions.insert("commit".into(), "5678def".into());
        recorded.merge("collapse", again.clone());
        let sessions = &recorded.topics["collapse"];
        assert_eq!(sessions.iter().map(|session| session.figures.len()).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(sessions[0].versions["commit"], "1234abc");
        assert!(
            !recorded.ratios().iter().any(|ratio| ratio.work == "episodes"),
            "the peer's figure is of another session"
        );
        // The same benchmark once more leaves no empty session.
        recorded.merge("collapse", again.clone());
        assert_eq!(recorded.topics["collapse"].len(), 2);
        recorded.replace("collapse", again);
        assert_eq!(recorded.topics["collapse"].len(), 1);
    }

    #[test]
    fn ratios_pair_rounds_and_count_elements() {
        let ratios = example().ratios();
        // Rounds 3/1, 5/2, 4/1: the median is 3, not the ratio of the medians.
        assert_eq!((ratios[0].peer.as_str(), ratios[0].ratio, ratios[0].range), ("NumPy", 3.0, (2.5, 4.0)));
        assert!(ratios[0].best_peer && !ratios[1].best_peer && ratios[0].rounds == 3);
        // An episode takes us 0.02 s and the peer 0.2 s.
        assert!((ratios[2].ratio - 10.0).abs() < 1e-12 && (ratios[2].ours - 0.02).abs() < 1e-15);
    }

    #[test]
    fn a_record_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures.json");
        assert_eq!(Recorded::read(&path).unwrap(), Recorded::default());
        example().write(&path).unwrap();
        assert_eq!(Recorded::read(&path).unwrap(), example());
        std::fs::write(&path, "{").unwrap();
        assert!(Recorded::read(&path).unwrap_err().to_string().contains("no record"));
    }
}
