//! The native part of the Python package `geometric_collapse`: NumPy arrays in, results as dictionaries out.
//!
//! The public interface is written in Python (`python/geometric_collapse`). It makes contiguous arrays of the caller's data and
//! classes of the dictionaries. This crate only calls the measuring crates, without the interpreter lock, and translates errors.

mod arrays;
mod batches;
mod collapse_functions;
mod command_line;
mod error;
mod fewshot_functions;
mod gc;
mod moments;
mod networks;
mod raised;
mod results;
mod statistics_functions;

use pyo3::prelude::*;

/// The native part of the package `geometric_collapse`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::collapse_functions::{collapse_chain, collapse_report, nearest_mean_bound, zero_sum};
    #[pymodule_export]
    use crate::command_line::run_command_line;
    #[pymodule_export]
    use crate::fewshot_functions::{
        Sampler, across_models, check_support, compare_on_same_episodes, evaluate, head_scores, rank_scores,
        read_task_list, transfer_scores,
    };
    #[pymodule_export]
    use crate::gc::{measure_map, measure_network, penalty_probes};
    #[pymodule_export]
    use crate::moments::Moments;
    #[pymodule_export]
    use crate::networks::network_features;
    #[pymodule_export]
    use crate::statistics_functions::{
        benjamini_hochberg, blocked_rank_correlation, clopper_pearson_interval, equivalence_test, estimate_mean,
        granulated_coefficient, holm, partial_rank_correlation, rank_correlation, sweep_change, wilson_interval,
        worst_sign_error,
    };
}
