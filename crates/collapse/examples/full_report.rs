//! Time and memory of a full report: `cargo run --release -p geometric-collapse --example full_report -- 1000000 512 100`.
//! A fourth word `projected` takes the report without a scatter matrix.
//!
//! Draws features around random class means, reports on them with a head, and prints one JSON line: seconds of each
//! repetition (elapsed, and of the processor), the peak of resident memory above what the input takes (Linux), and a few measures.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)] // an example prints, and stops at the first mistake

use std::time::Instant;

use collapse::{Head, ReportOptions, report_slice};

/// The allocator of the workspace's other programs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let projected = words.last().is_some_and(|word| word == "projected");
    let numbers: Vec<usize> = words.iter().take(3).map(|text| text.parse().unwrap()).collect();
    let [samples, features, classes] = numbers[..] else {
        panic!("usage: full_report SAMPLES FEATURES CLASSES [projected]")
    };
    let full = ReportOptions::default();
    let (options, kind) = match projected {
        true => (full.with_projected_scatter(), "memory without scatter, beyond the input"),
        false => (full, "memory beyond the input"),
    };
    let means: Vec<f32> = normals("means", classes * features).collect();
    let labels: Vec<u32> = (0..samples).map(|row| (row * 7919 % classes) as u32).collect();
    let mut data = vec![0f32; samples * features];
    // Each row reads its noise from another position of one table of draws. This is much faster than drawing it.
    let noise: Vec<f32> = normals("noise", 1 << 20).collect();
    for (row, (line, &label)) in data.chunks_exact_mut(features).zip(&labels).enumerate() {
        let shift = row.wrapping_mul(40_503) % ((1 << 20) - features);
        let mean = &means[label as usize * features..][..features];
        line.iter_mut().zip(mean).zip(&noise[shift..]).for_each(|((value, mean), noise)| *value = mean + 2.0 * noise);
    }
    let weight: Vec<f32> = means.iter().zip(noise.iter().cycle()).map(|(mean, noise)| mean + 0.5 * noise).collect();
    let bias: Vec<f32> = normals("bias", classes).collect();
    let head = Head::from_slices(&weight, Some(&bias), classes).unwrap();
    let before = memory("VmRSS");
    let (mut seconds, mut processor, mut last) = (Vec::new(), Vec::new(), None);
    for _ in 0..3 {
        let (start, busy) = (Instant::now(), processor_seconds());
        let report = report_slice(&data, features, &labels, Some(&head), &options).unwrap();
        seconds.push(start.elapsed().as_secs_f64());
        processor.push(processor_seconds() - busy);
        last = Some(report);
    }
    let report = last.unwrap();
    let beyond = memory("VmHWM").saturating_sub(before) / 1024;
    println!(
        "{{\"samples\": {samples}, \"features\": {features}, \"classes\": {classes}, \"seconds\": {seconds:?}, \
         \"processor_seconds\": {processor:?}, \"mib_beyond_input\": {beyond}, \"cdnv\": {}, \"nc1\": {:?}, \"vci\": {:?}, \"rank_me\": {:?}}}",
        report.cdnv.mean, report.variability.nc1, report.variability.vci, report.rank_me
    );
    // `cargo xtask bench` reads this line and compares the value with those of other packages.
    println!(
        "figure {{\"work\": \"collapse/{kind}/{samples}x{features}-{classes}-classes-f32\", \
         \"side\": \"ours\", \"unit\": \"MiB\", \"values\": [{beyond}]}}"
    );
}

fn normals(purpose: &str, count: usize) -> impl Iterator<Item = f32> {
    let mut stream = streams::stream(1, &format!("collapse/example/{purpose}"), 0);
    streams::standard_normal(&mut stream, count).into_iter().map(|draw| draw as f32)
}

/// Processor time in seconds of all threads of this process (Linux, in steps of 10 ms); 0 on other systems.
fn processor_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = status.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// An entry of /proc/self/status in KiB; 0 where there is no such entry.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    found.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
