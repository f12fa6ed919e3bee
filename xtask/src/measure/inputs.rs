//! The inputs on which a network is measured: a data set by name, or tensors of a file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use assess::BatchResult;
use candle_core::{DType, Device, Tensor};
use datasets::{Form, LabelledImages, Normalisation, Source, UnlabelledImages};

use crate::arguments::data_set;
use crate::arrays::Arrays;
use crate::files::existing;
use crate::usage::usage;
use crate::{data, suggest};

/// The largest height or width that images can be scaled to, in pixels.
const LARGEST_SIDE: usize = 1 << 14;

/// Samples of one batch.
const BATCH: usize = 128;

/// The origin of the inputs.
#[allow(rustdoc::broken_intra_doc_links, reason = "the texts are help in a terminal, where shapes need no escapes")]
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Inputs")]
pub(crate) struct InputsArgs {
    /// Data set, with its part: NAME, NAME:train (the same), NAME:test or NAME:all; hub:OWNER/NAME for any of the Hub,
    /// folder:PATH for folders of images (all of them unless a part is named; images without class folders have no labels)
    #[arg(long, value_name = "NAME[:PART]", conflicts_with = "inputs", value_parser = data_set(), hide_possible_values = true)]
    data: Option<String>,
    /// Folder that holds the data set, instead of the Hub and its cache
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    data_dir: Option<PathBuf>,
    /// Configuration of a hub: data set with several
    #[arg(long, value_name = "NAME", conflicts_with = "inputs")]
    config: Option<String>,
    /// Column of the images of a hub: data set [default: the only one that qualifies]
    #[arg(long, value_name = "NAME", conflicts_with = "inputs")]
    image_column: Option<String>,
    /// Column of the labels of a hub: data set [default: the only one that qualifies]
    #[arg(long, value_name = "NAME", conflicts_with = "inputs")]
    label_column: Option<String>,
    /// File with `x` [n, c, h, w], [n, d] or what an ONNX graph takes, as the network sees it, and `y` [n] if there are labels
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,
    /// Size that images of hub: and folder: get, scaled to cover it and cropped at the centre: 224 or 224x160
    /// (height x width) [default: as they are, if all have one size]
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with = "inputs")]
    size: Option<[usize; 2]>,
    /// Mean of each channel by which images are normalised, in [0, 1] [default: the data set's]
    #[arg(long, value_delimiter = ',', value_name = "MEANS", requires = "std", conflicts_with = "inputs")]
    mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, likewise; with --inputs and --units pixel, the divisor of each channel of `x`
    #[arg(long, value_delimiter = ',', value_name = "STDS")]
    std: Option<Vec<f64>>,
}

/// The samples on which a network is measured.
pub(crate) struct Inputs {
    name: String,
    samples: Samples,
    labels: Option<Vec<u32>>,
    std: Option<Vec<f64>>,
}

/// The samples themselves.
enum Samples {
    /// As the network takes them.
    Tensor(Tensor),
    /// Images in bytes, normalised batch by batch.
    Images(LabelledImages, Normalisation),
    /// Images of a folder without class folders.
    Unlabelled(UnlabelledImages, Normalisation),
}

impl InputsArgs {
    /// Whether --std stands beside --inputs.
    pub(super) fn is_tensor_with_std(&self) -> bool {
        self.inputs.is_some() && self.std.is_some()
    }

    /// Refuses --std without --mean for images, which would be ignored.
    pub(super) fn check_normalisation(&self) -> Result<()> {
        if self.inputs.is_none() && self.std.is_some() && self.mean.is_none() {
            return Err(usage(anyhow!("--std without --mean: images are normalised by both; give --mean too")));
        }
        Ok(())
    }

