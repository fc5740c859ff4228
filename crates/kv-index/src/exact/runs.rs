//! Who holds which part of a stretch of blocks?
//!
//! A run is a stretch of consecutive blocks of one chain: their hashes, and its holders. Most holders hold a run from
//! its beginning, so an entry is a lane and how many leading blocks it holds; what it holds behind a hole is in a bit
//! set beside. Runs grow at their end and lose blocks at their end; a chain that leaves a run in its middle goes on
//! in another run, found by its first hash, and the run is not divided for it. A block is in one run only.
//!
//! Everything a reader sees is in single words that are right at any moment. What it cannot see from a word is that
//! a run was cut, moved or freed while it read; those bump the run's version, and the reader begins anew.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize, fence};

use super::arena::{Arena, SPAN_WORDS_AT_MOST, capacity_words};
use super::bits::{Bits, Leftover};
use super::heads::Heads;
use crate::BlockHash;

/// Lane of a tenancy and tier: the index's own small integer.
pub(crate) type Lane = u16;
/// Number of a run.
pub(crate) type RunId = u32;

/// Blocks in a run at most.
pub(crate) const RUN_BLOCKS_AT_MOST: usize = SPAN_WORDS_AT_MOST;
/// Holders of a run at most, so lanes at most.
pub(crate) const LANES_AT_MOST: usize = SPAN_WORDS_AT_MOST;

/// Words of a run's header. The first is the arena's while the header is free, so the version is not there.
const HEADER_WORDS: usize = 4;
const HASHES: usize = 0;
const META: usize = 1;
const HOLDERS: usize = 2;
const ONLY_HOLDER: usize = 3;

const LEN_BITS: u32 = 16;
const LEN_MASK: u64 = (1 << LEN_BITS) - 1;
/// Times a reader begins anew before it takes what it could make sure of.
const READS_AT_MOST: usize = 8;

/// The memory cap was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoRoom;

/// One holder of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Holder {
    pub(crate) lane: Lane,
    /// Leading blocks held.
    pub(crate) lead: u16,
    /// What is held behind the first hole.
    pub(crate) behind: Bits,
}

impl Holder {
    fn unpack(word: u64) -> Self {
        Self {
            lane: (word >> 48) as Lane,
            lead: (word >> 32) as u16,
            behind: Bits::unpack(word as u32),
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.lane) << 48 | u64::from(self.lead) << 32 | u64::from(self.behind.pack())
    }

    fn is_empty(&self) -> bool {
        self.lead == 0 && self.behind.is_none()
    }
}

/// A span of words and how many it has room for; 0 for none.
#[derive(Clone, Copy)]
struct Span {
    at: u32,
    room: usize,
}

/// All runs. Reading is for everyone, changing for the one writer.
pub(crate) struct Runs {
    headers: Arena,
    words: Arena,
    heads: Heads,
    max_bytes: usize,
    runs: AtomicUsize,
    blocks: AtomicUsize,
}

/// What a reader found in a run.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    /// Leading blocks of the run that the chain goes through.
    pub(crate) blocks: usize,
}

impl Runs {
    pub(crate) fn new(max_bytes: usize) -> Self {
        // A little more room than may be filled, so that what is held can still be taken apart when it is full.
        let room = max_bytes + max_bytes / 8 + (2 << 20);
        Self {
            headers: Arena::new(room),
            words: Arena::new(room),
            // A run and what finds it take up some 100 bytes.
            heads: Heads::new(max_bytes / 96),
            max_bytes,
            runs: AtomicUsize::new(0),
            blocks: AtomicUsize::new(0),
        }
    }

