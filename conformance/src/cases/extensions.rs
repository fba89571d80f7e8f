//! Extension negotiation.

use sv2_wire::extensions::{EXTENSIONS_NEGOTIATION, RequestExtensions};
use sv2_wire::{B064K, Message, MiningServerMessage, Seq064K, Tlv, WorkerIdentity};

use super::acknowledging::{never_accepted, submit_as};
use super::{ready, still_serves};
use crate::bench::Bench;
use crate::case::{Judged, Stop, cases, demand};
use crate::mining::{Open, Share, Work};
use crate::peer::{Event, Peer, read};
use crate::view::Channel;

/// An extension of the range for experiments, which no server in production has.
const NOBODYS: u16 = 0x4242;

cases! { Extensions:
    "EX-01a" Must "extension 1" "RequestExtensions echoes its request_id."
        |bench| echoed(bench, 0x0102);
    "EX-01b" Must "extension 1" "The request_id of all ones is echoed."
        |bench| echoed(bench, u16::MAX);
    "EX-01c" Must "extension 1" "Only what was asked for is granted." subset;
    "EX-03a" Must "extension 1"
        "RequestExtensions.Error comes when nothing that was asked for is supported."
        unsupported;
    "EX-03b" Must "extension 1" "It lists what is not supported." unsupported_listed;
    "EX-03c" Must "extension 1" "What the server requires is not among what was asked for."
        required_is_other;
    "EX-04b" Must "extension 1"
        "A client that does not ask for what the server requires is disconnected."
        required_or_out;
    "EX-04a" Must "extension 1" "After RequestExtensions.Error the client may ask again." again;
    "EX-05a" Must "extension 1" "The answer carries extension_type 1 and no channel bit." header;
    "EX-06a" Must "extension 1" "RequestExtensions leaves the connection in use." goes_on;
    "EX-01d" Should "extension 1" "A request for no extension is answered." nothing_asked;
    "EX-01e" Should "extension 1" "A request for a thousand extensions is answered." thousand;
    "EX-10a" Must "extension 2"
        "A share with a worker's identity is accepted once that is negotiated."
        |bench| worker(bench, "worker-1");
    "EX-10b" Must "extension 2" "A worker's identity of 32 bytes is accepted."
        |bench| worker(bench, "12345678901234567890123456789012");
    "EX-11c" Must "extension 2" "A worker's identity of 33 bytes is refused once that is negotiated."
        long_worker;
}

/// What came of a request.
enum Answer {
    Granted { request_id: u16, extensions: Vec<u16> },
    Refused { request_id: u16, unsupported: Vec<u16>, required: Vec<u16> },
}

impl Answer {
    fn request_id(&self) -> u16 {
        match self {
            Self::Granted { request_id, .. } | Self::Refused { request_id, .. } => *request_id,
        }
    }
}

async fn request(peer: &mut Peer, request_id: u16, extensions: &[u16]) -> Judged {
    let requested_extensions = Seq064K::new(extensions)
        .map_err(|error| Stop::Inapplicable(format!("the suite asks too much: {error}")))?;
    peer.send(&RequestExtensions { request_id, requested_extensions }).await;
    Ok(())
}

/// Asks; a server without extension 1 leaves the request unanswered, which is legal.
async fn ask(bench: &Bench, peer: &mut Peer, id: u16, extensions: &[u16]) -> Judged<Answer> {
    request(peer, id, extensions).await?;
    match peer.receive(bench.waits().answer).await {
        Event::Frame(frame) => match read(&frame)? {
            MiningServerMessage::RequestExtensionsSuccess(success) => Ok(Answer::Granted {
                request_id: success.request_id,
                extensions: success.supported_extensions.iter().collect(),
            }),
            MiningServerMessage::RequestExtensionsError(error) => Ok(Answer::Refused {
                request_id: error.request_id,
                unsupported: error.unsupported_extensions.iter().collect(),
                required: error.required_extensions.iter().collect(),
            }),
            other => Err(Stop::Breach(format!("answered by {}", other.name()))),
        },
        Event::Quiet => Err(Stop::inapplicable("the server does not negotiate extensions")),
        Event::Closed => Err(Stop::breach("the server ended the connection")),
        Event::Broken(error) => Err(Stop::Breach(format!("frame: {error}"))),
    }
}

async fn echoed(bench: &Bench, id: u16) -> Judged {
    let mut peer = ready(bench).await?;
    let answer = ask(bench, &mut peer, id, &[NOBODYS]).await?;
    demand(answer.request_id() == id, || format!("request_id is {}", answer.request_id()))
}

async fn subset(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let asked = [EXTENSIONS_NEGOTIATION, WorkerIdentity::EXTENSION_TYPE, NOBODYS];
    match ask(bench, &mut peer, 1, &asked).await? {
        Answer::Granted { extensions, .. } => {
            let is_subset = extensions.iter().all(|granted| asked.contains(granted));
            demand(is_subset && !extensions.contains(&NOBODYS), || {
                format!("of {asked:x?}, {extensions:x?} are granted")
            })
        }
        Answer::Refused { .. } => Ok(()),
    }
}

