//! A wish that reaches a running program.

use std::sync::Arc;

use tokio::sync::Notify;

/// Asks a running program to read its files again.
#[derive(Debug, Clone, Default)]
pub struct Reload(Arc<Notify>);

impl Reload {
    /// Nothing is asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks. Wishes that come before the program turns to them are one.
    pub fn request(&self) {
        self.0.notify_one();
    }

    /// Waits until it is asked.
    pub async fn requested(&self) {
        self.0.notified().await;
    }
}
