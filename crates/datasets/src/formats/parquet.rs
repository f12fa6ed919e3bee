//! Tables of encoded images and labels, as the Hub keeps its data sets.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use super::RawLabels;
use crate::decode::Collector;
use crate::{Error, Result};

/// Rows that are decoded together; bounds the memory of encoded images.
const ROWS: usize = 2048;

/// Which columns hold the images and the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns<'a> {
    /// A column of bytes, or a group with a column `bytes`.
    pub(crate) image: &'a str,
    /// A column of whole numbers or of names.
    pub(crate) label: &'a str,
}

/// The labels of a table, and the class names where the table lists them.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    pub(crate) values: RawLabels,
    pub(crate) names: Option<Vec<String>>,
}

/// Appends the images of a table to `collector` and gives their labels.
pub(crate) fn read(path: &Path, columns: Columns<'_>, collector: &mut Collector) -> Result<Labels> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    let table = Table { path, reader: SerializedFileReader::new(file).map_err(malformed(path))? };
    let image = table.leaf(columns.image, &[&format!("{}.bytes", columns.image), columns.image])?;
    let label = table.leaf(columns.label, &[columns.label])?;
    let mut labels = Labels { values: RawLabels::default(), names: table.class_names(columns.label) };
    let (mut first_row, context) = (0, path.display().to_string());
    for group in 0..table.reader.num_row_groups() {
        let group = table.reader.get_row_group(group).map_err(malformed(path))?;
        let mut images = table.byte_column(&*group, image, columns.image)?;
        loop {
            let encoded = images.read(ROWS).map_err(|error| table.describe(error, columns.image, first_row))?;
            let encoded: Vec<&[u8]> = encoded.iter().map(|bytes| bytes.data()).collect();
            if encoded.is_empty() {
                break;
            }
            let fresh = collector.shape().is_none();
            if fresh {
                collector.extend(&encoded[..1], &context, first_row)?;
                let rows = usize::try_from(table.metadata().file_metadata().num_rows()).unwrap_or(0);
                collector.reserve(rows.saturating_sub(1), length);
            }
            let skip = usize::from(fresh);
            collector.extend(&encoded[skip..], &context, first_row + skip)?;
            first_row += encoded.len();
        }
        table.read_labels(&*group, label, columns.label, &mut labels.values)?;
        if labels.values.len() != first_row {
            let reason = format!("{first_row} images but {} labels", labels.values.len());
            return Err(Error::Malformed { path: path.to_owned(), format: "parquet", reason });
        }
    }
    Ok(labels)
}

struct Table<'a> {
    path: &'a Path,
    reader: SerializedFileReader<File>,
}

