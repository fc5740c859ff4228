//! How many replicas does the clock ask for, and when are they to be started?
//!
//! Each schedule names times and a count. The last time that has passed is in force until the next one. More replicas
//! are started early, by the time the model took to start so far, so that they are ready at the time named; fewer are
//! applied at the time itself. A time missed while nobody looked is caught up: only the last one counts.

mod cron;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

pub use cron::Cron;

use crate::types::{Schedule, SchedulePoint, ScheduleStatus, StartupStatus};

/// Lead of a service that has never started, seconds.
pub const FIRST_LEAD_S: i64 = 600;
/// No start is earlier than this before its time, seconds.
const LONGEST_LEAD_S: i64 = 4 * 3600;

/// A schedule, read.
#[derive(Clone, Debug)]
pub struct Line {
    name: String,
    cron: Cron,
    zone: TimeZone,
    replicas: u32,
    ready_by: bool,
}

/// A time that a schedule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub name: String,
    pub replicas: u32,
    /// The time named.
    pub at: Timestamp,
    /// When replicas are started for it: `at`, or earlier.
    pub start_at: Timestamp,
}

impl Line {
    /// # Errors
    /// The cron line or the time zone cannot be read; says which part and what would be right.
    pub fn parse(schedule: &Schedule) -> Result<Self, String> {
        let cron = Cron::parse(&schedule.cron)?;
        let zone = match schedule.time_zone.as_deref() {
            None | Some("") => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| {
                format!(
                    "timeZone {name}: there is no such zone; an IANA name such as Europe/Zurich"
                )
            })?,
        };
        let name = match &schedule.name {
            Some(name) if !name.is_empty() => name.clone(),
            _ => schedule.cron.clone(),
        };
        Ok(Self {
            name,
            cron,
            zone,
            replicas: schedule.replicas,
            ready_by: schedule.ready_by.unwrap_or(true),
        })
    }

    fn point(&self, at: Timestamp, replicas_before: u32, lead: SignedDuration) -> Point {
        let early = self.ready_by && self.replicas > replicas_before;
        let start_at = if early {
            at.checked_sub(lead).unwrap_or(at)
        } else {
            at
        };
        Point {
            name: self.name.clone(),
            replicas: self.replicas,
            at,
            start_at,
        }
    }
}

/// What the clock says now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// To be applied now: its start has passed and it was not applied before.
    pub due: Option<Point>,
    /// What comes after it.
    pub next: Option<Point>,
}

/// Looks at every schedule. `applied` is the time named by the last point that was applied, `replicas` what the
/// service has now.
pub fn verdict(
    lines: &[Line],
    applied: Option<Timestamp>,
    replicas: u32,
    startup: Option<&StartupStatus>,
    now: Timestamp,
) -> Verdict {
    let lead = lead(startup);
    let passed = lines
        .iter()
        .filter_map(|line| Some((line, line.cron.last_at_or_before(now, &line.zone)?)))
        .max_by_key(|(_, at)| *at);
    let coming = lines
        .iter()
        .filter_map(|line| Some((line, line.cron.next_after(now, &line.zone)?)))
        .min_by_key(|(_, at)| *at);
    let passed = passed.map(|(line, at)| line.point(at, u32::MAX, lead));
    let missed = passed.filter(|point| applied.is_none_or(|applied| point.at > applied));
    let Some((line, at)) = coming else {
        return Verdict {
            due: missed,
            next: None,
        };
    };
    let already = applied.is_some_and(|applied| at <= applied);
    let before = missed.as_ref().map_or(replicas, |point| point.replicas);
    let next = line.point(at, before, lead);
    if next.start_at <= now && !already {
        // Its start has come: what was missed before it no longer matters.
        let after = lines
            .iter()
            .filter_map(|line| Some((line, line.cron.next_after(at, &line.zone)?)))
            .min_by_key(|(_, at)| *at)
            .map(|(line, later)| line.point(later, next.replicas, lead));
        return Verdict {
            due: Some(next),
            next: after,
        };
    }
    if already {
        // Started early and waiting for its time: the one after it is what comes.
        let after = lines
            .iter()
            .filter_map(|line| Some((line, line.cron.next_after(at, &line.zone)?)))
            .min_by_key(|(_, at)| *at)
            .map(|(line, later)| line.point(later, replicas, lead));
        return Verdict {
            due: None,
            next: after,
        };
    }
    Verdict {
        due: missed,
        next: Some(next),
    }
}

fn lead(startup: Option<&StartupStatus>) -> SignedDuration {
    let learned = startup
        .filter(|startup| startup.samples > 0)
        .map_or(FIRST_LEAD_S, |startup| startup.learned_seconds);
    SignedDuration::from_secs(learned.clamp(0, LONGEST_LEAD_S))
}

/// Takes one more start-up into account: a slower one counts at once, a faster one by a quarter.
pub fn learn(startup: Option<&StartupStatus>, pod: &str, seconds: i64) -> StartupStatus {
    let seconds = seconds.max(0);
    let known = startup.cloned().unwrap_or_default();
    let learned_seconds = if known.samples == 0 || seconds >= known.learned_seconds {
        seconds
    } else {
        known.learned_seconds - (known.learned_seconds - seconds) / 4
    };
    StartupStatus {
        learned_seconds,
        samples: known.samples.saturating_add(1),
        last_pod: Some(pod.to_owned()),
    }
}

