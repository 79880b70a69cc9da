//! Durations and times as people type and read them. The clock itself is read in `main.rs` alone.

use jiff::Timestamp;

/// What time it is; tests pin it.
pub(crate) type Clock = fn() -> Timestamp;

/// Parses `90m`, `8h`, `20s`, `1h30m` into seconds.
///
/// # Errors
/// What would be accepted.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let refused = || format!("`{text}` is not a duration such as `8h`, `90m`, `1h30m` or `20s`");
    let mut total = 0_u64;
    let mut number = String::new();
    // Units must become smaller, so that each stands once.
    let mut last = u64::MAX;
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit = match character {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(refused()),
        };
        let count: u64 = number.parse().map_err(|_| refused())?;
        if unit >= last {
            return Err(refused());
        }
        total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(refused)?;
        (last, number) = (unit, String::new());
    }
    if last == u64::MAX || !number.is_empty() { Err(refused()) } else { Ok(total) }
}

/// Parses a whole number of hours.
///
/// # Errors
/// What would be accepted.
pub(crate) fn hours(text: &str) -> Result<u32, String> {
    let whole = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| whole);
    number.ok_or_else(|| format!("`{text}` is not a whole number of hours; `--for 90m` takes parts of one"))
}

/// Parses a moment as this program shows it to programs.
///
/// # Errors
/// What would be accepted.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_: jiff::Error| format!("`{text}` is not a moment such as `2026-01-31T17:00:00Z`"))
}

/// A time of day in UTC, to the second.
pub(crate) fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time, and how far away it is.
pub(crate) fn with_distance(time: Timestamp, now: Timestamp) -> String {
    let seconds = time.as_second() - now.as_second();
    match seconds {
        0.. => format!("{} (in {})", shown(time), rough(seconds.unsigned_abs())),
        _ => format!("{} ({} ago)", shown(time), rough(seconds.unsigned_abs())),
    }
}

/// Seconds in the two largest units that say something.
pub(crate) fn rough(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) if minutes < 5 => format!("{minutes}m{seconds}s"),
        (0, minutes, _) => format!("{minutes}m"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_type_them() {
        for (text, expected) in [
            ("20s", 20),
            ("90m", 5400),
            ("8h", 28_800),
            ("1h30m", 5400),
            ("1h0m5s", 3605),
            ("0s", 0),
            ("36h", 129_600),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "8",
            "h",
            "1.5h",
            "-1h",
            "1h 30m",
            "30m1h",
            "1h1h",
            "1d",
            "８h",
            "1h30",
            "99999999999999999999h",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(seconds("5124095576030432h").is_err(), "overflow");
    }

    #[test]
    fn hours_are_whole_and_moments_complete_and_the_refusal_says_so() {
        assert_eq!((hours("8"), hours("0")), (Ok(8), Ok(0)));
        for text in ["", "-1", "+1", "1.5", "1e9", "99999999999"] {
            assert!(hours(text).unwrap_err().contains("is not a whole number of hours"), "{text}");
        }
        assert_eq!(moment("2026-01-31T17:00:00Z").unwrap().to_string(), "2026-01-31T17:00:00Z");
        for text in ["", "tomorrow", "2026-01-31"] {
            assert!(moment(text).unwrap_err().contains("is not a moment such as"), "{text}");
        }
    }

    #[test]
    fn distances_are_rough() {
        assert_eq!(
            [0, 59, 60, 61, 299, 3599, 3600, 28_799, 129_600].map(rough),
            ["0s", "59s", "1m", "1m1s", "4m59s", "59m", "1h", "7h59m", "36h"]
        );
    }
}
