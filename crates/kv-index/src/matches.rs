//! How many leading blocks does each slot hold?

use crate::Slot;
use crate::search::Scratch;

/// Leading-run lengths per slot index, in canonical blocks; a buffer the caller keeps between lookups.
#[derive(Debug, Default, Clone)]
pub struct Matches {
    cells: Vec<Cell>,
    pub(crate) scratch: Scratch,
}

/// Blocks matched at one slot index, and the generation they belong to.
#[derive(Debug, Default, Clone, Copy)]
struct Cell {
    generation: u16,
    blocks: u32,
}

impl Matches {
    /// Forgets all matches and makes room for slot indexes below `slots`.
    pub fn reset(&mut self, slots: usize) {
        self.cells.clear();
        self.cells.resize(slots, Cell::default());
    }

    /// Leading blocks held by `slot`; 0 for a slot the index has never seen, or another generation of it.
    pub fn blocks(&self, slot: Slot) -> u32 {
        match self.cells.get(slot.index()) {
            Some(cell) if cell.generation == slot.generation() => cell.blocks,
            _ => 0,
        }
    }

    /// Adds `blocks` to what `slot` holds (a request with several prompts sums its chains).
    ///
    /// What another generation of the slot held is replaced.
    pub fn add(&mut self, slot: Slot, blocks: u32) {
        if self.cells.len() <= slot.index() {
            self.cells.resize(slot.index() + 1, Cell::default());
        }
        let cell = &mut self.cells[slot.index()];
        if cell.generation != slot.generation() {
            *cell = Cell {
                generation: slot.generation(),
                blocks: 0,
            };
        }
        cell.blocks = cell.blocks.saturating_add(blocks);
    }
}
