//! From the handshake to the first request for a channel, and coming back.

use sv2_wire::common::{ChannelEndpointChanged, Reconnect};
use sv2_wire::mining::SetTarget;
use sv2_wire::{FrameHeader, U24};

use super::{over_messages, over_opening, over_shares, unbroken};
use crate::case::{Case, Judged, Stop, cases, demand};
use crate::client::counter::{Counter, Credentials};
use crate::client::visitor::Visitor;
use crate::client::watch::{Seen, Setup};
use crate::mining::text;
use crate::peer::Event;

mod overview {
    use super::*;

    cases! { Client Overview:
        "CL-OV-30a" Must "3.6.1" "SetupConnection is the first message." |c| over_opening(c, "OV-30");
        "CL-OV-30b" Must "3.6.1" "Nothing is sent between SetupConnection and its answer."
            waits_for_setup;
        "CL-OV-31a" Must "3.6.1" "SetupConnection asks for the mining protocol."
            |c| says(c, "protocol", |setup| setup.protocol == 0);
        "CL-OV-31b" Must "3.6.1" "Version 2 is between min_version and max_version."
            |c| says(c, "version range", |s| (s.min_version..=s.max_version).contains(&2));
        "CL-OV-32a" Must "3.6.1" "SetupConnection names a vendor."
            |c| says(c, "vendor", |setup| !setup.vendor.is_empty());
        "CL-MP-20a" Should "5.3.1" "No flag is set that is not defined."
            |c| says(c, "flags", |setup| setup.flags & !0b111 == 0);
        "CL-OV-07a" Must "3.2" "Channel messages have the channel bit, and no others."
            |c| over_shares(c, "OV-07");
        "CL-OV-16a" Must "3.4.3" "Messages are whole, and only TLVs follow them."
            |c| over_shares(c, "OV-16");
        "CL-HY-07a" Should "hygiene"
            "A client that is refused sends nothing more on that connection."
            refused;
        "CL-HY-08a" Should "field" "A client that is refused for an unknown reason comes again."
            comes_again_refused;
        "CL-OV-24a" Must "3.5" "A client does the same after a refusal, whatever code it has."
            same_after_any_code;
        "CL-OV-12a" Must "3.2" "A message of an unknown extension is ignored." unknown_extension;
        "CL-OV-36a" Should "3.6.4" "ChannelEndpointChanged is tolerated." endpoint_changed;
        "CL-OV-37a" Should "3.6.5" "After Reconnect the client connects again." reconnects;
        "CL-OV-18a" Must "3.3" "A connection after Reconnect begins with a handshake."
            reconnects_in_noise;
        "CL-EX-02a" Must "0x0001" "RequestExtensions comes before all other messages."
            |c| over_messages(c, "EX-02");
        "CL-OV-10a" Must "3.2" "Frames that come byte by byte are understood." byte_by_byte;
        "CL-OV-10b" Must "3.2" "Frames that come in one piece are understood." in_one_piece;
        "CL-HY-08b" Should "field" "A client whose connection ends comes again." comes_again;
    }
}

mod security {
    use super::*;

    cases! { Client Security:
        "CL-SE-06a" Must "4.5.1" "Act 1 has 64 bytes, and nothing follows it before act 2."
            act_1_alone;
        "CL-SE-07a" Must "4.5.2" "An act 2 that comes byte by byte is understood." slow_act_2;
        "CL-SE-09a" Must "4.5" "An act 2 that does not authenticate ends the connection."
            forged_act_2;
        "CL-SE-09b" Must "4.6" "A frame that does not authenticate ends the connection."
            forged_frame;
        "CL-SE-11a" Must "4.5.3" "A certificate of another authority is refused."
            |c| refuses(c, Credentials::OtherAuthority);
        "CL-SE-13a" Must "4.5.3" "A certificate that has expired is refused."
            |c| refuses(c, Credentials::Expired);
        "CL-SE-13b" Must "4.5.3" "A certificate that is not yet valid is refused."
            |c| refuses(c, Credentials::NotYetValid);
        "CL-SE-07b" Should "hygiene" "A server that ends the handshake half way is tried again."
            broken_off;
    }
}

