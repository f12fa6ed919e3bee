//! The nearest known names to one that is not known.

/// How alike two names must be (Jaro–Winkler, 1 is equal) before one is offered for the other.
const ALIKE: f64 = 0.7;

/// Up to three of `known`, the most alike first.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let likeness = |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase());
    let mut ranked: Vec<(f64, &str)> = known.into_iter().map(|candidate| (likeness(candidate), candidate)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    ranked.dedup_by(|a, b| a.1 == b.1);
    ranked.into_iter().filter(|(likeness, _)| *likeness >= ALIKE).take(3).map(|(_, candidate)| candidate).collect()
}

/// The message for a name that is none of `known`: what was given, the nearest, then all that there are.
pub(crate) fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = known.into_iter().collect();
    let near = nearest(name, all.iter().copied());
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
    fn a_slip_of_the_finger_finds_its_name_first() {
        assert_eq!(nearest("fig-4", ["fig1", "fig4", "gc-penalty"])[0], "fig4");
        assert_eq!(nearest("cifarfs", ["glyphs", "cifar-fs", "cifar10"])[0], "cifar-fs");
        assert!(nearest("zzz", ["fig1", "fig4"]).is_empty());
    }

    #[test]
    fn the_message_names_the_thing_and_all_that_is_known() {
        let message = unknown("preset", "quik", ["quick", "cpu", "paper"]);
        assert!(message.starts_with("unknown preset `quik`; did you mean `quick`?"), "{message}");
        assert!(message.ends_with("known: quick, cpu, paper"), "{message}");
    }
}
