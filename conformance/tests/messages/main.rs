//! Every message that both implementations have, made from the same values on both sides: the
//! bytes are equal, and each side decodes the other's bytes to its own message.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // helpers of tests are not marked as tests

mod kinds;

use std::collections::BTreeSet;

use framing_sv2::header::Header;
use parsers_sv2::{AnyMessage, IsSv2Message};
use proptest::prelude::*;
use sv2_wire::{FrameHeader, MESSAGES, Message};

use kinds::*;

/// The id, extension and channel bit of `frame` are those that the reference implementation gives
/// the message, and it reads and writes the payload without a change.
fn check_frame(frame: &[u8]) {
    let header = FrameHeader::decode(*frame.first_chunk().unwrap());
    let payload = &frame[FrameHeader::LEN..];
    let mut scratch = payload.to_vec();
    let their_header = Header::from_bytes(&frame[..FrameHeader::LEN]).unwrap();
    assert_eq!(their_header.payload_length(), payload.len());
    let theirs = AnyMessage::try_from((their_header, scratch.as_mut_slice())).unwrap();
    assert_eq!(theirs.message_type(), header.msg_type);
    assert_eq!(theirs.extension_type(), header.extension_type);
    assert_eq!(theirs.channel_bit(), header.channel_msg);
    assert_eq!(binary_sv2::to_bytes(theirs).unwrap(), payload);
}

/// For each message a test of its name. Fields are listed with the kind of their value, and with
/// both names where the two sides have named them differently.
macro_rules! differential {
    ($($test:ident: $($ours:ident)::+, $($theirs:ident)::+ { $($field:ident: $kind:ty,)* })*) => {$(
        differential!(@one $test: $($ours)::+, $($theirs)::+ { $($field / $field: $kind,)* });
    )*};
    (@one $test:ident: $($ours:ident)::+, $($theirs:ident)::+ { $($field:ident / $other:ident: $kind:ty,)* }) => {
        #[test]
        fn $test() {
            use $($ours)::+ as Ours;
            use $($theirs)::+ as Theirs;
            let config = ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() };
            let bytes = prop::collection::vec(any::<u8>(), 0..3000);
            proptest!(config, |(bytes in bytes)| {
                let mut pool = Pool(&bytes);
                $(let $field = <$kind>::draw(&mut pool);)*
                let ours = Ours { $($field: <$kind>::ours(&$field),)* };
                let theirs = || Theirs { $($other: <$kind>::theirs(&$field),)* };

                let mut frame = Vec::new();
                ours.encode_frame(&mut frame);
                check_frame(&frame);
                let mut from_ours = frame[FrameHeader::LEN..].to_vec();
                let from_theirs = binary_sv2::to_bytes(theirs()).unwrap();
                prop_assert_eq!(&from_ours, &from_theirs);

                let (decoded, tail) = Message::decode(&from_theirs).unwrap();
                prop_assert_eq!(ours, decoded);
                prop_assert!(tail.is_empty());
                let decoded: Theirs = binary_sv2::from_bytes(&mut from_ours).unwrap();
                $(prop_assert_eq!(&decoded.$other, &theirs().$other);)*
            });
        }
    };
}

