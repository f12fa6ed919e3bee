//! Columns of a CSV table with a header line as arrays: numbers become `[n]`, anything else text.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};

use super::Array;

/// Every column that has a name. Those of numbers are added to `table` in the order of the header.
pub(super) fn read(path: &Path, table: &mut Vec<String>) -> Result<BTreeMap<String, Array>> {
    let mut reader = csv::Reader::from_path(path)?;
    let header: Vec<String> = reader.headers()?.iter().map(|name| name.trim().to_owned()).collect();
    check_header(&header)?;
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
    for (name, cells) in header.into_iter().zip(columns).filter(|(name, _)| !is_index(name)) {
        let array = match numbers(&cells) {
            Some(numbers) => {
                table.push(name.clone());
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
    Ok(arrays)
}

/// Refuses a first line that is no header: one of numbers, and one that something else than commas separates.
///
/// Whole numbers that count up are names: pandas numbers columns without names.
fn check_header(header: &[String]) -> Result<()> {
    if let [line] = header
        && let Some(separator) = [';', '\t', '|'].into_iter().find(|separator| line.contains(*separator))
    {
        bail!("the columns are separated by {separator:?}, expected commas");
    }
    let numeric: Vec<&String> = header.iter().filter(|name| name.parse::<f64>().is_ok()).collect();
    let whole: Option<Vec<u64>> = numeric.iter().map(|name| name.parse().ok()).collect();
    let counts_up = whole.is_some_and(|whole| whole.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1])));
    match numeric.first() {
        Some(number) if !counts_up => {
            bail!("the first line holds numbers, such as {number}: expected the names of the columns")
        }
        _ => Ok(()),
    }
}

/// Whether a column holds the row names of pandas (`DataFrame.to_csv`) or R (`write.csv`): it has no name, or the one that
/// pandas gives to a column without a name.
fn is_index(name: &str) -> bool {
    name.is_empty() || name.strip_prefix("Unnamed: ").is_some_and(|number| number.parse::<u32>().is_ok())
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
        read(&path, &mut Vec::new())
    }

    #[test]
    fn numbers_are_arrays_and_words_are_text() {
        let arrays = table("f0,f1,label,name\n1.5,2,0,ox\n3,4,1,hen\n").unwrap();
        let Array::Numbers(numbers) = &arrays["f1"] else { panic!() };
        assert_eq!(numbers.to_vec1::<f64>().unwrap(), [2.0, 4.0]);
        let Array::Text(words) = &arrays["name"] else { panic!() };
        assert_eq!(words, &["ox", "hen"]);
    }

    #[test]
    fn a_first_line_of_numbers_is_no_header_unless_it_counts() {
        for text in ["0.5,1,ox\n2,3,hen\n", "5,3,ox\n1,2,hen\n", "-1,0\n2,3\n", "1e3,a\n2,3\n", "nan,a\n1,2\n"] {
            let message = format!("{:#}", table(text).err().unwrap());
            assert!(message.contains("expected the names of the columns"), "{text}: {message}");
        }
        for text in ["0,1,label\n0.5,1,0\n", "1,2,3\n4,5,6\n", "label,7\n0,1.5\n", "a,b\n1,2\n"] {
            assert_eq!(table(text).unwrap().len(), text.lines().next().unwrap().split(',').count(), "{text}");
        }
    }

    #[test]
    fn columns_of_row_names_are_left_out() {
        for (text, names) in [
            (",a,label\n0,1.5,0\n1,2.5,1\n", vec!["a", "label"]),
            ("Unnamed: 0,a\n0,1.5\n", vec!["a"]),
            ("Unnamed: x,a\n0,1.5\n", vec!["Unnamed: x", "a"]),
        ] {
            assert_eq!(table(text).unwrap().into_keys().collect::<Vec<_>>(), names, "{text}");
        }
    }

    #[test]
    fn other_separators_are_named() {
        for (text, name) in [("a;b\n1;2\n", "';'"), ("a\tb\n1\t2\n", "'\\t'"), ("a|b\n1|2\n", "'|'")] {
            let message = format!("{:#}", table(text).err().unwrap());
            assert!(message.contains(name) && message.contains("expected commas"), "{message}");
        }
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
