//! How much of a prompt does each slot hold, and how near?

use super::Tier;
use super::event::TIERS;
use super::lookup::Scratch;
use crate::Slot;

/// Leading tokens held, by the tier they would come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TierTokens {
    /// By [`Tier::index`]. A block in several tiers counts for the nearest.
    pub by_tier: [u32; TIERS],
}

impl TierTokens {
    /// All tiers together.
    pub fn total(&self) -> u32 {
        self.by_tier.iter().sum()
    }

    /// The sum after each tier's tokens were weighed.
    pub fn credited(&self, credits: &[f32; TIERS]) -> f32 {
        let tokens = self.by_tier.iter().zip(credits);
        tokens.map(|(tokens, credit)| *tokens as f32 * credit).sum()
    }

    /// Tokens from one tier.
    pub fn of(&self, tier: Tier) -> u32 {
        self.by_tier[tier.index()]
    }

    fn is_better_than(&self, other: &Self) -> bool {
        self.total() > other.total()
    }
}

/// Matches per slot index; a buffer the caller keeps between lookups.
#[derive(Clone, Debug, Default)]
pub struct ExactMatches {
    cells: Vec<Cell>,
    pub(crate) scratch: Scratch,
    /// What one block size's lookup came to, before it is taken over.
    pub(crate) found: Vec<(Slot, TierTokens)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    generation: u16,
    /// Of the prompts before this one.
    sum: TierTokens,
    /// Of this prompt: the best over block sizes.
    best: TierTokens,
}

impl ExactMatches {
    /// Forgets all matches and makes room for slot indexes below `slots`.
    pub fn reset(&mut self, slots: usize) {
        self.cells.clear();
        self.cells.resize(slots, Cell::default());
    }

    /// Leading tokens held by `slot`, whole blocks; none for a slot the index has not heard of.
    pub fn tokens(&self, slot: Slot) -> TierTokens {
        match self.cells.get(slot.index()) {
            Some(cell) if cell.generation == slot.generation() => {
                let mut tokens = cell.sum;
                for (sum, tier) in tokens.by_tier.iter_mut().zip(cell.best.by_tier) {
                    *sum = sum.saturating_add(tier);
                }
                tokens
            }
            _ => TierTokens::default(),
        }
    }

    /// A further prompt of the same request follows: what it holds is added.
    pub(crate) fn next_prompt(&mut self) {
        for cell in &mut self.cells {
            for (sum, tier) in cell.sum.by_tier.iter_mut().zip(cell.best.by_tier) {
                *sum = sum.saturating_add(tier);
            }
            cell.best = TierTokens::default();
        }
    }

    /// Takes over what was found.
    pub(crate) fn take_found(&mut self) {
        let found = std::mem::take(&mut self.found);
        for (slot, tokens) in &found {
            self.raise(*slot, *tokens);
        }
        self.found = found;
    }

    /// Keeps the better of what is known of `slot` for this prompt.
    fn raise(&mut self, slot: Slot, tokens: TierTokens) {
        if self.cells.len() <= slot.index() {
            self.cells.resize(slot.index() + 1, Cell::default());
        }
        let cell = &mut self.cells[slot.index()];
        if cell.generation != slot.generation() {
            *cell = Cell {
                generation: slot.generation(),
                ..Cell::default()
            };
        }
        if tokens.is_better_than(&cell.best) {
            cell.best = tokens;
        }
    }
}