differential! {
    setup_connection: sv2_wire::common::SetupConnection, common_messages_sv2::SetupConnection {
        protocol: Protocol, min_version: u16, max_version: u16, flags: u32, endpoint_host: Text,
        endpoint_port: u16, vendor: Text, hardware_version: Text, firmware: Text, device_id: Text,
    }
    setup_connection_success: sv2_wire::common::SetupConnectionSuccess,
        common_messages_sv2::SetupConnectionSuccess { used_version: u16, flags: u32, }
    setup_connection_error: sv2_wire::common::SetupConnectionError,
        common_messages_sv2::SetupConnectionError { flags: u32, error_code: Text, }
    channel_endpoint_changed: sv2_wire::common::ChannelEndpointChanged,
        common_messages_sv2::ChannelEndpointChanged { channel_id: u32, }
    reconnect: sv2_wire::common::Reconnect, common_messages_sv2::Reconnect {
        new_host: Text, new_port: u16,
    }

    open_standard_mining_channel: sv2_wire::mining::OpenStandardMiningChannel,
        mining_sv2::OpenStandardMiningChannel {
            request_id: u32, user_identity: Text, nominal_hash_rate: f32, max_target: Hash,
        }
    open_standard_mining_channel_success: sv2_wire::mining::OpenStandardMiningChannelSuccess,
        mining_sv2::OpenStandardMiningChannelSuccess {
            request_id: u32, channel_id: u32, target: Hash, extranonce_prefix: UpTo32,
            group_channel_id: u32,
        }
    open_mining_channel_error: sv2_wire::mining::OpenMiningChannelError,
        mining_sv2::OpenMiningChannelError { request_id: u32, error_code: Text, }
    open_extended_mining_channel: sv2_wire::mining::OpenExtendedMiningChannel,
        mining_sv2::OpenExtendedMiningChannel {
            request_id: u32, user_identity: Text, nominal_hash_rate: f32, max_target: Hash,
            min_extranonce_size: u16,
        }
    open_extended_mining_channel_success: sv2_wire::mining::OpenExtendedMiningChannelSuccess,
        mining_sv2::OpenExtendedMiningChannelSuccess {
            request_id: u32, channel_id: u32, target: Hash, extranonce_size: u16,
            extranonce_prefix: UpTo32, group_channel_id: u32,
        }
    new_mining_job: sv2_wire::mining::NewMiningJob, mining_sv2::NewMiningJob {
        channel_id: u32, job_id: u32, min_ntime: OptionalTime, version: u32, merkle_root: Hash,
    }
    update_channel: sv2_wire::mining::UpdateChannel, mining_sv2::UpdateChannel {
        channel_id: u32, nominal_hash_rate: f32, maximum_target: Hash,
    }
    update_channel_error: sv2_wire::mining::UpdateChannelError, mining_sv2::UpdateChannelError {
        channel_id: u32, error_code: Text,
    }
    close_channel: sv2_wire::mining::CloseChannel, mining_sv2::CloseChannel {
        channel_id: u32, reason_code: Text,
    }
    set_extranonce_prefix: sv2_wire::mining::SetExtranoncePrefix,
        mining_sv2::SetExtranoncePrefix { channel_id: u32, extranonce_prefix: UpTo32, }
    submit_shares_standard: sv2_wire::mining::SubmitSharesStandard,
        mining_sv2::SubmitSharesStandard {
            channel_id: u32, sequence_number: u32, job_id: u32, nonce: u32, ntime: u32,
            version: u32,
        }
    submit_shares_extended: sv2_wire::mining::SubmitSharesExtended,
        mining_sv2::SubmitSharesExtended {
            channel_id: u32, sequence_number: u32, job_id: u32, nonce: u32, ntime: u32,
            version: u32, extranonce: UpTo32,
        }
    submit_shares_success: sv2_wire::mining::SubmitSharesSuccess, mining_sv2::SubmitSharesSuccess {
        channel_id: u32, last_sequence_number: u32, new_submits_accepted_count: u32,
        new_shares_sum: u64,
    }
    submit_shares_error: sv2_wire::mining::SubmitSharesError, mining_sv2::SubmitSharesError {
        channel_id: u32, sequence_number: u32, error_code: Text,
    }
    new_extended_mining_job: sv2_wire::mining::NewExtendedMiningJob,
        mining_sv2::NewExtendedMiningJob {
            channel_id: u32, job_id: u32, min_ntime: OptionalTime, version: u32,
            version_rolling_allowed: bool, merkle_path: MerklePath, coinbase_tx_prefix: UpTo64K,
            coinbase_tx_suffix: UpTo64K,
        }
    set_new_prev_hash: sv2_wire::mining::SetNewPrevHash, mining_sv2::SetNewPrevHash {
        channel_id: u32, job_id: u32, prev_hash: Hash, min_ntime: u32, nbits: u32,
    }
    set_target: sv2_wire::mining::SetTarget, mining_sv2::SetTarget {
        channel_id: u32, maximum_target: Hash,
    }
    set_custom_mining_job_success: sv2_wire::mining::SetCustomMiningJobSuccess,
        mining_sv2::SetCustomMiningJobSuccess { channel_id: u32, request_id: u32, job_id: u32, }
    set_custom_mining_job_error: sv2_wire::mining::SetCustomMiningJobError,
        mining_sv2::SetCustomMiningJobError { channel_id: u32, request_id: u32, error_code: Text, }
    set_group_channel: sv2_wire::mining::SetGroupChannel, mining_sv2::SetGroupChannel {
        group_channel_id: u32, channel_ids: ChannelIds,
    }

    coinbase_output_constraints: sv2_wire::template_distribution::CoinbaseOutputConstraints,
        template_distribution_sv2::CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: u32, coinbase_output_max_additional_sigops: u16,
        }
    new_template: sv2_wire::template_distribution::NewTemplate,
        template_distribution_sv2::NewTemplate {
            template_id: u64, future_template: bool, version: u32, coinbase_tx_version: u32,
            coinbase_prefix: UpTo255, coinbase_tx_input_sequence: u32,
            coinbase_tx_value_remaining: u64, coinbase_tx_outputs_count: u32,
            coinbase_tx_outputs: UpTo64K, coinbase_tx_locktime: u32, merkle_path: MerklePath,
        }
    template_set_new_prev_hash: sv2_wire::template_distribution::SetNewPrevHash,
        template_distribution_sv2::SetNewPrevHash {
            template_id: u64, prev_hash: Hash, header_timestamp: u32, n_bits: u32, target: Hash,
        }
    request_transaction_data: sv2_wire::template_distribution::RequestTransactionData,
        template_distribution_sv2::RequestTransactionData { template_id: u64, }
    request_transaction_data_error: sv2_wire::template_distribution::RequestTransactionDataError,
        template_distribution_sv2::RequestTransactionDataError {
            template_id: u64, error_code: Text,
        }
    submit_solution: sv2_wire::template_distribution::SubmitSolution,
        template_distribution_sv2::SubmitSolution {
            template_id: u64, version: u32, header_timestamp: u32, header_nonce: u32,
            coinbase_tx: UpTo64K,
        }

    request_extensions: sv2_wire::extensions::RequestExtensions, extensions_sv2::RequestExtensions {
        request_id: u16, requested_extensions: Extensions,
    }
    request_extensions_success: sv2_wire::extensions::RequestExtensionsSuccess,
        extensions_sv2::RequestExtensionsSuccess {
            request_id: u16, supported_extensions: Extensions,
        }
    request_extensions_error: sv2_wire::extensions::RequestExtensionsError,
        extensions_sv2::RequestExtensionsError {
            request_id: u16, unsupported_extensions: Extensions, required_extensions: Extensions,
        }
}

