//! The device and the settings of a benchmark.

use std::time::Duration;

use candle_core::Device;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, SamplingMode};
use models::{DeviceName, Error};

/// The end of the id of a benchmark on slices, which runs on the CPU only.
pub const CPU: &str = ", cpu";

/// A device with its name, with which benchmark ids end.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The device of the tensors.
    pub device: Device,
    name: DeviceName,
}

impl Chosen {
    /// The id of a benchmark on this device: its shape, then the device.
    pub fn id(&self, shape: impl std::fmt::Display) -> String {
        format!("{shape}, {}", self.name)
    }

    /// Runs `work` and waits until the device has finished, so that the time includes the work and not only its queueing.
    pub fn finished<T>(&self, work: impl FnOnce() -> T) -> T {
        let value = work();
        // A failed synchronisation means that the work failed, whose result the caller checks.
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

/// Whether `BENCH_QUICK` is set, for smaller shapes.
pub fn quick() -> bool {
    std::env::var_os("BENCH_QUICK").is_some()
}

/// Settings for repetitions of 0.1 s and more: ten samples (criterion's minimum) after one warm-up.
pub fn long_steps(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
}
