//! Convolution by its definition: loops over every product, in f64, slow and clear.

use crate::kernels::ConvGeometry;

/// A convolution and numbers for it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) geometry: ConvGeometry,
    pub(super) x: Vec<f64>,
    pub(super) weight: Vec<f64>,
    pub(super) bias: Vec<f64>,
    pub(super) grad_y: Vec<f64>,
}

/// What the definition gives, and how large the sums of absolute values are.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) y: Vec<f64>,
    pub(super) grad_x: Vec<f64>,
    pub(super) grad_weight: Vec<f64>,
    /// The largest Σ|products| of one output, one input gradient, one weight gradient.
    pub(super) mass: [f64; 3],
}

impl Case {
    /// Normal numbers, rounded to f32 so that both precisions see the same ones.
    pub(super) fn new(geometry: ConvGeometry, seed: u64) -> Self {
        let draw = |index: u64, count: usize| {
            let mut stream = streams::stream(seed, "models/kernels/tests", index);
            let draws = streams::standard_normal(&mut stream, count);
            draws.into_iter().map(|value| f64::from(value as f32)).collect::<Vec<f64>>()
        };
        Self {
            geometry,
            x: draw(0, geometry.input_len()),
            weight: draw(1, geometry.weight_len()),
            bias: draw(2, geometry.out_channels),
            grad_y: draw(3, geometry.output_len()),
        }
    }

    /// All three results by the definition.
    pub(super) fn expected(&self) -> Expected {
        let g = &self.geometry;
        let mut y: Vec<f64> = self.bias.iter().copied().cycle().take(g.output_len()).collect();
        let (mut grad_x, mut grad_weight) = (vec![0.0; g.input_len()], vec![0.0; g.weight_len()]);
        let (mut y_mass, mut x_mass, mut weight_mass) =
            (vec![0.0; y.len()], vec![0.0; grad_x.len()], vec![0.0; grad_weight.len()]);
        products(g, |x, w, out| {
            y[out] += self.x[x] * self.weight[w];
            grad_x[x] += self.grad_y[out] * self.weight[w];
            grad_weight[w] += self.grad_y[out] * self.x[x];
            y_mass[out] += (self.x[x] * self.weight[w]).abs();
            x_mass[x] += (self.grad_y[out] * self.weight[w]).abs();
            weight_mass[w] += (self.grad_y[out] * self.x[x]).abs();
        });
        let largest = |values: Vec<f64>| values.into_iter().fold(1.0, f64::max);
        Expected { y, grad_x, grad_weight, mass: [largest(y_mass), largest(x_mass), largest(weight_mass)] }
    }
}

/// Calls `visit(index in x, index in weight, index in y)` for every product x·w that the definition adds to y.
pub(super) fn products(g: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    let (depth, group) = (g.in_channels / g.groups, g.out_channels / g.groups);
    for image in 0..g.batch {
        for row in 0..g.out_height() {
            for column in 0..g.out_width() {
                for channel in 0..g.out_channels {
                    let y = ((image * g.out_height() + row) * g.out_width() + column) * g.out_channels + channel;
                    for tap in 0..g.kernel[0] * g.kernel[1] {
                        let (down, right) = (tap / g.kernel[1], tap % g.kernel[1]);
                        let line = (row * g.stride[0] + down * g.dilation[0]).checked_sub(g.padding[0]);
                        let pixel = (column * g.stride[1] + right * g.dilation[1]).checked_sub(g.padding[1]);
                        let (Some(line), Some(pixel)) = (line, pixel) else { continue };
                        if line >= g.height || pixel >= g.width {
                            continue;
                        }
                        for input in 0..depth {
                            let x = ((image * g.height + line) * g.width + pixel) * g.in_channels;
                            let weight = (channel * depth + input) * g.kernel[0] * g.kernel[1] + tap;
                            visit(x + channel / group * depth + input, weight, y);
                        }
                    }
                }
            }
        }
    }
}
