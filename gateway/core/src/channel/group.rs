//! One job for all channels of a connection.

use std::sync::Arc;

use super::announce::Announced;
use super::open::Channels;
use crate::ids::{ChannelId, JobId};
use crate::job::Work;
use crate::moment::Moment;
use crate::session::Settings;

/// Sends `work` as one extended job addressed to the group (SV2 §5.3.16); each member derives its
/// own coinbase from it by its extranonce, which is equally long on all of them.
///
/// False, and nothing is sent, where one job would not do: for a lone channel its own number serves
/// as well and every miner understands it, and members of which only some are on the tip of `work`
/// need a job each.
pub(crate) fn send_job(
    group: ChannelId,
    members: &mut Channels,
    work: &Arc<Work>,
    settings: &Settings,
    now: Moment,
    out: &mut Vec<u8>,
) -> bool {
    let on_tip = members.values().filter(|member| member.is_on_tip_of(work)).count();
    if members.len() < 2 || (on_tip != 0 && on_tip != members.len()) {
        return false;
    }
    // A number that none of the members has had.
    let job_id = members.values().map(|member| member.jobs.next_id()).max().unwrap_or(JobId(1));
    let times = members.values().map(|member| member.least_ntime(work, now));
    let min_ntime = times.max().unwrap_or_default();
    for member in members.values_mut() {
        // The merkle root is left to each share: most jobs see none of most channels.
        member.enter_job(job_id, work, None, min_ntime, settings, now);
    }
    let is_future = on_tip == 0;
    let announced = Announced { channel_id: group, job_id, min_ntime, is_future };
    announced.extended(work, settings.version_rolling_mask != 0, out);
    if is_future {
        announced.start(work, out);
    }
    true
}
