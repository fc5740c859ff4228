//! Which names does `--compare` know?

use scheduler::PRESETS;

use crate::replay::arms::{ALONE, ALONE_SUMMARY};
use crate::replay::rule::RULES;
use crate::report::Table;

/// Presets, rules and bounds, and what each does.
pub(crate) fn list() -> String {
    let mut table = Table::new(&["name", "what it is"]).left(1);
    for preset in PRESETS {
        table.row(vec![
            preset.name.to_owned(),
            format!("preset: {}", preset.summary),
        ]);
    }
    for known in RULES {
        let shadowed = PRESETS.iter().any(|preset| preset.name == known.name);
        let name = match (known.bound, shadowed) {
            (true, _) => format!("bound:{}", known.name),
            (false, true) => format!("rule:{}", known.name),
            (false, false) => known.name.to_owned(),
        };
        table.row(vec![name, known.summary.to_owned()]);
    }
    table.row(vec![ALONE.to_owned(), ALONE_SUMMARY.to_owned()]);
    table.row(vec![
        "FILE".to_owned(),
        "an EndpointPickerConfig document".to_owned(),
    ]);
    table.row(vec![
        "exact:NAME".to_owned(),
        "that preset or document, with caches known from the engines' events".to_owned(),
    ]);
    table.render()
}
