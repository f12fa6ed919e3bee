//! Trees of settings: overlaying one on another, and setting single keys from the command line. Unknown keys are refused.

use anyhow::{Result, anyhow, bail};
use toml::{Table, Value};

use crate::suggest;

/// Overlays `over` on `base`: tables are merged key by key, other values are replaced.
///
/// # Errors
/// A key that `base` does not have, with the nearest one that it has; `origin` is where the key was written.
pub(crate) fn overlay(base: &mut Table, over: &Table, origin: &str) -> Result<()> {
    overlay_at(base, over, origin, "")
}

fn overlay_at(base: &mut Table, over: &Table, origin: &str, path: &str) -> Result<()> {
    for (key, value) in over {
        let here = join(path, key);
        let known: Vec<String> = base.keys().map(|known| join(path, known)).collect();
        let Some(slot) = base.get_mut(key) else {
            bail!("{origin}: {}", suggest::unknown("key", &here, known.iter().map(String::as_str)));
        };
        match (slot, value) {
            (Value::Table(slot), Value::Table(value)) => overlay_at(slot, value, origin, &here)?,
            (slot, value) => *slot = value.clone(),
        }
    }
    Ok(())
}

/// Applies one `key=value` with a dotted key (`train.learning_rate`). The value is TOML, or else a bare word.
///
/// # Errors
/// A missing `=`, a key that is not in the tree, a value of another type than the replaced one.
pub(crate) fn assign(tree: &mut Table, assignment: &str) -> Result<()> {
    let (key, text) = assignment
        .split_once('=')
        .ok_or_else(|| anyhow!("--set {assignment}: expected key=value, such as --set train.learning_rate=0.05"))?;
    let (key, text) = (key.trim(), text.trim());
    let known = leaves(tree);
    let value = parse(text);
    let slot = at(tree, key).ok_or_else(|| {
        anyhow!("--set {assignment}: {}", suggest::unknown("key", key, known.iter().map(String::as_str)))
    })?;
    if !interchangeable(slot, &value) {
        bail!("--set {assignment}: `{key}` is {}, `{text}` is {}", described(slot), described(&value));
    }
    *slot = value;
    Ok(())
}

/// Sets the value of a dotted key.
///
/// # Errors
/// A key that is not in the tree.
pub(crate) fn put(tree: &mut Table, key: &str, value: &Value) -> Result<()> {
    let known = leaves(tree);
    let slot = at(tree, key).ok_or_else(|| anyhow!(suggest::unknown("key", key, known.iter().map(String::as_str))))?;
    *slot = value.clone();
    Ok(())
}

/// The dotted names of all values in the tree that are not tables.
pub(crate) fn leaves(tree: &Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in tree {
        match value {
            Value::Table(inner) => names.extend(leaves(inner).iter().map(|name| join(key, name))),
            _ => names.push(key.clone()),
        }
    }
    names
}

/// The value of a dotted key.
fn at<'a>(tree: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    match key.split_once('.') {
        None => tree.get_mut(key),
        Some((first, rest)) => at(tree.get_mut(first)?.as_table_mut()?, rest),
    }
}

/// The text as a TOML value, or as a string if it is none, so that words need no quotes on the command line.
fn parse(text: &str) -> Value {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn interchangeable(old: &Value, new: &Value) -> bool {
    let number = |value: &Value| value.is_integer() || value.is_float();
    old.same_type(new) || (number(old) && number(new))
}

fn described(value: &Value) -> String {
    match value {
        Value::String(text) => format!("text (`{text}`)"),
        Value::Integer(number) => format!("a whole number ({number})"),
        Value::Float(number) => format!("a number ({number})"),
        Value::Boolean(truth) => format!("true or false ({truth})"),
        Value::Array(_) => "a list ([a, b, …])".to_owned(),
        Value::Table(_) => "a table; set one of its keys".to_owned(),
        Value::Datetime(_) => "a date".to_owned(),
    }
}

/// A key whose value differs between two trees.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    key: String,
    found: Option<Value>,
    other: Option<Value>,
}

impl Difference {
    /// The difference in words, with a name for the other value: `key` is 1, expected 2.
    pub(crate) fn words(&self, name: &str) -> String {
        let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "missing".to_owned(), ToString::to_string);
        format!("`{}` is {}, {name} {}", self.key, value(&self.found), value(&self.other))
    }
}

/// The dotted keys whose values differ between two trees, in alphabetical order.
pub(crate) fn differences(found: &Table, other: &Table) -> Vec<Difference> {
    let mut differences = Vec::new();
    collect_differences("", found, other, &mut differences);
    differences
}

fn collect_differences(path: &str, found: &Table, other: &Table, differences: &mut Vec<Difference>) {
    let mut keys: Vec<&String> = found.keys().chain(other.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let here = join(path, key);
        match (found.get(key), other.get(key)) {
            (Some(Value::Table(found)), Some(Value::Table(other))) => {
                collect_differences(&here, found, other, differences);
            }
            (one, two) if one == two => {}
            (one, two) => differences.push(Difference { key: here, found: one.cloned(), other: two.cloned() }),
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn tables_merge_and_lists_are_replaced() {
        let mut base = tree("a = 1\n[t]\nx = [1, 2]\ny = 'kept'");
        overlay(&mut base, &tree("[t]\nx = [3]"), "preset").unwrap();
        assert_eq!(base, tree("a = 1\n[t]\nx = [3]\ny = 'kept'"));
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest() {
        let mut base = tree("[train]\nlearning_rate = 0.1");
        let over = overlay(&mut base, &tree("[train]\nlearning_rat = 0.2"), "preset `quick`").unwrap_err().to_string();
        assert!(over.contains("preset `quick`: unknown key `train.learning_rat`; did you mean `train.learning_rate`?"));
        let set = assign(&mut base, "train.learnin_rate=0.2").unwrap_err().to_string();
        assert!(set.contains("did you mean `train.learning_rate`?"), "{set}");
    }

    #[test]
    fn differences_have_dotted_keys_and_both_values() {
        let (one, two) = (tree("a = 1\n[t]\nx = [1]\ny = 2"), tree("b = 'c'\n[t]\nx = [1]\ny = 3"));
        let words: Vec<String> = differences(&one, &two).iter().map(|found| found.words("expected")).collect();
        assert_eq!(words, ["`a` is 1, expected missing", "`b` is missing, expected \"c\"", "`t.y` is 2, expected 3"]);
        assert!(differences(&one, &one).is_empty());
    }

    #[test]
    fn values_are_toml_or_bare_words_of_the_same_type() {
        let mut base = tree("rate = 0.1\nname = 'a'\nlist = [1]\n[t]\nx = 1");
        assign(&mut base, "rate=1").unwrap();
        assign(&mut base, "name = word").unwrap();
        assign(&mut base, "list=[1e-3, 2]").unwrap();
        assert_eq!(base, tree("rate = 1\nname = 'word'\nlist = [1e-3, 2]\n[t]\nx = 1"));
        for bad in ["rate", "rate=fast", "list=3", "t=3", "t.x.y=3"] {
            assert!(assign(&mut base, bad).is_err(), "{bad}");
        }
    }
}
