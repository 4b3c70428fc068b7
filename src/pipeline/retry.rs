//! How long to wait before trying again.

use std::time::Duration;

use connector_api::Kind;

/// Doubling delays with jitter. What may pass by itself is retried soon and then less and less often; what needs a
/// person is retried slowly, so that the loop goes on by itself once it was mended.
#[derive(Debug)]
pub struct Backoff {
    failures: u32,
    jitter: u64,
}

const TRANSIENT_FIRST: Duration = Duration::from_millis(100);
const TRANSIENT_MAX: Duration = Duration::from_secs(10);
const PERMANENT: Duration = Duration::from_secs(15);

impl Backoff {
    /// Starts with the shortest delay. `seed` keeps loops that fail together from retrying together.
    pub fn new(seed: u64) -> Self {
        Backoff { failures: 0, jitter: seed | 1 }
    }

    /// Starts with the shortest delay, and the jitter of a loop's name.
    pub fn of(name: &str) -> Self {
        Self::new(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)) << 1))
    }

    /// Something worked: the next failure is a first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure and says how long to wait.
    pub fn next(&mut self, kind: Kind) -> Duration {
        let doubled = TRANSIENT_FIRST * (1u32 << self.failures.min(7));
        self.failures = self.failures.saturating_add(1);
        let base = if kind == Kind::Transient { doubled.min(TRANSIENT_MAX) } else { PERMANENT };
        // xorshift64: jitter needs no better.
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        base.mul_f64(0.75 + (self.jitter % 512) as f64 / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_start_again_after_success() {
        let mut backoff = Backoff::new(7);
        let delays: Vec<_> = (0..12).map(|_| backoff.next(Kind::Transient)).collect();
        assert!(delays[0] < Duration::from_millis(130), "{delays:?}");
        assert!(
            delays[11] <= TRANSIENT_MAX.mul_f64(1.25) && delays[11] >= Duration::from_secs(5),
            "{delays:?}"
        );
        backoff.reset();
        assert!(backoff.next(Kind::Transient) < Duration::from_millis(130));
        assert!(backoff.next(Kind::Config) > Duration::from_secs(10));
    }
}
