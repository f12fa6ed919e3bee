//! The chapters of the book whose Rust blocks are doctests, so that `cargo test --workspace` compiles and runs them.
//!
//! The chapters of the crates are the crates' READMEs, which the crates test themselves, except where one is listed here.

macro_rules! chapters {
    ($($name:ident: $path:literal),+ $(,)?) => {
        $(#[doc = include_str!($path)] pub mod $name {})+
    };
}

chapters! {
    readme: "../../README.md",
    gc_core: "../../crates/gc-core/README.md",
    concepts: "../src/concepts.md",
    conventions: "../src/conventions.md",
    extending: "../src/extending.md",
    glyphs: "../src/glyphs.md",
    pytorch: "../src/pytorch.md",
    theory: "../src/theory.md",
}