    /// Memory allocated, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.headers.bytes() + self.words.bytes()
    }

    /// Runs, and the blocks in them.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.runs.load(Relaxed), self.blocks.load(Relaxed))
    }

    /// Follows `blocks` into the run that begins with their first: how far it goes along, with the holders appended to
    /// `holders` and what they hold behind holes to `behind` (in words, for each holder in turn) where that is asked
    /// for. `None` when no run begins there.
    ///
    /// Never waits: a run that keeps changing under it is taken for one that nobody holds.
    pub(crate) fn read(
        &self,
        blocks: &[BlockHash],
        holders: &mut Vec<Holder>,
        mut behind: Option<&mut Vec<u64>>,
    ) -> Option<Seen> {
        for _ in 0..READS_AT_MOST {
            holders.clear();
            let run = self.heads.get(&self.words, *blocks.first()?)?;
            let Some(header) = self.header_of(run) else {
                continue;
            };
            let meta = header[META].load(Acquire);
            let len = (meta & LEN_MASK) as usize;
            let span = unpack_span(header[HASHES].load(Acquire));
            let hashes = self.words.span(span.at, len);
            if hashes.is_empty() || hashes[0].load(Relaxed) != blocks[0].0 {
                continue;
            }
            self.for_holders(header, |word| holders.push(Holder::unpack(word)));
            let seen = common(hashes, blocks, holders);
            if let Some(behind) = behind.as_deref_mut() {
                behind.clear();
                for holder in holders.iter() {
                    holder.behind.copy(&self.words, behind);
                }
            }
            fence(Acquire);
            if header[META].load(Relaxed) >> LEN_BITS == meta >> LEN_BITS {
                return Some(Seen { blocks: seen });
            }
        }
        holders.clear();
        None
    }

    fn header_of(&self, run: RunId) -> Option<&[AtomicU64; HEADER_WORDS]> {
        let at = run.checked_mul(HEADER_WORDS as u32)?;
        self.headers.span(at, HEADER_WORDS).try_into().ok()
    }

    fn for_holders(&self, header: &[AtomicU64; HEADER_WORDS], mut with: impl FnMut(u64)) {
        let (count, span) = unpack_holders(header[HOLDERS].load(Acquire));
        match (count, span.room) {
            (0, _) => {}
            (_, 0) => with(header[ONLY_HOLDER].load(Acquire)),
            (count, _) => {
                let entries = self.words.span(span.at, count);
                entries.iter().for_each(|word| with(word.load(Acquire)));
            }
        }
    }
}

/// Leads that are tried before halving.
const LEADS_AT_MOST: usize = 16;

