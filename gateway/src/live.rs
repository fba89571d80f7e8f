//! The configuration in force, which a reload replaces as a whole.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;

/// Shared by every part that follows the configuration.
#[derive(Clone)]
pub(crate) struct Live(Arc<watch::Sender<Arc<Config>>>);

impl Live {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self(Arc::new(watch::Sender::new(config)))
    }

    /// The configuration in force.
    pub(crate) fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.borrow())
    }

    /// Puts a configuration in force.
    pub(crate) fn replace(&self, config: Arc<Config>) {
        self.0.send_replace(config);
    }

    /// Follows what comes.
    pub(crate) fn follow(&self) -> Follower {
        Follower { changes: self.0.subscribe(), _held: self.clone() }
    }
}

/// Waits for changes of the configuration.
pub(crate) struct Follower {
    changes: watch::Receiver<Arc<Config>>,
    /// So that waiting never ends because nobody could change anything any more.
    _held: Live,
}

impl Follower {
    /// The configuration in force; [`next`](Self::next) waits for what comes after it.
    pub(crate) fn now(&mut self) -> Arc<Config> {
        Arc::clone(&self.changes.borrow_and_update())
    }

    /// The next configuration. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Arc<Config> {
        self.until(|_| true).await
    }

    /// The next configuration that `holds`, the one in force included unless it was seen.
    pub(crate) async fn until(&mut self, holds: impl Fn(&Config) -> bool) -> Arc<Config> {
        loop {
            self.changes.changed().await.expect("the sender is held here");
            let config = self.now();
            if holds(&config) {
                return config;
            }
        }
    }

    /// Waits until one of these keys has another value than in `running`.
    pub(crate) async fn until_changed(&mut self, running: &Config, keys: &[&str]) -> Arc<Config> {
        let values = running.values_of(keys);
        let config = self.now();
        if config.values_of(keys) != values {
            return config;
        }
        self.until(|config| config.values_of(keys) != values).await
    }
}
