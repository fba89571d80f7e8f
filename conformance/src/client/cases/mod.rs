//! The catalogue for clients.

mod connecting;
mod mining;
mod shares;

use super::counter::Counter;
use super::visitor::Visitor;
use crate::case::{Case, Judged, Stop};

/// Shares that a case waits for while the messages that it judges do not come.
const MOST_SHARES: usize = 12;

/// All cases for clients, in the order in which they run.
pub fn client_catalogue() -> impl Iterator<Item = &'static Case> {
    [connecting::OVERVIEW, connecting::SECURITY, mining::CASES, shares::CASES].into_iter().flatten()
}

/// Ends the case with a breach if the client broke `rule` on the connection.
fn unbroken(visitor: &Visitor, rule: &str) -> Judged {
    match visitor.watch.fault(rule) {
        None => Ok(()),
        Some(how) => Err(Stop::breach(how)),
    }
}

/// Judges `rule` by what the client does until it has sent three shares.
async fn over_shares(counter: &Counter, rule: &str) -> Judged {
    let (mut visitor, _) = counter.miner().await?;
    for _ in 0..3 {
        let share = visitor.await_share().await;
        unbroken(&visitor, rule)?;
        share?;
    }
    Ok(())
}

/// As [`over_shares`], for a rule about messages that a client need not send.
async fn over_messages(counter: &Counter, rule: &str) -> Judged {
    let (mut visitor, _) = counter.miner().await?;
    for shares in 1..=MOST_SHARES {
        let share = visitor.await_share().await;
        unbroken(&visitor, rule)?;
        share?;
        if shares >= 3 && visitor.watch.missing(rule).is_none() {
            return Ok(());
        }
    }
    let what = visitor.watch.missing(rule).unwrap_or("nothing to judge");
    Err(Stop::Inapplicable(format!("the client sends {what} while it mines")))
}

/// Judges `rule` by what the client does until it has asked for a channel.
async fn over_opening(counter: &Counter, rule: &str) -> Judged {
    let mut visitor = counter.set_up().await?;
    let opened = visitor.await_opening().await;
    unbroken(&visitor, rule)?;
    opened.map(drop)
}
