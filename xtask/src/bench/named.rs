//! Comparisons that pages quote by a key, and their summary.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::recorded::{Ratio, Recorded};
use super::units::cost;

/// A piece of work and a peer under a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) key: &'static str,
    /// The work in words, as a table states it.
    pub(super) words: &'static str,
    /// The recorded name of the work, which begins with its topic.
    pub(super) work: &'static str,
    peer: &'static str,
}

/// The comparisons of the summary, in its order.
pub(super) const SUMMARY: [Named; 14] = [
    Named {
        key: "vgg13-step",
        words: "training step of VGG-13, batch 64",
        work: "train/vgg13/64x3x32x32, cpu",
        peer: "PyTorch",
    },
    Named {
        key: "resnet18-step",
        words: "training step of ResNet-18, batch 64",
        work: "train/resnet18-cifar/64x3x32x32, cpu",
        peer: "PyTorch",
    },
    Named {
        key: "vgg-small-step",
        words: "training step of the presets' small VGG, batch 64",
        work: "train/vgg-small/64x3x32x32, cpu",
        peer: "PyTorch",
    },
    Named {
        key: "vit-step",
        words: "training step of ViT-Tiny on 32×32 images, batch 64",
        work: "train/vit-tiny-cifar/64x3x32x32, cpu",
        peer: "PyTorch",
    },
    Named {
        key: "convnext-step",
        words: "training step of ConvNeXt-Atto on 32×32 images, batch 64",
        work: "train/convnext-atto-cifar/64x3x32x32, cpu",
        peer: "PyTorch",
    },
    Named {
        key: "exact-gc",
        words: "exact GC of VGG-13, an image",
        work: "gc/exact, vgg13, p=512/each image of 3x32x32, cpu",
        peer: "PyTorch",
    },
    Named {
        key: "vit-gc",
        words: "exact GC of ViT-Tiny on 32×32 images, an image",
        work: "gc/exact, vit-tiny-cifar, p=192/each image of 3x32x32, cpu",
        peer: "PyTorch",
    },
    Named {
        key: "convnext-gc",
        words: "exact GC of ConvNeXt-Atto on 32×32 images, an image",
        work: "gc/exact, convnext-atto-cifar, p=320/each image of 3x32x32, cpu",
        peer: "PyTorch",
    },
    Named {
        key: "gc-estimate",
        words: "GC of a trained small VGG on 2,048 images to 1 %",
        work: "gc/estimate, trained vgg-small, 2048 glyphs/1 % by rows, regression, cpu",
        peer: "jacobian_regularizer",
    },
    Named {
        key: "candle-cnn",
        words: "exact GC of a small CNN written with candle, an image",
        work: "gc/exact, candle CNN, p=10/each image of 3x32x32",
        peer: "PyTorch",
    },
    Named {
        key: "penalised-step",
        words: "penalised training step of VGG-13, batch 64",
        work: "gc/training step, batch 64/vgg13/penalised, cpu",
        peer: "jacobian_regularizer",
    },
    Named {
        key: "collapse-measures",
        words: "collapse measures of neural-collapse, 1,000,000 samples of 512 features in 100 classes",
        work: "collapse/measures without scatter/1000000x512-100-classes-f32, cpu",
        peer: "neural-collapse",
    },
    Named {
        key: "collapse-report",
        words: "full collapse report, 50,000 samples of 2,048 features in 1,000 classes",
        work: "collapse/full-report/50000x2048-1000-classes-f32, cpu",
        peer: "NumPy",
    },
    Named {
        key: "episodes",
        words: "5-way 5-shot episode by nearest mean",
        work: "fewshot/5-way 5-shot 15-query/ncm/12000x512, 10000 episodes, cpu",
        peer: "easyfsl",
    },
];

/// Rounds from which the range of a ratio is stated.
const ROUNDS: usize = 3;

impl Named {
    /// The comparison with this key.
    ///
    /// An unknown key is an error that lists the known ones.
    pub(super) fn find(key: &str) -> Result<&'static Self> {
        let keys: Vec<&str> = SUMMARY.iter().map(|named| named.key).collect();
        SUMMARY
            .iter()
            .find(|named| named.key == key)
            .with_context(|| format!("no comparison has the key `{key}`; there are {}", keys.join(", ")))
    }

    /// Whether the work belongs to this topic.
    pub(super) fn is_of(&self, topic: &str) -> bool {
        self.work.split('/').next() == Some(topic)
    }

    /// The recorded ratio; `None` where it is not recorded.
    pub(super) fn recorded(&self, recorded: &Recorded) -> Option<Ratio> {
        recorded.ratios().into_iter().find(|ratio| ratio.work == self.work && ratio.peer == self.peer)
    }

    fn row(&self, recorded: &Recorded) -> String {
        let Some(ratio) = self.recorded(recorded) else {
            return format!("| {} | | {} | | not recorded | |\n", self.words, self.peer);
        };
        let (ours, theirs) = (cost(ratio.ours, &ratio.unit), cost(ratio.theirs, &ratio.unit));
        format!(
            "| {} | {ours} | {} | {theirs} | {} | {} |\n",
            self.words,
            ratio.peer,
            shown(ratio.ratio),
            range(&ratio)
        )
    }
}

