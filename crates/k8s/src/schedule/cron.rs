//! Which times does a cron line name?
//!
//! Five fields, as in crontab(5): `*`, lists, ranges, steps, names of months and days, `@daily` and its like. Day of
//! month and day of week are both restricted: either one is enough. Times are wall-clock times of a zone: one that
//! daylight saving skips fires at the moment the clocks jump to, one that comes twice fires the first time.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// Days looked through for a match: leap days come at most eight years apart.
const DAYS_SEARCHED: u32 = 366 * 8 + 2;
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A cron line, read: a bit for each value of each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is 0.
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

impl Cron {
    /// # Errors
    /// Says which field is wrong and what it may hold.
    pub fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let line = match line {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<_> = line.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!(
                "cron \"{line}\" has {} fields; five are needed: minute hour day-of-month month day-of-week",
                fields.len()
            ));
        };
        let mut weekdays = field("day of week", weekday, 0, 7, &DAYS, 0)?;
        // Sunday is 0 and 7.
        if weekdays & (1 << 7) != 0 {
            weekdays = (weekdays | 1) & 0x7f;
        }
        let cron = Self {
            minutes: field("minute", minute, 0, 59, &[], 0)?,
            hours: field("hour", hour, 0, 23, &[], 0)?,
            days: field("day of month", day, 1, 31, &[], 0)?,
            months: field("month", month, 1, 12, &MONTHS, 1)?,
            weekdays,
            any_day: day.starts_with('*') || day == "?",
            any_weekday: weekday.starts_with('*') || weekday == "?",
        };
        if cron
            .days_from(Date::constant(2024, 1, 1), 1)
            .next()
            .is_none()
        {
            return Err(format!("cron \"{line}\" names a day that never comes"));
        }
        Ok(cron)
    }

    /// The first time after `now`.
    pub fn next_after(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = Zoned::new(now, zone.clone()).date();
        // Yesterday's last times may have been moved into today.
        let from = today.yesterday().unwrap_or(today);
        self.days_from(from, 1).find_map(|date| {
            self.times(date)
                .filter_map(|time| instant(time, zone))
                .find(|at| *at > now)
        })
    }

    /// The last time that is not after `now`.
    pub fn last_at_or_before(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = Zoned::new(now, zone.clone()).date();
        let from = today.tomorrow().unwrap_or(today);
        self.days_from(from, -1).find_map(|date| {
            self.times(date)
                .filter_map(|time| instant(time, zone))
                .filter(|at| *at <= now)
                .last()
        })
    }

    /// Days that match, in order of `step` days.
    fn days_from(&self, from: Date, step: i64) -> impl Iterator<Item = Date> {
        let mut date = Some(from);
        let cron = *self;
        (0..DAYS_SEARCHED)
            .map_while(move |_| {
                let this = date?;
                date = this.checked_add(Span::new().days(step)).ok();
                Some(this)
            })
            .filter(move |date| cron.day_matches(*date))
    }

    fn day_matches(&self, date: Date) -> bool {
        let bit = |set: u64, value: i8| set & (1 << value) != 0;
        let day = bit(self.days, date.day());
        let weekday = bit(self.weekdays, date.weekday().to_sunday_zero_offset());
        let either = match (self.any_day, self.any_weekday) {
            (false, false) => day || weekday,
            _ => day && weekday,
        };
        either && bit(self.months, date.month())
    }

    /// Times of a day, in order.
    fn times(&self, date: Date) -> impl Iterator<Item = DateTime> {
        let cron = *self;
        (0..24i8)
            .filter(move |hour| cron.hours & (1 << hour) != 0)
            .flat_map(move |hour| {
                (0..60i8)
                    .filter(move |minute| cron.minutes & (1 << minute) != 0)
                    .filter_map(move |minute| {
                        Some(date.to_datetime(Time::new(hour, minute, 0, 0).ok()?))
                    })
            })
    }
}

/// The instant of a wall-clock time. A skipped one is the first instant after the gap: a job at 02:30 runs at 03:00,
/// not an hour late and not never. A repeated one is its first occurrence.
fn instant(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(time);
    match ambiguous.offset() {
        jiff::tz::AmbiguousOffset::Gap { .. } => {
            let before = ambiguous.earlier().ok()?;
            zone.following(before)
                .next()
                .map(|transition| transition.timestamp())
        }
        _ => ambiguous.earlier().ok(),
    }
}