/// Length of the common beginning of two chains whose first blocks are equal; the end is tried first, then where others
/// have left the run.
#[inline]
fn common(hashes: &[AtomicU64], blocks: &[BlockHash], holders: &[Holder]) -> usize {
    let equal = |at: usize| hashes[at].load(Relaxed) == blocks[at].0;
    let most = hashes.len().min(blocks.len());
    if equal(most - 1) {
        return most;
    }
    // Equal at `low - 1`, different at `high - 1`.
    let (mut low, mut high) = (1, most);
    for holder in holders.iter().take(LEADS_AT_MOST) {
        let lead = usize::from(holder.lead);
        if lead <= low || lead >= high {
            continue;
        }
        if !equal(lead - 1) {
            high = lead;
        } else if equal(lead) {
            low = lead + 1;
        } else {
            return lead;
        }
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match equal(middle - 1) {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

fn unpack_span(word: u64) -> Span {
    Span {
        at: word as u32,
        room: (word >> 32) as usize & LEN_MASK as usize,
    }
}

fn unpack_holders(word: u64) -> (usize, Span) {
    ((word >> 48) as usize, unpack_span(word))
}

fn pack_holders(count: usize, span: Span) -> u64 {
    (count as u64) << 48 | pack_span(span)
}

fn pack_span(span: Span) -> u64 {
    (span.room as u64) << 32 | u64::from(span.at)
}

/// The writer's part.
impl Runs {
    /// Brings near what [`Self::find`] looks at first.
    #[inline]
    pub(crate) fn peek(&self, head: BlockHash) -> u64 {
        self.heads.peek(head)
    }

    /// The run that begins with `head`, if there is one.
    pub(crate) fn find(&self, head: BlockHash) -> Option<RunId> {
        let run = self.heads.get(&self.words, head)?;
        (self.hash(run, 0) == Some(head)).then_some(run)
    }

    /// Blocks of a run.
    pub(crate) fn len(&self, run: RunId) -> usize {
        let header = self.header_of(run);
        header.map_or(0, |header| (header[META].load(Relaxed) & LEN_MASK) as usize)
    }

    /// Hash of the block at `at`.
    pub(crate) fn hash(&self, run: RunId, at: usize) -> Option<BlockHash> {
        let header = self.header_of(run)?;
        let len = (header[META].load(Relaxed) & LEN_MASK) as usize;
        let span = unpack_span(header[HASHES].load(Relaxed));
        let word = self.words.span(span.at, len).get(at)?;
        Some(BlockHash(word.load(Relaxed)))
    }

    /// A run of one block, with room for `expected` blocks.
    pub(crate) fn create(&self, head: BlockHash, expected: usize) -> Result<RunId, NoRoom> {
        self.check_room()?;
        let room = capacity_words(expected.clamp(1, RUN_BLOCKS_AT_MOST));
        let at = self.headers.allocate(HEADER_WORDS).ok_or(NoRoom)?;
        let Some(hashes) = self.words.allocate(room) else {
            self.headers.free(at, HEADER_WORDS);
            return Err(NoRoom);
        };
        let run = at / HEADER_WORDS as u32;
        let header = self.header_of(run).ok_or(NoRoom)?;
        fence(Release);
        self.words.span(hashes, 1)[0].store(head.0, Relaxed);
        header[HASHES].store(pack_span(Span { at: hashes, room }), Relaxed);
        header[HOLDERS].store(0, Relaxed);
        bump(header, 1);
        if !self.heads.insert(&self.words, head, run) {
            bump(header, 0);
            fence(Release);
            self.words.free(hashes, room);
            self.headers.free(at, HEADER_WORDS);
            return Err(NoRoom);
        }
        self.runs.fetch_add(1, Relaxed);
        self.blocks.fetch_add(1, Relaxed);
        Ok(run)
    }

    /// Adds a block at the end of a run that is not full; more are `expected`.
    pub(crate) fn append(
        &self,
        run: RunId,
        block: BlockHash,
        expected: usize,
    ) -> Result<(), NoRoom> {
        let header = self.header_of(run).ok_or(NoRoom)?;
        let len = (header[META].load(Relaxed) & LEN_MASK) as usize;
        let mut span = unpack_span(header[HASHES].load(Relaxed));
        if len == span.room {
            self.check_room()?;
            let wanted = (len + expected.max(1)).max(len + len / 8);
            span = self.move_hashes(header, wanted.min(RUN_BLOCKS_AT_MOST))?;
        }
        self.words.span(span.at, len + 1)[len].store(block.0, Relaxed);
        let meta = header[META].load(Relaxed);
        header[META].store(meta + 1, Release);
        self.blocks.fetch_add(1, Relaxed);
        Ok(())
    }

    fn check_room(&self) -> Result<(), NoRoom> {
        match self.bytes() <= self.max_bytes {
            true => Ok(()),
            false => Err(NoRoom),
        }
    }

    /// Moves the hashes to a span with room for `words`.
    fn move_hashes(
        &self,
        header: &[AtomicU64; HEADER_WORDS],
        words: usize,
    ) -> Result<Span, NoRoom> {
        let room = capacity_words(words);
        let at = self.words.allocate(room).ok_or(NoRoom)?;
        let old = unpack_span(header[HASHES].load(Relaxed));
        let len = (header[META].load(Relaxed) & LEN_MASK) as usize;
        copy(self.words.span(old.at, len), self.words.span(at, len));
        let span = Span { at, room };
        header[HASHES].store(pack_span(span), Release);
        bump(header, len);
        fence(Release);
        self.words.free(old.at, old.room);
        Ok(span)
    }

    /// Whether `lane` holds the block at `at`.
    pub(crate) fn is_held(&self, run: RunId, lane: Lane, at: usize) -> bool {
        let Some((_, holder)) = self.holder(run, lane) else {
            return false;
        };
        at < usize::from(holder.lead) || holder.behind.get(&self.words, at)
    }

    /// Makes `lane` a holder of blocks `from..to`.
    pub(crate) fn hold(
        &self,
        run: RunId,
        lane: Lane,
        from: usize,
        to: usize,
    ) -> Result<(), NoRoom> {
        let found = self.holder(run, lane);
        let mut holder = found.map_or(
            Holder {
                lane,
                lead: 0,
                behind: Bits::NONE,
            },
            |(_, holder)| holder,
        );
        let mut left = Leftover::default();
        let lead = usize::from(holder.lead);
        if from > lead {
            holder.behind = holder.behind.set(&self.words, from, to, &mut left)?;
        } else if to > lead {
            let joined = holder.behind.run_from(&self.words, to);
            holder.lead = (to + joined) as u16;
            // Those before the new lead are not behind a hole any more.
            holder.behind = (holder.behind).clear(&self.words, lead, to + joined, &mut left);
        }
        match found {
            Some((place, _)) => self.store_holder(run, place, holder, left),
            None => self.add_holder(run, holder),
        }
    }

    /// `lane` no longer holds the block at `at`. Blocks that nobody holds leave the run's end, and a run that
    /// nobody holds is gone.
    pub(crate) fn release(&self, run: RunId, lane: Lane, at: usize) -> Result<(), NoRoom> {
        let Some((place, mut holder)) = self.holder(run, lane) else {
            return Ok(());
        };
        let mut left = Leftover::default();
        let lead = usize::from(holder.lead);
        if at < lead {
            if at + 1 < lead {
                holder.behind = (holder.behind).set(&self.words, at + 1, lead, &mut left)?;
            }
            holder.lead = at as u16;
        } else {
            holder.behind = (holder.behind).clear(&self.words, at, at + 1, &mut left);
        }
        if holder.is_empty() {
            self.remove_holder(run, place);
            left.free(&self.words);
        } else {
            self.store_holder(run, place, holder, left)?;
        }
        if at + 1 == self.len(run) {
            self.trim(run);
        } else if self.holders(run) == 0 {
            self.free(run);
        }
        Ok(())
    }

    /// `lane` holds nothing of the run any more.
    pub(crate) fn release_all(&self, run: RunId, lane: Lane) {
        let Some((place, holder)) = self.holder(run, lane) else {
            return;
        };
        let end = self.end_of(&holder);
        self.remove_holder(run, place);
        holder.behind.free(&self.words);
        if self.holders(run) == 0 {
            self.free(run);
        } else if end == self.len(run) {
            self.trim(run);
        }
    }

    fn holders(&self, run: RunId) -> usize {
        let header = self.header_of(run);
        header.map_or(0, |header| unpack_holders(header[HOLDERS].load(Relaxed)).0)
    }

    /// The entry of `lane`, and where it is.
    fn holder(&self, run: RunId, lane: Lane) -> Option<(usize, Holder)> {
        let header = self.header_of(run)?;
        let (mut at, mut found) = (0, None);
        self.for_holders(header, |word| {
            if (word >> 48) as Lane == lane && found.is_none() {
                found = Some((at, Holder::unpack(word)));
            }
            at += 1;
        });
        found
    }

    fn place(&self, run: RunId, place: usize) -> Option<&AtomicU64> {
        let header = self.header_of(run)?;
        let (_, span) = unpack_holders(header[HOLDERS].load(Relaxed));
        match span.room {
            0 => header.get(ONLY_HOLDER),
            _ => self.words.span(span.at, place + 1).get(place),
        }
    }

    fn store_holder(
        &self,
        run: RunId,
        place: usize,
        holder: Holder,
        left: Leftover,
    ) -> Result<(), NoRoom> {
        self.place(run, place)
            .ok_or(NoRoom)?
            .store(holder.pack(), Release);
        if !left.is_empty()
            && let Some(header) = self.header_of(run)
        {
            bump(header, self.len(run));
            fence(Release);
            left.free(&self.words);
        }
        Ok(())
    }

    fn add_holder(&self, run: RunId, holder: Holder) -> Result<(), NoRoom> {
        let header = self.header_of(run).ok_or(NoRoom)?;
        let (count, span) = unpack_holders(header[HOLDERS].load(Relaxed));
        if count == 0 && span.room == 0 {
            header[ONLY_HOLDER].store(holder.pack(), Relaxed);
            header[HOLDERS].store(pack_holders(1, span), Release);
            return Ok(());
        }
        let mut now = span;
        if count == span.room.max(1) {
            let room = capacity_words((count + 1).max(count + count / 4));
            let Some(at) = self.words.allocate(room) else {
                holder.behind.free(&self.words);
                return Err(NoRoom);
            };
            now = Span { at, room };
            let new = self.words.span(at, count);
            match span.room {
                0 => new[0].store(header[ONLY_HOLDER].load(Relaxed), Relaxed),
                _ => copy(self.words.span(span.at, count), new),
            }
        }
        self.words.span(now.at, count + 1)[count].store(holder.pack(), Relaxed);
        header[HOLDERS].store(pack_holders(count + 1, now), Release);
        if now.room != span.room && span.room > 0 {
            bump(header, (header[META].load(Relaxed) & LEN_MASK) as usize);
            fence(Release);
            self.words.free(span.at, span.room);
        }
        Ok(())
    }

    /// Takes an entry out; the last takes its place.
    fn remove_holder(&self, run: RunId, place: usize) {
        let Some(header) = self.header_of(run) else {
            return;
        };
        let (count, span) = unpack_holders(header[HOLDERS].load(Relaxed));
        if span.room > 0 {
            let entries = self.words.span(span.at, count);
            entries[place].store(entries[count - 1].load(Relaxed), Release);
        }
        header[HOLDERS].store(pack_holders(count - 1, span), Release);
        bump(header, (header[META].load(Relaxed) & LEN_MASK) as usize);
        fence(Release);
    }

    fn end_of(&self, holder: &Holder) -> usize {
        match holder.behind.end(&self.words) {
            0 => usize::from(holder.lead),
            end => end,
        }
    }

    /// Drops the blocks at the run's end that nobody holds.
    pub(crate) fn trim(&self, run: RunId) {
        let Some(header) = self.header_of(run) else {
            return;
        };
        let len = self.len(run);
        let mut end = 0;
        self.for_holders(header, |word| {
            if end < len {
                end = end.max(self.end_of(&Holder::unpack(word)));
            }
        });
        if end == 0 {
            self.free(run);
        } else if end < len {
            bump(header, end);
            fence(Release);
            self.blocks.fetch_sub(len - end, Relaxed);
            let span = unpack_span(header[HASHES].load(Relaxed));
            if end * 2 <= span.room && span.room > 4 {
                // Smaller is better, but as it is will do.
                let _ = self.move_hashes(header, end);
            }
        }
    }

    fn free(&self, run: RunId) {
        let (Some(header), Some(head)) = (self.header_of(run), self.hash(run, 0)) else {
            return;
        };
        let len = self.len(run);
        self.heads.remove(&self.words, head);
        let hashes = unpack_span(header[HASHES].load(Relaxed));
        let (_, holders) = unpack_holders(header[HOLDERS].load(Relaxed));
        header[HOLDERS].store(0, Relaxed);
        bump(header, 0);
        fence(Release);
        self.words.free(hashes.at, hashes.room);
        if holders.room > 0 {
            self.words.free(holders.at, holders.room);
        }
        self.headers.free(run * HEADER_WORDS as u32, HEADER_WORDS);
        self.runs.fetch_sub(1, Relaxed);
        self.blocks.fetch_sub(len, Relaxed);
    }
}

/// A new version, with `len` blocks.
fn bump(header: &[AtomicU64; HEADER_WORDS], len: usize) {
    let version = (header[META].load(Relaxed) >> LEN_BITS).wrapping_add(1);
    header[META].store(version << LEN_BITS | len as u64, Release);
}

fn copy(from: &[AtomicU64], to: &[AtomicU64]) {
    from.iter()
        .zip(to)
        .for_each(|(from, to)| to.store(from.load(Relaxed), Relaxed));
}
