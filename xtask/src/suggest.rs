//! The error message for an unknown name.

/// The message for a name that is none of `known`: what was given, the nearest, then all that there are.
pub(crate) fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = known.into_iter().collect();
    let near = support::nearest_names(name, all.iter().copied());
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", quoted(&near)) };
    format!("unknown {kind} `{name}`{hint}\n  known: {}", all.join(", "))
}

/// The message of serde about an unknown field or variant, with the nearest of those that it expects.
pub(crate) fn with_nearest(message: &str) -> String {
    // The names of measures come with their nearest ones, and with a function that users of commands do not have.
    if message.contains("did you mean") {
        return message.replace("`Measure::all()` lists", "the page on conventions lists");
    }
    let first = message.lines().next().unwrap_or_default();
    let names: Vec<&str> = first.split('`').skip(1).step_by(2).collect();
    match names.split_first() {
        Some((name, known)) if message.starts_with("unknown ") => {
            let near = support::nearest_names(name, known.iter().copied());
            let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", quoted(&near)) };
            format!("{message}{hint}")
        }
        _ => message.to_owned(),
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_serde_get_the_nearest_name() {
        let message = with_nearest("unknown variant `adamv`, expected one of `sgd`, `adam`, `adamw`");
        assert!(
            message.starts_with("unknown variant `adamv`, expected one of") && message.contains("did you mean `adam")
        );
        assert_eq!(with_nearest("invalid type `x`"), "invalid type `x`");
        let measure = assess::Measure::named("equinrom").unwrap_err().to_string();
        let message = with_nearest(&measure);
        assert!(message.matches("did you mean").count() == 1 && !message.contains("Measure::all"), "{message}");
    }

    #[test]
    fn the_message_names_the_thing_and_all_that_is_known() {
        let message = unknown("preset", "quik", ["quick", "cpu", "paper"]);
        assert!(message.starts_with("unknown preset `quik`; did you mean `quick`?"), "{message}");
        assert!(message.ends_with("known: quick, cpu, paper"), "{message}");
    }
}
