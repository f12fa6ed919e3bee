//! Parquet files with a column of encoded images and a column of labels.

mod guard;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::Type;
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, Length, RowGroupReader, SerializedFileReader};

use self::guard::Bounded;
use super::RawLabels;
use crate::decode::{Collector, ImagePlace};
use crate::{Error, Result};

/// The number of rows that are decoded together. It bounds the memory of encoded images.
const ROWS: usize = 2048;

/// Which columns hold the images and the labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// A column of bytes, or a group with a column `bytes`.
    pub(crate) image: String,
    /// A column of whole numbers or of names.
    pub(crate) label: String,
}

/// The labels of a table, and the class names if the table lists them.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    pub(crate) values: RawLabels,
    pub(crate) names: Option<Vec<String>>,
}

/// The file and column, for messages.
pub(crate) fn column_context(path: &Path, column: &str) -> String {
    format!("{}, column `{column}`", path.display())
}

/// The size of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The number of rows that the table claims.
    pub(crate) rows: usize,
    /// The bytes of its file.
    pub(crate) bytes: u64,
}

pub(crate) fn extent(path: &Path) -> Result<Extent> {
    let table = Table::open(path)?;
    let rows = usize::try_from(table.metadata().file_metadata().num_rows()).unwrap_or(0);
    Ok(Extent { rows, bytes: table.file.len() })
}

/// The columns to read: the named ones, else the only ones that qualify.
///
/// **Errors** [`Error::UnclearColumn`] if none or several qualify.
pub(crate) fn columns(path: &Path, image: Option<&str>, label: Option<&str>) -> Result<Columns> {
    let table = Table::open(path)?;
    let pick = |role, candidates: Vec<String>| match candidates.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(Error::UnclearColumn { path: path.to_owned(), role, candidates, found: table.names() }),
    };
    Ok(Columns {
        image: image.map_or_else(|| pick("image", table.image_candidates()), |name| Ok(name.to_owned()))?,
        label: label.map_or_else(|| pick("label", table.label_candidates()), |name| Ok(name.to_owned()))?,
    })
}

/// Checks that the pages of every column of a parquet file claim no more than the file can hold.
///
/// The parquet library allocates what page headers claim. A program that reads other columns than images and labels calls
/// this first.
///
/// **Errors** [`Error::Malformed`], [`Error::NotRegularFile`], [`Error::Io`].
pub fn check_parquet(path: &Path) -> Result<()> {
    let table = Table::open(path)?;
    for group in table.metadata().row_groups() {
        group.columns().iter().try_for_each(|column| guard::check_pages(&table.file, column)).map_err(invalid(path))?;
    }
    Ok(())
}

/// Appends the images of a table to `collector` and gives their labels.
pub(crate) fn read(path: &Path, columns: &Columns, collector: &mut Collector) -> Result<Labels> {
    // The library panics on some invalid files.
    catch_unwind(AssertUnwindSafe(|| read_table(path, columns, collector)))
        .unwrap_or_else(|_| Err(invalid(path)("its pages contradict their headers".to_owned())))
}

fn read_table(path: &Path, columns: &Columns, collector: &mut Collector) -> Result<Labels> {
    let table = Table::open(path)?;
    let image = table.leaf(&columns.image, &[&format!("{}.bytes", columns.image), &columns.image])?;
    let label = table.leaf(&columns.label, &[&columns.label])?;
    let mut labels = Labels { values: RawLabels::default(), names: table.class_names(&columns.label) };
    let mut first_row = 0;
    for group in 0..table.reader.num_row_groups() {
        let group = table.reader.get_row_group(group).map_err(malformed(path))?;
        for leaf in [image, label] {
            let checked = guard::check_pages(&table.file, group.metadata().column(leaf));
            checked.map_err(invalid(path))?;
        }
        let mut images = table.byte_column(&*group, image, &columns.image)?;
        loop {
            let encoded = images.read(ROWS).map_err(|error| table.describe(error, &columns.image, first_row))?;
            let encoded: Vec<&[u8]> = encoded.iter().map(|bytes| bytes.data()).collect();
            if encoded.is_empty() {
                break;
            }
            let context = column_context(path, &columns.image);
            let place = |index| ImagePlace { context: context.clone(), row: Some(first_row + index) };
            collector.extend(&encoded, &place)?;
            first_row += encoded.len();
        }
        let more = table.read_labels(&*group, label, &columns.label, labels.values.len()..first_row)?;
        labels.values.append(more).map_err(invalid(path))?;
        if labels.values.len() != first_row {
            return Err(invalid(path)(format!("{first_row} images but {} labels", labels.values.len())));
        }
    }
    Ok(labels)
}

