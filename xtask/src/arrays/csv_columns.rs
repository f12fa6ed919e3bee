//! Columns of a CSV table with a header line as arrays: numbers become `[n]`, anything else text.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};

use super::Array;

/// The name of the matrix `[n, p]` of all columns of numbers, in the order of the header, where no column has this name.
/// Columns with a label's name are left out of it.
const MATRIX: &str = "features";

/// Names that columns of labels have; such a column is no feature.
const LABELS: [&str; 8] = ["labels", "label", "y", "target", "targets", "class", "class_id", "class_name"];

/// Every column, and the matrix of the numbers.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Array>> {
    let mut reader = csv::Reader::from_path(path)?;
    let header: Vec<String> = reader.headers()?.iter().map(|name| name.trim().to_owned()).collect();
    let mut columns: Vec<Vec<String>> = vec![Vec::new(); header.len()];
    for row in reader.records() {
        // The reader refuses a row of another length, with its line.
        columns.iter_mut().zip(&row?).for_each(|(column, cell)| column.push(cell.trim().to_owned()));
    }
    let rows = columns.first().map_or(0, Vec::len);
    if rows == 0 {
        bail!("no rows below the header line");
    }
    let mut arrays = BTreeMap::new();
    let mut matrix: Vec<Vec<f64>> = Vec::new();
    for (name, cells) in header.into_iter().zip(columns) {
        let array = match numbers(&cells) {
            Some(numbers) => {
                if !LABELS.contains(&name.to_lowercase().as_str()) {
                    matrix.push(numbers.clone());
                }
                Array::Numbers(Tensor::from_vec(numbers, rows, &Device::Cpu)?)
            }
            None => {
                if let Some(row) = cells.iter().position(String::is_empty) {
                    bail!("column `{name}`, row {row}: the value is missing");
                }
                Array::Text(cells)
            }
        };
        if arrays.insert(name.clone(), array).is_some() {
            bail!("two columns have the name `{name}`");
        }
    }
    if !matrix.is_empty() && !arrays.contains_key(MATRIX) {
        let width = matrix.len();
        let values = (0..rows).flat_map(|row| matrix.iter().map(move |column| column[row])).collect::<Vec<f64>>();
        let matrix = Tensor::from_vec(values, (rows, width), &Device::Cpu).context("the matrix of all numbers")?;
        arrays.insert(MATRIX.to_owned(), Array::Numbers(matrix));
    }
    Ok(arrays)
}

/// The numbers of a column, if every cell is one.
fn numbers(cells: &[String]) -> Option<Vec<f64>> {
    cells.iter().map(|cell| cell.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<BTreeMap<String, Array>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn numbers_form_a_matrix_and_words_are_text() {
        let arrays = table("f0,f1,label,name\n1.5,2,0,ox\n3,4,1,hen\n").unwrap();
        let Array::Numbers(matrix) = &arrays[MATRIX] else { panic!() };
        assert_eq!(matrix.to_vec2::<f64>().unwrap(), [[1.5, 2.0], [3.0, 4.0]]);
        let Array::Text(words) = &arrays["name"] else { panic!() };
        assert_eq!(words, &["ox", "hen"]);
    }

    #[test]
    fn gaps_double_names_and_ragged_rows_are_refused() {
        let message = |text: &str| format!("{:#}", table(text).err().unwrap());
        assert!(message("a,b\n1,\n2,x\n").contains("column `b`, row 0"));
        assert!(message("a,a\n1,2\n").contains("two columns"));
        assert!(message("a,b\n1\n").contains("line"));
        assert!(message("a,b\n").contains("no rows"));
    }
}
