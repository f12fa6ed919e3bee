//! Glyph outlines as point lists: reading from a font, deforming and filling.

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// The number of points of a piece of a contour without its first point: 1 for a line, 2 for a quadratic, 3 for a cubic.
type PointCount = u8;

/// One closed curve. Each piece begins at the end of the one before, and the last ends at the first point.
#[derive(Clone, Debug, Default, PartialEq)]
struct Contour {
    points: Vec<[f32; 2]>,
    pieces: Vec<PointCount>,
}

/// The shape of a glyph. The y axis points downwards.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outline {
    contours: Vec<Contour>,
}

impl Outline {
    /// The outline of a glyph, translated and scaled so that its bounding box is centred at 0 and has a longer side of 1.
    /// None for a glyph without ink.
    pub(crate) fn read(face: &Face<'_>, glyph: GlyphId) -> Option<Self> {
        let mut outline = Self::default();
        face.outline_glyph(glyph, &mut outline)?;
        outline.contours.retain(|contour| contour.points.len() > 2);
        for contour in &mut outline.contours {
            contour.close();
        }
        let [left, top, right, bottom] = outline.bounds()?;
        let side = (right - left).max(bottom - top);
        if side <= 0.0 {
            return None;
        }
        let centre = [(left + right) * 0.5, (top + bottom) * 0.5];
        outline.map(|[x, y]| [(x - centre[0]) / side, (y - centre[1]) / side]);
        Some(outline)
    }

    /// A straight stroke between two points, clipped at the border of a square canvas.
    pub(crate) fn stroke(from: [f32; 2], to: [f32; 2], width: f32, side: f32) -> Self {
        let [dx, dy] = direction(from, to).unwrap_or([1.0, 0.0]);
        let [across, down] = [-dy * width * 0.5, dx * width * 0.5];
        let corner = |[x, y]: [f32; 2], sign: f32| {
            [(x + sign * across).clamp(0.0, side - 0.01), (y + sign * down).clamp(0.0, side - 0.01)]
        };
        let points = vec![corner(from, 1.0), corner(to, 1.0), corner(to, -1.0), corner(from, -1.0)];
        Self { contours: vec![Contour { points, pieces: vec![1; 4] }] }
    }

    /// Applies a function to every point.
    pub(crate) fn map(&mut self, change: impl Fn([f32; 2]) -> [f32; 2]) {
        for value in self.contours.iter_mut().flat_map(|contour| &mut contour.points) {
            *value = change(*value);
        }
    }

    /// \[left, top, right, bottom\] of all points, including the control points of curves. The ink lies inside.
    pub(crate) fn bounds(&self) -> Option<[f32; 4]> {
        let mut points = self.contours.iter().flat_map(|contour| &contour.points);
        let &[x, y] = points.next()?;
        Some(points.fold([x, y, x, y], |[left, top, right, bottom], &[x, y]| {
            [left.min(x), top.min(y), right.max(x), bottom.max(y)]
        }))
    }

    /// Widens every stroke by `width` on each side; a negative `width` narrows it.
    ///
    /// **Definition** each point moves away from the ink along the bisector of its two edges, by width / cos(half the angle
    /// between them) and at most 2·width.
    pub(crate) fn embolden(&mut self, width: f32) {
        // Outer contours and holes have opposite orientations, and the outer ones have the larger area.
        let outward = if self.area() > 0.0 { width } else { -width };
        let moved: Vec<Vec<[f32; 2]>> = self.contours.iter().map(|contour| contour.offset(outward)).collect();
        for (contour, points) in self.contours.iter_mut().zip(moved) {
            contour.points = points;
        }
    }

    /// Adds the ink to a canvas, which must contain every point.
    pub(crate) fn fill(&self, canvas: &mut Rasterizer) {
        for contour in &self.contours {
            contour.fill(canvas);
        }
    }

    fn area(&self) -> f32 {
        self.contours.iter().map(Contour::area).sum()
    }
}

impl Contour {
    /// Closes the contour: removes a last point that equals the first, else adds a line to the first point.
    fn close(&mut self) {
        if self.points.len() > 1 && self.points.first() == self.points.last() {
            self.points.pop();
        } else {
            self.pieces.push(1);
        }
    }

    /// Twice the signed area of the polygon through all points, by the shoelace formula.
    fn area(&self) -> f32 {
        let following = self.points.iter().cycle().skip(1);
        self.points.iter().zip(following).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum()
    }

