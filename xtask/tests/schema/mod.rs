//! Checks a document against the schema in the book: as much of JSON Schema as that file uses, and no more.

use serde_json::Value;

const SCHEMA: &str = include_str!("../../../docs/src/output.schema.json");

/// The keywords that the check understands.
const KNOWN: [&str; 9] =
    ["$ref", "type", "description", "properties", "required", "additionalProperties", "items", "enum", "anyOf"];

/// Fails if the document of a command does not match the schema.
pub(crate) fn check(command: &str, document: &Value) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let own = schema.pointer(&format!("/$defs/{command}")).unwrap_or_else(|| panic!("no schema for `{command}`"));
    matches(&schema, own, document, command);
}

fn matches(root: &Value, schema: &Value, value: &Value, at: &str) {
    for key in schema.as_object().unwrap().keys() {
        assert!(KNOWN.contains(&key.as_str()), "{at}: the check does not know `{key}`; teach it");
    }
    if let Some(reference) = schema.get("$ref") {
        let pointer = reference.as_str().unwrap().trim_start_matches('#');
        return matches(root, root.pointer(pointer).unwrap(), value, at);
    }
    if let Some(choices) = schema.get("anyOf") {
        // Here it is always one kind of document, or null.
        let [own, nothing] = choices.as_array().unwrap().as_slice() else { panic!("{at}: expected a kind and null") };
        assert_eq!(nothing["type"], "null", "{at}");
        if !value.is_null() {
            matches(root, own, value, at);
        }
        return;
    }
    if let Some(types) = schema.get("type") {
        let allowed: Vec<&str> = match types {
            Value::Array(types) => types.iter().map(|name| name.as_str().unwrap()).collect(),
            one => vec![one.as_str().unwrap()],
        };
        assert!(allowed.iter().any(|name| is(name, value)), "{at}: {value} is not {allowed:?}");
    }
    if let Some(choices) = schema.get("enum") {
        assert!(choices.as_array().unwrap().contains(value), "{at}: {value} is none of {choices}");
    }
    if let Value::Object(fields) = value {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            assert!(fields.contains_key(name.as_str().unwrap()), "{at}: {name} is missing");
        }
        for (name, field) in fields {
            let here = format!("{at}.{name}");
            match schema.get("properties").and_then(|properties| properties.get(name)) {
                Some(property) => matches(root, property, field, &here),
                None => match schema.get("additionalProperties") {
                    Some(Value::Bool(false)) => panic!("{here} is not in the schema"),
                    Some(others @ Value::Object(_)) => matches(root, others, field, &here),
                    _ => {}
                },
            }
        }
    }
    if let (Value::Array(elements), Some(items)) = (value, schema.get("items")) {
        for (index, element) in elements.iter().enumerate() {
            matches(root, items, element, &format!("{at}[{index}]"));
        }
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("JSON has no type `{other}`"),
    }
}
