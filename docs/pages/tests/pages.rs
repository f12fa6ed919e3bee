//! Every page of README and book: its links and anchors lead somewhere, and its code fits its column.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The columns of the book's text at its usual size.
const COLUMNS: usize = 100;
/// Addresses of files of this repository.
const REPOSITORY: [&str; 2] = [
    "https://github.com/geometric-collapse/geometric-collapse/blob/main/",
    "https://github.com/geometric-collapse/geometric-collapse/tree/main/",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// README, CONTRIBUTING and so on, the READMEs of the crates, and the chapters of the book.
fn pages() -> Vec<PathBuf> {
    let root = root();
    let mut pages: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benches/peers/README.md"].map(|page| root.join(page)).into();
    for folder in fs::read_dir(root.join("crates")).unwrap() {
        pages.extend([folder.unwrap().path().join("README.md")].into_iter().filter(|page| page.exists()));
    }
    let mut waiting = vec![root.join("docs/src")];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|ending| ending.to_str()) {
                _ if path.is_dir() => waiting.push(path),
                Some("md") => pages.push(path),
                _ => {}
            }
        }
    }
    pages.sort();
    pages
}

/// The text of a page with its `{{#include …}}` lines replaced by the files, as the book shows it.
fn text_of(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    let included = |line: &str| {
        let file = line.strip_prefix("{{#include ")?.strip_suffix("}}")?;
        Some(fs::read_to_string(page.parent().unwrap().join(file)).unwrap_or_else(|_| panic!("{page:?}: no {file}")))
    };
    text.lines().map(|line| included(line).unwrap_or_else(|| format!("{line}\n"))).collect()
}

/// The lines of a page, each with whether it is in a block of code.
fn lines(text: &str) -> Vec<(&str, bool)> {
    let mut in_code = false;
    let mut mark = |line: &str| {
        let fence = line.trim_start().starts_with("```");
        let inside = in_code && !fence;
        in_code ^= fence;
        (fence, inside)
    };
    text.lines()
        .map(|line| {
            let (fence, inside) = mark(line);
            (line, inside || fence)
        })
        .collect()
}

/// The lines of code. Those of a block `text` are left out: a program printed them.
fn written_code(text: &str) -> Vec<&str> {
    let (mut in_code, mut printed) = (false, false);
    let is_code = |line: &&str| {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            in_code = !in_code;
            printed = in_code && language == "text";
            return false;
        }
        in_code && !printed
    };
    text.lines().filter(is_code).collect()
}

/// A line without the code in it.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The targets of the links and pictures of a page.
fn links(text: &str) -> Vec<String> {
    let prose: String =
        lines(text).into_iter().filter(|(_, code)| !code).map(|(line, _)| without_code(line) + "\n").collect();
    prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .chain(prose.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()))
        .chain(prose.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()))
        .map(str::to_owned)
        .collect()
}

/// The anchors of a page's headings, as mdBook and GitHub name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (line, code) in lines(text) {
        let Some(heading) = line.strip_prefix('#').filter(|_| !code) else { continue };
        let shown = heading.trim_start_matches('#').trim().replace('`', "");
        // Of a link, the words are shown.
        let shown = shown.replace('[', "").split("](").next().unwrap_or_default().to_owned();
        let named: String = shown
            .chars()
            .filter_map(|letter| match letter {
                ' ' => Some('-'),
                '-' | '_' => Some(letter),
                letter if letter.is_alphanumeric() => Some(letter.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        let of = |number: usize| if number == 0 { named.clone() } else { format!("{named}-{number}") };
        let free = (0..).map(of).find(|name| !seen.contains(name)).unwrap();
        seen.insert(free);
    }
    seen
}

/// A path without `..` and `.` in it.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            part => path.push(part),
        }
        path
    })
}

/// The reason why a link leads nowhere, if it does not.
fn broken(page: &Path, link: &str) -> Option<String> {
    let link = link.split_whitespace().next().unwrap_or_default();
    let (address, base) = match REPOSITORY.iter().find_map(|prefix| link.strip_prefix(prefix)) {
        Some(path) => (path, root()),
        None if link.contains("://") || link.starts_with("mailto:") => return None,
        None => (link, page.parent().unwrap().to_owned()),
    };
    let (file, anchor) = address.split_once('#').map_or((address, None), |(file, anchor)| (file, Some(anchor)));
    let target = if file.is_empty() { page.to_owned() } else { plain(&base.join(file)) };
    if !target.exists() {
        return Some(format!("no file {}", target.display()));
    }
    let anchor = anchor.filter(|_| target.extension().is_some_and(|ending| ending == "md"))?;
    (!anchors(&text_of(&target)).contains(anchor)).then(|| format!("no heading #{anchor} in {}", target.display()))
}

