//! The pages of a report in headless Chromium, from the width of a phone to that of a large screen, light and dark: their
//! layout, and what their script shows, hides and saves. Skipped with a message if there is no Chromium.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The checks of a page, sent to its frame.
const CHECKS: &str = include_str!("browser/checks.js");

/// A frame, which can be narrower than a window.
const FRAME: &str = r#"<!DOCTYPE html><meta name="color-scheme" content="light dark"><script>
addEventListener("message", message => document.documentElement.setAttribute("data-answer", message.data));
</script><iframe src="checked.html" style="border:0" height="900" width="#;

fn chromium() -> Option<String> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let found = |name: &&str| Command::new(name).arg("--version").stderr(Stdio::null()).output().is_ok();
    names.into_iter().find(|name| found(name)).map(str::to_owned)
}

/// The result of the checks, and the browser's console.
fn checked(browser: &str, page: &Path, width: u32, dark: bool) -> (serde_json::Value, String) {
    let checked = page.with_file_name("checked.html");
    let text = fs::read_to_string(page).unwrap();
    fs::write(&checked, text.replace("</body>", &format!("<script type=\"module\">{CHECKS}</script></body>"))).unwrap();
    let frame = page.with_file_name("frame.html");
    fs::write(&frame, format!("{FRAME}\"{width}\"></iframe>")).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]);
    command.args(["--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr"]);
    if dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.args(["--window-size=1700,1000", "--virtual-time-budget=10000", "--dump-dom"]);
    command.arg(format!("file://{}", frame.display()));
    let output = command.stdin(Stdio::null()).output().unwrap();
    fs::remove_file(&checked).and_then(|()| fs::remove_file(&frame)).unwrap();
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    let answer = dom.split("data-answer=\"").nth(1).and_then(|rest| rest.split('"').next());
    let answer = answer.unwrap_or_else(|| panic!("the page was not shown: {log}"));
    let answer = answer.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    (serde_json::from_str(&answer).unwrap(), console.join("\n"))
}

fn reproduce(root: &Path, experiment: &str) {
    let mut command = program::command(root, &["reproduce", experiment, "--seed", "0,1"]);
    let mut settings = vec![
        "data.classes=5",
        "data.train_images_per_class=8",
        "data.test_images_per_class=3",
        "model.width=0.25",
        "train.epochs=2",
        "train.batch_size=8",
        "measure.schedule=[0, 0.5, 1]",
        "measure.loss_window=16",
        "measure.feature_images_per_class=4",
        "measure.gc_images_per_class=2",
        "rules.resamples=100",
    ];
    match experiment {
        "fig4" => settings.extend([
            "data.target_classes=5",
            "data.target_images_per_class=8",
            "measure.few_shot={ way = 3, shot = 2, query = 3, episodes = 20, ridge = 0.1 }",
            "measure.layers=['features.3', 'features.21']",
            "sweeps.learning-rate.values=[0.02, 0.1]",
            "sweeps.batch-size.values=[8, 16]",
            "sweeps.l2.values=[0, 1e-2]",
        ]),
        "fig2" => settings.push(
            "measure.estimators={ images = 4, repeats = 2, batch_samples = [2], mask_rates = [0.1], output_samples = [2] }",
        ),
        _ => {}
    }
    settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
    program::text(&command.output().unwrap(), 0);
}

#[test]
fn pages_render_without_errors_from_a_phone_to_a_large_screen_in_light_and_dark() {
    let Some(browser) = chromium() else {
        // The test harness captures the output of macros, but not of this.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no page was shown: there is no Chromium on this machine");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    ["fig2", "fig3", "fig4"].iter().for_each(|experiment| reproduce(folder.path(), experiment));
    let pages = [
        "fig4-quick-glyphs/report.html",
        "fig2-quick-glyphs/report.html",
        "fig3-quick-glyphs/report.html",
        "index.html",
    ];
    for page in pages {
        let mut grounds = Vec::new();
        for (width, dark) in [(1600, false), (1024, false), (390, true)] {
            let (answer, console) = checked(&browser, &results.join(page), width, dark);
            let place = format!("{page} at {width}");
            assert_eq!(answer["width"], width, "{place}");
            assert_eq!(console, "", "{place}");
            assert!(answer["wide"].as_i64().unwrap() <= 0, "{place} is too wide");
            assert!(answer["drawings"].as_u64().unwrap() >= 3, "{place}");
            for nothing in ["empty", "nameless"] {
                assert_eq!(answer[nothing], 0, "{place}: {nothing}");
            }
            for nothing in ["outside", "covered"] {
                assert_eq!(answer[nothing], serde_json::json!([]), "{place}: {nothing}");
            }
            if page != "index.html" {
                pointed(&answer, &place);
                pressed(&answer, &place);
                saved(&answer, &place);
            }
            grounds.push(answer["ground"].clone());
        }
        assert_ne!(grounds[0], grounds[2], "{page} looks alike in light and dark");
    }
}

fn array(value: &serde_json::Value) -> &Vec<serde_json::Value> {
    value.as_array().unwrap()
}

/// The tooltip shows the values of one row of the table below the drawing.
fn pointed(answer: &serde_json::Value, place: &str) {
    assert!(!array(&answer["hovered"]).is_empty(), "{place}");
    for drawing in array(&answer["hovered"]) {
        let shown: Vec<&str> = array(&drawing["shown"]).iter().map(|line| line.as_str().unwrap()).collect();
        let rows = array(&drawing["rows"]);
        // An empty panel of runs that measured nothing has nothing to show.
        if rows.is_empty() {
            continue;
        }
        assert!(
            drawing["cross"] == true && drawing["inside"] == true && drawing["hidden"] == true,
            "{place}: {drawing}"
        );
        let percent = drawing["percent"] == true;
        let row = |row: &serde_json::Value| -> Vec<String> {
            array(row).iter().map(|cell| cell.as_str().unwrap().to_owned()).collect()
        };
        let found = rows.iter().map(row).any(|row| match drawing["kind"].as_str() {
            Some("column") => {
                // The name of the curve, then x if it is a number, the mean, and the range.
                let (name, values) = (&row[0], &row[1..]);
                let (x, mean) = if values.len() == 3 { (None, &values[0]) } else { (Some(&values[0]), &values[1]) };
                let own = |line: &&&str| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(": "));
                x.is_none_or(|x| shows(shown[0], x, false))
                    && shown[1..].iter().filter(own).any(|line| shows(line, mean, percent))
            }
            _ => {
                // The name of the run, then x and y, each with its standard error if there is one.
                let y = row[2..].iter().any(|value| shows(shown[2], value, percent));
                shown[0] == row[0] && shows(shown[1], &row[1], false) && y
            }
        });
        assert!(found, "{place}: {shown:?} is no row of {rows:?}");
    }
}

