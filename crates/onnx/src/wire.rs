//! The wire format of protocol buffers: a message is a list of numbered fields.
//!
//! ONNX uses a dozen messages without groups, maps or extensions, so a reader of the wire format takes less code than
//! generated structs. It borrows: byte fields are slices of the file, which a memory map provides, so that weights are
//! never copied before they are converted to tensors.

use crate::error::malformed;
use crate::{Error, Result};

/// The value of one field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    /// Integers, booleans and enumerations.
    Varint(u64),
    /// f64 and fixed 64-bit integers.
    Fixed64([u8; 8]),
    /// f32 and fixed 32-bit integers.
    Fixed32([u8; 4]),
    /// Strings, bytes, messages and packed numbers.
    Bytes(&'a [u8]),
}

/// The fields of a message, in the order of the file.
pub(crate) struct Fields<'a> {
    message: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `bytes`; `message` is the name of the message in errors.
    pub(crate) fn new(message: &'static str, bytes: &'a [u8]) -> Self {
        Self { message, rest: bytes }
    }

    fn field(&mut self) -> Result<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.array()?),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => Field::Fixed32(self.array()?),
            other => return Err(malformed(self.message, format!("field {} has the wire type {other}", key >> 3))),
        };
        Ok((key >> 3, field))
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f).wrapping_shl(7 * index as u32);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(malformed(self.message, "an integer does not end"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            let left = self.rest.len();
            return Err(malformed(self.message, format!("a field claims {length} bytes, the file has {left}")));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Field<'a> {
    /// Bytes, or a message within the message `message`.
    pub(crate) fn bytes(self, message: &'static str) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(wrong_type(message, other)),
        }
    }

    /// UTF-8 text.
    pub(crate) fn text(self, message: &'static str) -> Result<&'a str> {
        std::str::from_utf8(self.bytes(message)?).map_err(|_| malformed(message, "a text is not UTF-8"))
    }

    /// A signed integer.
    pub(crate) fn integer(self, message: &'static str) -> Result<i64> {
        match self {
            Self::Varint(value) => Ok(value.cast_signed()),
            other => Err(wrong_type(message, other)),
        }
    }

    /// An f32.
    pub(crate) fn float(self, message: &'static str) -> Result<f32> {
        match self {
            Self::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            other => Err(wrong_type(message, other)),
        }
    }

    /// Appends one integer, or the integers of a packed field.
    pub(crate) fn integers(self, message: &'static str, values: &mut Vec<i64>) -> Result<()> {
        let Self::Bytes(bytes) = self else {
            values.push(self.integer(message)?);
            return Ok(());
        };
        let mut fields = Fields::new(message, bytes);
        while !fields.rest.is_empty() {
            values.push(fields.varint()?.cast_signed());
        }
        Ok(())
    }

    /// Appends one f32, or those of a packed field.
    pub(crate) fn floats(self, message: &'static str, values: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Bytes(bytes) => {
                let (chunks, []) = bytes.as_chunks::<4>() else {
                    return Err(malformed(message, "packed floats are cut"));
                };
                values.extend(chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            one => values.push(one.float(message)?),
        }
        Ok(())
    }

    /// Appends one f64, or those of a packed field.
    pub(crate) fn doubles(self, message: &'static str, values: &mut Vec<f64>) -> Result<()> {
        match self {
            Self::Bytes(bytes) => {
                let (chunks, []) = bytes.as_chunks::<8>() else {
                    return Err(malformed(message, "packed doubles are cut"));
                };
                values.extend(chunks.iter().map(|bytes| f64::from_le_bytes(*bytes)));
            }
            Self::Fixed64(bytes) => values.push(f64::from_le_bytes(bytes)),
            other => return Err(wrong_type(message, other)),
        }
        Ok(())
    }
}

fn wrong_type(message: &'static str, field: Field) -> Error {
    let found = match field {
        Field::Varint(_) => "an integer",
        Field::Fixed64(_) => "8 bytes",
        Field::Fixed32(_) => "4 bytes",
        Field::Bytes(_) => "a byte string",
    };
    malformed(message, format!("{found} where another type belongs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_each_wire_type() {
        // 1: 300, 2: "ab", 3: 1.5f32, 4: 2.5f64.
        let mut bytes = vec![0x08, 0xac, 0x02, 0x12, 2, b'a', b'b', 0x1d];
        bytes.extend(1.5f32.to_le_bytes());
        bytes.push(0x21);
        bytes.extend(2.5f64.to_le_bytes());
        let fields: Vec<(u64, Field)> = Fields::new("Test", &bytes).collect::<Result<_>>().unwrap();
        assert_eq!(fields.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(fields[0].1.integer("Test").unwrap(), 300);
        assert_eq!(fields[1].1.text("Test").unwrap(), "ab");
        assert_eq!(fields[2].1.float("Test").unwrap(), 1.5);
        let mut doubles = Vec::new();
        fields[3].1.doubles("Test", &mut doubles).unwrap();
        assert_eq!(doubles, [2.5]);
    }

    #[test]
    fn negative_and_packed_integers() {
        let mut values = Vec::new();
        Field::Bytes(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])
            .integers("Test", &mut values)
            .unwrap();
        assert_eq!(values, [1, -1]);
    }

    #[test]
    fn bytes_that_are_no_message_are_errors() {
        for bytes in [&[0x08][..], &[0x08, 0xff], &[0x12, 5, 1], &[0x0b], &[0x1d, 1, 2], &[0xff; 11]] {
            let read: Result<Vec<_>> = Fields::new("Test", bytes).collect();
            assert!(matches!(read, Err(Error::Malformed { what: "Test", .. })), "{bytes:?}");
        }
        assert!(Field::Varint(1).text("Test").is_err());
        assert!(Field::Bytes(&[0xff]).text("Test").is_err());
        assert!(Field::Bytes(&[1, 2, 3]).floats("Test", &mut Vec::new()).is_err());
        assert!(Field::Bytes(&[1, 2, 3]).doubles("Test", &mut Vec::new()).is_err());
        assert!(Field::Fixed32([0; 4]).integer("Test").is_err());
    }
}
