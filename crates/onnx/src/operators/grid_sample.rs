//! `GridSample`: an image read at positions between its pixels, with derivatives by both.
//!
//! The weight of a pixel is a product of one weight for each dimension. Positions outside the image follow the standard: they are
//! moved to the border or reflected before the weights are computed.

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use rayon::prelude::*;

use super::differentiable::with_rule;
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::node::Node;
use crate::value::Value;

/// Points per task of a thread.
const POINTS: usize = 1 << 8;
/// The most spatial dimensions.
const MOST: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    mode: Mode,
    padding: Padding,
    align_corners: bool,
}

/// A pixel that a point reads along one dimension.
#[derive(Debug, Clone, Copy, Default)]
struct Tap {
    index: usize,
    weight: f64,
    /// The derivative of the weight by the normalised coordinate.
    slope: f64,
}

/// A pixel that a point reads.
#[derive(Debug, Clone, Copy, Default)]
struct Pixel {
    index: usize,
    weight: f64,
    /// The derivatives of the weight by the normalised coordinates, in the order of the image's dimensions.
    slopes: [f64; MOST],
}

impl Settings {
    fn of(node: &Node) -> Result<Self> {
        let mode = match node.text("mode", "linear")? {
            "nearest" => Mode::Nearest,
            "cubic" | "bicubic" => Mode::Cubic,
            _ => Mode::Linear,
        };
        let padding = match node.text("padding_mode", "zeros")? {
            "border" => Padding::Border,
            "reflection" => Padding::Reflection,
            _ => Padding::Zeros,
        };
        Ok(Self { mode, padding, align_corners: node.flag("align_corners", false)? })
    }

    /// The first and the last position of a dimension.
    fn border(self, size: usize) -> [f64; 2] {
        if self.align_corners { [0.0, size as f64 - 1.0] } else { [-0.5, size as f64 - 0.5] }
    }

    /// The position of a normalised coordinate, and its derivative.
    fn position(self, coordinate: f64, size: usize) -> (f64, f64) {
        let size = size as f64;
        if self.align_corners {
            ((coordinate + 1.0) / 2.0 * (size - 1.0), (size - 1.0) / 2.0)
        } else {
            (((coordinate + 1.0) * size - 1.0) / 2.0, size / 2.0)
        }
    }

    /// The pixels along one dimension with their weights, which are computed for an image without a border.
    fn taps(self, coordinate: f64, size: usize) -> Vec<Tap> {
        let (mut at, mut rate) = self.position(coordinate, size);
        if self.mode == Mode::Nearest {
            (at, rate) = (at.round_ties_even(), 0.0);
        }
        let border = self.border(size);
        if at < border[0] || at > border[1] || at.is_nan() {
            match self.padding {
                // Cubic interpolation moves each pixel to the border by itself, as in PyTorch and ONNX Runtime.
                Padding::Border if self.mode == Mode::Cubic => {}
                Padding::Zeros => {}
                Padding::Border => (at, rate) = (at.max(0.0).min(size as f64 - 1.0), 0.0),
                Padding::Reflection => {
                    let (reflected, sign) = reflected(at, border);
                    (at, rate) = (reflected, rate * sign);
                }
            }
        }
        let first = at.floor();
        let offset = at - first;
        let (start, weights): (f64, Vec<[f64; 2]>) = match self.mode {
            Mode::Nearest => (first, vec![[1.0, 0.0]]),
            Mode::Linear => (first, vec![[1.0 - offset, -1.0], [offset, 1.0]]),
            Mode::Cubic => {
                let distances = [1.0 + offset, offset, 1.0 - offset, 2.0 - offset];
                let signs = [1.0, 1.0, -1.0, -1.0];
                (first - 1.0, distances.iter().zip(signs).map(|(d, sign)| cubic(*d, sign)).collect())
            }
        };
        let tap = |(step, [weight, slope]): (usize, &[f64; 2])| match self.pixel(start + step as f64, size) {
            Some(index) => Tap { index, weight: *weight, slope: slope * rate },
            None => Tap::default(),
        };
        weights.iter().enumerate().map(tap).collect()
    }