    /// Checks the arguments without a download: the data set, its part, and files.
    ///
    /// # Errors
    /// No inputs, an unknown data set or part, and a normalisation that is none, as errors in the command line; a file or folder
    /// that is missing.
    pub(crate) fn check(&self) -> Result<()> {
        self.normalisation().map_err(usage)?;
        match (&self.inputs, &self.data) {
            (Some(path), _) => existing(path).context("--inputs"),
            (None, Some(data)) => {
                let (name, _) = set_and_part(data)?;
                if let Some(path) = name.strip_prefix("folder:") {
                    return existing(Path::new(path)).context("--data");
                }
                if let Some(path) = &self.data_dir {
                    existing(path).context("--data-dir")?;
                }
                data::known(name).context("--data")
            }
            (None, None) => Err(usage(anyhow!("no inputs: give --data NAME or --inputs FILE"))),
        }
    }

    /// Reads the inputs.
    pub(crate) fn read(&self) -> Result<Inputs> {
        match (&self.inputs, &self.data) {
            (Some(path), _) => self.tensors(path),
            (None, Some(data)) => self.images(data),
            (None, None) => bail!("no inputs: give --data NAME or --inputs FILE"),
        }
    }

    fn tensors(&self, path: &Path) -> Result<Inputs> {
        let arrays = Arrays::read(path, "x")?;
        let x = arrays.floats("x", &[2, 3, 4, 5], "[n, c, h, w], [n, d], or another shape of 2 to 5 dimensions")?;
        let count = x.dim(0)?;
        if count == 0 {
            bail!("{}: tensor `x` has no samples", path.display());
        }
        arrays.check_finite("x", &x)?;
        let labels =
            arrays.array("y").map(|_| arrays.labels("y", "x", count)).transpose()?.map(|labels| labels.classes);
        let name = path.display().to_string();
        Ok(Inputs { name, samples: Samples::Tensor(x), labels, std: self.std.clone() })
    }

    fn images(&self, data: &str) -> Result<Inputs> {
        let (name, part) = set_and_part(data)?;
        let form = Form { size: self.size, ..Form::default() };
        let source = Source {
            form,
            configuration: self.config.clone(),
            image_column: self.image_column.clone(),
            label_column: self.label_column.clone(),
            ..data::watched(self.data_dir.clone())
        };
        if let Some(folder) = folder_without_classes(data) {
            return self.unlabelled(data, &folder, &source);
        }
        if self.data_dir.is_none() && !data::is_folder(name) {
            datasets::fetch(name, &source).with_context(|| format!("cannot fetch the data set `{name}`"))?;
        }
        let set = datasets::load(name, &source).with_context(|| format!("cannot read the data set `{name}`"))?;
        let normalisation = match self.normalisation()? {
            Some(normalisation) => normalisation,
            None => set.normalisation.clone(),
        };
        let images = match part {
            "test" => set.test,
            "all" => set.all()?,
            _ => set.train,
        };
        if images.is_empty() {
            bail!("--data {data}: there are no images in this part");
        }
        let std = Some(divisors(&normalisation));
        let labels = Some(images.labels().to_vec());
        Ok(Inputs { name: data.to_owned(), samples: Samples::Images(images, normalisation), labels, std })
    }

    /// Images of a folder without class folders.
    fn unlabelled(&self, data: &str, folder: &Path, source: &Source) -> Result<Inputs> {
        let images =
            datasets::load_unlabelled(folder, source).with_context(|| format!("cannot read the images of `{data}`"))?;
        let normalisation = match self.normalisation()? {
            Some(normalisation) => normalisation,
            None => images.measure_normalisation()?,
        };
        let std = Some(divisors(&normalisation));
        Ok(Inputs { name: data.to_owned(), samples: Samples::Unlabelled(images, normalisation), labels: None, std })
    }

    /// The normalisation of --mean and --std, if they were given.
    fn normalisation(&self) -> Result<Option<Normalisation>> {
        let (Some(mean), Some(std)) = (&self.mean, &self.std) else { return Ok(None) };
        let std: Vec<f32> = std.iter().map(|std| *std as f32).collect();
        Ok(Some(Normalisation::new(mean, &std).context("--mean and --std")?))
    }
}

