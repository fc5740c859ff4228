//! How far does each lane hold a chain?

use super::event::TIERS;
use super::lanes::{Lanes, NO_LANE, Tenancy};
use super::runs::{Holder, Lane, Runs};
use crate::BlockHash;

/// Working memory of a lookup, kept with the caller's result so that lookups need no allocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    /// Leading run by lane, blocks.
    pub(crate) runs: Vec<u32>,
    /// Lanes with a run.
    pub(crate) touched: Vec<Lane>,
    holders: Vec<Holder>,
    behind: Vec<u64>,
    /// Tenancies with several tiers, and how far they were followed, by tier.
    pub(crate) tiered: Vec<(Tenancy, [u32; TIERS])>,
}

impl Scratch {
    /// Zero runs for `lanes` lanes.
    pub(crate) fn reset(&mut self, lanes: usize) {
        self.runs.clear();
        self.runs.resize(lanes, 0);
        self.touched.clear();
        self.tiered.clear();
    }
}

/// Finds the leading run of every lane that holds the first of `blocks`.
///
/// One step for each run that the chain goes through, whatever its length.
pub(crate) fn leading_runs(runs: &Runs, blocks: &[BlockHash], scratch: &mut Scratch) {
    let mut at = 0;
    while at < blocks.len() {
        let Some(seen) = runs.read(&blocks[at..], &mut scratch.holders, None) else {
            return;
        };
        if !go_on(scratch, at as u32, seen.blocks as u32) {
            return;
        }
        at += seen.blocks;
    }
}

/// Lengthens the runs that reach to `at`; whether one goes on beyond.
fn go_on(scratch: &mut Scratch, at: u32, blocks: u32) -> bool {
    let mut more = false;
    for holder in &scratch.holders {
        let Some(run) = scratch.runs.get_mut(usize::from(holder.lane)) else {
            // Opened after the caller counted the lanes.
            continue;
        };
        let held = u32::from(holder.lead).min(blocks);
        if *run != at || held == 0 {
            continue;
        }
        if at == 0 {
            scratch.touched.push(holder.lane);
        }
        *run = at + held;
        more |= held == blocks;
    }
    more
}

/// As [`leading_runs`], and for tenancies with several tiers also the run over all of them, each block from the
/// nearest tier that has it.
pub(crate) fn tiered_runs(runs: &Runs, lanes: &Lanes, blocks: &[BlockHash], scratch: &mut Scratch) {
    let all = (0..scratch.runs.len()).filter_map(|lane| lanes.tenancy(lane as Lane));
    let several = all.filter(|tenancy| tenancy.lanes[1..] != [NO_LANE; TIERS - 1]);
    scratch
        .tiered
        .extend(several.map(|tenancy| (tenancy, [0; TIERS])));
    let mut at = 0;
    while at < blocks.len() {
        let (holders, behind) = (&mut scratch.holders, &mut scratch.behind);
        let Some(seen) = runs.read(&blocks[at..], holders, Some(behind)) else {
            return;
        };
        let mut more = go_on(scratch, at as u32, seen.blocks as u32);
        for (tenancy, tiers) in &mut scratch.tiered {
            if tiers.iter().sum::<u32>() == at as u32 {
                let tiered = Stretch::of(tenancy, &scratch.holders, &scratch.behind);
                more |= tiered.follow(seen.blocks, tiers);
            }
        }
        if !more {
            return;
        }
        at += seen.blocks;
    }
}

/// What one tenancy holds of one run.
struct Stretch<'a> {
    tiers: [(usize, &'a [u64]); TIERS],
}

impl<'a> Stretch<'a> {
    fn of(tenancy: &Tenancy, holders: &[Holder], mut behind: &'a [u64]) -> Self {
        let mut tiers = [(0, &[][..]); TIERS];
        for holder in holders {
            // Length first, then as many words.
            let words = behind.first().map_or(0, |words| *words as usize);
            let bits = behind.get(1..=words).unwrap_or_default();
            behind = behind.get(1 + words..).unwrap_or_default();
            if let Some(tier) = tenancy.lanes.iter().position(|lane| *lane == holder.lane) {
                tiers[tier] = (usize::from(holder.lead), bits);
            }
        }
        Self { tiers }
    }

    fn holds(&self, tier: usize, at: usize) -> bool {
        let (lead, bits) = self.tiers[tier];
        at < lead
            || bits
                .get(at / 64)
                .is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Counts the leading blocks into `tiers`; whether all `blocks` are held.
    fn follow(&self, blocks: usize, tiers: &mut [u32; TIERS]) -> bool {
        let mut at = 0;
        while at < blocks {
            let Some(tier) = (0..TIERS).find(|tier| self.holds(*tier, at)) else {
                return false;
            };
            // A whole lead of the nearest tier at once; others block by block, as a nearer one may come in.
            let to = match tier {
                0 => self.tiers[0].0.clamp(at + 1, blocks),
                _ => at + 1,
            };
            tiers[tier] += (to - at) as u32;
            at = to;
        }
        true
    }
}
