//! A Lipschitz constant, and the evidence for it.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The evidence for a Lipschitz constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// The largest ‖J‖_F over this number of samples: an estimate from below, which another sample can exceed.
    Sampled {
        /// The number of samples.
        samples: usize,
    },
    /// The norms of the layers: a bound at every input.
    Certified,
}

/// A number L with ‖∂f/∂x‖_F ≤ L: everywhere if certified, at the samples if sampled.
///
/// **Conventions** the norm is the Frobenius norm, which the concentration inequalities of geometric complexity need. It is
/// at least the operator norm, so L is a Lipschitz constant of f in the Euclidean norms.
///
/// ```
/// use gc_core::bounds::{Evidence, Lipschitz};
/// let sampled = Lipschitz::from_samples(&[4.0, 9.0, 1.0])?;
/// assert_eq!((sampled.value, sampled.evidence), (3.0, Evidence::Sampled { samples: 3 }));
/// # Ok::<(), gc_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lipschitz {
    /// L.
    pub value: f64,
    /// The evidence for it.
    pub evidence: Evidence,
}

impl Lipschitz {
    /// A constant that holds at every input, such as a product of layer norms.
    ///
    /// # Errors
    /// [`Error::Setting`] unless the value is finite and not negative.
    pub fn certified(value: f64) -> Result<Self> {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Error::setting("Lipschitz::certified", "a constant that is finite and not negative", value));
        }
        Ok(Self { value, evidence: Evidence::Certified })
    }

    /// The root of the largest exact ‖J‖²_F of a measurement ([`Estimate::per_sample`](crate::Estimate::per_sample)).
    ///
    /// # Errors
    /// [`Error::EmptyData`] without samples, [`Error::Setting`] for values that are negative or not finite.
    pub fn from_samples(squared_norms: &[f64]) -> Result<Self> {
        if squared_norms.is_empty() {
            return Err(Error::EmptyData);
        }
        if let Some(bad) = squared_norms.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
            return Err(Error::setting("Lipschitz::from_samples", "squared norms, finite and not negative", bad));
        }
        let largest = squared_norms.iter().fold(0.0, |largest: f64, value| largest.max(*value));
        Ok(Self { value: largest.sqrt(), evidence: Evidence::Sampled { samples: squared_norms.len() } })
    }
}
