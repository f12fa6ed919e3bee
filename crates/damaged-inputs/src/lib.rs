#![doc = include_str!("../README.md")]

mod limited_memory;
mod mutation;
mod replay;

pub use limited_memory::{is_limited, run_in_limited_memory};
pub use mutation::{damaged, read_damaged};
pub use replay::{Reader, replay};
