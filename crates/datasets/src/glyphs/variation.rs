//! The variation among the images of a class.

/// The variation among the images of one class. Lengths are fractions of the image's side.
///
/// **Conventions** every pair \[low, high\] is a uniform range; every single number m is the uniform range \[−m, m\] unless
/// its documentation says otherwise. The default is the documented difficulty of `glyphs`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Variation {
    /// The longer side of the ink before it is deformed.
    pub size: [f32; 2],
    /// The shift of the ink from the centre, as a fraction (0 to 1) of the free space.
    pub position: f32,
    /// The rotation in degrees.
    pub rotation: f32,
    /// The horizontal shift per unit of height.
    pub shear: f32,
    /// The stretch s: the width is multiplied by 1 + s and the height divided by it.
    pub stretch: f32,
    /// The bend of straight lines along both axes: four times the shift at their ends, as a fraction of their length.
    pub bend: f32,
    /// The width that is added to every stroke on each side.
    pub stroke: [f32; 2],
    /// The difference in brightness of ink and paper, in \[0, 1\] units.
    pub contrast: [f32; 2],
    /// The probability of dark ink on light paper.
    pub inversion: f32,
    /// The change of the paper's brightness from one border to the other along both axes, in \[0, 1\] units.
    pub gradient: f32,
    /// The largest number of straight strokes in the background. The number is uniform from 0.
    pub clutter: f32,
    /// The standard deviation of the noise of each pixel in \[0, 1\] units, drawn once per image.
    pub noise: [f32; 2],
}

impl Default for Variation {
    fn default() -> Self {
        Self {
            size: [0.5, 0.85],
            position: 1.0,
            rotation: 20.0,
            shear: 0.3,
            stretch: 0.2,
            bend: 0.5,
            stroke: [-0.006, 0.018],
            contrast: [0.25, 0.9],
            inversion: 0.5,
            gradient: 0.3,
            clutter: 5.0,
            noise: [0.02, 0.15],
        }
    }
}

impl Variation {
    /// A weaker (factor below 1) or stronger (above 1) variation.
    ///
    /// **Definition** every quantity that is 0 for a clean, upright, centred image of full contrast is multiplied by
    /// `difficulty`. The widths of the size and contrast ranges are multiplied by it, with their upper ends fixed.
    /// `position` and `inversion` stay within \[0, 1\].
    pub fn scaled(self, difficulty: f32) -> Self {
        let range = |[low, high]: [f32; 2]| [(high - difficulty * (high - low)).max(0.05), high];
        let around_zero = |[low, high]: [f32; 2]| [difficulty * low, difficulty * high];
        Self {
            size: range(self.size),
            position: (difficulty * self.position).clamp(0.0, 1.0),
            rotation: difficulty * self.rotation,
            shear: difficulty * self.shear,
            stretch: (difficulty * self.stretch).min(0.9),
            bend: difficulty * self.bend,
            stroke: around_zero(self.stroke),
            contrast: range(self.contrast),
            inversion: (difficulty * self.inversion).clamp(0.0, 1.0),
            gradient: difficulty * self.gradient,
            clutter: difficulty * self.clutter,
            noise: around_zero(self.noise),
        }
    }
}