differential! {
    @one set_custom_mining_job: sv2_wire::mining::SetCustomMiningJob,
        mining_sv2::SetCustomMiningJob {
            channel_id / channel_id: u32, request_id / request_id: u32,
            mining_job_token / token: UpTo255, version / version: u32, prev_hash / prev_hash: Hash,
            min_ntime / min_ntime: u32, nbits / nbits: u32,
            coinbase_tx_version / coinbase_tx_version: u32,
            coinbase_prefix / coinbase_prefix: UpTo255,
            coinbase_tx_input_n_sequence / coinbase_tx_input_n_sequence: u32,
            coinbase_tx_outputs / coinbase_tx_outputs: UpTo64K,
            coinbase_tx_locktime / coinbase_tx_locktime: u32,
            merkle_path / merkle_path: MerklePath,
        }
}

/// The one message with a sequence of byte strings, from 0 to 70 000 bytes each.
#[test]
fn request_transaction_data_success() {
    let transactions = [vec![], vec![7; 250], vec![9; 70_000]];
    let our_list: Vec<_> =
        transactions.iter().map(|tx| sv2_wire::B016M::new(tx).unwrap()).collect();
    let their_list = transactions.iter().map(|tx| binary_sv2::B016M::new(tx).unwrap()).collect();
    let ours = sv2_wire::template_distribution::RequestTransactionDataSuccess {
        template_id: 5,
        excess_data: sv2_wire::B064K::new(&[1, 2, 3]).unwrap(),
        transaction_list: sv2_wire::Seq064K::new(&our_list).unwrap(),
    };
    let theirs = template_distribution_sv2::RequestTransactionDataSuccess {
        template_id: 5,
        excess_data: binary_sv2::B064K::new(&[1, 2, 3]).unwrap(),
        transaction_list: binary_sv2::Seq064K::new(their_list).unwrap(),
    };
    let mut frame = Vec::new();
    ours.encode_frame(&mut frame);
    check_frame(&frame);
    let mut from_ours = frame[FrameHeader::LEN..].to_vec();
    let from_theirs = binary_sv2::to_bytes(theirs.clone()).unwrap();
    assert_eq!(from_ours, from_theirs);
    let (decoded, tail) = Message::decode(&from_theirs).unwrap();
    assert_eq!(ours, decoded);
    assert!(tail.is_empty());
    let decoded: template_distribution_sv2::RequestTransactionDataSuccess<'_> =
        binary_sv2::from_bytes(&mut from_ours).unwrap();
    assert_eq!(decoded, theirs);
}

/// No message type is known to one side only, job declaration apart.
#[test]
fn both_sides_know_the_same_messages() {
    let ours: BTreeSet<(u16, u8)> =
        MESSAGES.into_iter().flatten().map(|info| (info.extension_type, info.msg_type)).collect();
    let job_declaration = 0x50..=0x60;
    let theirs: BTreeSet<(u16, u8)> = (0..=u8::MAX)
        .filter(|msg_type| !job_declaration.contains(msg_type))
        .filter(|msg_type| {
            parsers_sv2::CommonMessageTypes::try_from(*msg_type).is_ok()
                || parsers_sv2::MiningTypes::try_from(*msg_type).is_ok()
                || parsers_sv2::TemplateDistributionTypes::try_from(*msg_type).is_ok()
        })
        .map(|msg_type| (0, msg_type))
        .chain(
            (0..=u8::MAX)
                .filter(|msg_type| {
                    parsers_sv2::ExtensionsNegotiationTypes::try_from(*msg_type).is_ok()
                })
                .map(|msg_type| (1, msg_type)),
        )
        .collect();
    assert_eq!(ours, theirs);
}