struct Table<'a> {
    path: &'a Path,
    file: Bounded,
    reader: SerializedFileReader<Bounded>,
}

impl<'a> Table<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let file = Bounded::open(path)?;
        guard::check_footer(&file).map_err(invalid(path))?;
        let reader = file.try_clone().map_err(Error::io("read", path))?;
        let opened = catch_unwind(AssertUnwindSafe(|| SerializedFileReader::new(reader)));
        let broken = |_| Err(ParquetError::General("its footer contradicts itself".to_owned()));
        Ok(Self { path, file, reader: opened.unwrap_or_else(broken).map_err(malformed(path))? })
    }
}

impl Table<'_> {
    fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    /// The index of the column at one of these paths.
    fn leaf(&self, column: &str, paths: &[&str]) -> Result<usize> {
        let schema = self.metadata().file_metadata().schema_descr();
        let find = |path: &&str| schema.columns().iter().position(|leaf| leaf.path().string() == **path);
        paths.iter().find_map(find).ok_or_else(|| Error::MissingColumn {
            path: self.path.to_owned(),
            column: column.to_owned(),
            found: self.names(),
        })
    }

    /// The names of all columns.
    fn names(&self) -> Vec<String> {
        let schema = self.metadata().file_metadata().schema_descr();
        schema.root_schema().get_fields().iter().map(|field| field.name().to_owned()).collect()
    }

    /// Columns that can hold images: those that the `datasets` library of Python marks, else groups with a column `bytes`,
    /// else byte columns that are not marked as text.
    fn image_candidates(&self) -> Vec<String> {
        let marked = self.marked("Image");
        if !marked.is_empty() {
            return marked;
        }
        let schema = self.metadata().file_metadata().schema_descr();
        let named = |keep: &dyn Fn(&parquet::schema::types::ColumnDescriptor) -> Option<String>| {
            schema.columns().iter().filter_map(|leaf| keep(leaf)).collect::<Vec<_>>()
        };
        let bytes = |leaf: &parquet::schema::types::ColumnDescriptor| {
            leaf.physical_type() == Type::BYTE_ARRAY && leaf.max_rep_level() == 0
        };
        let grouped = named(&|leaf| match leaf.path().parts() {
            [group, field] if field == "bytes" && bytes(leaf) => Some(group.clone()),
            _ => None,
        });
        if !grouped.is_empty() {
            return grouped;
        }
        named(&|leaf| match leaf.path().parts() {
            [name] if bytes(leaf) && leaf.logical_type_ref().is_none() => Some(name.clone()),
            _ => None,
        })
    }

    /// Columns that can hold labels: those that the `datasets` library of Python marks, else those called label, labels or
    /// class, else columns of whole numbers.
    fn label_candidates(&self) -> Vec<String> {
        let marked = self.marked("ClassLabel");
        if !marked.is_empty() {
            return marked;
        }
        let schema = self.metadata().file_metadata().schema_descr();
        let plain = schema.columns().iter().filter(|leaf| leaf.path().parts().len() == 1 && leaf.max_rep_level() == 0);
        let usual: Vec<String> = plain
            .clone()
            .map(|leaf| leaf.name().to_owned())
            .filter(|name| ["label", "labels", "class"].contains(&name.to_lowercase().as_str()))
            .collect();
        if !usual.is_empty() {
            return usual;
        }
        let whole = plain.filter(|leaf| matches!(leaf.physical_type(), Type::INT32 | Type::INT64));
        whole.map(|leaf| leaf.name().to_owned()).collect()
    }

    /// The columns that the `datasets` library of Python marks with this kind.
    fn marked(&self, kind: &str) -> Vec<String> {
        let features = self.features();
        let features = features.as_ref().and_then(|features| features.as_object());
        let own = |value: &serde_json::Value| value.get("_type").and_then(|text| text.as_str()) == Some(kind);
        features.into_iter().flatten().filter(|(_, value)| own(value)).map(|(name, _)| name.clone()).collect()
    }

    /// The description of the columns that the `datasets` library of Python writes into the file.
    fn features(&self) -> Option<serde_json::Value> {
        let pairs = self.metadata().file_metadata().key_value_metadata()?;
        let text = pairs.iter().find(|pair| pair.key == "huggingface")?.value.as_deref()?;
        let mut info: serde_json::Value = serde_json::from_str(text).ok()?;
        Some(info.get_mut("info")?.get_mut("features")?.take())
    }

    /// The class names in the order of the labels, from the description of the column.
    fn class_names(&self, label: &str) -> Option<Vec<String>> {
        let features = self.features()?;
        let names = features.get(label)?.get("names")?.as_array()?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    }

    fn byte_column(&self, group: &dyn RowGroupReader, leaf: usize, column: &str) -> Result<Values<ByteArrayType>> {
        match self.column(group, leaf)? {
            (ColumnReader::ByteArrayColumnReader(reader), optional) => Ok(Values { reader, optional }),
            (other, _) => Err(self.wrong_type(column, "encoded images (bytes)", &other)),
        }
    }

    /// The labels of a group whose images are the rows `images`. If there are more labels than images, reading stops early.
    fn read_labels(
        &self,
        group: &dyn RowGroupReader,
        leaf: usize,
        column: &str,
        images: std::ops::Range<usize>,
    ) -> Result<RawLabels> {
        let most = images.len();
        let describe = |error| self.describe(error, column, images.start);
        Ok(match self.column(group, leaf)? {
            (ColumnReader::Int64ColumnReader(reader), optional) => {
                let values = Values::<Int64Type> { reader, optional }.read_all(most).map_err(describe)?;
                RawLabels::Numbers(values)
            }
            (ColumnReader::Int32ColumnReader(reader), optional) => {
                let values = Values::<Int32Type> { reader, optional }.read_all(most).map_err(describe)?;
                RawLabels::Numbers(values.into_iter().map(i64::from).collect())
            }
            (ColumnReader::ByteArrayColumnReader(reader), optional) => {
                let values = Values::<ByteArrayType> { reader, optional }.read_all(most).map_err(describe)?;
                let text = |name: &ByteArray| String::from_utf8_lossy(name.data()).into_owned();
                RawLabels::Names(values.iter().map(text).collect())
            }
            (other, _) => return Err(self.wrong_type(column, "whole numbers or names", &other)),
        })
    }

    /// The reader of a column, and whether the column is optional.
    fn column(&self, group: &dyn RowGroupReader, leaf: usize) -> Result<(ColumnReader, bool)> {
        let descriptor = self.metadata().file_metadata().schema_descr().column(leaf);
        if descriptor.max_rep_level() > 0 {
            return Err(Error::ColumnType {
                path: self.path.to_owned(),
                column: descriptor.path().string(),
                expected: "one value per row",
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
            Unread::Missing(row) => {
                invalid(self.path)(format!("row {} has no value in column `{column}`", first_row + row))
            }
        }
    }
}

/// Why a column could not be read to its end.
enum Unread {
    Format(ParquetError),
    /// A row without a value, counted from the first row of the request.
    Missing(usize),
}

struct Values<T: DataType> {
    reader: parquet::column::reader::ColumnReaderImpl<T>,
    optional: bool,
}

impl<T: DataType> Values<T> {
    /// The next `count` values, or fewer at the end.
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

    /// All values. If there are more than `most`, reading stops soon after `most`.
    fn read_all(&mut self, most: usize) -> std::result::Result<Vec<T::T>, Unread> {
        let mut all = Vec::new();
        loop {
            let more = self.read(ROWS).map_err(|error| match error {
                Unread::Missing(row) => Unread::Missing(all.len() + row),
                other => other,
            })?;
            if more.is_empty() || all.len() > most {
                return Ok(all);
            }
            all.extend(more);
        }
    }
}

fn invalid(path: &Path) -> impl FnOnce(String) -> Error + '_ {
    move |reason| Error::Malformed { path: path.to_owned(), format: "parquet", reason }
}

fn malformed(path: &Path) -> impl FnOnce(ParquetError) -> Error + '_ {
    move |error| Error::Malformed { path: PathBuf::from(path), format: "parquet", reason: error.to_string() }
}