/// The data set and its part, of `NAME` or `NAME:PART`.
fn set_and_part(data: &str) -> Result<(&str, &str)> {
    if let Some(part) = unknown_part(data) {
        return Err(usage(anyhow!("--data {data}: {}", suggest::unknown("part", part, PARTS))));
    }
    Ok(data.rsplit_once(':').filter(|(_, part)| PARTS.contains(part)).unwrap_or((data, default_part(data))))
}

/// The folder of `folder:PATH`, if its images have no classes.
///
/// A folder that cannot be read gives `None`: reading the data set gives its error.
fn folder_without_classes(data: &str) -> Option<PathBuf> {
    let path = PathBuf::from(data.strip_prefix("folder:")?);
    let classes = datasets::has_class_folders(&path).ok()?;
    (!classes).then_some(path)
}

/// The part of `NAME:PART`, if there is none of this name.
fn unknown_part(data: &str) -> Option<&str> {
    let (set, part) = data.rsplit_once(':').filter(|(_, part)| !PARTS.contains(part))?;
    let known = match (set.strip_prefix("hub:"), set.strip_prefix("folder:")) {
        // Names of the Hub have no colon.
        (Some(_), _) => true,
        (_, Some(folder)) => Path::new(folder).is_dir() && !Path::new(&format!("{folder}:{part}")).exists(),
        _ => datasets::find(set).is_ok(),
    };
    known.then_some(part)
}

/// The divisor of each channel.
fn divisors(normalisation: &Normalisation) -> Vec<f64> {
    normalisation.std().iter().map(|std| f64::from(*std)).collect()
}

/// The default part of a data set: all of a folder of images, which need not have parts, else the training part.
fn default_part(data: &str) -> &'static str {
    if data::is_folder(data) { "all" } else { "train" }
}

/// Reads `224` or `224x160`.
fn size(text: &str) -> std::result::Result<[usize; 2], String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let sides = 1..=LARGEST_SIDE;
    match (height.parse(), width.parse()) {
        (Ok(height), Ok(width)) if sides.contains(&height) && sides.contains(&width) => Ok([height, width]),
        _ => Err(format!("expected a height and width from 1 to {LARGEST_SIDE}, such as 224 or 224x160")),
    }
}

/// The parts of a data set.
const PARTS: [&str; 3] = ["train", "test", "all"];

impl Inputs {
    /// The data set or file, as it was given.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The number of samples.
    pub(crate) fn count(&self) -> usize {
        match &self.samples {
            Samples::Tensor(x) => x.dims()[0],
            Samples::Images(images, _) => images.len(),
            Samples::Unlabelled(images, _) => images.len(),
        }
    }

    /// The shape of one sample.
    pub(crate) fn shape(&self) -> Vec<usize> {
        match &self.samples {
            Samples::Tensor(x) => x.dims()[1..].to_vec(),
            Samples::Images(images, _) => images.shape().to_vec(),
            Samples::Unlabelled(images, _) => images.shape().to_vec(),
        }
    }

    /// The label of each sample, if there are labels.
    pub(crate) fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// The number of classes of a data set. `None` for labels of a file, where the last classes may have no sample.
    pub(crate) fn class_count(&self) -> Option<usize> {
        match &self.samples {
            Samples::Tensor(_) | Samples::Unlabelled(..) => None,
            Samples::Images(images, _) => Some(images.class_count()),
        }
    }

    /// The reason why there are no labels, if there are none.
    pub(crate) fn unlabelled(&self) -> Option<String> {
        if self.labels.is_some() {
            return None;
        }
        Some(match &self.samples {
            Samples::Tensor(_) => "the inputs have no labels; add them as `y` [n]".to_owned(),
            _ => "the images have no labels; put those of each class into a folder of its own".to_owned(),
        })
    }

