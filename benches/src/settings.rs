//! The device and the settings of a benchmark.

use std::time::Duration;

use candle_core::Device;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, SamplingMode};
use models::{DeviceName, Error};

/// The end of an id of what runs on slices, and so on the CPU only.
pub const CPU: &str = ", cpu";

/// A device with the name that ends the ids of what ran on it.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Where tensors live.
    pub device: Device,
    name: DeviceName,
}

impl Chosen {
    /// The id of a benchmark on this device: its shape, then the device.
    pub fn id(&self, shape: impl std::fmt::Display) -> String {
        format!("{shape}, {}", self.name)
    }

    /// Runs `work`, and waits until the device has done it, so that the clock stops when the work ends and not when it was
    /// queued.
    pub fn finished<T>(&self, work: impl FnOnce() -> T) -> T {
        let value = work();
        // The work itself has failed where this does, and its result is checked by whoever asked for it.
        let _ = self.device.synchronize();
        value
    }
}

/// The device that `BENCH_DEVICE` names, or the CPU.
///
/// **Errors** a name that is no device, a device that the build or the machine lacks.
pub fn device() -> Result<Chosen, Error> {
    let name: DeviceName = match std::env::var("BENCH_DEVICE") {
        Ok(name) => name.parse()?,
        Err(_) => DeviceName::Cpu,
    };
    Ok(Chosen { device: name.open()?, name })
}

/// Whether `BENCH_QUICK` asks for smaller shapes.
pub fn quick() -> bool {
    std::env::var_os("BENCH_QUICK").is_some()
}

/// For repetitions of a tenth of a second and more: ten of them (criterion's fewest), after one that does not count.
pub fn long_steps(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
}
