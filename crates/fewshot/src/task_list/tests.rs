//! Task lists give the same episodes when read back, and damaged lists are refused.

use super::*;
use crate::{Episode, EpisodeSampler, Error, Result};

fn list() -> (Vec<u32>, Vec<Episode>, String) {
    let labels: Vec<u32> = (0..60).map(|i| i % 5 + 10).collect();
    let sampler = EpisodeSampler::fixed(&labels, 3, 2, 4, 9).unwrap();
    let mut writer = TaskListWriter::new(Vec::new(), &labels, Some(&sampler)).unwrap();
    let episodes: Vec<Episode> = sampler.episodes().take(4).collect();
    episodes.iter().for_each(|episode| writer.write(episode).unwrap());
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    (labels, episodes, text)
}

fn read(text: &str, labels: &[u32]) -> Result<Vec<Episode>> {
    TaskListReader::new(text.as_bytes(), labels)?.collect()
}

#[test]
fn a_list_gives_the_same_episodes_and_the_same_evaluation() {
    let (labels, episodes, text) = list();
    assert_eq!(read(&text, &labels).unwrap(), episodes);
    assert_eq!(text.lines().count(), 6);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.jsonl");
    let sampler = EpisodeSampler::fixed(&labels, 3, 2, 4, 9).unwrap();
    write_task_list(&path, &labels, &sampler, 4).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no partial file is left");
    let features = crate::LabelledFeatures::from_f32((0..60).map(|i| i as f32).collect(), 1, labels.clone()).unwrap();
    let opened = TaskListReader::open(&path, &labels).unwrap();
    let replayed =
        crate::evaluate_episodes(&features, opened, &[crate::NearestMean], &crate::IntervalSettings::default())
            .unwrap();
    assert_eq!(replayed, crate::evaluate(&features, &sampler, 4, &[crate::NearestMean]).unwrap());
    assert!(text.ends_with(&format!("{{\"episodes\":4,\"episodes_sha256\":\"{}\"}}\n", replayed.episodes_checksum)));
}

#[test]
fn damaged_lists_are_refused_by_variant() {
    let (labels, _, text) = list();
    let mut lines: Vec<&str> = text.lines().collect();
    let closing = lines.pop().unwrap();
    let open = lines.join("\n");
    assert!(matches!(read(&open, &labels), Err(Error::TaskListTruncated { episodes: 4 })));
    assert!(matches!(read("", &labels), Err(Error::TaskListHeader { .. })));
    assert!(matches!(
        read(&text.replace("\"version\":1", "\"version\":2"), &labels),
        Err(Error::TaskListHeader { .. })
    ));
    let mut other = labels.clone();
    other[7] += 1;
    assert!(matches!(read(&text, &other), Err(Error::TaskListChecksum { .. })));
    assert!(matches!(
        read(&text, &labels[1..]),
        Err(Error::TaskListChecksum { listed_count: 60, found_count: 59, .. })
    ));
    let with = |line: &str| format!("{}\n{line}\n{closing}\n", lines[0]);
    assert!(matches!(read(&with("{\"classes\":"), &labels), Err(Error::TaskListLine { line: 2, .. })));
    assert!(matches!(read(&with("{\"classes\":[10,11]}"), &labels), Err(Error::TaskListLine { line: 2, .. })));
    assert!(matches!(read(&format!("{text}{{}}\n"), &labels), Err(Error::TaskListLine { line: 7, .. })));
    let missing = format!("{}\n{closing}\n", lines[..4].join("\n"));
    assert!(matches!(read(&missing, &labels), Err(Error::TaskListLine { .. })));
    let episode = |line: &str| match read(&with(line), &labels) {
        Err(Error::TaskListEpisode { line: 2, source }) => *source,
        other => panic!("{other:?}"),
    };
    let found = episode("{\"classes\":[10,11],\"support\":[[0],[1]],\"query\":[[0],[6]]}");
    assert!(matches!(found, Error::DuplicateIndex { index: 0 }));
    let found = episode("{\"classes\":[10,11],\"support\":[[0],[2]],\"query\":[[5],[6]]}");
    assert!(matches!(found, Error::LabelMismatch { index: 2, listed: 11, label: 12 }));
    let found = episode("{\"classes\":[10,11],\"support\":[[0],[1]],\"query\":[[5],[61]]}");
    assert!(matches!(found, Error::IndexOutOfRange { index: 61, samples: 60 }));
}

#[test]
fn failing_streams_and_episodes_of_other_data_are_errors() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert!(matches!(TaskListWriter::new(Full, &[0, 1], None), Err(Error::Stream(_))));
    let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![2], vec![]]).unwrap();
    let mut writer = TaskListWriter::new(Vec::new(), &[0, 1], None).unwrap();
    assert!(matches!(writer.write(&episode), Err(Error::IndexOutOfRange { .. })));
    let nowhere = std::path::Path::new("/no/such/folder/tasks.jsonl");
    assert!(matches!(TaskListReader::open(nowhere, &[0]), Err(Error::Io { .. })));
}