impl Table<'_> {
    fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    /// The number of the column at one of these paths.
    fn leaf(&self, column: &str, paths: &[&str]) -> Result<usize> {
        let schema = self.metadata().file_metadata().schema_descr();
        let find = |path: &&str| schema.columns().iter().position(|leaf| leaf.path().string() == **path);
        paths.iter().find_map(find).ok_or_else(|| Error::MissingColumn {
            path: self.path.to_owned(),
            column: column.to_owned(),
            found: schema.root_schema().get_fields().iter().map(|field| field.name().to_owned()).collect(),
        })
    }

    /// The names in the order of the labels, as the `datasets` library writes them into the file.
    fn class_names(&self, label: &str) -> Option<Vec<String>> {
        let pairs = self.metadata().file_metadata().key_value_metadata()?;
        let text = pairs.iter().find(|pair| pair.key == "huggingface")?.value.as_deref()?;
        let info: serde_json::Value = serde_json::from_str(text).ok()?;
        let names = info.get("info")?.get("features")?.get(label)?.get("names")?.as_array()?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    }

    fn byte_column(&self, group: &dyn RowGroupReader, leaf: usize, column: &str) -> Result<Values<ByteArrayType>> {
        match self.column(group, leaf)? {
            (ColumnReader::ByteArrayColumnReader(reader), optional) => Ok(Values { reader, optional }),
            (other, _) => Err(self.wrong_type(column, "encoded images (bytes)", &other)),
        }
    }

    fn read_labels(&self, group: &dyn RowGroupReader, leaf: usize, column: &str, labels: &mut RawLabels) -> Result<()> {
        let first_row = labels.len();
        let describe = |error| self.describe(error, column, first_row);
        match self.column(group, leaf)? {
            (ColumnReader::Int64ColumnReader(reader), optional) => {
                let values = Values::<Int64Type> { reader, optional }.read_all().map_err(describe)?;
                labels.push_numbers(values)
            }
            (ColumnReader::Int32ColumnReader(reader), optional) => {
                let values = Values::<Int32Type> { reader, optional }.read_all().map_err(describe)?;
                labels.push_numbers(values.into_iter().map(i64::from).collect())
            }
            (ColumnReader::ByteArrayColumnReader(reader), optional) => {
                let values = Values::<ByteArrayType> { reader, optional }.read_all().map_err(describe)?;
                labels.push_names(values.iter().map(|name| String::from_utf8_lossy(name.data()).into_owned()).collect())
            }
            (other, _) => return Err(self.wrong_type(column, "whole numbers or names", &other)),
        }
        .map_err(|reason| Error::Malformed { path: self.path.to_owned(), format: "parquet", reason })
    }

    /// The reader of a column, and whether its values may be missing.
    fn column(&self, group: &dyn RowGroupReader, leaf: usize) -> Result<(ColumnReader, bool)> {
        let descriptor = self.metadata().file_metadata().schema_descr().column(leaf);
        if descriptor.max_rep_level() > 0 {
            return Err(Error::ColumnType {
                path: self.path.to_owned(),
                column: descriptor.path().string(),
                expected: "one value a row",
                got: "a list".to_owned(),
            });
        }
        let reader = group.get_column_reader(leaf).map_err(malformed(self.path))?;
        Ok((reader, descriptor.max_def_level() > 0))
    }

    fn wrong_type(&self, column: &str, expected: &'static str, reader: &ColumnReader) -> Error {
        let got = match reader {
            ColumnReader::BoolColumnReader(_) => "booleans",
            ColumnReader::Int32ColumnReader(_) | ColumnReader::Int64ColumnReader(_) => "whole numbers",
            ColumnReader::Int96ColumnReader(_) => "times",
            ColumnReader::FloatColumnReader(_) | ColumnReader::DoubleColumnReader(_) => "real numbers",
            ColumnReader::ByteArrayColumnReader(_) => "bytes",
            ColumnReader::FixedLenByteArrayColumnReader(_) => "bytes of fixed length",
        };
        Error::ColumnType { path: self.path.to_owned(), column: column.to_owned(), expected, got: got.to_owned() }
    }

    fn describe(&self, error: Unread, column: &str, first_row: usize) -> Error {
        match error {
            Unread::Format(error) => malformed(self.path)(error),
            Unread::Missing(row) => Error::Malformed {
                path: self.path.to_owned(),
                format: "parquet",
                reason: format!("row {} has no value in column `{column}`", first_row + row),
            },
        }
    }
}

/// Why a column could not be read to its end.
enum Unread {
    Format(ParquetError),
    /// A row without a value, counted from where reading began.
    Missing(usize),
}

struct Values<T: DataType> {
    reader: parquet::column::reader::ColumnReaderImpl<T>,
    optional: bool,
}

impl<T: DataType> Values<T> {
    /// At most `count` values more; fewer only at the end.
    fn read(&mut self, count: usize) -> std::result::Result<Vec<T::T>, Unread> {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let defined = self.optional.then_some(&mut levels);
        let (rows, present, _) = self.reader.read_records(count, defined, None, &mut values).map_err(Unread::Format)?;
        if present < rows {
            let full = levels.iter().copied().max().unwrap_or(0).max(1);
            return Err(Unread::Missing(levels.iter().position(|level| *level < full).unwrap_or(0)));
        }
        Ok(values)
    }

    fn read_all(&mut self) -> std::result::Result<Vec<T::T>, Unread> {
        let mut all = Vec::new();
        loop {
            let more = self.read(ROWS).map_err(|error| match error {
                Unread::Missing(row) => Unread::Missing(all.len() + row),
                other => other,
            })?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }
}

fn malformed(path: &Path) -> impl FnOnce(ParquetError) -> Error + '_ {
    move |error| Error::Malformed { path: PathBuf::from(path), format: "parquet", reason: error.to_string() }
}
