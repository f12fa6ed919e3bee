//! Cost curves: the least work of each point, from which `cargo xtask bench` draws the roofline.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The least work of one repetition, which every implementation of the same algorithm must do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations, two for a product with its sum.
    pub operations: f64,
    /// Bytes read and written: each array once for each pass over it.
    pub bytes: f64,
}

impl Work {
    /// The work of `count` repetitions.
    #[must_use]
    pub fn times(self, count: f64) -> Self {
        Self { operations: self.operations * count, bytes: self.bytes * count }
    }

    /// The sum of both works.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { operations: self.operations + other.operations, bytes: self.bytes + other.bytes }
    }

    /// One pass through the 3×3 convolutions (stride 1) of a VGG, for one image of `side`² pixels; the size halves after each
    /// stage. A gradient with respect to the input or to the weights costs as much.
    ///
    /// From 6 input channels on, the kernels of `ops` need a quarter of the products of the direct sum (Winograd
    /// F(4×4, 3×3): 36 for 144; on 2×2 maps 9 for 36); their transforms are not counted. Bytes: every map once in f32. The weights
    /// are shared by a batch and not counted.
    #[must_use]
    pub fn vgg_pass(stages: &[Vec<usize>], in_channels: usize, side: usize) -> Self {
        let (mut work, mut inputs, mut side) = (Self::default(), in_channels, side);
        for stage in stages {
            for &outputs in stage {
                let pixels = (side * side) as f64;
                let scheme = if inputs >= 6 { 0.25 } else { 1.0 };
                work.operations += scheme * 2.0 * 9.0 * pixels * (inputs * outputs) as f64;
                work.bytes += 4.0 * pixels * (inputs + outputs) as f64;
                inputs = outputs;
            }
            side /= 2;
        }
        work
    }
}

/// Benchmarks whose ids differ in one size, `GROUP against SIZE/…`, with their work.
#[derive(Debug, Default)]
pub struct Curve(BTreeMap<String, Work>);

impl Curve {
    /// Adds the work of a benchmark by its full id.
    pub fn point(&mut self, id: impl Into<String>, work: Work) {
        self.0.insert(id.into(), work);
    }

    /// Writes `work-TOPIC.json` into a folder: id, operations, bytes.
    ///
    /// **Errors** where the folder cannot be written.
    pub fn write(&self, folder: &Path, topic: &str) -> io::Result<()> {
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|(id, Work { operations, bytes })| {
                format!("  {id:?}: {{\"operations\": {operations:e}, \"bytes\": {bytes:e}}}")
            })
            .collect();
        std::fs::write(folder.join(format!("work-{topic}.json")), format!("{{\n{}\n}}\n", lines.join(",\n")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_two_small_layers_is_counted_by_hand() {
        // 3 to 8 channels on 4×4: 2·9·16·24 = 6912, direct; 8 to 2 channels on 2×2: 2·9·4·16 = 1152, a quarter of it.
        let work = Work::vgg_pass(&[vec![8], vec![2]], 3, 4);
        assert_eq!(work.operations, 6912.0 + 288.0);
        assert_eq!(work.bytes, 4.0 * (16.0 * 11.0 + 4.0 * 10.0));
        assert_eq!(work.times(2.0).and(work), work.times(3.0));
    }

    #[test]
    fn the_file_holds_every_point() {
        let folder = std::env::temp_dir().join(format!("benches-curve-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut curve = Curve::default();
        curve.point("a against b/1, cpu", Work { operations: 2e9, bytes: 12.0 });
        curve.write(&folder, "topic").unwrap();
        let text = std::fs::read_to_string(folder.join("work-topic.json")).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(text, "{\n  \"a against b/1, cpu\": {\"operations\": 2e9, \"bytes\": 1.2e1}\n}\n");
    }
}
