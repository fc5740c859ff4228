//! How does a person read what does not add up?

use super::audit::Claim;
use super::show::{Section, money};

/// The documentation's tables, recomputed.
pub(super) fn section(claims: &[Claim]) -> Section {
    let mut section = Section::new(
        "The pattern documentation's own tables, recomputed",
        &["claim", "printed there", "recomputed", "adds up"],
    );
    for claim in claims {
        let printed: Vec<String> = claim.printed.iter().copied().map(money).collect();
        let values: Vec<String> = claim
            .recomputed
            .iter()
            .map(|figure| money(figure.value))
            .collect();
        section.rows.push(vec![
            claim.what.clone(),
            printed.join(", "),
            values.join(", "),
            if claim.adds_up { "yes" } else { "no" }.to_owned(),
        ]);
        for figure in &claim.recomputed {
            section.notes.push(format!(
                "{}: {} = {}",
                claim.what,
                money(figure.value),
                figure.how
            ));
        }
        section
            .notes
            .push(format!("{}: {}", claim.what, claim.verdict));
    }
    section
}