async fn refusal(bench: &Bench, peer: &mut Peer) -> Judged<Vec<u16>> {
    match ask(bench, peer, 1, &[NOBODYS]).await? {
        Answer::Granted { extensions, .. } => {
            Err(Stop::Breach(format!("{extensions:x?} are granted")))
        }
        Answer::Refused { unsupported, .. } => Ok(unsupported),
    }
}

async fn required_is_other(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let asked = [EXTENSIONS_NEGOTIATION, NOBODYS];
    let mut required = Vec::new();
    for extensions in [asked.as_slice(), &asked[1..]] {
        if let Answer::Refused { required: ids, .. } = ask(bench, &mut peer, 1, extensions).await? {
            required.extend(ids.into_iter().filter(|id| extensions.contains(id)));
        }
    }
    demand(required.is_empty(), || format!("{required:x?} were asked for, and are required"))
}

async fn required_or_out(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    match ask(bench, &mut peer, 1, &[NOBODYS]).await? {
        Answer::Refused { required, .. } if !required.is_empty() => {
            // One that goes on as if nothing had been said does not ask again.
            peer.send(&Open::standard_by(&bench.target.user_identity).standard()).await;
            peer.await_close(bench.waits().stall, "a client goes on without what is required").await
        }
        _ => Err(Stop::inapplicable("the server requires no extension")),
    }
}

async fn unsupported(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    refusal(bench, &mut peer).await.map(drop)
}

async fn unsupported_listed(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let listed = refusal(bench, &mut peer).await?;
    demand(listed == [NOBODYS], || format!("listed are {listed:x?}"))
}

async fn again(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    refusal(bench, &mut peer).await?;
    let answer = ask(bench, &mut peer, 2, &[NOBODYS]).await?;
    demand(answer.request_id() == 2, || format!("request_id is {}", answer.request_id()))
}

async fn header(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    request(&mut peer, 1, &[NOBODYS]).await?;
    match peer.receive(bench.waits().answer).await {
        Event::Frame(frame) => {
            let header = frame.header;
            let is_right = header.extension_type == EXTENSIONS_NEGOTIATION && !header.channel_msg;
            demand(is_right, || frame.in_words())
        }
        Event::Quiet => Err(Stop::inapplicable("the server does not negotiate extensions")),
        other => Err(Stop::Breach(format!("{other:?}"))),
    }
}

async fn goes_on(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    request(&mut peer, 1, &[NOBODYS]).await?;
    let heard = peer.hear_quietly().await?;
    demand(!heard.closed, || "the server ended the connection".to_owned())?;
    still_serves(bench, &mut peer).await
}

async fn nothing_asked(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let answer = ask(bench, &mut peer, 1, &[]).await?;
    demand(answer.request_id() == 1, || format!("request_id is {}", answer.request_id()))
}

async fn thousand(bench: &Bench) -> Judged {
    let mut peer = ready(bench).await?;
    let asked: Vec<u16> = (0x4000..0x43e8).collect();
    ask(bench, &mut peer, 1, &asked).await.map(drop)
}

/// A connection on which workers are named, with an extended channel.
async fn with_workers(bench: &Bench) -> Judged<(Peer, Channel)> {
    let mut peer = ready(bench).await?;
    let id = WorkerIdentity::EXTENSION_TYPE;
    match ask(bench, &mut peer, 1, &[id]).await? {
        Answer::Granted { extensions, .. } if extensions.contains(&id) => {}
        _ => return Err(Stop::inapplicable("the server does not support extension 2")),
    }
    let channel = peer.open(&Open::extended_by(&bench.target.user_identity)).await?;
    Ok((peer, channel))
}

async fn worker(bench: &Bench, name: &'static str) -> Judged {
    let (mut peer, channel) = with_workers(bench).await?;
    let identity = WorkerIdentity::new(name).expect("the suite's names have at most 32 bytes");
    let encode = |share: &Share, frame: &mut Vec<u8>| {
        share.extended().encode_frame_with_tlvs(&[identity.to_tlv()], frame);
    };
    let make = |work: &Work| work.blank(1);
    submit_as(bench, &mut peer, channel.channel_id, make, encode).await.map(drop)
}

async fn long_worker(bench: &Bench) -> Judged {
    let (mut peer, channel) = with_workers(bench).await?;
    let work = peer.active(channel.channel_id).await?;
    let known = WorkerIdentity::new("worker-1").expect("it has at most 32 bytes").to_tlv();
    let value = B064K::new(&[b'w'; 33]).expect("33 bytes fit 65 535");
    let encode = |share: Share| {
        let mut frame = Vec::new();
        share.extended().encode_frame_with_tlvs(&[Tlv { value, ..known }], &mut frame);
        frame
    };
    never_accepted(bench, &mut peer, &work, "a name of 33 bytes is accepted", encode).await
}
