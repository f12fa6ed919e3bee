//! Class lists for transfer: source, validation and target classes.

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Disjoint lists of class names for transfer: source classes, validation classes, target classes.
///
/// **Conventions** the order of a list is the order of the labels after
/// [`subset_class_names`](crate::LabelledImages::subset_class_names).
///
/// ```
/// let split = datasets::ClassSplit::new(["cat", "dog"], ["cow"], ["owl"])?;
/// assert_eq!(split.train(), ["cat", "dog"]);
/// assert!(datasets::ClassSplit::new(["cat"], ["cow"], ["cat"]).is_err());
/// # datasets::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSplit {
    train: Vec<String>,
    validation: Vec<String>,
    test: Vec<String>,
}

impl ClassSplit {
    /// The split with these lists, which must share no class.
    ///
    /// **Errors** [`Error::SplitOverlap`] if a class is in two lists or twice in one.
    pub fn new(
        train: impl IntoIterator<Item = impl Into<String>>,
        validation: impl IntoIterator<Item = impl Into<String>>,
        test: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        let split = Self {
            train: train.into_iter().map(Into::into).collect(),
            validation: validation.into_iter().map(Into::into).collect(),
            test: test.into_iter().map(Into::into).collect(),
        };
        split.check_disjoint()?;
        Ok(split)
    }

    /// The source classes: those of pre-training.
    pub fn train(&self) -> &[String] {
        &self.train
    }

    /// The validation classes.
    pub fn validation(&self) -> &[String] {
        &self.validation
    }

    /// The target classes: those of testing, new to the pre-trained network.
    pub fn test(&self) -> &[String] {
        &self.test
    }

    /// The number of classes in all lists.
    pub fn len(&self) -> usize {
        self.train.len() + self.validation.len() + self.test.len()
    }

    /// Whether there is no class at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The SHA-256 of the lists, as hexadecimal digits.
    ///
    /// **Definition** the hashed text has, for each of `train`, `validation`, `test`: that word and a line feed, then each
    /// class name and a line feed.
    pub fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for (part, classes) in self.parts() {
            hash.update(part);
            hash.update("\n");
            for class in classes {
                hash.update(class);
                hash.update("\n");
            }
        }
        support::hexadecimal(&hash.finalize())
    }

    /// The same lists without the classes that are not among `classes`.
    pub fn restricted_to<S: AsRef<str>>(&self, classes: &[S]) -> Self {
        let kept: std::collections::HashSet<&str> = classes.iter().map(AsRef::as_ref).collect();
        let keep = |list: &[String]| list.iter().filter(|class| kept.contains(class.as_str())).cloned().collect();
        Self { train: keep(&self.train), validation: keep(&self.validation), test: keep(&self.test) }
    }

    fn parts(&self) -> [(&'static str, &[String]); 3] {
        [("train", &self.train), ("validation", &self.validation), ("test", &self.test)]
    }

    fn check_disjoint(&self) -> Result<()> {
        let mut seen = std::collections::HashMap::new();
        for (second, classes) in self.parts() {
            for class in classes {
                if let Some(first) = seen.insert(class, second) {
                    return Err(Error::SplitOverlap { class: class.clone(), first, second });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_class_is_named_with_its_parts() {
        let shared = ClassSplit::new(["a", "b"], ["c"], ["d", "b"]);
        let expected = ("b", "train", "test");
        assert!(matches!(shared, Err(Error::SplitOverlap { class, first, second })
            if (class.as_str(), first, second) == expected));
        assert!(matches!(ClassSplit::new(["a", "a"], ["c"], ["d"]), Err(Error::SplitOverlap { .. })));
    }

    #[test]
    fn a_restricted_split_keeps_parts_and_order() {
        let split = ClassSplit::new(["a", "b", "e"], ["c"], ["d"]).unwrap();
        assert_eq!(split.restricted_to(&["e", "d", "a"]), ClassSplit::new(["a", "e"], [""; 0], ["d"]).unwrap());
    }

    #[test]
    fn the_checksum_depends_on_order_and_part() {
        let split = ClassSplit::new(["a", "b"], ["c"], ["d"]).unwrap();
        assert_ne!(split.checksum(), ClassSplit::new(["b", "a"], ["c"], ["d"]).unwrap().checksum());
        assert_ne!(split.checksum(), ClassSplit::new(["a"], ["b", "c"], ["d"]).unwrap().checksum());
        // printf 'train\na\nb\nvalidation\nc\ntest\nd\n' | sha256sum
        assert_eq!(split.checksum(), "1beee44049b9164366aa71aecdefdbc87614e0e9df74a85a9b6edb389c4f1c1f");
    }
}
