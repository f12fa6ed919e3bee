//! Parquet tables as input where the program was compiled without their reader.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::Array;
use crate::full_program::left_out;

/// The error that the full program is needed.
pub(super) fn read(_: &Path, _: &mut Vec<String>, _: &mut Vec<String>) -> Result<BTreeMap<String, Array>> {
    Err(left_out("a parquet file as input"))
}
