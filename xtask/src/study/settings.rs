//! Trees of settings: overlaying one on another, and setting single keys from the command line. Unknown keys are refused.
//!
//! `settings.toml` has every setting of a run. One that a tree lacks can be set like those that it has.

use std::sync::LazyLock;

use anyhow::{Result, anyhow, bail};
use toml::{Table, Value};

/// Every setting with its default or an example.
static KNOWN: LazyLock<Table> = LazyLock::new(|| toml::from_str(include_str!("settings.toml")).unwrap_or_default());

/// Overlays `over` on `base`: tables are merged key by key, other values are replaced.
///
/// # Errors
/// A key that neither `base` nor the list of settings has, with the nearest one; `origin` is where the key was written.
pub(crate) fn overlay(base: &mut Table, over: &Table, origin: &str) -> Result<()> {
    overlay_at(base, Some(&KNOWN), over, origin, "")
}

fn overlay_at(base: &mut Table, known: Option<&Table>, over: &Table, origin: &str, path: &str) -> Result<()> {
    for (key, value) in over {
        let here = join(path, key);
        let setting = known.and_then(|known| known.get(key));
        if !base.contains_key(key) {
            let names = base.keys().chain(known.into_iter().flat_map(Table::keys));
            let mut names: Vec<String> = names.map(|name| join(path, name)).collect();
            names.sort();
            names.dedup();
            match setting {
                None => bail!("{origin}: {}", unknown(&here, &names)),
                Some(Value::Table(_)) => _ = base.insert(key.clone(), Value::Table(Table::new())),
                Some(default) => _ = base.insert(key.clone(), default.clone()),
            }
        }
        match (base.get_mut(key), value) {
            (Some(Value::Table(slot)), Value::Table(value)) => {
                overlay_at(slot, setting.and_then(Value::as_table), value, origin, &here)?;
            }
            (Some(slot), value) => *slot = value.clone(),
            (None, _) => {}
        }
    }
    Ok(())
}

/// Refuses a key in the sections of settings that is none, with the nearest ones.
pub(crate) fn check_known(tree: &Table, origin: &str) -> Result<()> {
    for (section, known) in KNOWN.iter() {
        if let (Some(Value::Table(own)), Value::Table(known)) = (tree.get(section), known) {
            check_section(own, known, section, origin)?;
        }
    }
    Ok(())
}

fn check_section(own: &Table, known: &Table, path: &str, origin: &str) -> Result<()> {
    for (key, value) in own {
        match (value, known.get(key)) {
            (_, None) => {
                let here = join(path, key);
                let names: Vec<String> = known.keys().map(|name| join(path, name)).collect();
                bail!("{origin}: {}", unknown(&here, &names));
            }
            (Value::Table(own), Some(Value::Table(known))) => check_section(own, known, &join(path, key), origin)?,
            _ => {}
        }
    }
    Ok(())
}

/// The message for an unknown key, in one line: the nearest keys beside it, or the nearest anywhere, or all beside it.
fn unknown(key: &str, known: &[String]) -> String {
    let (parent, last) = key.rsplit_once('.').unwrap_or(("", key));
    let beside: Vec<&str> = known
        .iter()
        .filter_map(|name| {
            let (own, last) = name.rsplit_once('.').unwrap_or(("", name));
            (own == parent).then_some(last)
        })
        .collect();
    let near = support::nearest_names(last, beside.iter().copied());
    let mut near: Vec<String> = near.into_iter().map(|name| join(parent, name)).collect();
    if near.is_empty() {
        near = support::nearest_names(key, known.iter().map(String::as_str)).into_iter().map(str::to_owned).collect();
    }
    let quoted = near.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    match (near.is_empty(), beside.is_empty()) {
        (false, _) => format!("unknown key `{key}`; did you mean {quoted}?"),
        (true, false) => format!("unknown key `{key}`; known beside it: {}", beside.join(", ")),
        (true, true) => format!("unknown key `{key}`; the page on experiment files in the book has all keys"),
    }
}

/// The default of a setting.
pub(crate) fn default_of(key: &str) -> Option<&'static Value> {
    find(&KNOWN, key)
}

