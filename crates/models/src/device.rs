//! Devices by name.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::similar_names::most_similar;
use crate::{Error, Result};

/// A device by name: `cpu`, `cuda:N` (`cuda` is `cuda:0`) or `metal`.
///
/// With the feature `cudnn`, convolutions on CUDA use cuDNN.
///
/// ```
/// use models::{DeviceName, Error};
/// let name: DeviceName = "cuda:1".parse()?;
/// assert_eq!((name, name.to_string()), (DeviceName::Cuda(1), "cuda:1".to_owned()));
/// assert!(DeviceName::Cpu.open()?.is_cpu());
/// assert!(matches!("gpu".parse::<DeviceName>(), Err(Error::UnknownName { what: "device", .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// The processor.
    #[default]
    Cpu,
    /// The CUDA device with this number.
    Cuda(usize),
    /// Apple's graphics processor.
    Metal,
}

/// The reason why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeviceProblem {
    /// The program was built without this device; the named feature enables it.
    NotBuilt(String),
    /// The machine does not have this device, or its driver reports this error.
    NotFound(String),
}

impl fmt::Display for DeviceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceProblem::NotBuilt(feature) => {
                write!(f, "this program was built without it; build it with `--features {feature}`, or choose `cpu`")
            }
            DeviceProblem::NotFound(reason) => write!(f, "this machine does not offer it ({reason}); choose `cpu`"),
        }
    }
}

impl DeviceName {
    /// The device.
    ///
    /// **Errors** [`Error::DeviceUnavailable`] when the build or the machine does not have it.
    pub fn open(self) -> Result<Device> {
        let unavailable = |problem| Err(Error::DeviceUnavailable { device: self.to_string(), problem });
        let opened = match self {
            DeviceName::Cpu => return Ok(Device::Cpu),
            DeviceName::Cuda(_) if !cfg!(feature = "cuda") => {
                return unavailable(DeviceProblem::NotBuilt("cuda".into()));
            }
            DeviceName::Metal if !cfg!(feature = "metal") => {
                return unavailable(DeviceProblem::NotBuilt("metal".into()));
            }
            DeviceName::Cuda(number) => Device::new_cuda(number),
            DeviceName::Metal => Device::new_metal(0),
        };
        opened.or_else(|error| unavailable(DeviceProblem::NotFound(error.to_string())))
    }
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "cpu" => Ok(DeviceName::Cpu),
            "cuda" => Ok(DeviceName::Cuda(0)),
            "metal" => Ok(DeviceName::Metal),
            other => {
                let number = other.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                number.map(DeviceName::Cuda).ok_or_else(|| {
                    let nearest = most_similar(other, ["cpu", "cuda:0", "metal"]);
                    Error::UnknownName { what: "device", name: other.to_owned(), nearest }
                })
            }
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Cpu => f.write_str("cpu"),
            DeviceName::Cuda(number) => write!(f, "cuda:{number}"),
            DeviceName::Metal => f.write_str("metal"),
        }
    }
}
