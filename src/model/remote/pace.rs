//! How many requests are under way to one model, and how fast they follow each other.
//!
//! The rate is a token bucket that holds one token: requests are evenly spaced, so that no minute,
//! wherever it begins, sees more than its share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// The pace of one model, kept by all calls of a run.
pub(super) struct Pace {
    places: Semaphore,
    /// Between the beginnings of two requests.
    spacing: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many requests at once, and so many a minute.
    pub(super) fn new(concurrency: usize, requests_per_minute: Option<f64>) -> Pace {
        let spacing =
            requests_per_minute.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(60.0 / rate));
        let places = Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS));
        Pace { places, spacing, next: Mutex::new(None) }
    }

    /// Waits for a place and for the time at which a request may begin. The place is free when what
    /// this gives is dropped.
    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed, so that a place comes.
        let place = self.places.acquire().await.ok();
        let now = Instant::now();
        let at = {
            let mut next = self.next();
            let at = next.map_or(now, |next| next.max(now));
            if self.spacing > Duration::ZERO || *next > Some(now) {
                *next = Some(at + self.spacing);
            }
            at
        };
        tokio::time::sleep_until(at).await;
        place
    }

    /// No request begins before `pause` is over: the server asked for it.
    pub(super) fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut next = self.next();
        if *next < Some(until) {
            *next = Some(until);
        }
    }

    fn next(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
