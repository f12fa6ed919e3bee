//! Drawing of one image: a randomly deformed outline over a random background.

use ab_glyph_rasterizer::Rasterizer;
use rand::{Rng, RngCore};
use streams::Stream;

use super::outline::Outline;
use super::variation::Variation;

/// The free pixels between the ink and the border.
const MARGIN: f32 = 1.0;

/// Draws images of one size. The canvases are reused.
pub(crate) struct Renderer {
    side: usize,
    variation: Variation,
    canvas: Rasterizer,
    clutter: Vec<f32>,
    outline: Outline,
}

impl Renderer {
    pub(crate) fn new(side: usize, variation: Variation) -> Self {
        let clutter = vec![0.0; side * side];
        Self { side, variation, canvas: Rasterizer::new(side, side), clutter, outline: Outline::default() }
    }

    /// Draws one image. All random numbers are drawn from `stream` in a fixed order.
    ///
    /// **Conventions** the arithmetic is f32 addition, multiplication, division and square root, whose rounding is the same
    /// on every machine, and the sine and cosine of `libm`, which use the same operations. The bytes are therefore the same
    /// on every machine.
    pub(crate) fn draw(&mut self, outlines: &[Outline], stream: &mut Stream, out: &mut [u8]) {
        let face = ((u64::from(stream.next_u32()) * outlines.len() as u64) >> 32) as usize;
        self.outline.clone_from(&outlines[face]);
        self.deform(stream);
        self.scribble(stream);
        self.canvas.clear();
        self.outline.fill(&mut self.canvas);
        self.compose(stream, out);
    }

    /// Bends, shears, stretches, rotates, scales and moves the outline, and changes its stroke width.
    fn deform(&mut self, stream: &mut Stream) {
        let variation = &self.variation;
        let bend = [symmetric(stream, variation.bend), symmetric(stream, variation.bend)];
        let shear = symmetric(stream, variation.shear);
        let stretch = 1.0 + symmetric(stream, variation.stretch);
        let (sine, cosine) = libm::sincosf(symmetric(stream, variation.rotation.to_radians()));
        let size = self.side as f32 * between(stream, variation.size);
        let stroke = self.side as f32 * between(stream, variation.stroke);
        let place = [stream.random::<f32>(), stream.random::<f32>()];
        self.outline.map(|[x, y]| {
            // The constant 1/12 is the mean of t² over [−½, ½], so that a bend does not shift.
            let (x, y) = (x + bend[0] * (y * y - 1.0 / 12.0), y + bend[1] * (x * x - 1.0 / 12.0));
            let (x, y) = ((x + shear * y) * stretch, y / stretch);
            [size * (cosine * x - sine * y), size * (sine * x + cosine * y)]
        });
        self.outline.embolden(stroke);
        let room = self.side as f32 - 2.0 * MARGIN;
        let Some([left, top, right, bottom]) = self.outline.bounds() else { return };
        let shrink = (room / (right - left).max(bottom - top)).min(1.0);
        let free = [room - shrink * (right - left), room - shrink * (bottom - top)];
        let [across, down] = [0, 1].map(|axis| {
            let centred = 0.5 + (place[axis] - 0.5) * self.variation.position;
            MARGIN + centred * free[axis]
        });
        self.outline.map(|[x, y]| {
            // The ink fits by construction; the limits remove rounding errors only.
            let last = self.side as f32 - 0.5;
            [(across + shrink * (x - left)).clamp(0.5, last), (down + shrink * (y - top)).clamp(0.5, last)]
        });
    }

    /// Draws the straight strokes of the background, each a thin quadrilateral.
    fn scribble(&mut self, stream: &mut Stream) {
        let side = self.side as f32;
        self.clutter.fill(0.0);
        let mut strokes = self.variation.clutter * stream.random::<f32>();
        while strokes > 0.0 {
            // The strength of the last stroke is the fraction of the count.
            let strength = strokes.min(1.0) * between(stream, [0.3, 1.0]) * if stream.random() { 1.0 } else { -1.0 };
            let ends: [f32; 4] = std::array::from_fn(|_| between(stream, [0.03, 0.97]) * side);
            let width = side * between(stream, [0.01, 0.03]);
            self.canvas.clear();
            Outline::stroke([ends[0], ends[1]], [ends[2], ends[3]], width, side).fill(&mut self.canvas);
            let clutter = &mut self.clutter;
            self.canvas.for_each_pixel(|index, coverage| clutter[index] += strength * coverage.min(1.0));
            strokes -= 1.0;
        }
    }

    /// Blends the ink over the background and adds noise.
    fn compose(&mut self, stream: &mut Stream, out: &mut [u8]) {
        let variation = &self.variation;
        let contrast = between(stream, variation.contrast);
        let dark_on_light = stream.random::<f32>() < variation.inversion;
        // Ink and paper have the same distance from a grey value, and both are in [0, 1].
        let grey = 0.5 + symmetric(stream, 0.5 * (1.0 - contrast));
        let (ink, paper) = match dark_on_light {
            true => (grey - 0.5 * contrast, grey + 0.5 * contrast),
            false => (grey + 0.5 * contrast, grey - 0.5 * contrast),
        };
        let slope = [symmetric(stream, variation.gradient), symmetric(stream, variation.gradient)];
        let noise = between(stream, variation.noise);
        let (side, clutter) = (self.side, &self.clutter);
        self.canvas.for_each_pixel(|index, coverage| {
            let coverage = coverage.min(1.0);
            let [x, y] = [index % side, index / side].map(|at| at as f32 / side as f32 - 0.5);
            let ground = paper + slope[0] * x + slope[1] * y + 0.35 * contrast * clutter[index];
            let value = ground + coverage * (ink - ground) + noise * gaussian(stream);
            out[index] = (value * 255.0 + 0.5) as u8;
        });
    }
}

/// Uniform on \[low, high).
fn between(stream: &mut Stream, [low, high]: [f32; 2]) -> f32 {
    low + (high - low) * stream.random::<f32>()
}

/// Uniform on \[−limit, limit).
fn symmetric(stream: &mut Stream, limit: f32) -> f32 {
    between(stream, [-limit, limit])
}

/// A nearly normal number with mean 0 and variance 1, from the sum of the four bytes of one draw. Sums of integers have no
/// rounding, so the number is the same on every machine.
fn gaussian(stream: &mut Stream) -> f32 {
    // Four uniform bytes have mean 4·127.5 and variance 4·(256² − 1)/12 = 147.7991².
    let sum: u32 = stream.next_u32().to_le_bytes().iter().map(|&byte| u32::from(byte)).sum();
    (sum as f32 - 510.0) / 147.799_1
}
