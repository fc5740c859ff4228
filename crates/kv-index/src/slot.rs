//! What small integer does an endpoint keep for its lifetime?

/// Position of an endpoint in every per-endpoint array, with a generation that tells a new tenant of the
/// same position from the old one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Slot {
    index: u16,
    generation: u16,
}

impl Slot {
    /// A slot at `index` (0..65,535), the `generation`-th endpoint to live there.
    pub const fn new(index: u16, generation: u16) -> Self {
        Self { index, generation }
    }

    /// Position in per-endpoint arrays.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// How many endpoints lived at this index before, wrapping.
    pub const fn generation(self) -> u16 {
        self.generation
    }
}
