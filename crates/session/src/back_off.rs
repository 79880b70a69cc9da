//! How a sweep goes on when AWS asks to slow down: it pauses before the next item, longer each time, and stops when that does not help.
//! IAM's limits are the account's, so who goes on asking takes from everybody, people with an emergency among them. Pure: the sweep acts.
//!
//! Without jitter: one sweep runs at a time, and what else writes to IAM waits by the workflow's `Retry`, which has it.

use std::time::Duration;

/// The first pause. The SDK has tried a call three times, within seconds, before it counts as throttled here.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// After so many items in a row, half a minute, the rest is left to the next sweep: the limits of AWS's calls fill up again within seconds.
const MOST_IN_A_ROW: u32 = 5;

/// How the next item is to be taken up.
#[must_use = "who was asked to slow down must"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    Go,
    /// After so long.
    Pause(Duration),
    /// Not at all: the next sweep goes on.
    Stop,
}

/// What AWS has said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackOff {
    in_a_row: u32,
    rested: bool,
}

impl BackOff {
    /// AWS asked to slow down.
    pub fn throttled(&mut self) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.rested = false;
    }

    /// An item was done. What fails for another reason says nothing about the pace.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// How to go on, with so much time left. One pause follows one throttling.
    pub fn next(&mut self, left: Duration) -> Pace {
        if self.in_a_row >= MOST_IN_A_ROW {
            return Pace::Stop;
        }
        if self.in_a_row == 0 || self.rested {
            return Pace::Go;
        }
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.in_a_row.saturating_sub(1)));
        if pause >= left {
            return Pace::Stop;
        }
        self.rested = true;
        Pace::Pause(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUCH: Duration = Duration::from_secs(180);

    fn seconds(pace: Pace) -> Option<u64> {
        match pace {
            Pace::Pause(pause) => Some(pause.as_secs()),
            Pace::Go | Pace::Stop => None,
        }
    }

    #[test]
    fn pauses_grow_until_it_stops_and_stays_stopped() {
        let mut back_off = BackOff::default();
        assert_eq!(back_off.next(MUCH), Pace::Go);
        let mut pauses = Vec::new();
        for _ in 1..MOST_IN_A_ROW {
            back_off.throttled();
            pauses.extend(seconds(back_off.next(MUCH)));
            assert_eq!(back_off.next(MUCH), Pace::Go, "one pause follows one throttling");
        }
        assert_eq!(pauses, [2, 4, 8, 16]);
        back_off.throttled();
        assert_eq!((back_off.next(MUCH), back_off.next(MUCH)), (Pace::Stop, Pace::Stop));
        let all: u64 = pauses.iter().sum();
        assert!(all < MUCH.as_secs() / 2, "there is time left for work");
    }

    #[test]
    fn success_begins_anew() {
        let mut back_off = BackOff::default();
        for _ in 0..3 * MOST_IN_A_ROW {
            back_off.throttled();
            assert_eq!(seconds(back_off.next(MUCH)), Some(2));
            back_off.succeeded();
            assert_eq!(back_off.next(MUCH), Pace::Go);
        }
    }

    #[test]
    fn no_pause_is_longer_than_what_is_left() {
        let mut back_off = BackOff::default();
        back_off.throttled();
        assert_eq!(back_off.next(Duration::from_secs(2)), Pace::Stop);
        assert_eq!(seconds(back_off.next(Duration::from_secs(3))), Some(2));
    }
}
