//! Estimators against a Jacobian that is known.