/// Whether a text contains a number as the script writes it. A tie may be rounded to either side.
fn shows(text: &str, number: &str, percent: bool) -> bool {
    let value: f64 = number.parse().unwrap();
    [value, value * (1.0 + 1e-12), value * (1.0 - 1e-12)].iter().any(|value| text.contains(&written(*value, percent)))
}

/// A number as the script writes it: four significant digits, or a share in percent.
fn written(value: f64, percent: bool) -> String {
    if percent {
        return format!("{:.1} %", 100.0 * value);
    }
    let scientific = format!("{value:.3e}");
    if value != 0.0 && (value.abs() < 1e-4 || value.abs() >= 1e7) {
        let (digits, exponent) = scientific.split_once('e').unwrap();
        return format!("{digits}e{}{exponent}", if exponent.starts_with('-') { "" } else { "+" });
    }
    scientific.parse::<f64>().unwrap().to_string()
}

/// An entry of a key hides its curves and shows them again; the box shows the lines of single seeds.
fn pressed(answer: &serde_json::Value, place: &str) {
    for states in array(&answer["toggled"]) {
        assert_eq!(
            (&states[0], &states[2]),
            (&serde_json::json!([0, "true"]), &serde_json::json!([0, "true"])),
            "{place}"
        );
        assert!(states[1][0].as_u64().unwrap() > 0 && states[1][1] == "false", "{place}: {states}");
    }
    for states in array(&answer["seeds"]) {
        assert_eq!(*states, serde_json::json!([false, true]), "{place}");
    }
}

/// The CSV of every table has the table's cells, with all digits of its numbers; every drawing is a whole SVG file.
fn saved(answer: &serde_json::Value, place: &str) {
    let saved = &answer["saved"];
    assert_eq!(
        array(&saved["names"]).len(),
        array(&saved["tables"]).len() + array(&saved["drawings"]).len(),
        "{place}"
    );
    for name in array(&saved["names"]) {
        let name = name.as_str().unwrap();
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
        assert!(plain && (name.ends_with(".csv") || name.ends_with(".svg")), "{place}: {name}");
    }
    for table in array(&saved["tables"]) {
        let text = table["csv"].as_str().unwrap_or_else(|| panic!("{place}: a table without a button: {table}"));
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let lines: Vec<Vec<String>> =
            reader.records().map(|line| line.unwrap().iter().map(str::to_owned).collect()).collect();
        let cells = array(&table["cells"]);
        assert_eq!(lines.len(), cells.len(), "{place}");
        for (line, row) in lines.iter().zip(cells) {
            let row: Vec<String> = array(row).iter().map(|cell| plain(cell.as_str().unwrap())).collect();
            assert_eq!(*line, row, "{place}");
        }
        for (line, row) in lines.iter().zip(array(&table["shown"])) {
            rounded(line, row, place);
        }
    }
    for drawing in array(&saved["drawings"]) {
        assert!(
            drawing["whole"] == true && drawing["style"] == true && drawing["outside"] == false,
            "{place}: {drawing}"
        );
    }
    assert!(array(&saved["drawings"]).iter().any(|drawing| drawing["marks"].as_u64().unwrap() > 3), "{place}");
}

/// A text cell as the CSV has it: single spaces, and a hyphen before negative numbers.
fn plain(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = String::new();
    let mut characters = words.chars().peekable();
    while let Some(character) = characters.next() {
        let negative = character == '−' && characters.peek().is_some_and(char::is_ascii_digit);
        out.push(if negative { '-' } else { character });
    }
    out
}

/// The numbers of a line are those that the table shows, up to half of the last digit that it shows.
fn rounded(line: &[String], shown: &serde_json::Value, place: &str) {
    for (exact, shown) in line.iter().zip(array(shown)) {
        let shown = plain(shown.as_str().unwrap());
        let (Ok(exact), Ok(number)) = (exact.parse::<f64>(), shown.parse::<f64>()) else { continue };
        let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
        let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let unit = 10f64.powi(exponent.parse::<i32>().unwrap() - decimals as i32);
        assert!((exact - number).abs() <= 0.500_001 * unit, "{place}: {exact} is shown as {shown}");
    }
}
