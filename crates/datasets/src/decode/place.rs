//! The places of encoded images, for messages.

/// The place of an encoded image, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImagePlace {
    /// The image file, or the table and column.
    pub(crate) context: String,
    /// The row of the table; none for an image file.
    pub(crate) row: Option<usize>,
}

/// The place of each image of a list.
pub(crate) type PlaceOf<'a> = dyn Fn(usize) -> ImagePlace + 'a;
