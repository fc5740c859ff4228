//! How long will it take?

use super::Args;

/// Offered rates per arm: about six to find saturation, two or three equal ones.
const TRIALS: f64 = 6.0;
const EQUAL_LOADS: f64 = 2.5;
/// Warm-up and first guess, in windows.
const BEFORE: f64 = 1.0;

/// What will run and for how long.
pub(super) fn text(args: &Args) -> String {
    let windows = TRIALS + EQUAL_LOADS + 2.0 * BEFORE;
    let real_s = args.arms.len() as f64
        * args.workload.len() as f64
        * windows
        * args.window_s
        * args.time_scale;
    let arms: Vec<String> = args.arms.iter().map(ToString::to_string).collect();
    let loads: Vec<&str> = args.workload.iter().map(|kind| kind.name()).collect();
    format!(
        "compare on simulated {}, {} blocks a replica: {} x {}\nwindows of {} simulated seconds, time scale {} or more, seed {}\nestimate: {} at that time scale, in proportion more when it is raised\n",
        args.accelerator,
        args.blocks,
        loads.join(", "),
        arms.join(", "),
        args.window_s,
        args.time_scale,
        args.seed(),
        minutes(real_s),
    )
}

/// `12 min`, `1 h 20 min`.
pub(super) fn minutes(seconds: f64) -> String {
    let minutes = (seconds / 60.0).ceil() as u64;
    if minutes < 60 {
        format!("{minutes} min")
    } else {
        format!("{} h {} min", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |seconds: f64, expected: &str| assert_eq!(minutes(seconds), expected);
        check(10.0, "1 min");
        check(120.0, "2 min");
        check(4_800.0, "1 h 20 min");
    }
}
