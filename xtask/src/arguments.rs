//! Parsers of command-line values that several commands share.

/// Parses a count of at least one.
///
/// # Errors
/// Text that is no whole number, and 0.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number from 1".to_owned()),
        Ok(count) => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::at_least_one;

    #[test]
    fn counts_start_at_one() {
        assert_eq!(at_least_one("7"), Ok(7));
        for text in ["0", "-1", "1.5", "", "many"] {
            assert!(at_least_one(text).is_err(), "{text}");
        }
    }
}
