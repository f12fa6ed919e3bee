//! The throughput of two simultaneous training runs beside that of one: images per second of one run on all cores, of two
//! runs with half the cores each, and of two runs that both use all cores.
//!
//! `cargo run --release --package benches --example side_by_side [--] [CORES] [SECONDS] [NETWORK...]`
//!
//! Each run is a process of its own, as with `cargo xtask reproduce --jobs 2`. The measurement begins after two steps of both
//! runs and lasts SECONDS (8).
#![allow(clippy::print_stdout, reason = "a measurement by hand prints")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use models::train::{Gradients, OptimizerState, Sgd};
use models::{Architecture, Initialisation, Network, Pass, ops};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

const BATCH: usize = 64;

/// Trains for this time and returns the images per second.
fn trained(name: &str, seconds: f64) -> Result<f64, Failure> {
    let network = Network::new(&Architecture::named(name)?, Initialisation::HeNormal, 1, DType::F32, &Device::Cpu)?;
    let pixels = streams::standard_normal(&mut streams::stream(1, "bench/train/images", 0), BATCH * 3 * 32 * 32);
    let images = Tensor::from_vec(pixels, (BATCH, 3, 32, 32), &Device::Cpu)?.to_dtype(DType::F32)?;
    let labels = Tensor::new((0..BATCH as u32).map(|index| index % 10).collect::<Vec<_>>(), &Device::Cpu)?;
    let (sgd, mut state) = (Sgd { momentum: 0.9, ..Sgd::new(1e-4) }, OptimizerState::default());
    let mut step = || -> models::Result<()> {
        let logits = network.tracked().logits(&images, &Pass::training(1, 0))?;
        let gradients = Gradients::of(network.params(), &ops::cross_entropy(&logits, &labels, 0.0)?.backward()?)?;
        sgd.step(network.params(), &gradients, 1.0, &mut state)
    };
    step()?;
    step()?;
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let (start, mut steps) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs_f64(seconds) {
        step()?;
        steps += 1;
    }
    Ok((steps * BATCH) as f64 / start.elapsed().as_secs_f64())
}

/// Starts a process that warms up and then waits for a line on its standard input.
fn launch(name: &str, threads: usize, seconds: f64) -> Result<(Child, BufReader<std::process::ChildStdout>), Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["run", name, &threads.to_string(), &seconds.to_string()]);
    command.env("CANDLE_NUM_THREADS", threads.to_string()).env("RAYON_NUM_THREADS", threads.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    output.read_line(&mut String::new())?;
    Ok((child, output))
}

/// The images per second of `runs` simultaneous runs, summed.
fn simultaneous(name: &str, runs: usize, threads: usize, seconds: f64) -> Result<f64, Failure> {
    let mut children = (0..runs).map(|_| launch(name, threads, seconds)).collect::<Result<Vec<_>, _>>()?;
    for (child, _) in &mut children {
        child.stdin.take().ok_or("no input")?.write_all(b"go\n")?;
    }
    let mut sum = 0.0;
    for (mut child, mut output) in children {
        let mut line = String::new();
        output.read_line(&mut line)?;
        child.wait()?;
        sum += line.trim().parse::<f64>()?;
    }
    Ok(sum)
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [run, name, threads, seconds] = arguments.as_slice()
        && run == "run"
    {
        let (threads, seconds) = (threads.parse()?, seconds.parse()?);
        let speed = models::with_threads(threads, || trained(name, seconds).map_err(|error| error.to_string()))??;
        println!("{speed}");
        return Ok(());
    }
    let number = |index: usize, default: f64| arguments.get(index).map_or(Ok(default), |text| text.parse::<f64>());
    let (cores, seconds) = (number(0, 2.0)? as usize, number(1, 8.0)?);
    let names: Vec<&str> = match arguments.get(2..) {
        Some(names) if !names.is_empty() => names.iter().map(String::as_str).collect(),
        _ => vec!["vgg13", "resnet18-cifar"],
    };
    println!("batch {BATCH}, 32x32, {cores} cores, images per second");
    println!("| network | one run, all cores | two, half the cores each | loss | two, all cores each | loss |");
    println!("|---|---|---|---|---|---|");
    for name in names {
        let alone = simultaneous(name, 1, cores, seconds)?;
        let (divided, undivided) = (simultaneous(name, 2, cores / 2, seconds)?, simultaneous(name, 2, cores, seconds)?);
        let loss = |speed: f64| 100.0 * (1.0 - speed / alone);
        println!(
            "| {name} | {alone:.0} | {divided:.0} | {:.1} % | {undivided:.0} | {:.1} % |",
            loss(divided),
            loss(undivided)
        );
    }
    Ok(())
}
