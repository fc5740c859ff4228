//! At which depths of a prompt is its prefix remembered?
//!
//! At every block of the first [`FINE_BLOCKS`], and from there on at [`MARKS_PER_OCTAVE`] evenly spaced depths of
//! each doubling; also at the prompt's end. A match thus falls short by at most one part in [`MARKS_PER_OCTAVE`]
//! of what it finds, and what a prompt costs to remember grows with the logarithm of its length, not with it.

/// Blocks at the beginning that are all marks.
pub(crate) const FINE_BLOCKS: usize = 128;

/// Marks between one depth and twice as deep, beyond the fine ones.
pub(crate) const MARKS_PER_OCTAVE: usize = 64;

/// Blocks between two marks of the first octave beyond the fine ones.
const FIRST_STRIDE: usize = FINE_BLOCKS / MARKS_PER_OCTAVE;

/// Blocks that the first `marks` marks cover.
pub(crate) fn covered_blocks(marks: usize) -> usize {
    let Some(beyond) = marks.checked_sub(FINE_BLOCKS) else {
        return marks;
    };
    let (octave, step) = (beyond / MARKS_PER_OCTAVE, beyond % MARKS_PER_OCTAVE);
    (FINE_BLOCKS + step * FIRST_STRIDE) << octave
}

/// Marks at `blocks` or before.
pub(crate) fn marks_within(blocks: usize) -> usize {
    if blocks <= FINE_BLOCKS {
        return blocks;
    }
    let octave = (blocks / FINE_BLOCKS).ilog2() as usize;
    let step = (blocks - (FINE_BLOCKS << octave)) / (FIRST_STRIDE << octave);
    FINE_BLOCKS + octave * MARKS_PER_OCTAVE + step
}

/// Blocks between mark number `at`, from 0, and the one before; for a mark at a prompt's end, at least those.
pub(crate) fn weight_blocks(at: usize) -> u32 {
    (covered_blocks(at + 1) - covered_blocks(at)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_where_they_are_said_to_be() {
        let is_mark = |depth: usize| {
            depth <= FINE_BLOCKS || depth.is_multiple_of(depth.next_power_of_two() / 2 / 64)
        };
        let mut marks = 0;
        for depth in 1..20_000_usize {
            // At a power of two the next stride begins, and the last one ends.
            if is_mark(depth) || depth.is_power_of_two() {
                marks += 1;
                assert_eq!(covered_blocks(marks), depth);
                assert_eq!(
                    weight_blocks(marks - 1) as usize,
                    depth - covered_blocks(marks - 1)
                );
            }
            assert_eq!(marks_within(depth), marks, "at {depth}");
        }
        assert_eq!((covered_blocks(0), marks_within(0)), (0, 0));
    }
}
