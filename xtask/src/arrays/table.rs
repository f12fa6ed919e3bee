//! The matrix of features that the columns of a table form.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};

use super::{Array, Arrays};

/// Names that columns of labels have; such a column is no feature.
const LABELS: [&str; 8] = ["labels", "label", "y", "target", "targets", "class", "class_id", "class_name"];

/// The column of the GC of each sample, which is a measure and no feature.
pub(crate) const COMPLEXITY: &str = "gc";

impl Arrays {
    /// Adds the matrix `[n, p]` of the columns with one number for each row, in their order, as `name`, where there is no array
    /// of this name and no other matrix. Columns with a label's name are left out, as are `gc` and `except`.
    ///
    /// # Returns
    /// The names of the columns, if a matrix was added.
    pub(crate) fn add_matrix(&mut self, name: &str, except: &[&str]) -> Result<Option<Vec<String>>> {
        let is_feature = |column: &&String| {
            let known = LABELS.contains(&column.to_lowercase().as_str()) || *column == COMPLEXITY;
            !known && !except.contains(&column.as_str())
        };
        let names: Vec<String> = self.table.iter().filter(is_feature).cloned().collect();
        let has_matrix = self.iter().any(|(_, array)| matches!(array, Array::Numbers(tensor) if tensor.rank() == 2));
        if names.is_empty() || has_matrix || self.arrays.contains_key(name) {
            return Ok(None);
        }
        let columns =
            names.iter().filter_map(|name| self.get(name)).map(|column| column.to_dtype(DType::F64)?.to_vec1());
        let columns = columns.collect::<candle_core::Result<Vec<Vec<f64>>>>()?;
        let rows = columns.first().map_or(0, Vec::len);
        let values = (0..rows).flat_map(|row| columns.iter().map(move |column| column[row])).collect::<Vec<f64>>();
        let matrix =
            Tensor::from_vec(values, (rows, columns.len()), &Device::Cpu).context("the matrix of all numbers")?;
        // As precise as the most precise column.
        let single = names.iter().filter_map(|name| self.get(name)).all(|column| column.dtype() == DType::F32);
        let matrix = if single { matrix.to_dtype(DType::F32)? } else { matrix };
        self.arrays.insert(name.to_owned(), Array::Numbers(matrix));
        Ok(Some(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Arrays {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, text).unwrap();
        Arrays::read(&path, "features").unwrap()
    }

    #[test]
    fn labels_complexities_and_what_is_named_are_no_features() {
        let mut arrays = table("b,a,Label,gc,species,name\n1.5,2,0,9,1,ox\n3,4,1,8,0,hen\n");
        assert_eq!(arrays.add_matrix("features", &["species"]).unwrap().unwrap(), ["b", "a"]);
        assert_eq!(arrays.get("features").unwrap().to_vec2::<f64>().unwrap(), [[1.5, 2.0], [3.0, 4.0]]);
        assert!(arrays.add_matrix("features", &[]).unwrap().is_none(), "an array of this name stays");
        assert!(table("label\n1\n").add_matrix("features", &[]).unwrap().is_none());
    }
}
