//! The system's clock. `main.rs` of a function gives it to a step; an adapter asks it only how old something of AWS is.

use std::time::Duration;

use jiff::Timestamp;
use sorry_session::ports::Clock;

/// The system's clock, cut to seconds as IAM's date conditions and the rows want it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the one place where functions read the clock")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

/// Now, in milliseconds since the epoch: what CloudWatch wants of a metric.
pub(crate) fn milliseconds() -> i64 {
    system_now().as_millisecond()
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A whole second of an existing timestamp is always a timestamp.
        Timestamp::from_second(system_now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn sequence(&self) -> u64 {
        u64::try_from(system_now().as_microsecond()).unwrap_or_default()
    }

    async fn pause(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_pause_lasts() {
        let (begun, pause) = (Instant::now(), Duration::from_millis(30));
        SystemClock.pause(pause).await;
        assert!(begun.elapsed() >= pause);
    }
}
