//! How are figures from outside made safe to compute with?
//!
//! Scrapes and headers can hold anything; a score must be in 0..=1 and never NaN. Loops run over whole
//! columns in lanes so that the compiler can use vector instructions.

const LANES: usize = 8;

/// Into 0..=1; NaN reads as 0.
pub(crate) fn unit(x: f32) -> f32 {
    if x > 0.0 { x.min(1.0) } else { 0.0 }
}

/// A load or a count: never negative, NaN reads as 0, infinity as a huge finite figure.
pub(crate) fn load(x: f32) -> f32 {
    // Small enough that sums and differences of two stay finite.
    const HUGE: f32 = 1e30;
    if x > 0.0 { x.min(HUGE) } else { 0.0 }
}

/// Smallest and largest load among kept rows; (infinity, 0) when none is kept.
pub(crate) fn kept_range(values: &[f32], keep: &[bool]) -> (f32, f32) {
    let (value_chunks, value_rest) = values.as_chunks::<LANES>();
    let (keep_chunks, keep_rest) = keep.as_chunks::<LANES>();
    let mut low = [f32::INFINITY; LANES];
    let mut high = [0.0_f32; LANES];
    for (value, kept) in value_chunks.iter().zip(keep_chunks) {
        for lane in 0..LANES {
            let x = load(value[lane]);
            let for_low = if kept[lane] { x } else { f32::INFINITY };
            let for_high = if kept[lane] { x } else { 0.0 };
            low[lane] = if for_low < low[lane] {
                for_low
            } else {
                low[lane]
            };
            high[lane] = if for_high > high[lane] {
                for_high
            } else {
                high[lane]
            };
        }
    }
    let mut range = (f32::INFINITY, 0.0_f32);
    for lane in 0..LANES {
        range = (range.0.min(low[lane]), range.1.max(high[lane]));
    }
    for (value, _) in value_rest.iter().zip(keep_rest).filter(|(_, kept)| **kept) {
        range = (range.0.min(load(*value)), range.1.max(load(*value)));
    }
    range
}

/// A well-mixed 64-bit number from another one, so that a seed and a row give a chance of their own.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_figures_become_plain_ones() {
        let check =
            |x: f32, as_unit: f32, as_load: f32| assert_eq!((unit(x), load(x)), (as_unit, as_load));
        check(f32::NAN, 0.0, 0.0);
        check(-3.0, 0.0, 0.0);
        check(0.25, 0.25, 0.25);
        check(7.0, 1.0, 7.0);
        check(f32::INFINITY, 1.0, 1e30);
    }

    #[test]
    fn range_looks_at_kept_rows_only() {
        let values: Vec<f32> = (0..21).map(|i| i as f32).collect();
        let mut keep = vec![true; 21];
        assert_eq!(kept_range(&values, &keep), (0.0, 20.0));
        keep[0] = false;
        keep[20] = false;
        keep[1] = false;
        assert_eq!(kept_range(&values, &keep), (2.0, 19.0));
        assert_eq!(kept_range(&values, &[false; 21]), (f32::INFINITY, 0.0));
    }
}