/// Applies one `key=value` with a dotted key (`train.learning_rate`). The value is TOML, or else a bare word.
///
/// # Errors
/// A missing `=` or key, a key that is neither in the tree nor a setting, a value of another type than the replaced one.
pub(crate) fn assign(tree: &mut Table, assignment: &str) -> Result<()> {
    let (key, text) = assignment
        .split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .ok_or_else(|| anyhow!("--set {assignment}: expected key=value, such as --set train.learning_rate=0.05"))?;
    let (key, text) = (key.trim(), text.trim());
    let known = known_leaves(tree);
    let value = parse(text);
    let slot = at(tree, key).ok_or_else(|| anyhow!("--set {assignment}: {}", unknown(key, &known)))?;
    if !interchangeable(slot, &value) {
        bail!("--set {assignment}: `{key}` is {}, `{text}` is {}", described(slot), described(&value));
    }
    *slot = value;
    Ok(())
}

/// Sets the value of a dotted key.
///
/// # Errors
/// A key that is neither in the tree nor a setting.
pub(crate) fn put(tree: &mut Table, key: &str, value: &Value) -> Result<()> {
    let known = known_leaves(tree);
    let slot = at(tree, key).ok_or_else(|| anyhow!(unknown(key, &known)))?;
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

/// The same, with the settings that the tree lacks.
fn known_leaves(tree: &Table) -> Vec<String> {
    let mut names = leaves(tree);
    names.extend(leaves(&KNOWN));
    names.sort();
    names.dedup();
    names
}

/// The value of a dotted key.
pub(crate) fn find<'a>(tree: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => tree.get(key),
        Some((first, rest)) => find(tree.get(first)?.as_table()?, rest),
    }
}

/// The value of a dotted key, to be changed; a setting that the tree lacks is added with its default.
fn at<'a>(tree: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    at_known(tree, Some(&KNOWN), key)
}

fn at_known<'a>(tree: &'a mut Table, known: Option<&Table>, key: &str) -> Option<&'a mut Value> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let setting = known.and_then(|known| known.get(first));
    match rest {
        None => {
            if !tree.contains_key(first) {
                tree.insert(first.to_owned(), setting?.clone());
            }
            tree.get_mut(first)
        }
        Some(rest) => {
            if !tree.contains_key(first) {
                // Only where the rest is a setting too.
                find(setting?.as_table()?, rest)?;
                tree.insert(first.to_owned(), Value::Table(Table::new()));
            }
            at_known(tree.get_mut(first)?.as_table_mut()?, setting.and_then(Value::as_table), rest)
        }
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
    fn settings_that_a_tree_lacks_can_be_set_and_others_cannot() {
        let mut base = tree("[train]\nlearning_rate = 0.1");
        assign(&mut base, "train.schedule.kind=cosine").unwrap();
        assign(&mut base, "train.clip=1").unwrap();
        overlay(&mut base, &tree("[data.augmentation]\nflip = 'random'"), "preset `x`").unwrap();
        assert_eq!(
            base,
            tree(
                "[train]\nlearning_rate = 0.1\nclip = 1\nschedule = { kind = 'cosine' }\n[data]\naugmentation = { flip = \
                 'random' }"
            )
        );
        let message = assign(&mut base, "train.schedule.king=cosine").unwrap_err().to_string();
        assert!(message.contains("did you mean `train.schedule.kind`"), "{message}");
        let message = assign(&mut base, "train.ema=yes").unwrap_err().to_string();
        assert!(message.contains("`train.ema` is a number (0), `yes` is text"), "{message}");
        let message = overlay(&mut base, &tree("[train.schedule]\nwarmup = 1"), "preset `x`").unwrap_err().to_string();
        assert!(message.contains("did you mean `train.schedule.warmup_epochs`?"), "{message}");
        let message = check_known(&tree("[train]\nweight_decay = 1e-2"), "experiment `x`").unwrap_err().to_string();
        assert!(message.starts_with("experiment `x`: unknown key `train.weight_decay`"), "{message}");
        check_known(&KNOWN, "all").unwrap();
        assert_eq!(default_of("train.beta1"), Some(&Value::Float(0.9)));
    }

    #[test]
    fn the_book_has_every_setting() {
        let page = include_str!("../../../docs/src/experiment-files.md");
        for key in leaves(&KNOWN) {
            // Tables of one section have the rest of the key, that of the rules the whole key.
            let rest = key.split_once('.').map_or(key.as_str(), |(_, rest)| rest);
            assert!([&*key, rest].iter().any(|name| page.contains(&format!("`{name}`"))), "{key} is not in the book");
        }
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
