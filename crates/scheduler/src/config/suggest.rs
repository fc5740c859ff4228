//! Which known name was probably meant?

/// The known name most like `unknown`; `None` when nothing is near.
pub fn suggest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Case and separators are the usual slips, and cost nothing here.
    let plain = |name: &str| name.to_ascii_lowercase().replace(['_', ' '], "-");
    let wanted = plain(unknown);
    known
        .into_iter()
        .map(|name| {
            (
                strsim::normalized_damerau_levenshtein(&wanted, &plain(name)),
                name,
            )
        })
        .filter(|(likeness, _)| *likeness >= 0.55)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// "; did you mean `x`?", or the whole list when nothing is near and the list is short.
pub(crate) fn hint<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(name) = suggest(unknown, known.clone()) {
        return format!("; did you mean `{name}`?");
    }
    let names: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "; none is known here".to_owned(),
        1..=16 => format!("; known: {}", names.join(", ")),
        _ => "; `prefixgate plugins` lists the known ones".to_owned(),
    }
}
