//! Parquet files with the same columns as the CSV files.

use std::sync::Arc;

use anyhow::{Result, bail};
use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

use super::columns::{Column, Values};

/// The bytes of a file with these columns in one row group.
pub(crate) fn file(columns: &[Column]) -> Result<Vec<u8>> {
    let lines = columns.first().map_or(0, |column| column.values.len());
    if let Some(column) = columns.iter().find(|column| column.values.len() != lines) {
        bail!("the column `{}` has {} values, the first has {lines}", column.name, column.values.len());
    }
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema(columns)?, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for column in columns {
        let Some(mut own) = group.next_column()? else { bail!("the Parquet schema has no column `{}`", column.name) };
        write(own.untyped(), &column.values)?;
        own.close()?;
    }
    group.close()?;
    Ok(writer.into_inner()?)
}

fn schema(columns: &[Column]) -> Result<TypePtr> {
    let fields = columns.iter().map(|column| field(column).map(Arc::new)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?))
}

fn field(column: &Column) -> Result<Type> {
    let (physical, logical, repetition) = match column.values {
        Values::Text(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED),
        Values::Whole(_) => (PhysicalType::INT64, None, Repetition::REQUIRED),
        Values::Number(_) => (PhysicalType::DOUBLE, None, Repetition::OPTIONAL),
    };
    let builder = Type::primitive_type_builder(&column.name, physical).with_repetition(repetition);
    Ok(builder.with_logical_type(logical).build()?)
}

fn write(writer: &mut ColumnWriter<'_>, values: &Values) -> Result<()> {
    match (writer, values) {
        (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text(values)) => {
            let bytes: Vec<ByteArray> = values.iter().map(|text| ByteArray::from(text.as_str())).collect();
            writer.write_batch(&bytes, None, None)?;
        }
        (ColumnWriter::Int64ColumnWriter(writer), Values::Whole(values)) => {
            writer.write_batch(values, None, None)?;
        }
        (ColumnWriter::DoubleColumnWriter(writer), Values::Number(values)) => {
            let there: Vec<f64> = values.iter().copied().flatten().collect();
            let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
            writer.write_batch(&there, Some(&levels), None)?;
        }
        _ => bail!("the type of a column differs from that of its values"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    #[test]
    fn columns_are_read_back_to_the_bit_with_their_gaps() {
        let column = |name: &str, values: Values| Column { name: name.to_owned(), values };
        let columns = [
            column("run", Values::Text(vec!["a".to_owned(), "β".to_owned()])),
            column("step", Values::Whole(vec![0, i64::MAX])),
            column("gc", Values::Number(vec![None, Some(0.1 + 0.2)])),
        ];
        let mut written = tempfile::tempfile().unwrap();
        written.write_all(&file(&columns).unwrap()).unwrap();
        let reader = SerializedFileReader::new(written).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap()).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[1].get_string(0).unwrap().as_str(), rows[1].get_long(1).unwrap()), ("β", i64::MAX));
        assert!(rows[0].get_double(2).is_err());
        assert_eq!(rows[1].get_double(2).unwrap().to_bits(), (0.1f64 + 0.2).to_bits());
    }

    #[test]
    fn columns_without_lines_make_a_file_and_columns_of_unequal_length_do_not() {
        let column = |values: Values| Column { name: "x".to_owned(), values };
        assert!(!file(&[column(Values::Whole(Vec::new()))]).unwrap().is_empty());
        assert!(file(&[column(Values::Whole(vec![1])), column(Values::Whole(Vec::new()))]).is_err());
    }
}
