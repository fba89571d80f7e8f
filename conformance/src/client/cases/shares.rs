//! Shares and their answers.

use super::connecting::still_works;
use super::{over_shares, unbroken};
use crate::case::{Judged, Stop, cases};
use crate::client::counter::Counter;
use crate::client::play::Start;

/// Shares that are left without an answer.
const UNANSWERED: usize = 5;

cases! { Client Shares:
    "CL-MP-50a" Should "5.3.11" "Once there is work, shares come." works;
    "CL-MP-50b" Must "5.3.11" "Shares name channels and jobs that were given."
        |c| over_shares(c, "MP-50");
    "CL-MP-80b" Must "5.3.11" "Shares meet the target of their job." |c| over_shares(c, "MP-80");
    "CL-MP-52a" Must "5.3.11" "ntime is no less than min_ntime, and no further ahead than time has passed."
        |c| over_shares(c, "MP-52");
    "CL-MP-57a" Must "BIP 323" "Only the version bits of BIP 323 are rolled."
        |c| over_shares(c, "MP-57");
    "CL-MP-22a" Must "5.3.1" "No version bit is rolled after REQUIRES_FIXED_VERSION." fixed_version;
    "CL-MP-51a" Must "5.3.12" "The extranonce has the length that was granted."
        |c| over_shares(c, "MP-51");
    "CL-MP-56a" Should "5.3.11" "No share is sent twice." |c| over_shares(c, "MP-56");
    "CL-OV-23a" Must "3.5" "A share that is refused for an unknown reason changes nothing."
        goes_on_after_refusals;
    "CL-MP-53a" Must "5.3.13" "Shares go on while answers are gathered." goes_on_unanswered;
}

async fn works(counter: &Counter) -> Judged {
    let (mut visitor, _) = counter.miner().await?;
    still_works(&mut visitor, "SetNewPrevHash").await
}

async fn fixed_version(counter: &Counter) -> Judged {
    let mut visitor = counter.guest().await?;
    let setup = visitor.await_setup().await?;
    if setup.flags & 0b100 != 0 {
        return Err(Stop::inapplicable("the client requires version rolling"));
    }
    visitor.grant_setup(1).await;
    let channel_id = visitor.await_channel().await?;
    let job_id = visitor.job(channel_id, channel_id, Start::Later, false).await;
    visitor.tip(channel_id, job_id).await;
    for _ in 0..3 {
        visitor.await_share().await?;
        unbroken(&visitor, "MP-22")?;
    }
    Ok(())
}

async fn goes_on_after_refusals(counter: &Counter) -> Judged {
    let (mut visitor, _) = counter.miner().await?;
    visitor.holds_answers = true;
    for _ in 0..3 {
        let share = visitor.await_share().await?;
        visitor.refuse(&share, "wrong-colour").await;
        still_works(&mut visitor, "a refusal").await?;
    }
    Ok(())
}

async fn goes_on_unanswered(counter: &Counter) -> Judged {
    let (mut visitor, _) = counter.miner().await?;
    visitor.holds_answers = true;
    for _ in 0..UNANSWERED {
        still_works(&mut visitor, "shares without an answer").await?;
    }
    Ok(())
}
