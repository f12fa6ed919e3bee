//! `data`: listing, downloading, verifying and showing data sets.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
#[cfg(feature = "full")]
use datasets::ContactSheet;
use datasets::{FileRecord, Form, Glyphs, Source};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

#[cfg(feature = "full")]
use crate::files::{replaceable_start, write_whole};
use crate::full_program::left_out;
use crate::output::{WIDTH, note, say, wrapped_lines};
use crate::task::Task;
use crate::usage::usage;

/// Arguments of `data`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    source: SourceArgs,
}

/// The source of a data set and the options of reading it.
#[derive(Debug, clap::Args)]
struct SourceArgs {
    /// Folder that holds the data set, instead of the Hub and its cache
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    data_dir: Option<PathBuf>,
    /// Branch, tag or commit of the Hub's repository [default: the registry's pinned commit, else main]
    #[arg(long, global = true, value_name = "REVISION")]
    revision: Option<String>,
    /// Configuration of a `hub:` data set with several
    #[arg(long, global = true, value_name = "NAME")]
    config: Option<String>,
    /// Column of the images of a `hub:` data set [default: the only one that qualifies]
    #[arg(long, global = true, value_name = "NAME")]
    image_column: Option<String>,
    /// Column of the labels of a `hub:` data set [default: the only one that qualifies]
    #[arg(long, global = true, value_name = "NAME")]
    label_column: Option<String>,
    /// Height and width to which images of `hub:` and `folder:` are scaled and cropped, and of `glyphs`
    #[arg(long, global = true, value_name = "PIXELS", value_parser = side)]
    size: Option<usize>,
    /// Variation among the images of a class of `glyphs`: 0 is clean and upright, 1 the default
    #[arg(long, global = true, value_name = "FACTOR", value_parser = factor)]
    difficulty: Option<f32>,
    /// Largest number of typefaces per class of `glyphs`
    #[arg(long, global = true, value_name = "COUNT", value_parser = crate::arguments::at_least_one)]
    faces: Option<usize>,
}

/// Reads the side of an image.
fn side(text: &str) -> Result<usize, String> {
    const MAX: usize = 16_384;
    match text.parse() {
        Ok(side) if (1..=MAX).contains(&side) => Ok(side),
        _ => Err(format!("expected a number of pixels from 1 to {MAX}")),
    }
}

/// Reads the variation of `glyphs`.
fn factor(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..=10.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 10".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the data sets
    List {
        /// Repository, revision, counts and licence of each
        #[arg(long)]
        long: bool,
    },
    /// Download a data set's files into the Hub's cache
    Fetch {
        /// Name of the data set: one of `data list`, or hub:OWNER/NAME
        #[arg(value_parser = crate::arguments::data_set(), hide_possible_values = true)]
        name: String,
    },
    /// Read a data set completely: checksums of its files, every image, the counts
    Verify {
        /// Name of the data set: one of `data list`, hub:OWNER/NAME, or folder:PATH
        #[arg(value_parser = crate::arguments::data_set(), hide_possible_values = true)]
        name: String,
    },
    /// Write a sheet of example images as PNG
    Show {
        /// Name of the data set: one of `data list`, hub:OWNER/NAME, or folder:PATH
        #[arg(value_parser = crate::arguments::data_set(), hide_possible_values = true)]
        name: String,
        /// File to write [default: NAME.png]
        #[arg(long)]
        out: Option<PathBuf>,
        /// Classes on the sheet
        #[arg(long, default_value_t = 20, value_parser = crate::arguments::up_to::<1_000>)]
        classes: usize,
        /// Images of each class
        #[arg(long, default_value_t = 8, value_parser = crate::arguments::up_to::<1_000>)]
        per_class: usize,
    },
}

/// Runs the command.
pub(crate) fn data(args: &Args) -> Result<()> {
    let source = args.source.source();
    match &args.command {
        Command::List { long } => list(*long),
        Command::Fetch { name } => known(name).and_then(|()| fetch(name, &source)),
        Command::Verify { name } => known(name).and_then(|()| verify(name, &source)),
        #[cfg(feature = "full")]
        Command::Show { name, out, classes, per_class } => {
            known(name)?;
            show(name, source, out.as_ref(), Shown { classes: *classes, per_class: *per_class })
        }
        #[cfg(not(feature = "full"))]
        Command::Show { name, .. } => known(name).and_then(|()| Err(left_out("a sheet of images"))),
    }
}