    fn offset(&self, width: f32) -> Vec<[f32; 2]> {
        let count = self.points.len();
        (0..count)
            .map(|index| {
                let [x, y] = self.points[index];
                // Neighbours that coincide with the point have no direction and are skipped.
                let towards = |step: usize| {
                    (1..count).find_map(|distance| direction([x, y], self.points[(index + step * distance) % count]))
                };
                match (towards(count - 1), towards(1)) {
                    (Some(back), Some(ahead)) => {
                        let [nx, ny] = miter([-back[0], -back[1]], ahead);
                        [x + width * nx, y + width * ny]
                    }
                    _ => [x, y],
                }
            })
            .collect()
    }

    fn fill(&self, canvas: &mut Rasterizer) {
        let count = self.points.len();
        let at = |index: usize| -> Point {
            let [x, y] = self.points[index % count];
            point(x, y)
        };
        let mut start = 0;
        for &points in &self.pieces {
            match points {
                1 => canvas.draw_line(at(start), at(start + 1)),
                2 => canvas.draw_quad(at(start), at(start + 1), at(start + 2)),
                _ => canvas.draw_cubic(at(start), at(start + 1), at(start + 2), at(start + 3)),
            }
            start += usize::from(points);
        }
    }
}

/// The unit vector from one point to another, if they differ.
fn direction(from: [f32; 2], to: [f32; 2]) -> Option<[f32; 2]> {
    let [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    let length = (dx * dx + dy * dy).sqrt();
    (length > 1e-6).then(|| [dx / length, dy / length])
}

/// The shift of the corner between two unit edges if both edges move by 1 along their normal (y, −x).
fn miter(first: [f32; 2], second: [f32; 2]) -> [f32; 2] {
    let cosine = first[0] * second[0] + first[1] * second[1];
    // At a cosine of −0.5 the shift is 2, its limit.
    let scale = 1.0 / (1.0 + cosine).max(0.5);
    [(first[1] + second[1]) * scale, -(first[0] + second[0]) * scale]
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.contours.push(Contour { points: vec![[x, -y]], pieces: Vec::new() });
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.push(&[[x, -y]]);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.push(&[[x1, -y1], [x, -y]]);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.push(&[[x1, -y1], [x2, -y2], [x, -y]]);
    }

    fn close(&mut self) {}
}

impl Outline {
    fn push(&mut self, points: &[[f32; 2]]) {
        if let Some(contour) = self.contours.last_mut() {
            contour.points.extend_from_slice(points);
            contour.pieces.push(points.len() as PointCount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square ring of outer side 8 with a hole of side 4. The hole has the opposite orientation, as in fonts.
    fn ring() -> Outline {
        let mut outline = Outline::default();
        for (corners, side) in [([(0, 0), (1, 0), (1, 1), (0, 1)], 8.0), ([(0, 0), (0, 1), (1, 1), (1, 0)], 4.0)] {
            let at = |(x, y): (i32, i32)| ((x as f32 - 0.5) * side + 8.0, (y as f32 - 0.5) * side - 8.0);
            let (x, y) = at(corners[0]);
            outline.move_to(x, y);
            for corner in &corners[1..] {
                let (x, y) = at(*corner);
                outline.line_to(x, y);
            }
            if let Some(contour) = outline.contours.last_mut() {
                contour.close();
            }
        }
        outline
    }

    fn ink(outline: &Outline) -> f32 {
        let (mut canvas, mut sum) = (Rasterizer::new(16, 16), 0.0);
        outline.fill(&mut canvas);
        canvas.for_each_pixel(|_, coverage| sum += coverage);
        sum
    }

    #[test]
    fn the_ink_of_a_ring_is_its_area() {
        assert!((ink(&ring()) - (64.0 - 16.0)).abs() < 1e-3);
    }

    #[test]
    fn strokes_are_widened_on_both_sides_for_either_orientation() {
        let mut wide = ring();
        wide.embolden(0.5);
        assert!((ink(&wide) - (81.0 - 9.0)).abs() < 1e-3, "{}", ink(&wide));
        let mut mirrored = ring();
        mirrored.map(|[x, y]| [16.0 - x, y]);
        mirrored.embolden(-0.5);
        assert!((ink(&mirrored) - (49.0 - 25.0)).abs() < 1e-3, "{}", ink(&mirrored));
    }
}
