//! Matrices packed into panels, the form in which the vector loops read them.

use rayon::prelude::*;

use super::vectors::Number;

/// Terms that are summed in the type of the numbers before the sum is widened.
pub(crate) const STRETCH: usize = 512;

/// Vectors of one length, side by side: the rows or the columns of a matrix.
///
/// Panel p holds vectors `p·PANEL..(p + 1)·PANEL`, term by term: the first term of each, then the second, and so on. Panels are
/// cut into stretches of at most [`STRETCH`] terms, and all panels of the first stretch come before those of the second.
/// Missing vectors of the last panel are zero.
#[derive(Debug)]
pub(crate) struct Panels<T> {
    numbers: Vec<T>,
    vectors: usize,
    terms: usize,
}

impl<T> Default for Panels<T> {
    fn default() -> Self {
        Self { numbers: Vec::new(), vectors: 0, terms: 0 }
    }
}

impl<T: Number> Panels<T> {
    /// The rows of a row-major matrix `[n, width]`, packed by the calling thread.
    pub(crate) fn of_rows(rows: &[T], width: usize) -> Self {
        let mut panels = Self::default();
        panels.pack_rows(rows, width);
        panels
    }

    /// Replaces the vectors by the rows of another matrix, in the same memory.
    pub(crate) fn pack_rows(&mut self, rows: &[T], width: usize) {
        self.resize(rows.len() / width, width);
        let (count, vectors) = (self.panels(), self.vectors);
        for (index, (panel, terms)) in Self::split(&mut self.numbers, count, width).enumerate() {
            let first = index % count * T::PANEL;
            let last = vectors.min(first + T::PANEL);
            for (at, row) in rows[first * width..last * width].chunks_exact(width).enumerate() {
                let start = index / count * STRETCH;
                let lines = panel.chunks_exact_mut(T::PANEL).zip(&row[start..start + terms]);
                lines.for_each(|(line, &number)| line[at] = number);
            }
            if last - first < T::PANEL {
                panel.chunks_exact_mut(T::PANEL).for_each(|line| line[last - first..].fill(T::ZERO));
            }
        }
    }

    /// The columns of a row-major matrix `[n, width]`, packed by all threads.
    pub(crate) fn of_columns(matrix: &[T], width: usize) -> Self {
        let mut panels = Self::default();
        panels.resize(width, matrix.len() / width);
        let (count, terms) = (panels.panels(), panels.terms);
        let parts: Vec<_> = Self::split(&mut panels.numbers, count, terms).enumerate().collect();
        parts.into_par_iter().with_min_len(8).for_each(|(index, (panel, terms))| {
            let first = index % count * T::PANEL;
            let taken = T::PANEL.min(width - first);
            let rows = matrix.chunks_exact(width).skip(index / count * STRETCH).take(terms);
            for (line, row) in panel.chunks_exact_mut(T::PANEL).zip(rows) {
                line[..taken].copy_from_slice(&row[first..first + taken]);
                line[taken..].fill(T::ZERO);
            }
        });
        panels
    }

    fn resize(&mut self, vectors: usize, terms: usize) {
        (self.vectors, self.terms) = (vectors, terms);
        self.numbers.resize(self.panels() * terms * T::PANEL, T::ZERO);
    }

    /// The panels of all stretches in order, each with its number of terms.
    fn split(numbers: &mut [T], count: usize, terms: usize) -> impl Iterator<Item = (&mut [T], usize)> {
        numbers.chunks_mut((count * STRETCH * T::PANEL).max(1)).zip((0..terms).step_by(STRETCH)).flat_map(
            move |(stretch, start)| {
                let terms = STRETCH.min(terms - start);
                stretch.chunks_mut(terms * T::PANEL).map(move |panel| (panel, terms))
            },
        )
    }

    /// Number of vectors.
    pub(crate) fn vectors(&self) -> usize {
        self.vectors
    }

    /// Number of panels, the last of which may be partly zero.
    pub(crate) fn panels(&self) -> usize {
        self.vectors.div_ceil(T::PANEL)
    }

    /// Number of stretches.
    pub(crate) fn stretches(&self) -> usize {
        self.terms.div_ceil(STRETCH)
    }

    /// One panel of one stretch.
    pub(crate) fn panel(&self, stretch: usize, panel: usize) -> &[T] {
        let start = stretch * STRETCH;
        let terms = STRETCH.min(self.terms - start);
        let first = (start * self.panels() + panel * terms) * T::PANEL;
        &self.numbers[first..first + terms * T::PANEL]
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
        panels.panel(term / STRETCH, vector / T::PANEL)[term % STRETCH * T::PANEL + vector % T::PANEL]
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
        let line = &by_columns.panel(1, 2)[2 * f32::PANEL..];
        assert_eq!(line[5..], [0.0; f32::PANEL - 5]);
    }

    #[test]
    fn memory_that_held_a_larger_matrix_keeps_nothing_of_it() {
        let mut panels = Panels::of_rows(&[7.0f64; 40 * 3], 3);
        panels.pack_rows(&[1.0, 2.0, 3.0, 4.0], 2);
        assert_eq!((panels.vectors(), panels.panels()), (2, 1));
        assert_eq!(panels.panel(0, 0)[..3], [1.0, 3.0, 0.0]);
        assert!(panels.panel(0, 0)[2..f64::PANEL].iter().all(|&number| number == 0.0));
    }
}
