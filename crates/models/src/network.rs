//! A network: an architecture with its parameters.

use std::sync::Arc;

use candle_core::{DType, Device};

use crate::Architecture;
use crate::params::{Access, Initialisation, Params};
use crate::view::View;
use crate::{Error, Result};

/// An architecture with its parameters.
///
/// There are two views of the same parameter storage: a tracked one, through which a backward pass reaches the parameters, and
/// a frozen one, through which no parameter gradient is ever computed. Features are the input of the head, the last linear
/// layer.
///
/// **Shapes** images are `[n, c, h, w]` (`[n, d]` for an MLP), features `[n, p]`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::{Architecture, Initialisation, Network, Pass};
/// let architecture = Architecture::named("vgg-small")?.with_input(1, [32, 32]).with_classes(7);
/// let net = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
/// let images = Tensor::zeros((2, 1, 32, 32), DType::F32, &Device::Cpu)?;
/// assert_eq!(net.frozen().features(&images, &Pass::evaluation())?.dims(), [2, 128]);
/// assert_eq!(net.tracked().logits(&images, &Pass::training(0, 0))?.dims(), [2, 7]);
/// # Ok::<(), models::Error>(())
/// ```
pub struct Network {
    architecture: Architecture,
    params: Params,
    tracked: View,
    frozen: Arc<View>,
}

impl Network {
    /// A network with initial parameters drawn from `seed`. The same seed gives the same parameters, whatever else was built
    /// before.
    ///
    /// **Errors** [`Error::Setting`] for impossible sizes; [`Error::DType`] for other dtypes than f32 and f64. Mixed precision
    /// ([`Pass::mixed_precision`](crate::Pass::mixed_precision)) keeps weights in f32.
    pub fn new(
        architecture: &Architecture,
        initialisation: Initialisation,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        if !matches!(dtype, DType::F32 | DType::F64) {
            let expected = "f32 or f64 (mixed precision keeps f32 weights and is a setting of the pass)".into();
            return Err(Error::DType { op: "network", expected, got: dtype.as_str().into() });
        }
        let mut params = Params::new(dtype, device).with_head(architecture.head_name());
        let mut view = |access, frozen| View::new(architecture, params.builder(initialisation, seed, access), frozen);
        let frozen = Arc::new(view(Access::Frozen, None)?);
        let tracked = view(Access::Tracked, Some(frozen.clone()))?;
        let tracked = tracked.with_variables(params.trainable().map(|(_, var)| var.as_tensor().clone()).collect());
        Ok(Self { architecture: architecture.clone(), params, tracked, frozen })
    }

    /// Its architecture.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Its named parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The view whose parameters are variables: a backward pass reaches them.
    pub fn tracked(&self) -> &View {
        &self.tracked
    }

    /// The view whose parameters are constants on the same storage: no parameter gradient is ever computed.
    pub fn frozen(&self) -> &View {
        &self.frozen
    }
}