/// A ratio with two or three significant digits.
pub(super) fn shown(ratio: f64) -> String {
    if ratio < 9.95 { format!("{ratio:.1}") } else { format!("{ratio:.0}") }
}

/// The lowest and the highest ratio over the rounds, where there are enough of them for a range.
pub(super) fn range(ratio: &Ratio) -> String {
    match ratio.rounds {
        1 => "one round".to_owned(),
        few if few < ROUNDS => format!("{few} rounds"),
        rounds => format!("{} to {} in {rounds} rounds", shown(ratio.range.0), shown(ratio.range.1)),
    }
}

/// A table of comparisons.
pub(super) fn table<'a>(rows: impl IntoIterator<Item = &'a Named>, recorded: &Recorded) -> String {
    let head = "| work | ours | peer | its cost | its cost over ours | range |\n|---|---|---|---|---|---|\n";
    rows.into_iter().fold(head.to_owned(), |table, named| table + &named.row(recorded))
}

/// The table of the summary, and the commit and machine of its rows.
pub(super) fn summary(recorded: &Recorded) -> String {
    let mut text = table(&SUMMARY, recorded);
    let mut places: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (topic, sessions) in &recorded.topics {
        for session in sessions.iter().filter(|session| SUMMARY.iter().any(|named| session.has(named.work))) {
            let topics = places.entry(session.place()).or_default();
            if topics.last() != Some(&topic.as_str()) {
                topics.push(topic);
            }
        }
    }
    match places.len() {
        0 => text.push_str("\nNothing is recorded yet.\n"),
        1 => places.keys().for_each(|place| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\nAll rows at {place}.");
        }),
        _ => {
            text.push_str("\nThe rows were recorded at several commits or on several machines:\n\n");
            places.iter().for_each(|(place, topics)| {
                let _ = writeln!(text, "- {}: {place}", topics.join(", "));
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::recorded::OURS;
    use super::super::recorded::tests::{example, figure};
    use super::*;

    fn with_report() -> Recorded {
        let mut recorded = example();
        let work = "collapse/full-report/50000x2048-1000-classes-f32, cpu";
        let session = &mut recorded.topics.get_mut("collapse").unwrap()[0];
        session.figures =
            vec![figure(work, OURS, &[1.0, 2.0, 1.0], None), figure(work, "NumPy", &[3.0, 5.0, 4.0], None)];
        recorded
    }

    #[test]
    fn keys_are_unique_and_an_unknown_key_is_an_error_that_lists_them() {
        let mut keys: Vec<&str> = SUMMARY.iter().map(|named| named.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), SUMMARY.len());
        assert!(Named::find("speed").unwrap_err().to_string().contains("exact-gc"));
    }

    #[test]
    fn the_summary_states_ranges_from_three_rounds_on_and_what_is_missing() {
        let text = summary(&with_report());
        assert_eq!(
            text.lines().filter(|line| line.starts_with("| ")).count(),
            1 + SUMMARY.len(),
            "a head and the rows"
        );
        assert!(text.contains("| 1.00 s | NumPy | 4.00 s | 3.0 | 2.5 to 4.0 in 3 rounds |"), "{text}");
        assert!(text.contains("| PyTorch | | not recorded | |"), "{text}");
        assert!(text.contains("All rows at commit 1234abc, 2 cores, 2 threads."), "{text}");
    }

    #[test]
    fn few_rounds_have_no_range() {
        let mut ratio = with_report().ratios().remove(0);
        ratio.rounds = 2;
        assert_eq!(range(&ratio), "2 rounds");
        ratio.rounds = 1;
        assert_eq!(range(&ratio), "one round");
        assert_eq!((shown(2.96), shown(9.96)), ("3.0".to_owned(), "10".to_owned()));
    }

    #[test]
    fn topics_of_several_commits_are_listed_by_commit() {
        let mut recorded = with_report();
        let mut later = recorded.topics["collapse"][0].clone();
        later.versions.insert("commit".into(), "5678def".into());
        recorded.topics.insert("gc".into(), vec![later]);
        let text = summary(&recorded);
        assert!(text.contains("- collapse: commit 1234abc, 2 cores, 2 threads\n- gc: commit 5678def, "), "{text}");
    }
}