/// One field: `*`, `5`, `1-5`, `*/15`, `1-30/2`, `mon,wed`.
fn field(
    what: &str,
    text: &str,
    min: u8,
    max: u8,
    names: &[&str],
    first: u8,
) -> Result<u64, String> {
    let wrong = |part: &str| {
        format!("cron {what} \"{part}\": {min} to {max}, with *, lists, ranges and steps")
    };
    let value = |text: &str| -> Result<u8, String> {
        let named = names
            .iter()
            .position(|name| text.eq_ignore_ascii_case(name));
        let number = match named {
            Some(place) => u8::try_from(place).ok().map(|place| place + first),
            None => text.parse().ok(),
        };
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| wrong(text))
    };
    let mut set = 0u64;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (
                range,
                step.parse::<u8>()
                    .ok()
                    .filter(|step| *step > 0)
                    .ok_or_else(|| wrong(part))?,
            ),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (min, max),
            Some((from, to)) => (value(from)?, value(to)?),
            None if part.contains('/') => (value(range)?, max),
            None => (value(range)?, value(range)?),
        };
        if from > to {
            return Err(wrong(part));
        }
        for number in (from..=to).step_by(usize::from(step)) {
            set |= 1 << number;
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse::<Zoned>().unwrap().timestamp()
    }

    fn check(line: &str, zone: &str, now: &str, expected: &str) {
        let zone_of = TimeZone::get(zone).unwrap();
        let cron = Cron::parse(line).unwrap();
        let got = cron
            .next_after(at(&format!("{now}[{zone}]")), &zone_of)
            .unwrap();
        assert_eq!(
            got.to_zoned(zone_of).to_string(),
            expected,
            "{line} after {now}"
        );
    }

    #[test]
    fn times_of_a_line() {
        check(
            "0 7 * * *",
            "UTC",
            "2026-01-01T07:00",
            "2026-01-02T07:00:00+00:00[UTC]",
        );
        check(
            "*/15 9-17 * * mon-fri",
            "UTC",
            "2026-01-02T17:50",
            "2026-01-05T09:00:00+00:00[UTC]",
        );
        check(
            "0 0 29 2 *",
            "UTC",
            "2026-01-01T00:00",
            "2028-02-29T00:00:00+00:00[UTC]",
        );
        // Day of month or day of week, when both are said.
        check(
            "0 0 13 * 5",
            "UTC",
            "2026-01-01T00:00",
            "2026-01-02T00:00:00+00:00[UTC]",
        );
        check(
            "0 0 * * 7",
            "UTC",
            "2026-01-01T00:00",
            "2026-01-04T00:00:00+00:00[UTC]",
        );
        check(
            "@monthly",
            "UTC",
            "2026-01-01T00:00",
            "2026-02-01T00:00:00+00:00[UTC]",
        );
    }

    #[test]
    fn daylight_saving() {
        // 02:30 does not exist on 29 March: the clocks jump to 03:00.
        check(
            "30 2 * * *",
            "Europe/Zurich",
            "2026-03-28T12:00",
            "2026-03-29T03:00:00+02:00[Europe/Zurich]",
        );
        check(
            "30 2 * * *",
            "Europe/Zurich",
            "2026-03-29T12:00",
            "2026-03-30T02:30:00+02:00[Europe/Zurich]",
        );
        // 02:30 comes twice on 25 October: once is enough.
        check(
            "30 2 * * *",
            "Europe/Zurich",
            "2026-10-24T12:00",
            "2026-10-25T02:30:00+02:00[Europe/Zurich]",
        );
        let zone = TimeZone::get("Europe/Zurich").unwrap();
        let first = at("2026-10-25T02:30:00+02:00[Europe/Zurich]");
        let next = Cron::parse("30 2 * * *")
            .unwrap()
            .next_after(first, &zone)
            .unwrap();
        assert_eq!(next, at("2026-10-26T02:30:00+01:00[Europe/Zurich]"));
        // A zone that jumps at midnight.
        check(
            "0 0 * * *",
            "America/Santiago",
            "2026-09-05T12:00",
            "2026-09-06T01:00:00-03:00[America/Santiago]",
        );
    }

    #[test]
    fn what_is_no_line_says_why() {
        for (line, part) in [
            ("* * * *", "five"),
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of month"),
            ("* * * 13 *", "month"),
            ("* * * * 8", "day of week"),
            ("5-1 * * * *", "minute"),
            ("*/0 * * * *", "minute"),
            ("0 0 31 2 *", "never comes"),
            ("x * * * *", "minute"),
        ] {
            assert!(Cron::parse(line).unwrap_err().contains(part), "{line}");
        }
    }

    proptest! {
        /// The last time before the next one is the one in force; both agree with a search minute by minute.
        #[test]
        fn next_and_last_agree_with_a_search(minute in 0u8..60, hour in 0u8..24, second in 1_770_000_000i64..1_800_000_000) {
            let zone = TimeZone::get("UTC").unwrap();
            let cron = Cron::parse(&format!("{minute} {hour} * * *")).unwrap();
            let now = Timestamp::from_second(second).unwrap();
            let next = cron.next_after(now, &zone).unwrap();
            let last = cron.last_at_or_before(now, &zone).unwrap();
            prop_assert_eq!(next.as_second() - last.as_second(), 86_400);
            prop_assert!(last <= now && now < next);
            prop_assert_eq!((next.as_second() / 60 % 60, next.as_second() / 3600 % 24), (i64::from(minute), i64::from(hour)));
        }
    }
}