impl Point {
    /// As the status holds it.
    pub fn to_status(&self) -> SchedulePoint {
        SchedulePoint {
            name: self.name.clone(),
            replicas: self.replicas,
            at: self.at.to_string(),
            start_at: self.start_at.to_string(),
        }
    }
}

/// The time named by the last point applied, as the status holds it.
pub fn applied_at(status: Option<&ScheduleStatus>) -> Option<Timestamp> {
    status?.last.as_ref()?.at.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        let line = |name: &str, cron: &str, replicas| Schedule {
            name: Some(name.to_owned()),
            cron: cron.to_owned(),
            time_zone: Some("Europe/Zurich".to_owned()),
            replicas,
            ready_by: None,
        };
        [line("night", "0 23 * * *", 1), line("day", "0 7 * * *", 5)]
            .iter()
            .map(|schedule| Line::parse(schedule).unwrap())
            .collect()
    }

    fn at(text: &str) -> Timestamp {
        format!("{text}[Europe/Zurich]")
            .parse::<jiff::Zoned>()
            .unwrap()
            .timestamp()
    }

    /// `expected`: what is due and what is next, each `name replicas` and the start.
    fn check(
        applied: Option<&str>,
        replicas: u32,
        now: &str,
        due: Option<(&str, &str)>,
        next: (&str, &str),
    ) {
        let startup = StartupStatus {
            learned_seconds: 300,
            samples: 3,
            last_pod: None,
        };
        let got = verdict(&lines(), applied.map(at), replicas, Some(&startup), at(now));
        let shown = |point: Point| (point.name, point.start_at);
        let wanted = |(name, start): (&str, &str)| (name.to_owned(), at(start));
        assert_eq!(got.due.map(shown), due.map(wanted), "due at {now}");
        assert_eq!(got.next.map(shown), Some(wanted(next)), "next at {now}");
    }

    #[test]
    fn the_night_is_caught_up_and_the_day_starts_early() {
        // Nobody looked at 23:00.
        check(
            Some("2026-03-03T07:00"),
            5,
            "2026-03-04T01:00",
            Some(("night", "2026-03-03T23:00")),
            ("day", "2026-03-04T06:55"),
        );
        check(
            Some("2026-03-03T23:00"),
            1,
            "2026-03-04T06:54",
            None,
            ("day", "2026-03-04T06:55"),
        );
        check(
            Some("2026-03-03T23:00"),
            1,
            "2026-03-04T06:55",
            Some(("day", "2026-03-04T06:55")),
            ("night", "2026-03-04T23:00"),
        );
        // Applied early: not again at its own time.
        check(
            Some("2026-03-04T07:00"),
            5,
            "2026-03-04T06:57",
            None,
            ("night", "2026-03-04T23:00"),
        );
        check(
            Some("2026-03-04T07:00"),
            5,
            "2026-03-04T07:01",
            None,
            ("night", "2026-03-04T23:00"),
        );
        // Fewer are applied at the time, not before.
        check(
            Some("2026-03-04T07:00"),
            5,
            "2026-03-04T22:59",
            None,
            ("night", "2026-03-04T23:00"),
        );
        check(
            Some("2026-03-04T07:00"),
            5,
            "2026-03-04T23:00",
            Some(("night", "2026-03-04T23:00")),
            ("day", "2026-03-05T06:55"),
        );
        // Away for days: one catch-up, the last.
        check(
            Some("2026-03-01T07:00"),
            5,
            "2026-03-04T02:00",
            Some(("night", "2026-03-03T23:00")),
            ("day", "2026-03-04T06:55"),
        );
        // Never applied before: the schedule in force.
        check(
            None,
            3,
            "2026-03-04T12:00",
            Some(("day", "2026-03-04T07:00")),
            ("night", "2026-03-04T23:00"),
        );
    }

    #[test]
    fn daylight_saving_moves_nothing() {
        // Clocks go forward on 29 March 2026 at 02:00 and back on 25 October at 03:00: 23:00 and 07:00 stay.
        check(
            Some("2026-03-28T23:00"),
            1,
            "2026-03-29T06:54",
            None,
            ("day", "2026-03-29T06:55"),
        );
        check(
            Some("2026-03-28T23:00"),
            1,
            "2026-03-29T06:55",
            Some(("day", "2026-03-29T06:55")),
            ("night", "2026-03-29T23:00"),
        );
        check(
            Some("2026-10-24T23:00"),
            1,
            "2026-10-25T06:55",
            Some(("day", "2026-10-25T06:55")),
            ("night", "2026-10-25T23:00"),
        );
    }

    #[test]
    fn a_slow_start_counts_at_once() {
        let first = learn(None, "a", 120);
        assert_eq!((first.learned_seconds, first.samples), (120, 1));
        let slower = learn(Some(&first), "b", 400);
        assert_eq!(slower.learned_seconds, 400);
        assert_eq!(learn(Some(&slower), "c", 200).learned_seconds, 350);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let schedule = |cron: &str, zone: &str| Schedule {
            cron: cron.to_owned(),
            time_zone: Some(zone.to_owned()),
            ..Schedule::default()
        };
        assert!(
            Line::parse(&schedule("0 7 * * *", "Mars/Olympus"))
                .unwrap_err()
                .contains("Mars/Olympus")
        );
        assert!(
            Line::parse(&schedule("0 7 * *", "UTC"))
                .unwrap_err()
                .contains("five")
        );
    }
}
