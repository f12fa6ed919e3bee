//! The pages of a report in headless Chromium at the width of a desktop and of a phone, light and dark. Skipped with a
//! message if there is no Chromium.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The checks of a page after it is rendered: content wider than the window, drawings without a size, text outside of its
/// drawing, and elements that the keyboard can focus without an accessible name.
const CHECKS: &str = r#"<script>
window.addEventListener("load", () => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const drawings = [...document.querySelectorAll("svg[role=img], img")];
  const empty = drawings.filter(drawing => {
    const box = drawing.getBoundingClientRect();
    return box.width < 50 || box.height < 30;
  });
  const named = element => element.textContent.trim() || element.getAttribute("aria-label") || element.getAttribute("aria-labelledby");
  const nameless = [...document.querySelectorAll("a, summary, [tabindex]")]
    .filter(element => !element.closest("[aria-hidden=true]") && !named(element));
  const outside = [...document.querySelectorAll("svg[role=img] text")].filter(text => {
    const [own, all] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
    return own.left < all.left - 2 || own.right > all.right + 2 || own.top < all.top - 2 || own.bottom > all.bottom + 2;
  });
  const ground = getComputedStyle(document.body).backgroundColor;
  const answer = { width: innerWidth, wide, drawings: drawings.length, empty: empty.length, nameless: nameless.length,
    outside: outside.map(text => text.textContent), ground };
  parent.postMessage(JSON.stringify(answer), "*");
});
</script>"#;

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
    fs::write(&checked, text.replace("</head>", &format!("{CHECKS}</head>"))).unwrap();
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
    command.args(["--window-size=1400,1000", "--virtual-time-budget=10000", "--dump-dom"]);
    command.arg(format!("file://{}", frame.display()));
    let output = command.stdin(Stdio::null()).output().unwrap();
    fs::remove_file(&checked).and_then(|()| fs::remove_file(&frame)).unwrap();
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    let answer = dom.split("data-answer=\"").nth(1).and_then(|rest| rest.split('"').next());
    let answer = answer.unwrap_or_else(|| panic!("the page was not shown: {log}")).replace("&quot;", "\"");
    (serde_json::from_str(&answer).unwrap(), console.join("\n"))
}

fn reproduce(root: &Path, experiment: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(root).args(["reproduce", experiment, "--seed", "0,1"]).stdin(Stdio::null());
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
        "fig1" => settings.extend(["sweeps.batch-size.values=[8, 16]", "sweeps.l2.values=[0, 1e-3, 1e-2]"]),
        "fig2" => settings.push(
            "measure.estimators={ images = 4, repeats = 2, batch_samples = [2], mask_rates = [0.1], output_samples = [2] }",
        ),
        _ => {}
    }
    settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pages_render_without_errors_on_a_desktop_and_a_phone_in_light_and_dark() {
    let Some(browser) = chromium() else {
        // The test harness captures the output of macros, but not of this.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no page was shown: there is no Chromium on this machine");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    ["fig1", "fig2", "fig3"].iter().for_each(|experiment| reproduce(folder.path(), experiment));
    let pages = [
        ("fig1-quick-glyphs/report.html", 21),
        ("fig2-quick-glyphs/report.html", 6),
        ("fig3-quick-glyphs/report.html", 3),
        ("index.html", 3),
    ];
    for (page, drawings) in pages {
        let mut grounds = Vec::new();
        for (width, dark) in [(1280, false), (390, true)] {
            let (answer, console) = checked(&browser, &results.join(page), width, dark);
            assert_eq!(answer["width"], width, "{page}");
            assert_eq!(console, "", "{page} at {width}");
            assert_eq!(answer["drawings"], drawings, "{page} at {width}: {answer}");
            assert!(answer["wide"].as_i64().unwrap() <= 0, "{page} at {width} is too wide: {answer}");
            for nothing in ["empty", "nameless"] {
                assert_eq!(answer[nothing], 0, "{page} at {width}: {answer}");
            }
            assert_eq!(answer["outside"], serde_json::json!([]), "{page} at {width}");
            grounds.push(answer["ground"].clone());
        }
        assert_ne!(grounds[0], grounds[1], "{page} looks alike in light and dark");
    }
}