#[test]
fn every_link_and_anchor_leads_somewhere() {
    let wrong: Vec<String> = pages()
        .iter()
        .flat_map(|page| {
            let found = links(&text_of(page))
                .into_iter()
                .filter_map(|link| broken(page, &link).map(|reason| format!("{}: {link}: {reason}", page.display())));
            found.collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_line_of_code_is_wider_than_its_column() {
    let wide: Vec<String> = pages()
        .iter()
        .flat_map(|page| {
            let text = fs::read_to_string(page).unwrap();
            let wide = written_code(&text).into_iter().filter(|line| line.chars().count() > COLUMNS);
            wide.map(|line| format!("{}: {} columns: {line}", page.display(), line.chars().count())).collect::<Vec<_>>()
        })
        .collect();
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

/// The numbers with an interval in a text, such as `0.273 [0.233, 0.321]`.
fn intervals(text: &str) -> Vec<String> {
    let is_number = |word: &str| word.chars().next_back().is_some_and(|last| last.is_ascii_digit());
    let mut found = Vec::new();
    for (at, _) in text.match_indices(" [") {
        let (before, after) = (&text[..at], &text[at..]);
        let unit = if before.ends_with(" points") { " points" } else { "" };
        let number = before.trim_end_matches(" points").rsplit([' ', '×', '\n']).next().unwrap_or_default();
        let interval = after.split_inclusive(']').next().unwrap_or_default();
        if is_number(number) && is_number(interval.trim_end_matches(']')) {
            found.push(format!("{number}{unit}{interval}"));
        }
    }
    found
}

#[test]
fn the_numbers_of_the_example_report_are_recorded() {
    let book = root().join("docs/src");
    let recorded = fs::read_to_string(book.join("results/fig4-cpu-output.txt")).unwrap();
    let quoted = intervals(&fs::read_to_string(book.join("reading-a-report.md")).unwrap());
    assert!(quoted.len() > 10, "{quoted:?}");
    let other: Vec<String> = quoted.into_iter().filter(|number| !recorded.contains(number.as_str())).collect();
    assert!(other.is_empty(), "numbers that `reproduce fig4 --preset cpu` did not print: {other:?}");
}

#[test]
fn front_pages_have_no_hidden_lines() {
    // GitHub and the registry show a line `# …` that rustdoc hides.
    for page in pages().into_iter().filter(|page| page.ends_with("README.md")) {
        let text = fs::read_to_string(&page).unwrap();
        let mut in_rust = false;
        for line in text.lines() {
            in_rust = if line.starts_with("```") { line.starts_with("```rust") } else { in_rust };
            assert!(!in_rust || !(line == "#" || line.starts_with("# ")), "{}: {line}", page.display());
        }
    }
}

#[test]
fn every_chapter_is_in_the_summary_and_every_picture_on_a_page() {
    let root = root();
    let summary = links(&fs::read_to_string(root.join("docs/src/SUMMARY.md")).unwrap());
    let all = pages();
    for page in all.iter().filter(|page| page.starts_with(root.join("docs/src")) && !page.ends_with("SUMMARY.md")) {
        let name = page.strip_prefix(root.join("docs/src")).unwrap().to_str().unwrap().to_owned();
        assert!(summary.contains(&name), "{name} is not in SUMMARY.md");
    }
    let shown: BTreeSet<PathBuf> = all
        .iter()
        .flat_map(|page| links(&text_of(page)).into_iter().map(|link| plain(&page.parent().unwrap().join(link))))
        .collect();
    for entry in fs::read_dir(root.join("docs/src/images")).unwrap() {
        let picture = entry.unwrap().path();
        assert!(shown.contains(&picture), "{} is on no page", picture.display());
    }
}

#[test]
fn the_helpers_find_links_anchors_and_code() {
    let text =
        "# One `two` (three)\n# One `two` (three)\n[a](b.md#c) ![d](e.svg)\n`[no](no.md)`\n```sh\n# no heading\n```\n";
    assert_eq!(links(text), ["b.md#c", "e.svg"]);
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["one-two-three", "one-two-three-1"]);
    assert_eq!(written_code(text), ["# no heading"]);
    assert_eq!(written_code("```text\nprinted\n```\n```\ncode\n```\n"), ["code"]);
    let numbers = "by 0.273 [0.233, 0.321] and ×1.04 [1.00, 1.08], −2.0 points [−4.6, +0.7], [no](link) of 2 [kinds]";
    assert_eq!(intervals(numbers), ["0.273 [0.233, 0.321]", "1.04 [1.00, 1.08]", "−2.0 points [−4.6, +0.7]"]);
    assert_eq!(plain(Path::new("/a/b/../c/./d")), Path::new("/a/c/d"));
    assert!(broken(&root().join("README.md"), "nowhere.md").is_some());
    assert!(broken(&root().join("README.md"), "docs/src/glossary.md#no-such-heading").is_some());
    assert!(broken(&root().join("README.md"), "https://arxiv.org/abs/2405.15706").is_none());
}
