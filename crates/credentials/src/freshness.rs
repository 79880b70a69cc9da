//! What to do with cached credentials, by the time alone. Pure.

use jiff::Timestamp;

/// From when on credentials are renewed: before botocore asks (15 minutes) and well before it insists (10 minutes).
pub const RENEW_SECONDS: i64 = 20 * 60;
/// The least that STS gives.
pub const LEAST_SECONDS: i64 = 900;
/// The most that STS gives for a role to a long-term key.
const MOST_SECONDS: i64 = 43_200;
/// The most that STS gives for a role to temporary credentials ("role chaining").
const MOST_CHAINED_SECONDS: i64 = 3_600;

/// How cached credentials stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Good, and nothing is to be done: far from their end, or the session ends no later than they do.
    Fresh,
    /// Still good, and later ones can be had.
    Due,
    /// No longer good; later ones can be had.
    Expired,
    /// The session has ended.
    Over,
}

impl Freshness {
    /// At `now`, of credentials that AWS takes until `expires_at`, in a session that ends at `session_ends_at`.
    pub fn of(now: Timestamp, expires_at: Timestamp, session_ends_at: Timestamp) -> Self {
        if now >= session_ends_at {
            Self::Over
        } else if now >= expires_at {
            Self::Expired
        } else if expires_at.as_second() < session_ends_at.as_second()
            && expires_at.as_second() - now.as_second() <= RENEW_SECONDS
        {
            Self::Due
        } else {
            Self::Fresh
        }
    }

    /// Whether AWS still takes the credentials.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Fresh | Self::Due)
    }
}

/// `DurationSeconds` for `AssumeRole`: `max(900, min(what remains of the session, the caps))`. The date deny in the role ends a
/// shorter window. `maximum` is the role's own; `chained` says that the key in use is a temporary one.
pub fn duration_seconds(remaining: i64, maximum: u32, chained: bool) -> i32 {
    let cap = i64::from(maximum).min(if chained { MOST_CHAINED_SECONDS } else { MOST_SECONDS });
    i32::try_from(remaining.min(cap).max(LEAST_SECONDS)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn credentials_are_renewed_in_time_and_only_where_the_window_gives_more() {
        for (now, expires, ends, expected) in [
            (0, 3_600, 28_800, Freshness::Fresh),
            (2_399, 3_600, 28_800, Freshness::Fresh),
            (2_400, 3_600, 28_800, Freshness::Due),
            (3_599, 3_600, 28_800, Freshness::Due),
            (3_600, 3_600, 28_800, Freshness::Expired),
            // The last ones of a session: nothing later can be had, and so nothing is asked for, to the last second.
            (2_400, 3_600, 3_600, Freshness::Fresh),
            (3_599, 3_600, 3_600, Freshness::Fresh),
            (3_599, 4_000, 3_600, Freshness::Fresh),
            (3_600, 4_000, 3_600, Freshness::Over),
            (3_600, 3_600, 3_600, Freshness::Over),
            // One second more is more.
            (3_000, 3_600, 3_601, Freshness::Due),
        ] {
            assert_eq!(Freshness::of(at(now), at(expires), at(ends)), expected, "{now} {expires} {ends}");
        }
    }

    #[test]
    fn durations_fit_the_window_and_the_caps() {
        for (remaining, maximum, chained, expected) in [
            (28_800, 28_800, false, 28_800),
            (28_795, 28_800, false, 28_795),
            (20, 3_600, false, 900),
            (-5, 3_600, false, 900),
            (129_600, 43_200, false, 43_200),
            (129_600, 129_600, false, 43_200),
            (28_800, 28_800, true, 3_600),
            (1_800, 28_800, true, 1_800),
            (7_200, 3_600, false, 3_600),
        ] {
            assert_eq!(
                duration_seconds(remaining, maximum, chained),
                expected,
                "{remaining} {maximum} {chained}"
            );
        }
    }
}
