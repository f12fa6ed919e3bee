//! What can go wrong while measuring geometric complexity.

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while measuring geometric complexity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A forward-mode derivative was asked of a map that has none.
    #[error("feature map: no forward mode (jvp) is implemented; measure by rows, or implement `FeatureMap::jvp`")]
    NoForwardMode,
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
