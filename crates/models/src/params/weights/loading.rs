//! Parameters from files of weights, and to safetensors files.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Tensor};

use super::names::NameMap;
use super::{WeightsFile, WeightsReport, encode_tensors};
use crate::params::Params;
use crate::write_file::write_whole;
use crate::{Error, Result};

impl Params {
    /// Reads every parameter from a file of weights, such as a PyTorch state dict: see [`WeightsFile`].
    ///
    /// The prefixes `module.`, `_orig_mod.`, `model.` and `backbone.` are stripped in any order and combination, and common
    /// other names of the same layers are recognised (`shortcut.0` for `downsample.0`, `linear` for `fc`). The report
    /// describes both in [`WeightsReport::notes`].
    ///
    /// **Errors** as [`WeightsFile::open`] and [`Params::load_file`]; the network is unchanged then.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<WeightsReport> {
        self.load_file(&WeightsFile::open(path)?)
    }

    /// Reads every parameter from tensors that were read before.
    ///
    /// **Errors** [`Error::Weights`] (missing, unexpected or misshapen tensors), [`Error::WeightsNumbers`] and
    /// [`Error::NonFiniteWeights`]; the network is unchanged then.
    pub fn load_file(&self, file: &WeightsFile) -> Result<WeightsReport> {
        self.load_checked(file, WeightsReport::is_clean)
    }

    /// As [`Params::load_file`], but the file need not hold a head: features do not depend on it. A head that is missing
    /// keeps its initial values, and [`WeightsReport::lacks_only_head`] is then true.
    ///
    /// **Errors** as [`Params::load_file`].
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use models::{Architecture, Initialisation, Network, WeightsFile};
    /// let architecture = Architecture::from_toml("family = 'mlp'\ninputs = 2\nhidden = [3]\nclasses = 4")?;
    /// let network = |seed| Network::new(&architecture, Initialisation::HeNormal, seed, DType::F32, &Device::Cpu);
    /// let path = std::env::temp_dir().join(format!("load-body-{}.safetensors", std::process::id()));
    /// network(1)?.params().save(&path)?;
    /// let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu)?;
    /// tensors.retain(|name, _| !name.starts_with("head."));
    /// candle_core::safetensors::save(&tensors, &path)?;
    /// let (file, net) = (WeightsFile::open(&path)?, network(2)?);
    /// assert!(net.params().load_file(&file).is_err());
    /// assert!(net.params().load_body(&file)?.lacks_only_head());
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn load_body(&self, file: &WeightsFile) -> Result<WeightsReport> {
        self.load_checked(file, |report| report.is_clean() || report.lacks_only_head())
    }

    /// Reads those parameters that the file holds in their shape and leaves the others as they are. This gives the body of a
    /// trained network with a new head for another number of classes. The report lists the parameters that were not read.
    ///
    /// **Errors** as [`Params::load`]; [`Error::Weights`] only when nothing fits.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use models::{Architecture, Initialisation, Network};
    /// let network = |classes, seed| {
    ///     let text = format!("family = 'mlp'\ninputs = 2\nhidden = [3]\nclasses = {classes}");
    ///     Network::new(&Architecture::from_toml(&text)?, Initialisation::HeNormal, seed, DType::F32, &Device::Cpu)
    /// };
    /// let path = std::env::temp_dir().join(format!("load-matching-{}.safetensors", std::process::id()));
    /// network(5, 1)?.params().save(&path)?;
    /// let other = network(2, 7)?;
    /// assert!(other.params().load(&path).is_err());
    /// let report = other.params().load_matching(&path)?;
    /// assert!(report.missing.is_empty() && report.unexpected.is_empty());
    /// assert_eq!((report.misshapen[1].name.as_str(), report.misshapen[1].found[0]), ("head.weight", 5));
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn load_matching(&self, path: impl AsRef<Path>) -> Result<WeightsReport> {
        let file = WeightsFile::open(path)?;
        let (mut values, report) = self.matched(&file);
        values.retain(|name, value| self.get(name).is_some_and(|known| known.var.dims() == value.dims()));
        if values.is_empty() {
            return Err(Error::Weights { path: file.path, report: Box::new(report) });
        }
        refuse_numbers(&file.path, &values)?;
        self.set(&values)?;
        Ok(report)
    }

    /// Writes every parameter to a safetensors file, whole or not at all.
    ///
    /// **Errors** [`Error::Io`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let tensors: BTreeMap<String, Tensor> =
            self.iter().map(|(name, parameter)| (name.to_owned(), parameter.var.as_detached_tensor())).collect();
        let path = path.as_ref();
        // Some of PyTorch's readers require the name of the framework whose layout the tensors have.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        write_whole(path, &encode_tensors(path, &tensors, Some(metadata))?)
    }

    fn load_checked(&self, file: &WeightsFile, accept: impl Fn(&WeightsReport) -> bool) -> Result<WeightsReport> {
        let (values, report) = self.matched(file);
        refuse_numbers(&file.path, &values)?;
        if !accept(&report) {
            return Err(Error::Weights { path: file.path.clone(), report: Box::new(report) });
        }
        self.set(&values)?;
        Ok(report)
    }

    /// The tensors of the file by the names of the parameters that they belong to, and how both differ.
    fn matched(&self, file: &WeightsFile) -> (BTreeMap<String, Tensor>, WeightsReport) {
        let map = NameMap::new(self, file);
        let value = |(parameter, name): (&String, &String)| Some((parameter.clone(), file.tensors.get(name)?.clone()));
        let values: BTreeMap<String, Tensor> = map.of_parameter.iter().filter_map(value).collect();
        let report = WeightsReport::of_file(self, &values, map, file);
        (values, report)
    }
}

/// Refuses weights that are whole numbers, as quantised weights are, and values that are not finite. PyTorch's counter of
/// batches is a whole number.
fn refuse_numbers(path: &Path, values: &BTreeMap<String, Tensor>) -> Result<()> {
    for (name, value) in values {
        if !value.dtype().is_float() {
            if name.ends_with("num_batches_tracked") {
                continue;
            }
            let stored = value.dtype().as_str().to_owned();
            return Err(Error::WeightsNumbers { path: path.to_owned(), tensor: name.clone(), stored });
        }
        let numbers: Vec<f64> = value.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        let count = numbers.iter().filter(|number| !number.is_finite()).count();
        if count > 0 {
            return Err(Error::NonFiniteWeights { path: path.to_owned(), tensor: name.clone(), count });
        }
    }
    Ok(())
}