impl SourceArgs {
    fn source(&self) -> Source {
        let mut glyphs = Glyphs::default();
        glyphs.side = self.size.unwrap_or(glyphs.side);
        glyphs.faces = self.faces.unwrap_or(glyphs.faces);
        glyphs.variation = self.difficulty.map_or(glyphs.variation, |factor| glyphs.variation.scaled(factor));
        Source {
            glyphs,
            revision: self.revision.clone(),
            configuration: self.config.clone(),
            image_column: self.image_column.clone(),
            label_column: self.label_column.clone(),
            form: Form { channels: None, size: self.size.map(|side| [side, side]) },
            ..watched(self.data_dir.clone())
        }
    }
}

/// Refuses a data set that does not exist, has no classes for the task, or needs the full program where this is not it.
pub(crate) fn check(set: &str, data_dir: Option<&PathBuf>, task: Task) -> Result<()> {
    if datasets::class_split(set, &watched(data_dir.cloned()))?.is_none() && task == Task::Transfer {
        let others: Vec<&str> =
            datasets::entries().iter().filter(|entry| entry.has_split()).map(|entry| entry.name).collect();
        bail!(
            "the experiment needs source and target classes, and the data set `{set}` has no such lists; choose one of {}, \
             omniglot with both of its halves, or a folder whose train and test share no class",
            others.join(", ")
        );
    }
    compiled_with(set)
}

/// Refuses a data set in files where this program was compiled without the readers of such.
fn compiled_with(set: &str) -> Result<()> {
    let embedded = datasets::find(set).is_ok_and(|entry| entry.origin == datasets::Origin::Embedded);
    if cfg!(feature = "full") || embedded { Ok(()) } else { Err(left_out(format!("the data set `{set}`"))) }
}

/// Refuses a name that is neither an address nor that of a data set.
///
/// # Errors
/// An unknown name, as an error in the command line; a data set that needs the full program where this is not it.
pub(crate) fn known(name: &str) -> Result<()> {
    if !is_folder(name) && !name.starts_with("hub:") {
        datasets::find(name).map_err(|error| usage(error.into()))?;
    }
    compiled_with(name)
}

/// Whether the name is the address of a folder.
pub(crate) fn is_folder(set: &str) -> bool {
    set.starts_with("folder:")
}

/// Downloads the files of a data set that are not on this machine, before several runs need them. Folders of the user's
/// need no download.
pub(crate) fn ensure(set: &str, data_dir: Option<&PathBuf>) -> Result<()> {
    if data_dir.is_none() && !is_folder(set) {
        datasets::fetch(set, &watched(None)).with_context(|| format!("cannot fetch the data set `{set}`"))?;
    }
    Ok(())
}

/// The width of the names of data sets in their list.
const NAME: usize = 14;

fn list(long: bool) -> Result<()> {
    for entry in datasets::entries() {
        let [channels, height, width] = entry.shape;
        let count = match (entry.train_count, entry.test_count) {
            (Some(train), Some(test)) => format!("{train} + {test} images"),
            _ => "any number of images".to_owned(),
        };
        let shape = format!("{channels}×{height}×{width}");
        listed(entry.name, &format!("{:>4} classes  {shape:<9}  {count}", entry.classes));
        let split = if entry.has_split() { "; has source and target classes" } else { "" };
        described(&format!("{}{split}", entry.summary));
        if long {
            described(&format!("from {}", origin(entry.origin)));
            described(&format!("normalised by mean {:?}, deviation {:?}", entry.mean, entry.std));
            described(&format!("licence: {}", entry.licence));
        }
    }
    say!();
    listed("hub:OWNER/NAME", "any data set of the Hub with images and labels, as parquet");
    listed("folder:PATH", "image folders: train/CLASS and test/CLASS, or CLASS alone");
    Ok(())
}

/// Prints a name, and text beside it that is one line.
fn listed(name: &str, text: &str) {
    say!("{name:<NAME$} {text}");
}

/// Prints text below a name, broken between words.
fn described(text: &str) {
    wrapped_lines(text, WIDTH - NAME - 3, "").iter().for_each(|line| say!("{:NAME$}   {line}", ""));
}

fn origin(origin: datasets::Origin) -> String {
    match origin {
        datasets::Origin::Hub { repository, revision, image, label, .. } => {
            format!("the Hub's {repository} at {revision}, columns {image} and {label}")
        }
        datasets::Origin::Embedded => "this program".to_owned(),
        _ => "a folder of yours (--data-dir)".to_owned(),
    }
}

