//! `geometric-collapse`: the commands of the workspace as an installed program.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let program = xtask::Program::installed("geometric-collapse");
    xtask::run(&program, std::env::args_os().skip(1)).into()
}
