//! Where do the blocks of one store event go?

use std::ops::Range;

use super::event::TIERS;
use super::index::Shared;
use super::runs::{Lane, NoRoom, RUN_BLOCKS_AT_MOST, RunId};
use super::tenant::{Entry, Holdings, Place, name_key};
use super::{Applied, ExtraKey, KvBlockEvent, Tier};
use crate::BlockHash;

/// Blocks that are hashed, and whose places are looked up, before they are entered.
const PIECE_BLOCKS: usize = 32;

/// A store event being applied.
pub(crate) struct Storing<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) holdings: &'a mut Holdings,
    pub(crate) held_blocks: &'a mut [u64; TIERS],
    pub(crate) secret: u64,
    /// Hashes of the blocks that were stored; empty before.
    pub(crate) hashes: &'a mut Vec<BlockHash>,
    pub(crate) applied: &'a mut Applied,
}

/// Consecutive blocks of one run that are to be held, told to the run in one go.
#[derive(Clone, Copy)]
struct Stretch {
    run: RunId,
    from: usize,
    to: usize,
}

/// Where an event stands.
struct Walk {
    tier: Tier,
    lane: Lane,
    /// Where the next block would follow on.
    next: Option<Place>,
    /// The block before that.
    last: Option<BlockHash>,
    stretch: Option<Stretch>,
}

