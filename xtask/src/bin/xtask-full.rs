//! `cargo xtask` with all features, which it starts where a command needs them.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    xtask::run(&xtask::Program::workspace(), std::env::args_os().skip(1)).into()
}
