//! The progress of a sweep: bars in a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Event, Job};
use crate::output::note;
use crate::provenance::duration;
use crate::study::measurement::RunOutcome;
use crate::study::store::RunState;

/// Length of a bar, in units.
const PARTS: u64 = 1000;

/// Displays the events of an engine.
pub(crate) struct ProgressDisplay<'a> {
    jobs: &'a [Job],
    since: Instant,
    bars: Option<Bars>,
    active: HashMap<usize, Active>,
    ended: usize,
    images: u64,
}

struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    each: ProgressStyle,
}

#[derive(Default)]
struct Active {
    share: f64,
    images: u64,
    since: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl<'a> ProgressDisplay<'a> {
    /// A display for these jobs, with bars only if standard error is a terminal.
    pub(crate) fn new(jobs: &'a [Job]) -> Result<Self> {
        let bars = if std::io::stderr().is_terminal() { Some(Bars::new(jobs.len())?) } else { None };
        Ok(Self { jobs, since: Instant::now(), bars, active: HashMap::new(), ended: 0, images: 0 })
    }

    /// Displays one event.
    pub(crate) fn show(&mut self, event: Event) {
        match event {
            Event::Started(index) => self.started(index),
            Event::Advanced(index, advance) => {
                if let Some(active) = self.active.get_mut(&index) {
                    self.images += advance.images.saturating_sub(active.images);
                    (active.share, active.images) = (advance.share, advance.images);
                    if let Some(bar) = &active.bar {
                        bar.set_position((advance.share * PARTS as f64) as u64);
                    }
                }
                self.refresh();
            }
            Event::Ended(index, state) => self.ended(index, &state),
        }
    }

    /// Removes the bars.
    pub(crate) fn close(&self) {
        if let Some(bars) = &self.bars {
            bars.total.finish_and_clear();
            // If the terminal is gone, nothing needs clearing.
            let _ = bars.all.clear();
        }
    }

    fn started(&mut self, index: usize) {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.all.add(ProgressBar::new(PARTS).with_style(bars.each.clone()));
            bar.set_message(self.jobs[index].description.clone());
            bar
        });
        self.active.insert(index, Active { bar, since: Some(Instant::now()), ..Active::default() });
    }

    fn ended(&mut self, index: usize, state: &RunState) {
        self.ended += 1;
        let active = self.active.remove(&index).unwrap_or_default();
        if let Some(bar) = active.bar {
            bar.finish_and_clear();
        }
        let took = active.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        let (count, all) = (self.ended, self.jobs.len());
        let left = self.seconds_left().map_or_else(String::new, |left| format!(", {} left", duration(left)));
        let line = format!(
            "[{count:>w$}/{all}] {} {} in {}{left}",
            self.jobs[index].description,
            outcome(state),
            duration(took),
            w = all.to_string().len(),
        );
        match &self.bars {
            Some(bars) => {
                // If the terminal is gone, nobody reads the line.
                let _ = bars.all.println(line);
            }
            None => note!("{line}"),
        }
        self.refresh();
    }

    /// Work done so far, in runs.
    fn done(&self) -> f64 {
        self.ended as f64 + self.active.values().map(|active| active.share).sum::<f64>()
    }

    fn seconds_left(&self) -> Option<f64> {
        let (done, elapsed) = (self.done(), self.since.elapsed());
        let started = done > 0.02 && elapsed > Duration::from_secs(1);
        started.then(|| elapsed.as_secs_f64() * (self.jobs.len() as f64 - done).max(0.0) / done)
    }

    fn refresh(&self) {
        let Some(bars) = &self.bars else { return };
        bars.total.set_position((self.done() * PARTS as f64) as u64);
        let rate = self.images as f64 / self.since.elapsed().as_secs_f64().max(1e-3);
        let left = self.seconds_left().map_or_else(|| "…".to_owned(), duration);
        bars.total.set_message(format!("{}/{} runs · {rate:.0} images/s · {left} left", self.ended, self.jobs.len()));
    }
}

impl Bars {
    fn new(jobs: usize) -> Result<Self> {
        let all = MultiProgress::new();
        let total = ProgressBar::new(PARTS * jobs as u64)
            .with_style(ProgressStyle::with_template("{bar:32.green/black.bright} {percent:>3} %  {msg}")?);
        let total = all.add(total);
        total.enable_steady_tick(Duration::from_millis(500));
        Ok(Self {
            all,
            total,
            each: ProgressStyle::with_template("  {bar:30.cyan/black.bright} {percent:>3} %  {msg}")?,
        })
    }
}

/// The end of a run, for people.
fn outcome(state: &RunState) -> String {
    match state {
        RunState::Done(RunOutcome::Completed { final_loss, .. }) => format!("done (training loss {final_loss:.3})"),
        RunState::Done(RunOutcome::Diverged { step, .. }) => format!("DIVERGED at step {step}"),
        RunState::Failed(reason) => format!("FAILED: {reason}"),
        RunState::Unfinished => "not finished".to_owned(),
    }
}
