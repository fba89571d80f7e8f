//! What the disk does with what is written: it takes it, or there is a stall until it does.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use gateway_core::event::LogFault;
use platform::{Shutdown, Wall};
use tokio::sync::watch;

use crate::limits::LOG_RETRY_PAUSE;

/// Whether the disk takes records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogStatus {
    /// It does.
    #[default]
    Writing,
    /// It does not: nothing is acknowledged until it does again.
    Failing(Stall),
}

/// A time in which the disk takes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Why, in a word.
    pub cause: LogFault,
    /// The disk's last answer.
    pub error: String,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
}

impl LogStatus {
    /// The stall that goes on.
    pub fn stall(&self) -> Option<&Stall> {
        match self {
            Self::Writing => None,
            Self::Failing(stall) => Some(stall),
        }
    }
}

fn fault(error: &io::Error) -> LogFault {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            LogFault::DiskFull
        }
        _ => LogFault::IoError,
    }
}

/// What is known of the disk.
pub(super) struct Disk {
    pub(super) wall: Arc<dyn Wall>,
    pub(super) status: watch::Sender<LogStatus>,
    /// The time is over in which it may be tried again.
    pub(super) give_up: Shutdown,
}

impl Disk {
    /// `Some` where the attempt worked; where it did not, says so, waits, and returns `None`: try
    /// again. An error when it is time to give up.
    pub(super) async fn until_it_works<T>(
        &self,
        outcome: io::Result<T>,
        what: &str,
    ) -> Result<Option<T>, String> {
        let error = match outcome {
            Ok(value) => {
                self.status.send_if_modified(|status| std::mem::take(status) != LogStatus::Writing);
                return Ok(Some(value));
            }
            Err(error) => error,
        };
        let (cause, why) = (fault(&error), error.to_string());
        let now = self.wall.unix_ms();
        let is_news = self.status.send_if_modified(|status| {
            let since_ms = status.stall().map_or(now, |stall| stall.since_ms);
            let failing = LogStatus::Failing(Stall { cause, error: why.clone(), since_ms });
            std::mem::replace(status, failing) != *status
        });
        if is_news {
            let cause = cause.as_str();
            tracing::error!(
                cause,
                error = why,
                "cannot {what} the log: no share is acknowledged until it works"
            );
        }
        tokio::select! {
            biased;
            () = self.give_up.cancelled() => Err(why),
            () = tokio::time::sleep(LOG_RETRY_PAUSE) => Ok(None),
        }
    }
}
