//! One episode: classes with their support and query samples.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A few-shot episode: classes with their support and query samples.
///
/// **Definition** an episode has w classes (w-way). Each class has at least one support sample (its shots). A head
/// assigns every query sample to one of the w classes, and the true class of a query is one of them.
///
/// **Conventions** classes are numbered 0 … w−1 within the episode, in the order of [`Episode::classes`]. Samples are
/// row numbers of the data set, listed class by class. No sample occurs twice, so support and query are disjoint.
///
/// ```
/// use fewshot::Episode;
/// let episode = Episode::new(vec![9, 4], vec![vec![0, 3], vec![5]], vec![vec![1], vec![6, 2]])?;
/// assert_eq!(episode.support(), [0, 3, 5]);
/// assert_eq!(episode.support_classes(), [0, 0, 1]);
/// assert_eq!(episode.query_classes(), [0, 1, 1]);
/// assert!(Episode::new(vec![9, 4], vec![vec![0], vec![5]], vec![vec![0], vec![]]).is_err());
/// // With serde an episode has the form of a line of a task list.
/// let text = r#"{"classes":[9,4],"support":[[0,3],[5]],"query":[[1],[6,2]]}"#;
/// assert_eq!(serde_json::to_string(&episode).unwrap(), text);
/// assert_eq!(serde_json::from_str::<Episode>(text).unwrap(), episode);
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Grouped", into = "Grouped")]
pub struct Episode {
    classes: Vec<u32>,
    support: Vec<usize>,
    support_classes: Vec<usize>,
    query: Vec<usize>,
    query_classes: Vec<usize>,
}

/// The form of an episode in files: row numbers of support and query, one list per class.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grouped {
    classes: Vec<u32>,
    support: Vec<Vec<usize>>,
    query: Vec<Vec<usize>>,
}

impl From<Episode> for Grouped {
    fn from(episode: Episode) -> Self {
        let (support, query) = (episode.support_by_class(), episode.query_by_class());
        Self { classes: episode.classes, support, query }
    }
}

impl TryFrom<Grouped> for Episode {
    type Error = Error;

    fn try_from(Grouped { classes, support, query }: Grouped) -> Result<Self> {
        Self::new(classes, support, query)
    }
}

impl Episode {
    /// An episode from the labels of its classes and, per class, the row numbers of its support and its queries.
    ///
    /// **Errors** [`Error::IncompleteEpisode`], [`Error::DuplicateClass`], [`Error::DuplicateIndex`].
    pub fn new(classes: Vec<u32>, support: Vec<Vec<usize>>, query: Vec<Vec<usize>>) -> Result<Self> {
        let way = classes.len();
        let incomplete = |reason: String| Err(Error::IncompleteEpisode { reason });
        if way < 2 {
            return incomplete(format!("the number of classes is {way}"));
        }
        if support.len() != way || query.len() != way {
            return incomplete(format!(
                "{way} classes come with {} support lists and {} query lists",
                support.len(),
                query.len()
            ));
        }
        if let Some(class) = support.iter().position(Vec::is_empty) {
            return incomplete(format!("class {} has no support", classes[class]));
        }
        if query.iter().all(Vec::is_empty) {
            return incomplete("there are no queries".to_owned());
        }
        let mut seen_classes = HashSet::new();
        if let Some(&class) = classes.iter().find(|&&class| !seen_classes.insert(class)) {
            return Err(Error::DuplicateClass { class });
        }
        let mut seen = HashSet::new();
        if let Some(&index) = support.iter().chain(&query).flatten().find(|&&index| !seen.insert(index)) {
            return Err(Error::DuplicateIndex { index });
        }
        Ok(Self::from_valid(classes, &support, &query))
    }

    /// An episode from parts that are valid by construction.
    pub(crate) fn from_valid(classes: Vec<u32>, support: &[Vec<usize>], query: &[Vec<usize>]) -> Self {
        Self {
            classes,
            support: support.concat(),
            support_classes: local_classes(support),
            query: query.concat(),
            query_classes: local_classes(query),
        }
    }

    /// Number of classes (w).
    pub fn way(&self) -> usize {
        self.classes.len()
    }

    /// The label of each class, in the episode's order.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// The support samples, class by class.
    pub fn support(&self) -> &[usize] {
        &self.support
    }

    /// The class of each support sample, 0 … w−1.
    pub fn support_classes(&self) -> &[usize] {
        &self.support_classes
    }

    /// The query samples, class by class.
    pub fn query(&self) -> &[usize] {
        &self.query
    }

    /// The true class of each query sample, 0 … w−1.
    pub fn query_classes(&self) -> &[usize] {
        &self.query_classes
    }

    /// The support samples, one list per class.
    pub fn support_by_class(&self) -> Vec<Vec<usize>> {
        by_class(self.way(), &self.support, &self.support_classes)
    }

    /// The query samples, one list per class.
    pub fn query_by_class(&self) -> Vec<Vec<usize>> {
        by_class(self.way(), &self.query, &self.query_classes)
    }

    /// Number of support samples of each class.
    pub fn shots(&self) -> Vec<usize> {
        let mut shots = vec![0; self.way()];
        self.support_classes.iter().for_each(|&class| shots[class] += 1);
        shots
    }

    /// Checks that every sample exists and has the label of its class.
    ///
    /// **Errors** [`Error::IndexOutOfRange`], [`Error::LabelMismatch`].
    pub fn check_against(&self, labels: &[u32]) -> Result<()> {
        let listed = self.support.iter().zip(&self.support_classes).chain(self.query.iter().zip(&self.query_classes));
        for (&index, &class) in listed {
            let Some(&label) = labels.get(index) else {
                return Err(Error::IndexOutOfRange { index, samples: labels.len() });
            };
            if label != self.classes[class] {
                return Err(Error::LabelMismatch { index, listed: self.classes[class], label });
            }
        }
        Ok(())
    }
}

fn by_class(way: usize, samples: &[usize], classes: &[usize]) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new(); way];
    samples.iter().zip(classes).for_each(|(&sample, &class)| groups[class].push(sample));
    groups
}

/// The class of every sample of `groups`, which holds one list of samples per class.
fn local_classes(groups: &[Vec<usize>]) -> Vec<usize> {
    groups.iter().enumerate().flat_map(|(class, rows)| std::iter::repeat_n(class, rows.len())).collect()
}
