//! Pickles as data: candle's pickle reader, with checks that a hostile file cannot exhaust memory or the stack.
//!
//! Nothing in a pickle is executed. A global (a Python class or function) becomes a name, and only the names that PyTorch's
//! state dicts contain are accepted, as with `torch.load(weights_only=True)`.

use candle_core::pickle::{Object, OpCode, Stack};

/// Modules and names of the accepted globals. None is ever called; objects that do not belong to a state dict are skipped.
const GLOBALS: [(&str, &[&str]); 18] = [
    ("collections", &["OrderedDict", "defaultdict", "Counter"]),
    ("torch._utils", &["_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state"]),
    ("torch._tensor", &["_rebuild_from_type_v2"]),
    ("torch.nn.parameter", &["Parameter", "Buffer"]),
    ("torch.serialization", &["_get_layout"]),
    ("torch.storage", &["TypedStorage", "UntypedStorage"]),
    ("argparse", &["Namespace"]),
    ("types", &["SimpleNamespace"]),
    ("pathlib", &["Path", "PosixPath", "PurePath", "PurePosixPath", "WindowsPath"]),
    ("datetime", &["date", "datetime", "timedelta"]),
    ("_codecs", &["encode"]),
    ("__builtin__", &["set", "list", "dict", "tuple", "slice", "bytearray", "complex", "frozenset", "object"]),
    ("builtins", &["set", "list", "dict", "tuple", "slice", "bytearray", "complex", "frozenset", "object"]),
    ("copyreg", &["_reconstructor"]),
    ("copy_reg", &["_reconstructor"]),
    ("numpy", &["dtype", "ndarray"]),
    ("numpy.core.multiarray", &["scalar", "_reconstruct"]),
    ("numpy._core.multiarray", &["scalar", "_reconstruct"]),
];
/// Accepted names of the module `torch` itself: storages, numbers, sizes.
const OF_TORCH: [&str; 17] = [
    "Size", "device", "float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool",
    "float", "double", "half", "long", "Tensor",
];
/// The deepest nesting of an object; state dicts are nested less than ten deep.
const DEEPEST: usize = 64;
/// The most objects that may be copied into or out of the pickle's memo; a state dict of 10,000 tensors needs a tenth of it.
const MOST_COPIES: usize = 1 << 22;

/// The object of a pickle.
///
/// # Errors
/// The reason, where the pickle is cut short, has a global that is not accepted, or was written with a newer protocol than 2.
pub(super) fn read(pickle: &[u8]) -> Result<Object, String> {
    let (mut rest, mut stack, mut copies) = (pickle, Stack::empty(), 0);
    loop {
        let Some(&code) = rest.first() else { return Err("its pickle is cut short".into()) };
        check_next(code, rest.get(1..).unwrap_or_default())?;
        let stop = stack.read(&mut rest).map_err(unreadable)?;
        copies += check_last(code, stack.stack())?;
        if copies > MOST_COPIES {
            return Err(format!("its pickle refers to more than {MOST_COPIES} objects again, as no state dict does"));
        }
        if stop {
            return stack.finalize().map_err(unreadable);
        }
    }
}

/// The start of the reader's message, which may contain a whole object and a backtrace.
fn unreadable(error: candle_core::Error) -> String {
    let message = error.to_string();
    let start: String = message.lines().next().unwrap_or_default().chars().take(160).collect();
    format!("its pickle cannot be read ({start})")
}

/// Checks the next operation before it is done: `rest` is the pickle after its code.
fn check_next(code: u8, rest: &[u8]) -> Result<(), String> {
    match OpCode::try_from(code) {
        Ok(OpCode::BinUnicode) => {
            let length = rest.get(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
            match length {
                Some(length) if length as usize <= rest.len().saturating_sub(4) => Ok(()),
                _ => Err("its pickle is cut short inside a text".into()),
            }
        }
        Ok(OpCode::Long1) if rest.first().is_none_or(|length| *length > 8) => {
            Err("its pickle has an integer of more than 64 bits".into())
        }
        Ok(OpCode::Global) => {
            let mut lines = rest.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line));
            let (module, name) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            let (module, name) = (module.trim_end_matches('\r'), name.trim_end_matches('\r'));
            if is_accepted(module, name) { Ok(()) } else { Err(unknown_global(module, name)) }
        }
        Ok(_) => Ok(()),
        Err(code) => Err(format!(
            "its pickle has the operation {code:#04x}, which protocol 2, the default of `torch.save`, does not have"
        )),
    }
}

/// What to do about a global that is not accepted.
pub(super) fn unknown_global(module: &str, name: &str) -> String {
    format!(
        "it holds an object of `{module}.{name}`, and Python code is never executed here: save the state dict alone, not the \
         whole module or checkpoint"
    )
}

fn is_accepted(module: &str, name: &str) -> bool {
    if module == "torch" {
        return name.ends_with("Storage") || OF_TORCH.contains(&name);
    }
    GLOBALS.iter().any(|(known, names)| *known == module && names.contains(&name))
}

/// Checks the object that the last operation made, before anything recurses into it; returns the number of objects it copied.
fn check_last(code: u8, stack: &[Object]) -> Result<usize, String> {
    let Some(last) = stack.last() else { return Ok(0) };
    let nested = match code {
        // Tuples, calls and persistent identifiers: small objects around those below them.
        b't' | 0x81 | 0x85..=0x87 | b'R' | b'b' | b'Q' | b'e' | b's' | b'u' | b'd' => depth(last, DEEPEST),
        // Elements are appended one at a time; the list itself was checked before.
        b'a' => match last {
            Object::List(elements) => elements.last().map_or(0, |element| depth(element, DEEPEST) + 1),
            other => depth(other, DEEPEST),
        },
        _ => 0,
    };
    if nested >= DEEPEST {
        return Err(format!("its pickle is nested {DEEPEST} deep, as no state dict is"));
    }
    // Copies into the memo and out of it.
    Ok(if matches!(code, b'q' | b'r' | b'h' | b'j') { count(last, MOST_COPIES + 1) } else { 0 })
}

fn children(object: &Object) -> Vec<&Object> {
    match object {
        Object::Tuple(elements) | Object::List(elements) => elements.iter().collect(),
        Object::Dict(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
        Object::Reduce { callable, args } | Object::Build { callable, args } => vec![callable, args],
        Object::PersistentLoad(id) => vec![id],
        _ => Vec::new(),
    }
}

/// The depth of the nesting, at most `limit`.
fn depth(object: &Object, limit: usize) -> usize {
    if limit == 0 {
        return 0;
    }
    children(object).into_iter().map(|child| depth(child, limit - 1) + 1).max().unwrap_or(0)
}

/// The number of objects, at most `limit` or a little more.
fn count(object: &Object, limit: usize) -> usize {
    let mut total = 1;
    for child in children(object) {
        if total >= limit {
            break;
        }
        total += count(child, limit - total);
    }
    total
}
