//! How busy is this machine?

/// Processor time in use and in all since the system started, in ticks of all cores; `None` where `/proc` does not
/// say.
pub fn busy() -> Option<(u64, u64)> {
    of_stat(&std::fs::read_to_string("/proc/stat").ok()?)
}

fn of_stat(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    // user nice system idle iowait irq softirq steal; what follows is part of user already.
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .map_while(|field| field.parse().ok())
        .collect();
    let [_, _, _, idle, waiting, ..] = ticks[..] else {
        return None;
    };
    let all: u64 = ticks.iter().sum();
    Some((all - idle - waiting, all))
}

/// Share in use between two readings.
pub fn share(before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> Option<f64> {
    let ((busy_before, all_before), (busy, all)) = (before?, after?);
    let passed = all.checked_sub(all_before).filter(|ticks| *ticks > 0)?;
    Some(busy.saturating_sub(busy_before) as f64 / passed as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let check = |text: &str, expected: Option<(u64, u64)>| {
            assert_eq!(of_stat(text), expected, "{text}");
        };
        check(
            "cpu  10 1 5 80 4 0 0 0 7 0\ncpu0 1 1 1 1 1\n",
            Some((16, 100)),
        );
        check("cpu0 1 1 1 1 1\n", None);
        check("cpu  1 2\n", None);
        assert_eq!(share(Some((10, 100)), Some((40, 200))), Some(0.3));
        assert_eq!(share(Some((10, 100)), Some((10, 100))), None);
        assert_eq!(share(None, Some((1, 2))), None);
    }
}
