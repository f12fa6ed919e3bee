//! The definition of an experiment and its stored results: the file, its sweeps, claims and metrics, the configuration of a
//! run, and the folder of a run. `reproduce` writes these results and `report` reads them.

pub(crate) mod augmentation;
pub(crate) mod configuration;
pub(crate) mod estimator;
pub(crate) mod experiment;
pub(crate) mod frozen;
pub(crate) mod levels;
pub(crate) mod lock;
pub(crate) mod measurement;
pub(crate) mod metric;
pub(crate) mod plan;
pub(crate) mod settings;
pub(crate) mod store;
pub(crate) mod sweep;
pub(crate) mod train;
