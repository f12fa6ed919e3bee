//! The levels of a sweep: their names, their numbers where they have an order, and the keys that each sets.

use anyhow::{Result, bail};
use toml::{Table, Value};

use super::plan::{Sweep, number};

/// The key of a level's table with its name.
const NAME: &str = "name";

/// The key of a level's table with its number, by which levels of several keys have an order.
const NUMBER: &str = "value";

impl Sweep {
    /// The numbers of the levels that have one: all of an ordered sweep.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        let of = |value: &Value| number(value.as_table().map_or(Some(value), |table| table.get(NUMBER))?);
        self.values.iter().filter_map(of).collect()
    }

    /// Whether every level is a number, so that a metric can rise or fall with it. Otherwise the levels are categories.
    pub(crate) fn is_ordered(&self) -> bool {
        self.numbers().len() == self.values.len()
    }

    /// The names of the levels: as given, or else their number, or else their values.
    pub(crate) fn names(&self) -> Vec<String> {
        self.values.iter().map(name).collect()
    }

    /// The index of the level of this name; numbers are compared as numbers.
    pub(crate) fn level(&self, wanted: &Value) -> Option<usize> {
        if let (Some(wanted), true) = (number(wanted), self.is_ordered()) {
            return self.numbers().iter().position(|own| *own == wanted);
        }
        let wanted = plain(wanted);
        self.names().iter().position(|own| *own == wanted)
    }

    /// The keys that a level sets, with their values.
    ///
    /// # Errors
    /// A level that is no table in a sweep without a key.
    pub(crate) fn assignments(&self, value: &Value) -> Result<Vec<(String, Value)>> {
        let mut found = Vec::new();
        match (&self.key, value) {
            (Some(key), Value::Table(table)) => collect(key, table, &mut found),
            (Some(key), value) => found.push((key.clone(), value.clone())),
            (None, Value::Table(table)) => collect("", table, &mut found),
            (None, value) => bail!(
                "without a `key` every value is a table of keys, such as {{ name = \"AdamW\", train.optimizer = \"adamw\" }}; got \
                 {value}"
            ),
        }
        Ok(found)
    }

    /// The keys that the levels set, each once.
    pub(crate) fn keys(&self) -> Vec<String> {
        let set = self.values.iter().filter_map(|value| self.assignments(value).ok()).flatten();
        let mut keys: Vec<String> = set.map(|(key, _)| key).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// The key whose number is the level, of an ordered sweep of a single key.
    pub(crate) fn number_key(&self) -> Option<&str> {
        let alone = self.values.iter().all(|value| number(value).is_some());
        self.key.as_deref().filter(|_| alone)
    }
}

fn name(value: &Value) -> String {
    let Value::Table(table) = value else { return plain(value) };
    match table.get(NAME).or_else(|| table.get(NUMBER)) {
        Some(name) => plain(name),
        None => {
            let mut set = Vec::new();
            collect("", table, &mut set);
            set.iter().map(|(_, value)| plain(value)).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A value without quotation marks.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The leaves of a level's table with their dotted keys. Its own name and number are no settings.
fn collect(path: &str, table: &Table, found: &mut Vec<(String, Value)>) {
    for (key, value) in table.iter().filter(|(key, _)| *key != NAME && *key != NUMBER) {
        let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => collect(&here, inner, found),
            value => found.push((here, value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(text: &str) -> Sweep {
        toml::from_str(&format!("label = 'x'\n{text}")).unwrap()
    }

    fn set(sweep: &Sweep, index: usize) -> Vec<(String, String)> {
        let found = sweep.assignments(&sweep.values[index]).unwrap();
        found.into_iter().map(|(key, value)| (key, plain(&value))).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn levels_are_numbers_names_or_tables_of_keys() {
        let rates = sweep("key = 'train.learning_rate'\nvalues = [0.01, 1]");
        assert_eq!(
            (rates.numbers(), rates.is_ordered(), rates.number_key()),
            (vec![0.01, 1.0], true, Some("train.learning_rate"))
        );
        assert_eq!((rates.level(&Value::Float(1.0)), rates.level(&Value::Integer(1))), (Some(1), Some(1)));
        let norms = sweep("key = 'model.batch_norm'\nvalues = [true, false]");
        assert_eq!((norms.names(), norms.is_ordered()), (vec!["true".to_owned(), "false".to_owned()], false));
        assert_eq!(norms.level(&Value::Boolean(false)), Some(1));
        let many = sweep(
            "values = [{ name = 'SGD', train.optimizer = 'sgd', train.learning_rate = 0.1 }, { 'train.optimizer' = 'adamw' }]",
        );
        assert_eq!(many.names(), ["SGD", "adamw"]);
        assert_eq!(set(&many, 0), pairs(&[("train.learning_rate", "0.1"), ("train.optimizer", "sgd")]));
        assert_eq!(set(&many, 1), pairs(&[("train.optimizer", "adamw")]));
        assert_eq!((many.keys().len(), many.level(&Value::String("adamw".to_owned()))), (2, Some(1)));
        assert_eq!((many.number_key(), many.level(&Value::String("sgd".to_owned()))), (None, None));
        let sizes =
            sweep("values = [{ value = 10, data.train_images_per_class = 10, train.epochs = 4.0 }, { value = 20 }]");
        assert_eq!((sizes.numbers(), sizes.is_ordered(), sizes.number_key()), (vec![10.0, 20.0], true, None));
        assert_eq!(set(&sizes, 0), pairs(&[("data.train_images_per_class", "10"), ("train.epochs", "4.0")]));
        let schedules =
            sweep("key = 'train.schedule'\nvalues = [{ kind = 'constant' }, { kind = 'cosine', warmup_epochs = 0.5 }]");
        assert_eq!(schedules.names(), ["constant", "cosine, 0.5"]);
        assert_eq!(set(&schedules, 0), pairs(&[("train.schedule.kind", "constant")]));
        let without = sweep("values = [1, 2]");
        assert!(without.assignments(&without.values[0]).unwrap_err().to_string().contains("without a `key`"));
    }
}
