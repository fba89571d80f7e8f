//! The catalogue for clients.

mod connecting;
mod mining;
mod shares;

use super::counter::Counter;
use super::visitor::Visitor;
use crate::case::{Case, Judged, Stop};

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

/// Judges `rule` by what the client does until it has asked for a channel.
async fn over_opening(counter: &Counter, rule: &str) -> Judged {
    let mut visitor = counter.set_up().await?;
    let opened = visitor.await_opening().await;
    unbroken(&visitor, rule)?;
    opened.map(drop)
}
