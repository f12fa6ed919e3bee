//! The examples of the crates' READMEs as doctests of a crate outside the workspace, which names every dependency itself.

macro_rules! readmes {
    ($($name:ident: $path:literal),+ $(,)?) => {
        $(#[doc = include_str!($path)] pub mod $name {})+
    };
}

readmes! {
    collapse: "../../../crates/collapse/README.md",
    fewshot: "../../../crates/fewshot/README.md",
    gc_core: "../../../crates/gc-core/README.md",
    ops: "../../../crates/ops/README.md",
}
