//! What the switch says to all connections at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_core::prevhash::{Disconnect, Publication, PublicationKind};
use gateway_core::session;
use tokio::sync::broadcast;

use crate::limits::SIGNALS_BEFORE_A_CONNECTION;

/// Something that every session must hear.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    Work(Arc<Publication>),
    Disconnect(Disconnect),
    Upstream(bool),
    Settings(Arc<session::Settings>),
    Drain,
}

impl Signal {
    /// When it was decided to switch to a new tip, if this says so.
    pub(crate) fn new_tip_decided(&self) -> Option<Duration> {
        match self {
            Self::Work(publication) if publication.kind == PublicationKind::NewTip => {
                Some(publication.published.mono)
            }
            _ => None,
        }
    }

    pub(crate) fn into_input(self) -> session::Input<'static> {
        match self {
            Self::Work(publication) => session::Input::Work(publication),
            Self::Disconnect(disconnect) => session::Input::Disconnect(disconnect),
            Self::Upstream(available) => session::Input::Upstream(available),
            Self::Settings(settings) => session::Input::Settings(settings),
            Self::Drain => session::Input::Drain,
        }
    }
}

/// Passes signals on, and tells newcomers how things stand.
pub(crate) struct Board {
    standing: Mutex<Standing>,
    signals: broadcast::Sender<Signal>,
}

struct Standing {
    publication: Option<Arc<Publication>>,
    upstream: bool,
    /// Settings that were changed: a newcomer may have been let in with older ones.
    settings: Option<Arc<session::Settings>>,
    draining: bool,
}

impl Board {
    pub(crate) fn new() -> Self {
        let standing =
            Standing { publication: None, upstream: true, settings: None, draining: false };
        Self {
            standing: Mutex::new(standing),
            signals: broadcast::Sender::new(SIGNALS_BEFORE_A_CONNECTION),
        }
    }

    pub(crate) fn post(&self, signal: Signal) {
        let mut standing = self.standing();
        match &signal {
            Signal::Work(publication) => standing.publication = Some(Arc::clone(publication)),
            Signal::Disconnect(_) => standing.publication = None,
            Signal::Upstream(available) => standing.upstream = *available,
            Signal::Settings(settings) => standing.settings = Some(Arc::clone(settings)),
            Signal::Drain => standing.draining = true,
        }
        // Under the lock, so that a newcomer hears each signal once. Nobody may be listening.
        let _ = self.signals.send(signal);
    }

    /// How things stand, and every signal from here on.
    pub(crate) fn join(&self) -> (Vec<Signal>, broadcast::Receiver<Signal>) {
        let standing = self.standing();
        let mut signals = vec![Signal::Upstream(standing.upstream)];
        signals.extend(standing.settings.clone().map(Signal::Settings));
        signals.extend(standing.publication.clone().map(Signal::Work));
        signals.extend(standing.draining.then_some(Signal::Drain));
        (signals, self.signals.subscribe())
    }

    /// What miners are on now.
    pub(crate) fn publication(&self) -> Option<Arc<Publication>> {
        self.standing().publication.clone()
    }

    pub(crate) fn upstream(&self) -> bool {
        self.standing().upstream
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
