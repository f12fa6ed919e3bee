//! Matrices packed into panels, the form in which the vector loops read them.

use rayon::prelude::*;

use super::vectors::Number;

/// Terms that are summed in the type of the numbers before the sum is widened.
pub(crate) const STRETCH: usize = 512;

/// Terms that are packed at a time: their lines take 12 KiB.
const NEAR: usize = 64;

/// Vectors of one length, side by side: the rows or the columns of a matrix.
///
/// Panel p holds vectors `p·PANEL..(p + 1)·PANEL`, term by term: the first term of each, then the second, and so on. Missing vectors
/// of the last panel are zero.
#[derive(Debug)]
pub(crate) struct Panels<T> {
    numbers: Vec<T>,
    vectors: usize,
    terms: usize,
}

impl<T: Number> Panels<T> {
    /// No vectors, of this many terms.
    pub(crate) fn new(terms: usize) -> Self {
        Self { numbers: Vec::new(), vectors: 0, terms }
    }

    /// No vectors yet, with memory for this many.
    pub(crate) fn with_capacity(vectors: usize, terms: usize) -> Self {
        Self { numbers: Vec::with_capacity(vectors.next_multiple_of(T::PANEL) * terms), vectors: 0, terms }
    }

    /// The rows of a row-major matrix `[n, terms]`.
    pub(crate) fn of_rows(rows: &[T], terms: usize) -> Self {
        let mut panels = Self::new(terms);
        panels.replace_by_rows(rows);
        panels
    }

    /// Replaces the vectors by the rows of a row-major matrix `[n, terms]`, in the same memory.
    pub(crate) fn replace_by_rows(&mut self, rows: &[T]) {
        self.numbers.clear();
        self.vectors = 0;
        self.push_rows(rows);
    }

    /// Adds the rows of a row-major matrix `[n, terms]` after the vectors, which fill their last panel.
    pub(crate) fn push_rows(&mut self, rows: &[T]) {
        debug_assert!(self.vectors.is_multiple_of(T::PANEL), "a panel in the middle would be partly missing");
        let (terms, from) = (self.terms, self.numbers.len());
        self.vectors += rows.len() / terms;
        self.numbers.resize(self.panels() * terms * T::PANEL, T::ZERO);
        let panels = self.numbers[from..].chunks_exact_mut(terms * T::PANEL);
        for (panel, rows) in panels.zip(rows.chunks(terms * T::PANEL)) {
            // A few terms at a time, so that the lines written stay in the nearest cache while the rows go by.
            for (lines, start) in panel.chunks_mut(NEAR * T::PANEL).zip((0..terms).step_by(NEAR)) {
                for (at, row) in rows.chunks_exact(terms).enumerate() {
                    let lines = lines.chunks_exact_mut(T::PANEL).zip(&row[start..]);
                    lines.for_each(|(line, &number)| line[at] = number);
                }
            }
        }
    }

    /// The columns of a row-major matrix `[terms, width]`, packed by all threads.
    pub(crate) fn of_columns(matrix: &[T], width: usize) -> Self {
        let terms = matrix.len() / width;
        let mut numbers = vec![T::ZERO; width.div_ceil(T::PANEL) * T::PANEL * terms];
        numbers.par_chunks_mut(terms * T::PANEL).with_min_len(8).enumerate().for_each(|(index, panel)| {
            let first = index * T::PANEL;
            let taken = T::PANEL.min(width - first);
            for (line, row) in panel.chunks_exact_mut(T::PANEL).zip(matrix.chunks_exact(width)) {
                line[..taken].copy_from_slice(&row[first..first + taken]);
            }
        });
        Self { numbers, vectors: width, terms }
    }

    /// Number of vectors.
    pub(crate) fn vectors(&self) -> usize {
        self.vectors
    }

    /// Number of panels, the last of which may be partly missing.
    pub(crate) fn panels(&self) -> usize {
        self.vectors.div_ceil(T::PANEL)
    }

    /// Number of stretches of at most [`STRETCH`] terms.
    pub(crate) fn stretches(&self) -> usize {
        self.terms.div_ceil(STRETCH)
    }

    /// One stretch of one panel.
    pub(crate) fn stretch(&self, panel: usize, stretch: usize) -> &[T] {
        let panel = &self.numbers[panel * self.terms * T::PANEL..(panel + 1) * self.terms * T::PANEL];
        let start = stretch * STRETCH;
        &panel[start * T::PANEL..self.terms.min(start + STRETCH) * T::PANEL]
    }

    /// Vectors of a panel that are not missing.
    pub(crate) fn held(&self, panel: usize) -> usize {
        T::PANEL.min(self.vectors - panel * T::PANEL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Term `term` of vector `vector`.
    fn at<T: Number>(panels: &Panels<T>, vector: usize, term: usize) -> T {
        panels.stretch(vector / T::PANEL, term / STRETCH)[term % STRETCH * T::PANEL + vector % T::PANEL]
    }

    #[test]
    fn rows_and_columns_are_found_again_and_missing_vectors_are_zero() {
        let (rows, width) = (STRETCH + 3, 2 * f32::PANEL + 5);
        let matrix: Vec<f32> = (0..rows * width).map(|value| value as f32 + 1.0).collect();
        let (by_rows, by_columns) = (Panels::of_rows(&matrix, width), Panels::of_columns(&matrix, width));
        assert_eq!((by_rows.vectors(), by_rows.stretches()), (rows, 1));
        assert_eq!((by_columns.vectors(), by_columns.stretches(), by_columns.held(2)), (width, 2, 5));
        for row in 0..rows {
            for column in 0..width {
                assert_eq!(at(&by_rows, row, column), matrix[row * width + column]);
                assert_eq!(at(&by_columns, column, row), matrix[row * width + column]);
            }
        }
        let line = &by_columns.stretch(2, 1)[2 * f32::PANEL..];
        assert_eq!(line[5..], [0.0; f32::PANEL - 5]);
    }

    #[test]
    fn rows_are_added_panel_by_panel() {
        let rows: Vec<f64> = (0..60 * 3).map(f64::from).collect();
        let mut panels = Panels::new(3);
        rows.chunks(f64::PANEL * 3).for_each(|rows| panels.push_rows(rows));
        assert_eq!((panels.vectors(), panels.panels(), panels.held(2)), (60, 3, 12));
        assert!((0..180).all(|index| at(&panels, index / 3, index % 3) == rows[index]));
    }

    #[test]
    fn memory_that_held_a_larger_matrix_keeps_nothing_of_it() {
        let mut panels = Panels::of_rows(&[7.0f64; 40 * 2], 2);
        panels.replace_by_rows(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!((panels.vectors(), panels.panels()), (2, 1));
        assert_eq!(panels.stretch(0, 0)[..3], [1.0, 3.0, 0.0]);
        assert!(panels.stretch(0, 0)[2..f64::PANEL].iter().all(|&number| number == 0.0));
    }
}
