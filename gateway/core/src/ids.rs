//! Names of things: connections, channels, jobs, templates, shares.

use std::fmt;
use std::sync::Arc;

use ring::digest;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// One miner connection, unique within the process; the `miner_id` of events.
    ConnectionId(u64)
}
number! {
    /// A channel or group channel, unique within its connection.
    ChannelId(u32)
}
number! {
    /// A job, unique within its channel: 1, 2, 3 … in the order of issue.
    JobId(u32)
}
number! {
    /// A block template; strictly increasing over the life of its source.
    TemplateId(u64)
}
number! {
    /// The miner's own number for a submission, echoed in the answer.
    SequenceNumber(u32)
}
number! {
    /// The session's own count of accepted shares: 1, 2, 3 …, by which durability is reported back.
    Receipt(u64)
}
number! {
    /// One batch in the forward queue.
    BatchId(u64)
}

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident[$len:literal]) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(const_hex::Buffer::<$len>::new().format(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

digest_id! {
    /// SHA-256 (single) of the 80 header bytes that the miner hashed; written as lower-case hex.
    /// A replay has the same id wherever it is sent.
    ShareId[32]
}
digest_id! {
    /// Joins a `share_accepted` to its `share_forward_result`; written as lower-case hex.
    EventId[32]
}
digest_id! {
    /// Names the job data that a forwarded share needs: a digest of that data, so equal names
    /// always mean equal data, also after a restart.
    JobRef[16]
}

impl ShareId {
    /// The id of the share with this serialized header.
    pub fn of_header(header: &[u8; 80]) -> Self {
        Self(sha256(&[header]))
    }

    /// The hash of that header, in internal byte order: Bitcoin's second round over the first.
    pub(crate) fn header_hash(self) -> [u8; 32] {
        sha256(&[&self.0])
    }
}

impl EventId {
    /// The id of the `sequence`-th submission of this process.
    ///
    /// `share_id` is absent when no header could be rebuilt from the submission; 32 zero bytes then
    /// take its place.
    pub fn new(
        instance: &InstanceId,
        share_id: Option<ShareId>,
        channel_id: ChannelId,
        sequence: u64,
    ) -> Self {
        let name = instance.as_str().as_bytes();
        let share = share_id.map_or([0; 32], |id| id.0);
        Self(sha256(&[
            &(name.len() as u64).to_le_bytes(),
            name,
            &share,
            &channel_id.0.to_le_bytes(),
            &sequence.to_le_bytes(),
        ]))
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Names it `text`.
            pub fn new(text: &str) -> Self {
                Self(text.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// Whom a share is credited to: the `user_identity` of its channel without any secret.
    WorkerId
}
text! {
    /// This gateway among its siblings (`gateway.gateway_instance_id`).
    InstanceId
}

/// SHA-256 over the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}

/// Double SHA-256 over the parts, one after the other: Bitcoin's hash of headers, transactions and
/// merkle nodes.
pub(crate) fn sha256d(parts: &[&[u8]]) -> [u8; 32] {
    sha256(&[&sha256(parts)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_differ_in_each_ingredient() {
        let id = |name: &str, share: u8, channel, sequence| {
            EventId::new(
                &InstanceId::new(name),
                Some(ShareId([share; 32])),
                ChannelId(channel),
                sequence,
            )
        };
        let reference = id("gw", 1, 2, 3);
        assert_eq!(reference, id("gw", 1, 2, 3));
        for other in [id("gx", 1, 2, 3), id("gw", 2, 2, 3), id("gw", 1, 3, 3), id("gw", 1, 2, 4)] {
            assert_ne!(reference, other);
        }
    }

    #[test]
    fn share_id_is_one_round_of_sha256_in_hex() {
        // Independently: `head -c 80 /dev/zero | sha256sum`.
        assert_eq!(
            ShareId::of_header(&[0; 80]).to_string(),
            "5b6fb58e61fa475939767d68a446f97f1bff02c0e5935a3ea8bb51e6515783d8"
        );
    }
}