impl Storing<'_> {
    /// Applies it.
    ///
    /// # Errors
    /// [`NoRoom`] when what was entered before could not be completed; then nothing the tenancy holds can be relied
    /// on. Blocks that there was no room for are only counted.
    pub(crate) fn run(mut self, event: &KvBlockEvent<'_>) -> Result<(), NoRoom> {
        let KvBlockEvent::Stored {
            block_hashes,
            parent,
            token_ids,
            block_size_tokens,
            lora,
            extra_keys,
            tier,
        } = *event
        else {
            return Ok(());
        };
        let (size, count) = (block_size_tokens as usize, block_hashes.len());
        let fits = size.checked_mul(count) == Some(token_ids.len());
        if !fits || !(extra_keys.is_empty() || extra_keys.len() == count) {
            self.applied.malformed_events += 1;
            return Ok(());
        }
        let mut walk = Walk {
            tier,
            lane: self.holdings.lanes[tier.index()],
            next: None,
            last: None,
            stretch: None,
        };
        let mut hash = self.shared.hasher.root(block_size_tokens, lora);
        if let Some(parent) = parent {
            let Some((place, found)) = self.parent(name_key(parent, self.secret)) else {
                self.applied.orphan_blocks += count as u64;
                return Ok(());
            };
            hash = found.0;
            walk.last = Some(found);
            walk.next = Some(Place {
                at: place.at + 1,
                ..place
            });
        }
        let mut at = 0;
        'event: while at < count {
            let to = (at + PIECE_BLOCKS).min(count);
            hash = self.hash_piece(event, at..to, hash);
            if self.is_full() {
                self.refuse(at, count);
                break;
            }
            for (block, name) in block_hashes.iter().enumerate().take(to).skip(at) {
                let name = name_key(*name, self.secret);
                let hash = self.hashes[block];
                if self.block(&mut walk, hash, name, count - block)? == Some(NoRoom) {
                    self.refuse(block, count);
                    break 'event;
                }
                self.applied.stored_blocks += 1;
            }
            at = to;
        }
        self.settle(&mut walk)
    }

    /// Hashes blocks `piece` of a store event, the first of which follows on `hash`, and looks at the places where they
    /// and their names would be: each alone is a wait for memory, all together hardly more than one.
    fn hash_piece(&mut self, event: &KvBlockEvent<'_>, piece: Range<usize>, mut hash: u64) -> u64 {
        let KvBlockEvent::Stored {
            block_hashes,
            token_ids,
            block_size_tokens,
            lora,
            extra_keys,
            ..
        } = *event
        else {
            return hash;
        };
        let (hasher, size) = (&self.shared.hasher, block_size_tokens as usize);
        let names = block_hashes[piece.clone()].iter();
        let looked = names.map(|name| self.holdings.names.peek(name_key(*name, self.secret)));
        let mut looked = looked.fold(0, u64::wrapping_add);
        for at in piece {
            let keys: &[ExtraKey<'_>] = extra_keys.get(at).map_or(&[], |keys| keys);
            let extra = match keys.is_empty() {
                true => 0,
                false => hasher.extra(lora, keys),
            };
            hash = hasher.block(hash, &token_ids[at * size..(at + 1) * size], extra);
            looked = looked.wrapping_add(self.shared.runs.peek(BlockHash(hash)));
            self.hashes.push(BlockHash(hash));
        }
        std::hint::black_box(looked);
        hash
    }

    /// From block `at` on there is no room.
    fn refuse(&mut self, at: usize, count: usize) {
        self.applied.refused_blocks += (count - at) as u64;
        self.hashes.truncate(at);
    }

    /// The memory cap was reached; bytes of this event's own map are counted in once it is over.
    fn is_full(&self) -> bool {
        self.shared.bytes() > self.shared.config.max_bytes
    }

    fn parent(&self, name: u64) -> Option<(Place, BlockHash)> {
        let place = Entry::of(self.holdings.names.get(name)?).place();
        Some((place, self.shared.runs.hash(place.run, place.at)?))
    }

    /// Enters one block; `Some(NoRoom)` where it could not be, and nothing has changed.
    fn block(
        &mut self,
        walk: &mut Walk,
        hash: BlockHash,
        name: u64,
        expected: usize,
    ) -> Result<Option<NoRoom>, NoRoom> {
        let known = self.holdings.names.get(name).map(Entry::of);
        let entry = known.filter(|entry| self.hash_at(entry.place()) == Some(hash));
        if let (Some(other), None) = (known, entry) {
            // The engine uses a name for something else than before.
            self.settle(walk)?;
            self.drop_name(name, other)?;
            walk.next = walk
                .next
                .filter(|next| self.hash_before(*next) == walk.last);
        }
        let found = match entry {
            Some(entry) => Ok((entry.place(), false)),
            None => self.place(walk.next, hash, expected),
        };
        let Ok((place, fresh)) = found else {
            return Ok(Some(NoRoom));
        };
        if entry.is_none_or(|entry| entry.count(walk.tier) == 0) {
            if !fresh && self.is_held(walk, place) {
                self.holdings.add_alias(place, walk.tier, self.secret);
            } else {
                if let Err(full) = self.lengthen(walk, place) {
                    self.shared.runs.trim(place.run);
                    return Err(full);
                }
                self.held_blocks[walk.tier.index()] += 1;
            }
        }
        let word = entry.unwrap_or(Entry::new(place)).stored(walk.tier).word();
        let names = &mut self.holdings.names;
        match entry.and_then(|_| names.get_mut(name)) {
            Some(place) => *place = word,
            None => names.insert_new(name, word),
        }
        walk.last = Some(hash);
        walk.next = Some(Place {
            at: place.at + 1,
            ..place
        });
        Ok(None)
    }

    /// Where the block is; entered if it is not there yet, which the second value says.
    fn place(
        &self,
        next: Option<Place>,
        hash: BlockHash,
        expected: usize,
    ) -> Result<(Place, bool), NoRoom> {
        let runs = &self.shared.runs;
        let mut end = None;
        if let Some(next) = next {
            match runs.hash(next.run, next.at) {
                Some(there) if there == hash => return Ok((next, false)),
                Some(_) => {}
                None if next.at < RUN_BLOCKS_AT_MOST => end = Some(next),
                None => {}
            }
        }
        if let Some(run) = runs.find(hash) {
            return Ok((Place { run, at: 0 }, false));
        }
        match end {
            Some(end) => {
                runs.append(end.run, hash, expected)?;
                Ok((end, true))
            }
            None => {
                let run = runs.create(hash, expected)?;
                Ok((Place { run, at: 0 }, true))
            }
        }
    }

    fn hash_at(&self, place: Place) -> Option<BlockHash> {
        self.shared.runs.hash(place.run, place.at)
    }

    fn hash_before(&self, next: Place) -> Option<BlockHash> {
        let at = next.at.checked_sub(1)?;
        self.hash_at(Place { at, ..next })
    }

    fn is_held(&self, walk: &Walk, place: Place) -> bool {
        self.shared.runs.is_held(place.run, walk.lane, place.at)
    }

    fn lengthen(&mut self, walk: &mut Walk, place: Place) -> Result<(), NoRoom> {
        if let Some(stretch) = &mut walk.stretch
            && stretch.run == place.run
            && stretch.to == place.at
        {
            stretch.to += 1;
            return Ok(());
        }
        self.settle(walk)?;
        walk.stretch = Some(Stretch {
            run: place.run,
            from: place.at,
            to: place.at + 1,
        });
        Ok(())
    }

    /// Tells the run what of it is held now.
    fn settle(&self, walk: &mut Walk) -> Result<(), NoRoom> {
        let Some(Stretch { run, from, to }) = walk.stretch.take() else {
            return Ok(());
        };
        let held = self.shared.runs.hold(run, walk.lane, from, to);
        if held.is_err() {
            self.shared.runs.trim(run);
        }
        held
    }

    /// A name that stands for something else now loses what it stood for.
    fn drop_name(&mut self, name: u64, entry: Entry) -> Result<(), NoRoom> {
        self.holdings.names.remove(name);
        for tier in Tier::ALL {
            if entry.count(tier) > 0 {
                let gone =
                    (self.holdings).release(self.shared, entry.place(), tier, self.secret)?;
                self.held_blocks[tier.index()] -= u64::from(gone);
            }
        }
        Ok(())
    }
}
