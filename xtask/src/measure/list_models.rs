//! `measure --list-models`: the architectures that have a name.

use models::Architecture;

use crate::output::say;

/// Prints each name with its family and the shape of its inputs, which the data replace.
pub(super) fn list() {
    for name in Architecture::names() {
        let Ok(architecture) = Architecture::named(name) else { continue };
        let shape: Vec<String> = architecture.input_shape().iter().map(usize::to_string).collect();
        say!("{name:<28} {:<14} {}", architecture.family_name(), shape.join("×"));
    }
    say!();
    say!("The input size follows the data and the classes follow the weights. Other sizes");
    say!("of these families: --arch FILE.toml. Any other network: --onnx FILE.");
}
