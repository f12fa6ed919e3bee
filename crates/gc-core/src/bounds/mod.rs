//! Theory beside the measure: how far a sample mean can be from its expectation, and how large a Jacobian can be.

mod concentration;
mod lipschitz;
mod norm_bound;
mod spectral;

pub use concentration::{Concentration, Inequality, empirical_bernstein, hoeffding};
pub use lipschitz::{Evidence, Lipschitz};
pub use norm_bound::NormBound;
pub use spectral::{PowerIteration, power_iteration, spectral_norm_bound};