    /// The dtype of the samples.
    pub(crate) fn dtype(&self) -> DType {
        match &self.samples {
            Samples::Tensor(x) => x.dtype(),
            Samples::Images(..) | Samples::Unlabelled(..) => DType::F32,
        }
    }

    /// The standard deviation by which each channel was divided.
    pub(crate) fn std(&self) -> Result<Vec<f64>> {
        self.std.clone().ok_or_else(|| {
            usage(anyhow!(
                "--units pixel: {} does not hold the divisors of `x`; give them as --std, one number for each channel",
                self.name
            ))
        })
    }

    /// Positions of the samples to measure: all or some, in their own order unless measuring may end early. Then they
    /// are shuffled, so that the measured ones are a random sample.
    pub(crate) fn order(&self, samples: Option<usize>, shuffled: bool, seed: u64) -> Result<Vec<usize>> {
        let count = self.count();
        let wanted = samples.unwrap_or(count);
        if wanted > count {
            bail!("--samples {wanted}: {} has {count} samples; give at most {count}", self.name);
        }
        if wanted == count && !shuffled {
            return Ok((0..count).collect());
        }
        let mut stream = streams::stream(seed, "xtask/measure/order", 0);
        let mut order = streams::permutation(&mut stream, count);
        order.truncate(wanted);
        if !shuffled {
            order.sort_unstable();
        }
        Ok(order)
    }

    /// The samples at these positions in batches.
    pub(crate) fn batches<'a>(
        &'a self,
        positions: &'a [usize],
        dtype: DType,
        device: &'a Device,
    ) -> impl Iterator<Item = Result<(Tensor, Option<Vec<u32>>)>> + 'a {
        positions.chunks(BATCH).map(move |positions| {
            let x = self.batch(positions)?.to_dtype(dtype)?.to_device(device)?;
            let labels = self.labels.as_ref().map(|labels| positions.iter().map(|at| labels[*at]).collect());
            Ok((x, labels))
        })
    }

    /// The same as a source for an assessment.
    pub(crate) fn source<'a>(
        &'a self,
        positions: &'a [usize],
        dtype: DType,
        device: &'a Device,
    ) -> impl Iterator<Item = BatchResult> + 'a {
        self.batches(positions, dtype, device).map(|batch| Ok(batch?.into()))
    }

    fn batch(&self, positions: &[usize]) -> Result<Tensor> {
        match &self.samples {
            Samples::Tensor(x) => {
                let rows: Vec<u32> = positions.iter().map(|at| u32::try_from(*at)).collect::<Result<_, _>>()?;
                Ok(x.index_select(&Tensor::new(rows, x.device())?, 0)?)
            }
            Samples::Images(images, normalisation) => Ok(images.batch(positions, normalisation, &Device::Cpu)?.images),
            Samples::Unlabelled(images, normalisation) => Ok(images.batch(positions, normalisation, &Device::Cpu)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::full_program::is_needed;

    #[test]
    fn a_folder_without_images_is_refused_and_any_folder_needs_the_full_program() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = InputsArgs {
            data: Some(format!("folder:{}", folder.path().display())),
            data_dir: None,
            config: None,
            image_column: None,
            label_column: None,
            inputs: None,
            size: None,
            mean: None,
            std: None,
        };
        inputs.check().unwrap();
        let error = inputs.read().err().unwrap();
        assert_eq!(is_needed(&error), !cfg!(feature = "full"), "{error:#}");
        assert!(format!("{error:#}").contains(&folder.path().display().to_string()), "{error:#}");
        let source = data::watched(None);
        let errors =
            [datasets::load_unlabelled(folder.path(), &source).err(), datasets::has_class_folders(folder.path()).err()];
        let missing =
            errors.map(|error| matches!(error, Some(datasets::Error::MissingFeature { feature: "image", .. })));
        assert_eq!(missing, [!cfg!(feature = "full"); 2]);
    }
}
