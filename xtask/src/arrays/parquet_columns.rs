//! Columns of a parquet table as arrays: numbers become `[n]`, equally long lists of numbers `[n, p]`, strings text.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::Array;

/// The values of one column in the rows read so far.
#[derive(Default)]
struct Column {
    floats: Vec<f64>,
    integers: Vec<i64>,
    words: Vec<String>,
    /// Whether a float was stored as f64.
    double: bool,
    /// Numbers in each row's list, where rows are lists.
    width: Option<usize>,
    rows: usize,
}

/// All columns of numbers and text. The names of columns with one float for each row are added to `table`, those of columns of
/// something else (images, structures) to `left_out`.
pub(super) fn read(
    path: &Path,
    table: &mut Vec<String>,
    left_out: &mut Vec<String>,
) -> Result<BTreeMap<String, Array>> {
    datasets::check_parquet(path)?;
    // The library panics on some invalid files; its message would look like a fault of this program.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let read = panic::catch_unwind(AssertUnwindSafe(|| columns(path, table, left_out)));
    panic::set_hook(hook);
    read.unwrap_or_else(|_| bail!("the parquet file is damaged: its pages contradict their headers"))
}

fn columns(path: &Path, table: &mut Vec<String>, left_out: &mut Vec<String>) -> Result<BTreeMap<String, Array>> {
    let file = SerializedFileReader::new(File::open(path)?)?;
    let mut columns: BTreeMap<String, Option<Column>> = BTreeMap::new();
    let names = file.metadata().file_metadata().schema().get_fields().iter().map(|field| field.name().to_owned());
    let names: Vec<String> = names.collect();
    for (index, row) in file.get_row_iter(None)?.enumerate() {
        for (name, field) in row?.into_columns() {
            let column = columns.entry(name.clone()).or_insert_with(|| Some(Column::default()));
            let Some(known) = column else { continue };
            if !known.push_row(&field).with_context(|| format!("column `{name}`, row {index}"))? {
                *column = None;
            }
        }
    }
    let mut arrays = BTreeMap::new();
    for (name, column) in columns {
        match column {
            Some(column) => {
                let array = column.array().with_context(|| format!("column `{name}`"))?;
                arrays.insert(name, array);
            }
            None => left_out.push(name),
        }
    }
    let is_float = |name: &String| match arrays.get(name) {
        Some(Array::Numbers(tensor)) => tensor.rank() == 1 && tensor.dtype().is_float(),
        _ => false,
    };
    table.extend(names.into_iter().filter(is_float));
    Ok(arrays)
}

impl Column {
    /// Adds one row; `false` if it holds neither numbers nor text.
    fn push_row(&mut self, field: &Field) -> Result<bool> {
        self.rows += 1;
        let Field::ListInternal(list) = field else { return self.push(field) };
        if *self.width.get_or_insert(list.len()) != list.len() {
            bail!("the list has {} numbers, the rows before it have {}", list.len(), self.width.unwrap_or_default());
        }
        for element in list.elements() {
            if matches!(element, Field::Str(_)) || !self.push(element)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn push(&mut self, field: &Field) -> Result<bool> {
        match field {
            Field::Float16(number) => self.floats.push(f64::from(number.to_f32())),
            Field::Float(number) => self.floats.push(f64::from(*number)),
            Field::Double(number) => {
                self.double = true;
                self.floats.push(*number);
            }
            Field::Bool(truth) => self.integers.push(i64::from(*truth)),
            Field::Byte(number) => self.integers.push(i64::from(*number)),
            Field::Short(number) => self.integers.push(i64::from(*number)),
            Field::Int(number) => self.integers.push(i64::from(*number)),
            Field::Long(number) => self.integers.push(*number),
            Field::UByte(number) => self.integers.push(i64::from(*number)),
            Field::UShort(number) => self.integers.push(i64::from(*number)),
            Field::UInt(number) => self.integers.push(i64::from(*number)),
            Field::ULong(number) => self.integers.push(i64::try_from(*number).context("the number is too large")?),
            Field::Str(word) => self.words.push(word.clone()),
            Field::Null => bail!("the value is missing"),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn array(self) -> Result<Array> {
        let shape = self.width.map_or_else(|| vec![self.rows], |width| vec![self.rows, width]);
        let device = &Device::Cpu;
        Ok(if !self.words.is_empty() {
            Array::Text(self.words)
        } else if self.floats.is_empty() {
            Array::Numbers(Tensor::from_vec(self.integers, shape, device)?)
        } else if self.double {
            Array::Numbers(Tensor::from_vec(self.floats, shape, device)?)
        } else {
            let numbers = self.floats.iter().map(|number| *number as f32).collect::<Vec<_>>();
            Array::Numbers(Tensor::from_vec(numbers, shape, device)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{FloatType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    fn written(path: &Path, widths: [usize; 2]) {
        let schema = "message schema { required int64 labels; required group features (LIST) { repeated group list { required float element; } } }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::default())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut labels = group.next_column().unwrap().unwrap();
        labels.typed::<Int64Type>().write_batch(&[4, 5], None, None).unwrap();
        labels.close().unwrap();
        let mut features = group.next_column().unwrap().unwrap();
        let count = widths[0] + widths[1];
        let values: Vec<f32> = (0..count).map(|index| index as f32).collect();
        let starts: Vec<i16> = widths.iter().flat_map(|width| (0..*width).map(|at| i16::from(at > 0))).collect();
        features.typed::<FloatType>().write_batch(&values, Some(&vec![1; count]), Some(&starts)).unwrap();
        features.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn numbers_and_lists_become_arrays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        written(&path, [2, 2]);
        let arrays = read(&path, &mut Vec::new(), &mut Vec::new()).unwrap();
        let (Array::Numbers(labels), Array::Numbers(features)) = (&arrays["labels"], &arrays["features"]) else {
            panic!()
        };
        assert_eq!(labels.to_vec1::<i64>().unwrap(), [4, 5]);
        assert_eq!(features.to_vec2::<f32>().unwrap(), [[0.0, 1.0], [2.0, 3.0]]);
    }

    #[test]
    fn lists_of_unequal_length_are_refused_with_column_and_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        written(&path, [2, 3]);
        let message = format!("{:#}", read(&path, &mut Vec::new(), &mut Vec::new()).err().unwrap());
        assert!(message.contains("column `features`, row 1") && message.contains("3 numbers"), "{message}");
    }
}
