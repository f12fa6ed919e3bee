//! Bounds: the distance of a sample mean from its expectation, and norms of a network's Jacobian.

mod concentration;
mod lipschitz;
mod norm_bound;
mod spectral;

pub use concentration::{Concentration, Inequality, empirical_bernstein, hoeffding};
pub use lipschitz::{Evidence, Lipschitz};
pub use norm_bound::NormBound;
pub use spectral::{PowerIteration, power_iteration, spectral_norm_bound};
