//! Transactions that are named instead of sent.

use crate::{KnownTransaction, MAX_KNOWN_PER_LINE, Message, ProposalId, TxKnown, encode};

/// Length of one record on the wire: place and id.
const RECORD_BYTES: usize = 36;

/// The `tx_known` lines that name `transactions`, each with its newline.
pub fn known_lines(
    proposal_id: ProposalId,
    transactions: &[KnownTransaction],
) -> impl Iterator<Item = Vec<u8>> {
    transactions.chunks(MAX_KNOWN_PER_LINE).zip(0..).map(move |(some, index)| {
        let transactions = some.to_vec();
        encode(&Message::TxKnown(TxKnown { proposal_id, index, transactions }))
    })
}

/// Records in base64.
pub(crate) mod records {
    use serde::de::{Deserializer, Error};
    use serde::ser::Serializer;

    use super::{KnownTransaction, RECORD_BYTES};
    use crate::base64_bytes;

    pub(crate) fn serialize<S: Serializer>(
        transactions: &[KnownTransaction],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(transactions.len() * RECORD_BYTES);
        for known in transactions {
            bytes.extend_from_slice(&known.place.to_le_bytes());
            bytes.extend_from_slice(&known.wtxid);
        }
        base64_bytes::serialize(&bytes, to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<KnownTransaction>, D::Error> {
        let bytes = base64_bytes::deserialize(from)?;
        let (records, rest) = bytes.as_chunks::<RECORD_BYTES>();
        if !rest.is_empty() {
            let length = bytes.len();
            return Err(D::Error::custom(format!("{length} bytes are no {RECORD_BYTES}s")));
        }
        Ok(records.iter().map(read).collect())
    }

    fn read(record: &[u8; RECORD_BYTES]) -> KnownTransaction {
        let (place, wtxid) = record.split_at(4);
        KnownTransaction {
            place: u32::from_le_bytes(place.try_into().expect("four bytes")),
            wtxid: wtxid.try_into().expect("the other 32 bytes"),
        }
    }
}
