//! Measures the time and memory of loading a data set, at the first and the second start:
//! `cargo run --release -p geometric-datasets --example start -- cifar10 [DATA_DIR]`. Linux only: it reads `/proc/self`.
//!
//! Each start is its own process. The first decodes and caches the images, the second maps the cached ones, the third does
//! not use the decoded cache. Peak memory is the largest resident memory of the process less that before loading.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use datasets::{Result, Source, load};

const INSIDE: &str = "DATASETS_EXAMPLE_START";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("cifar10", String::as_str);
    if std::env::var_os(INSIDE).is_some() {
        return start(name, arguments.get(1));
    }
    let folder = std::env::temp_dir().join(format!("datasets-start-{}", std::process::id()));
    let program = std::env::current_exe().unwrap_or_default();
    for (title, decoded) in
        [("first, decoding", folder.as_path()), ("second, mapping", &folder), ("without cache", Path::new("off"))]
    {
        let mut command = Command::new(&program);
        command.args(&arguments).env(INSIDE, title).env("DATASETS_DECODED", decoded);
        if !command.status().is_ok_and(|status| status.success()) {
            break;
        }
    }
    // It is in the folder for temporary files, so a failure does no harm.
    let _ = std::fs::remove_dir_all(folder);
    Ok(())
}

#[allow(clippy::print_stdout, reason = "an example that prints what it measures")]
fn start(name: &str, folder: Option<&String>) -> Result<()> {
    let source = Source { data_dir: folder.map(Into::into), ..Source::from_env() };
    let (before, clock) = (status("VmHWM:"), Instant::now());
    let data = load(name, &source)?;
    let (seconds, peak) = (clock.elapsed().as_secs_f64(), status("VmHWM:") - before);
    let images = data.train.len() + data.validation.as_ref().map_or(0, |images| images.len()) + data.test.len();
    let pixels = (images * data.train.shape().iter().product::<usize>()) as f64 / 1024.0;
    println!(
        "{:<16} {images} images: {seconds:.3} s, {:.2} CPU seconds, peak {:.0} MiB = {:.2} of the pixels ({:.0} MiB)",
        std::env::var(INSIDE).unwrap_or_default(),
        cpu_seconds(),
        peak / 1024.0,
        peak / pixels,
        pixels / 1024.0
    );
    Ok(())
}

/// A field of `/proc/self/status` in KiB.
fn status(field: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}

/// The user and system time of the process in seconds. A tick is a hundredth of a second.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}
