//! Whether the endpoint works at all. While it does not, nothing is held against a single event.

use std::time::Duration;

use tokio::time::Instant;

/// How long nobody may be reached before requests stop, so that `status` says so within a second.
const UNREACHABLE: Duration = Duration::from_millis(500);

/// Counts failures in a row. A fresh one, as after every failed flush, lets one request at a time through until one is
/// answered as it should be.
#[derive(Debug)]
pub(crate) struct Breaker {
    limit: u32,
    failures: u32,
    unreachable_since: Option<Instant>,
    alive_at: Option<Instant>,
}

impl Breaker {
    /// Opens after `limit` failures in a row.
    pub fn new(limit: u32) -> Breaker {
        Breaker { limit, failures: 0, unreachable_since: None, alive_at: None }
    }

    /// Requests that may be under way at once.
    pub fn width(&self, concurrency: usize) -> usize {
        if self.alive_at.is_some() { concurrency } else { 1 }
    }

    /// The endpoint answered about an event: it works.
    pub fn alive(&mut self, now: Instant) {
        self.failures = 0;
        self.unreachable_since = None;
        self.alive_at = Some(now);
    }

    /// Counts a failure; true when requests must stop. `unreachable`: nobody answered at all.
    pub fn failed(&mut self, unreachable: bool, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        if !unreachable {
            self.unreachable_since = None;
            return self.failures >= self.limit;
        }
        let since = *self.unreachable_since.get_or_insert(now);
        self.failures >= self.limit || self.alive_at.is_none() || now.duration_since(since) >= UNREACHABLE
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the endpoint took another event after `moment`: what failed all the while is to blame itself.
    pub fn works_since(&self, moment: Instant) -> bool {
        self.alive_at.is_some_and(|at| at > moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_success_closes_it() {
        let (mut breaker, now) = (Breaker::new(3), Instant::now());
        assert_eq!(breaker.width(16), 1);
        breaker.alive(now);
        assert_eq!(breaker.width(16), 16);
        assert!(!breaker.failed(false, now) && !breaker.failed(false, now));
        breaker.alive(now);
        assert!(!breaker.failed(false, now) && !breaker.failed(false, now) && breaker.failed(false, now));
        assert_eq!(breaker.failures(), 3);
    }

    #[test]
    fn nobody_there_is_noticed_at_once_at_the_first_request_and_soon_later() {
        let now = Instant::now();
        assert!(Breaker::new(1_000).failed(true, now));
        let mut breaker = Breaker::new(1_000);
        breaker.alive(now);
        assert!(!breaker.failed(true, now) && !breaker.failed(true, now + Duration::from_millis(400)));
        assert!(breaker.failed(true, now + Duration::from_millis(600)));
    }

    #[test]
    fn only_what_came_later_shows_that_the_endpoint_works() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3);
        breaker.alive(now);
        assert!(!breaker.works_since(now));
        breaker.alive(now + Duration::from_millis(1));
        assert!(breaker.works_since(now));
    }
}