pub(super) const OVERVIEW: &[Case] = overview::CASES;
pub(super) const SECURITY: &[Case] = security::CASES;

async fn waits_for_setup(counter: &Counter) -> Judged {
    let mut visitor = counter.guest().await?;
    visitor.await_setup().await?;
    visitor.let_work(counter.waits().quiet).await?;
    unbroken(&visitor, "OV-33")
}

async fn says(counter: &Counter, what: &str, is_right: impl Fn(&Setup) -> bool) -> Judged {
    let mut visitor = counter.guest().await?;
    let setup = visitor.await_setup().await?;
    demand(is_right(&setup), || format!("the {what} is wrong: {setup:?}"))
}

async fn refused(counter: &Counter) -> Judged {
    let mut visitor = counter.guest().await?;
    visitor.await_setup().await?;
    visitor.refuse_setup().await;
    // It may end the connection, which is why this is no breach.
    let _ = visitor.let_work(counter.waits().quiet).await;
    unbroken(&visitor, "OV-24")
}

async fn comes_again_refused(counter: &Counter) -> Judged {
    let mut visitor = counter.guest().await?;
    visitor.await_setup().await?;
    visitor.refuse_setup().await;
    drop(visitor);
    returns(counter, "a refusal").await
}

/// The client must connect once more and ask for a channel.
async fn returns(counter: &Counter, after: &str) -> Judged {
    let Some(mut visitor) = counter.visitor_within(counter.waits().arrival).await else {
        return Err(Stop::Breach(format!("the client does not come back after {after}")));
    };
    visitor.shake_hands(Credentials::Good).await?;
    visitor.await_setup().await.map(drop)
}

/// The client must send one more share.
pub(super) async fn still_works(visitor: &mut Visitor, after: &str) -> Judged {
    visitor.await_share().await.map(drop).map_err(|stop| match stop {
        Stop::Breach(why) | Stop::Inapplicable(why) => {
            Stop::Breach(format!("after {after}: {why}"))
        }
    })
}

async fn unknown_extension(counter: &Counter) -> Judged {
    let (mut visitor, _) = counter.miner().await?;
    visitor.await_share().await?;
    let msg_length = U24::from_len(3).expect("three bytes fit");
    let header =
        FrameHeader { extension_type: 0x4242, channel_msg: false, msg_type: 0x42, msg_length };
    let frame = [header.encode().as_slice(), &[1, 2, 3]].concat();
    let sealed = visitor.seal_frame(&frame);
    visitor.write(&sealed).await;
    still_works(&mut visitor, "a message of an unknown extension").await
}

async fn endpoint_changed(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.miner().await?;
    visitor.await_share().await?;
    visitor.send(&ChannelEndpointChanged { channel_id }).await;
    still_works(&mut visitor, "ChannelEndpointChanged").await
}

async fn reconnects(counter: &Counter) -> Judged {
    let (mut visitor, _) = counter.miner().await?;
    visitor.await_share().await?;
    // No host and no port mean the same ones.
    visitor.send(&Reconnect { new_host: text(""), new_port: 0 }).await;
    returns(counter, "Reconnect").await
}

/// The connection that follows Reconnect must begin as the first one did.
async fn reconnects_in_noise(counter: &Counter) -> Judged {
    let (mut visitor, _) = counter.miner().await?;
    visitor.await_share().await?;
    visitor.send(&Reconnect { new_host: text(""), new_port: 0 }).await;
    let Some(mut visitor) = counter.visitor_within(counter.waits().arrival).await else {
        return Err(Stop::inapplicable("the client does not come back after Reconnect"));
    };
    visitor.shake_hands(Credentials::Good).await?;
    visitor.await_setup().await.map(drop)
}

/// A client that acts on the text of a code is found by codes that others know.
async fn same_after_any_code(counter: &Counter) -> Judged {
    let mut returned = Vec::new();
    for code in ["not-before-the-next-full-moon", "unsupported-protocol"] {
        let mut visitor = counter.guest().await?;
        visitor.await_setup().await?;
        visitor.refuse_setup_as(code).await;
        drop(visitor);
        let again = counter.visitor_within(counter.waits().arrival).await;
        returned.push((code, again.is_some()));
    }
    demand(returned[0].1 == returned[1].1, || {
        format!("whether the client comes back depends on the code: {returned:?}")
    })
}