fn fetch(name: &str, source: &Source) -> Result<()> {
    let files = datasets::fetch(name, source).with_context(|| format!("cannot fetch the data set `{name}`"))?;
    if files.is_empty() {
        say!("{name} is drawn by this program: no file to download");
    }
    print_files(&files);
    Ok(())
}

fn verify(name: &str, source: &Source) -> Result<()> {
    // The files themselves are read, not the decoded cache.
    let source = Source { decoded: None, ..source.clone() };
    let data = datasets::load(name, &source).with_context(|| format!("cannot verify the data set `{name}`"))?;
    print_files(&data.files);
    let validation =
        data.validation.as_ref().map_or_else(String::new, |images| format!(", {} validation", images.len()));
    let found = format!(
        "{name}: {} training{validation} and {} test images of {} classes, shape {:?}: complete and readable",
        data.train.len(),
        data.test.len(),
        data.train.class_count(),
        data.train.shape()
    );
    wrapped_lines(&found, WIDTH, "  ").iter().for_each(|line| say!("{line}"));
    if data.skipped_files > 0 {
        say!("files in its class folders that are not images, skipped: {}", data.skipped_files);
    }
    Ok(())
}

fn print_files(files: &[FileRecord]) {
    const SHOWN: usize = 12;
    for file in files.iter().take(SHOWN) {
        match &file.sha256 {
            Some(sum) => say!("{}\n  SHA-256 {sum}", file.file),
            None => say!("{}", file.file),
        }
    }
    if files.len() > SHOWN {
        say!("and {} more", files.len() - SHOWN);
    }
}

/// The contents of a contact sheet.
#[cfg(feature = "full")]
struct Shown {
    classes: usize,
    /// Images of each class.
    per_class: usize,
}

#[cfg(feature = "full")]
fn show(name: &str, source: Source, out: Option<&PathBuf>, shown: Shown) -> Result<()> {
    let Shown { classes, per_class } = shown;
    let source = Source { train_per_class: Some(per_class), test_per_class: Some(per_class), ..source };
    let data = datasets::load(name, &source).with_context(|| format!("cannot show the data set `{name}`"))?;
    let all = data.train.classes();
    let wanted = classes.min(all.len());
    let names: Vec<String> = (0..wanted).map(|index| all[index * all.len() / wanted].clone()).collect();
    let sheet = ContactSheet { per_class, classes: wanted, ..ContactSheet::default() };
    let path = out.cloned().unwrap_or_else(|| PathBuf::from(format!("{}.png", data.name.replace('/', "-"))));
    replaceable_start(&path, b"\x89PNG", "PNG image")?;
    // Of the training images alone: a folder need not have test images.
    write_whole(&path, &sheet.encode(&data.train.subset_class_names(&names)?)?)?;
    say!("{}: {wanted} classes with up to {per_class} training images each, down the columns:", path.display());
    names
        .chunks(names.len().div_ceil(ContactSheet::default().columns))
        .for_each(|column| say!("  {}", column.join(", ")));
    Ok(())
}

/// The source by the environment. Its downloads are shown as bars.
pub(crate) fn watched(data_dir: Option<PathBuf>) -> Source {
    let mut source = Source { data_dir, ..Source::from_env() };
    source.hub.progress = Arc::new(Bars::default());
    source
}

/// Progress bars of downloads in a terminal, else one line for each.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    each: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    /// After a panic of another thread, a bar may show a wrong position, which does no harm.
    fn each(&self) -> MutexGuard<'_, HashMap<String, ProgressBar>> {
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl datasets::Progress for Bars {
    fn start(&self, what: &str, total: u64) {
        if !std::io::stderr().is_terminal() {
            note!("downloading {what} ({:.1} MB)", total as f64 / 1e6);
            return;
        }
        let style = ProgressStyle::with_template(
            "{bar:30.cyan/black.bright} {bytes}/{total_bytes} {bytes_per_sec} {eta}  {msg}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.all.add(ProgressBar::new(total).with_style(style));
        bar.set_message(what.to_owned());
        self.each().insert(what.to_owned(), bar);
    }

    fn at(&self, what: &str, done: u64) {
        if let Some(bar) = self.each().get(what) {
            bar.set_position(done);
        }
    }

    fn finish(&self, what: &str) {
        if let Some(bar) = self.each().remove(what) {
            bar.finish_and_clear();
        }
    }

    fn note(&self, message: &str) {
        self.all.suspend(|| note!("note: {message}"));
    }
}
