//! Where is the word kept for a block hash, in as few bytes as can be?
//!
//! Open addressing with linear probing over 16-byte cells. The size is not a power of two, so that it follows
//! the number of entries closely: the load stays between 55 % and 80 %, which bounds a cell at
//! [`CELL_BYTES_AT_MOST`] whatever happened before.

/// Bytes allocated per entry at the lowest load: 16 / 0.55, rounded up.
pub(crate) const CELL_BYTES_AT_MOST: usize = 30;

const SMALLEST_CELLS: usize = 8;

/// A map from well-spread 64-bit keys to non-zero words.
#[derive(Default)]
pub(crate) struct Table {
    /// Key and word; a zero word marks an empty cell.
    cells: Vec<(u64, u64)>,
    len: usize,
}

impl Table {
    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of all cells.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.cells.capacity() * size_of::<(u64, u64)>()
    }

    /// The word of `key`.
    pub(crate) fn get(&self, key: u64) -> Option<u64> {
        self.find(key).map(|at| self.cells[at].1)
    }

    /// What lies where `key` would be looked for first; for bringing it near.
    #[inline]
    pub(crate) fn peek(&self, key: u64) -> u64 {
        self.cells.get(self.home(key)).map_or(0, |cell| cell.0)
    }

    /// A place to change the word of `key`; it must not become zero.
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut u64> {
        self.find(key).map(|at| &mut self.cells[at].1)
    }

    /// Adds `key`, which must be absent, with a non-zero `word`.
    pub(crate) fn insert_new(&mut self, key: u64, word: u64) {
        if (self.len + 1) * 5 > self.cells.len() * 4 {
            self.resize((self.len + 1) * 5 / 3);
        }
        self.put(key, word);
        self.len += 1;
    }

    /// Removes `key` if present.
    pub(crate) fn remove(&mut self, key: u64) {
        let Some(mut hole) = self.find(key) else {
            return;
        };
        let cells = self.cells.len();
        let mut at = hole;
        loop {
            at = if at + 1 == cells { 0 } else { at + 1 };
            let (key, word) = self.cells[at];
            if word == 0 {
                break;
            }
            // An entry may move back into the hole unless that would put it before its home.
            let home = self.home(key);
            let displaced = (at + cells - home) % cells;
            if displaced >= (at + cells - hole) % cells {
                self.cells[hole] = self.cells[at];
                hole = at;
            }
        }
        self.cells[hole] = (0, 0);
        self.len -= 1;
        if cells > SMALLEST_CELLS && self.len * 20 < cells * 11 {
            self.resize(self.len * 10 / 7);
        }
    }

    /// All keys and words, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, u64)> {
        self.cells.iter().copied().filter(|(_, word)| *word != 0)
    }

    /// All words, in no order.
    pub(crate) fn words_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.cells
            .iter_mut()
            .map(|(_, word)| word)
            .filter(|word| **word != 0)
    }

    fn home(&self, key: u64) -> usize {
        ((u128::from(key) * self.cells.len() as u128) >> 64) as usize
    }

    fn find(&self, key: u64) -> Option<usize> {
        if self.cells.is_empty() {
            return None;
        }
        let mut at = self.home(key);
        loop {
            let (found, word) = self.cells[at];
            if word == 0 {
                return None;
            }
            if found == key {
                return Some(at);
            }
            at = if at + 1 == self.cells.len() {
                0
            } else {
                at + 1
            };
        }
    }

    fn put(&mut self, key: u64, word: u64) {
        let mut at = self.home(key);
        while self.cells[at].1 != 0 {
            at = if at + 1 == self.cells.len() {
                0
            } else {
                at + 1
            };
        }
        self.cells[at] = (key, word);
    }

    fn resize(&mut self, cells: usize) {
        let old = std::mem::replace(&mut self.cells, vec![(0, 0); cells.max(SMALLEST_CELLS)]);
        for (key, word) in old.into_iter().filter(|(_, word)| *word != 0) {
            self.put(key, word);
        }
    }
}