async fn comes_again(counter: &Counter) -> Judged {
    let (mut visitor, _) = counter.miner().await?;
    visitor.await_share().await?;
    drop(visitor);
    returns(counter, "the end of its connection").await
}

async fn byte_by_byte(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.opened().await?;
    let job_id = visitor.future_job(channel_id).await;
    let tip = visitor.next_tip(channel_id, channel_id, job_id);
    let sealed = visitor.seal(&tip);
    visitor.send_in_bytes(&sealed).await;
    still_works(&mut visitor, "a SetNewPrevHash byte by byte").await
}

async fn in_one_piece(counter: &Counter) -> Judged {
    let (mut visitor, channel_id) = counter.opened().await?;
    let job_id = visitor.future_job(channel_id).await;
    let tip = visitor.next_tip(channel_id, channel_id, job_id);
    let target = visitor.watch.channels[&channel_id].target;
    let set_target = SetTarget { channel_id, maximum_target: target };
    let pieces =
        [visitor.seal(&set_target), visitor.seal(&tip), visitor.seal(&set_target)].concat();
    visitor.write(&pieces).await;
    still_works(&mut visitor, "frames in one piece").await
}

async fn act_1_alone(counter: &Counter) -> Judged {
    let mut visitor = counter.visitor().await?;
    visitor.await_act_1().await?;
    let more = visitor.receive_raw(1, counter.waits().quiet).await;
    demand(more.is_empty(), || "bytes follow act 1".to_owned())
}

async fn slow_act_2(counter: &Counter) -> Judged {
    let mut visitor = counter.visitor().await?;
    let act_1 = visitor.await_act_1().await?;
    let act_2 = visitor.act_2(&act_1, Credentials::Good)?;
    visitor.send_in_bytes(&act_2).await;
    visitor.await_setup().await.map(drop)
}

async fn forged_act_2(counter: &Counter) -> Judged {
    let mut visitor = counter.visitor().await?;
    let act_1 = visitor.await_act_1().await?;
    let mut act_2 = visitor.act_2(&act_1, Credentials::Good)?;
    *act_2.last_mut().expect("act 2 has bytes") ^= 1;
    visitor.send_raw(&act_2, "act 2 with its last bit turned").await;
    visitor.await_close("an act 2 that does not authenticate").await
}

async fn forged_frame(counter: &Counter) -> Judged {
    let mut visitor = counter.set_up().await?;
    let opening = visitor.await_opening().await?;
    let channel_id = visitor.grant(&opening).await;
    let mut sealed = visitor.seal(&ChannelEndpointChanged { channel_id });
    *sealed.last_mut().expect("a sealed frame has bytes") ^= 1;
    visitor.send_raw(&sealed, "a frame with its last bit turned").await;
    visitor.await_close("a frame that does not authenticate").await
}

async fn refuses(counter: &Counter, credentials: Credentials) -> Judged {
    if credentials == Credentials::OtherAuthority && !counter.front.hosting.client_knows_authority {
        return Err(Stop::inapplicable("the client does not know the authority's key"));
    }
    let mut visitor = counter.visitor().await?;
    visitor.shake_hands(credentials).await?;
    match visitor.receive(counter.waits().answer).await {
        Event::Frame(frame) => {
            let seen = visitor.watch.note(&frame);
            let what = if matches!(seen, Seen::Setup(_)) { "SetupConnection" } else { "a frame" };
            Err(Stop::Breach(format!("the client sends {what} all the same")))
        }
        Event::Quiet => Err(Stop::breach("the client keeps the connection open")),
        Event::Closed | Event::Broken(_) => Ok(()),
    }
}

async fn broken_off(counter: &Counter) -> Judged {
    let mut visitor = counter.visitor().await?;
    let act_1 = visitor.await_act_1().await?;
    let act_2 = visitor.act_2(&act_1, Credentials::Good)?;
    visitor.send_raw(&act_2[..100], "the start of act 2").await;
    drop(visitor);
    returns(counter, "half an act 2").await
}
