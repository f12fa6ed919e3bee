//! The CDNV of every pair of classes as a CSV table.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use collapse::{CdnvConvention, ClassMoments, PairMatrix, Scatter, cdnv_matrix};

use crate::files::replaceable;

/// The columns of the table.
const COLUMNS: [&str; 3] = ["first", "second", "cdnv"];

/// Checks, before anything is computed, that the table can be written.
///
/// # Errors
/// Those of [`replaceable`].
pub(super) fn check(path: &Path) -> Result<()> {
    replaceable(path, &COLUMNS).context("--pairs")
}

/// Writes one line for each pair: the two classes and their CDNV, empty where the pair is excluded.
///
/// Ordered forms have two lines for a pair, the others one.
///
/// # Errors
/// A path that is no regular file, too little memory for all pairs, fewer than two classes.
pub(super) fn write(
    path: &Path,
    features: &Tensor,
    labels: &[u32],
    names: Option<&[String]>,
    convention: CdnvConvention,
) -> Result<()> {
    let classes = labels.iter().max().map_or(0, |largest| *largest as usize + 1);
    let mut moments = ClassMoments::new(classes, features.dim(1)?, Scatter::Trace);
    let values: Vec<f64> = features.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    moments.update_slice(&values, labels)?;
    let matrix = cdnv_matrix(&moments, convention)?;
    check(path)?;
    let ordered = convention.form == collapse::CdnvForm::Ordered;
    support::write_file_with(path, |file| Ok(lines(file, &matrix, names, ordered)?))
        .with_context(|| format!("--pairs {}", path.display()))
}

fn lines(file: impl std::io::Write, matrix: &PairMatrix, names: Option<&[String]>, ordered: bool) -> csv::Result<()> {
    let mut table = csv::Writer::from_writer(file);
    table.write_record(COLUMNS)?;
    let name = |class: usize| names.and_then(|names| names.get(class)).cloned().unwrap_or_else(|| class.to_string());
    let classes = matrix.classes();
    for (row, &first) in classes.iter().enumerate() {
        let others = if ordered { classes } else { &classes[row + 1..] };
        for &second in others.iter().filter(|second| **second != first) {
            let value = matrix.get(first, second).map_or_else(String::new, |value| value.to_string());
            table.write_record([name(first), name(second), value])?;
        }
    }
    table.flush()?;
    Ok(())
}
