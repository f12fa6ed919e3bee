//! The number types that the kernels compute in.

/// A number type that the kernels compute in: `f32` or `f64`.
pub trait Element: Copy + Default + Send + Sync + 'static + std::ops::Mul<Output = Self> + std::ops::AddAssign {}

impl Element for f32 {}
impl Element for f64 {}