    /// The pixel that stands for an index, which may be outside; none for a zero.
    fn pixel(self, index: f64, size: usize) -> Option<usize> {
        if index >= 0.0 && index < size as f64 {
            return Some(index as usize);
        }
        match self.padding {
            _ if index.is_nan() => None,
            Padding::Zeros => None,
            Padding::Border => Some(if index < 0.0 { 0 } else { size - 1 }),
            Padding::Reflection => Some((reflected(index, self.border(size)).0.max(0.0) as usize).min(size - 1)),
        }
    }
}

/// A position reflected at both ends until it is between them, and the sign of the derivative.
fn reflected(at: f64, [first, last]: [f64; 2]) -> (f64, f64) {
    let length = last - first;
    if length <= 0.0 || !at.is_finite() {
        return (first, 0.0);
    }
    let folded = (at - first).rem_euclid(2.0 * length);
    if folded <= length { (first + folded, 1.0) } else { (last - (folded - length), -1.0) }
}

/// The weight of cubic convolution with parameter −3/4 at a distance, and its derivative by the position.
///
/// R. Keys, "Cubic convolution interpolation for digital image processing", 1981.
fn cubic(distance: f64, sign: f64) -> [f64; 2] {
    const A: f64 = -0.75;
    let d = distance;
    let (weight, slope) = if d <= 1.0 {
        (((A + 2.0) * d - (A + 3.0)) * d * d + 1.0, (3.0 * (A + 2.0) * d - 2.0 * (A + 3.0)) * d)
    } else {
        (((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A, (3.0 * A * d - 10.0 * A) * d + 8.0 * A)
    };
    [weight, sign * slope]
}

/// The pixels of all points, the same number for each point.
struct Points {
    pixels: Vec<Pixel>,
    each: usize,
    samples: usize,
    /// Points of one sample.
    count: usize,
    /// Pixels of one channel.
    size: usize,
}

impl Points {
    fn new(settings: Settings, coordinates: &[f64], spatial: &[usize], samples: usize) -> Self {
        let rank = spatial.len();
        let taps_each: usize = match settings.mode {
            Mode::Nearest => 1,
            Mode::Linear => 2,
            Mode::Cubic => 4,
        };
        let of_point = |point: &[f64]| -> Vec<Pixel> {
            let mut pixels = vec![Pixel { index: 0, weight: 1.0, slopes: [0.0; MOST] }];
            for (at, size) in spatial.iter().enumerate() {
                // The last coordinate belongs to the first dimension.
                let taps = settings.taps(point[rank - 1 - at], *size);
                let joined = |pixel: &Pixel| {
                    let pixel = *pixel;
                    taps.iter().map(move |tap| {
                        let mut slopes = pixel.slopes.map(|slope| slope * tap.weight);
                        slopes[at] = pixel.weight * tap.slope;
                        Pixel { index: pixel.index * size + tap.index, weight: pixel.weight * tap.weight, slopes }
                    })
                };
                pixels = pixels.iter().flat_map(joined).collect();
            }
            pixels
        };
        let pixels = coordinates.par_chunks_exact(rank.max(1)).with_min_len(POINTS).flat_map_iter(of_point).collect();
        let (size, points) = (spatial.iter().product(), coordinates.len() / rank.max(1));
        let each = taps_each.pow(rank as u32);
        Self { pixels, each, samples, count: points / samples.max(1), size }
    }

    /// The pixels of the points of a sample.
    fn of_sample(&self, sample: usize) -> impl Iterator<Item = &[Pixel]> {
        let length = self.count * self.each;
        self.pixels[sample % self.samples.max(1) * length..][..length].chunks_exact(self.each)
    }

    /// The image at the points: `[n, c, points]` from `[n, c, pixels]`.
    fn read(&self, x: &[f64], channels: usize) -> Vec<f64> {
        let channel = |(at, image): (usize, &[f64])| {
            let value = |pixels: &[Pixel]| pixels.iter().map(|pixel| pixel.weight * image[pixel.index]).sum::<f64>();
            self.of_sample(at / channels.max(1)).map(value).collect::<Vec<_>>()
        };
        x.par_chunks_exact(self.size.max(1)).enumerate().flat_map_iter(channel).collect()
    }

    /// The VJP by the image.
    fn by_image(&self, g: &[f64], channels: usize) -> Vec<f64> {
        let channel = |(at, g): (usize, &[f64])| {
            let mut image = vec![0.0; self.size];
            for (pixels, g) in self.of_sample(at / channels.max(1)).zip(g) {
                pixels.iter().for_each(|pixel| image[pixel.index] += pixel.weight * g);
            }
            image
        };
        g.par_chunks_exact(self.count.max(1)).enumerate().flat_map_iter(channel).collect()
    }

    /// The VJP by the grid `[n, points, rank]`.
    fn by_grid(&self, g: &[f64], x: &[f64], channels: usize, rank: usize) -> Vec<f64> {
        let (of_points, of_pixels) = (channels * self.count, channels * self.size);
        let sample = |(at, g): (usize, &[f64])| {
            let image = &x[at * of_pixels..][..of_pixels];
            let mut gradient = vec![0.0; self.count * rank];
            for (point, pixels) in self.of_sample(at).enumerate() {
                for channel in 0..channels {
                    let (g, image) = (g[channel * self.count + point], &image[channel * self.size..]);
                    for pixel in pixels {
                        for dimension in 0..rank {
                            gradient[point * rank + rank - 1 - dimension] +=
                                g * pixel.slopes[dimension] * image[pixel.index];
                        }
                    }
                }
            }
            gradient
        };
        g.par_chunks_exact(of_points.max(1)).enumerate().flat_map_iter(sample).collect()
    }
}

fn numbers(x: &Tensor) -> CandleResult<Vec<f64>> {
    x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// Numbers in a shape, with dtype and device of `like`.
fn tensor(numbers: Vec<f64>, dims: &[usize], like: &Tensor) -> CandleResult<Tensor> {
    Tensor::from_vec(numbers, dims, &Device::Cpu)?.to_dtype(like.dtype())?.to_device(like.device())
}

/// `GridSample` of images `[n, c, …]` at `[n, …, rank]`. A grid with one sample serves all images.
pub(super) fn grid_sample(call: &Call) -> Result<Vec<Value>> {
    let (x, grid) = (call.float(0)?, call.float(1)?);
    let (&[samples, channels, ref spatial @ ..], &[grids, ref out @ .., rank]) = (x.dims(), grid.dims()) else {
        return Err(operand("expected [n, c, …] and a grid"));
    };
    let fits = rank == spatial.len() && out.len() == rank && (1..=MOST).contains(&rank);
    if !fits || (grids != samples && grids != 1) || spatial.contains(&0) {
        return Err(operand(format!("images {:?} at positions {:?}", x.dims(), grid.dims())));
    }
    let dims: Vec<usize> = [samples, channels].into_iter().chain(out.iter().copied()).collect();
    call.check_count(&dims)?;
    let settings = Settings::of(call.node)?;
    let points = std::sync::Arc::new(Points::new(settings, &numbers(grid)?, spatial, grids));
    let image = numbers(x)?;
    let value = tensor(points.read(&image, channels), &dims, x)?;
    let (of_image, like, shape) = (points.clone(), x.detach(), x.dims().to_vec());
    let y = with_rule(x, value, move |g| tensor(of_image.by_image(&numbers(g)?, channels), &shape, &like))?;
    if !grid.track_op() {
        return one(y);
    }
    // The dependence on the grid: a summand of value 0.
    let grid = grid.broadcast_as([&[samples], out, &[rank]].concat())?.contiguous()?;
    let (like, shape) = (grid.detach(), grid.dims().to_vec());
    let by_grid = move |g: &Tensor| tensor(points.by_grid(&numbers(g)?, &image, channels, rank), &shape, &like);
    let zeros = y.detach().zeros_like()?;
    let moved = with_rule(&grid, zeros, by_grid)?;
    one(y.add(&moved)?)
}

pub(super) fn refuses(node: &Node) -> Option<String> {
    let mode = node.text("mode", "linear").ok()?;
    if !["linear", "bilinear", "nearest", "cubic", "bicubic"].contains(&mode) {
        return Some(format!("mode = {mode}"));
    }
    let padding = node.text("padding_mode", "zeros").ok()?;
    (!["zeros", "border", "reflection"].contains(&padding)).then(|| format!("padding_mode = {padding}"))
}
