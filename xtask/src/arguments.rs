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

/// Parses a count from 1 to `MAX`. Larger counts would exceed any memory before a message could be given.
///
/// # Errors
/// Text that is no whole number in this range.
pub(crate) fn up_to<const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MAX).contains(&count) => Ok(count),
        _ => Err(format!("expected a whole number from 1 to {MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{at_least_one, up_to};

    #[test]
    fn counts_have_a_ceiling() {
        assert_eq!(up_to::<10>("10"), Ok(10));
        for text in ["0", "11", "18446744073709551616", "-1", "ten"] {
            assert!(up_to::<10>(text).unwrap_err().contains("1 to 10"), "{text}");
        }
    }

    #[test]
    fn counts_start_at_one() {
        assert_eq!(at_least_one("7"), Ok(7));
        for text in ["0", "-1", "1.5", "", "many"] {
            assert!(at_least_one(text).is_err(), "{text}");
        }
    }
}
