//! The error message for an unknown name.

/// The message for a name that is none of `known`: what was given, the nearest, then all that there are.
pub(crate) fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = known.into_iter().collect();
    let near = support::nearest_names(name, all.iter().copied());
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", quoted(&near)) };
    format!("unknown {kind} `{name}`{hint}\n  known: {}", all.join(", "))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_thing_and_all_that_is_known() {
        let message = unknown("preset", "quik", ["quick", "cpu", "paper"]);
        assert!(message.starts_with("unknown preset `quik`; did you mean `quick`?"), "{message}");
        assert!(message.ends_with("known: quick, cpu, paper"), "{message}");
    }
}
