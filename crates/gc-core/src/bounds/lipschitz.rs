//! A Lipschitz constant, and what speaks for it.

use serde::Serialize;

use crate::{Error, Result};

/// What a Lipschitz constant rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The largest ‖J‖_F of this many samples: an estimate from below, which another sample may exceed.
    Sampled {
        /// The number of samples.
        samples: usize,
    },
    /// The norms of the layers: holds at every input.
    Certified,
}

/// A number L with ‖∂f/∂x‖_F ≤ L, everywhere if certified, at the samples if sampled.
///
/// **Conventions** the Frobenius norm, as the concentration inequalities of geometric complexity need it; it bounds the
/// operator norm, so L is a Lipschitz constant of f in the Euclidean norms.
///
/// ```
/// use gc_core::bounds::{Evidence, Lipschitz};
/// let sampled = Lipschitz::from_samples(&[4.0, 9.0, 1.0])?;
/// assert_eq!((sampled.value, sampled.evidence), (3.0, Evidence::Sampled { samples: 3 }));
/// # Ok::<(), gc_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lipschitz {
    /// L.
    pub value: f64,
    /// What it rests on.
    pub evidence: Evidence,
}

impl Lipschitz {
    /// The root of the largest exact ‖J‖²_F of a measurement ([`Estimate::per_sample`](crate::Estimate::per_sample)).
    ///
    /// # Errors
    /// [`Error::EmptyData`] without samples, [`Error::Setting`] for values that no squared norm has.
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
