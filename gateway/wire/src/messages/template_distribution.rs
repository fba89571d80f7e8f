//! The template distribution protocol (specification 7).

use crate::bytes::{B016M, B064K, B0255, Str0255};
use crate::field::U256;
use crate::message::messages;
use crate::seq::{Seq064K, Seq0255};

messages! {
    extension 0;

    /// The client says how much its coinbase outputs will take; the first message after set-up.
    CoinbaseOutputConstraints = 0x70 connection {
        /// Bytes of outputs that the client may add.
        coinbase_output_max_additional_size: u32,
        /// Signature operations that those outputs may have.
        coinbase_output_max_additional_sigops: u16,
    }

    /// A block template without its transactions.
    NewTemplate<'a> = 0x71 connection {
        /// Strictly increasing.
        template_id: u64,
        /// Whether the template is for a tip yet to be announced.
        future_template: bool,
        /// Block header version.
        version: u32,
        /// Version of the coinbase transaction.
        coinbase_tx_version: u32,
        /// Start of the coinbase's input script; the specification allows 8 bytes.
        coinbase_prefix: B0255<'a>,
        /// Sequence of the coinbase's input.
        coinbase_tx_input_sequence: u32,
        /// Satoshis left for the client's outputs.
        coinbase_tx_value_remaining: u64,
        /// Number of outputs in the next field.
        coinbase_tx_outputs_count: u32,
        /// Outputs to put after the client's own, without a count in front.
        coinbase_tx_outputs: B064K<'a>,
        /// Lock time of the coinbase transaction.
        coinbase_tx_locktime: u32,
        /// Siblings on the way from the coinbase to the root, deepest first.
        merkle_path: Seq0255<'a, U256>,
    }

    /// A new tip: the named future template is now the one to work on.
    SetNewPrevHash = 0x72 connection {
        /// The template.
        template_id: u64,
        /// Hash of the tip in internal byte order.
        prev_hash: U256,
        /// Time to start headers from, unix seconds. Not the lowest allowed.
        header_timestamp: u32,
        /// Compact target of the network.
        n_bits: u32,
        /// Target at which solutions are wanted; may be easier than `n_bits`.
        target: U256,
    }

    /// The client asks for a template's transactions.
    RequestTransactionData = 0x73 connection {
        /// The template.
        template_id: u64,
    }

    /// The server sends a template's transactions.
    RequestTransactionDataSuccess<'a> = 0x74 connection {
        /// The template.
        template_id: u64,
        /// Opaque.
        excess_data: B064K<'a>,
        /// The transactions in block order, without the coinbase.
        transaction_list: Seq064K<'a, B016M<'a>>,
    }

    /// The server does not send a template's transactions.
    RequestTransactionDataError<'a> = 0x75 connection {
        /// The template.
        template_id: u64,
        /// The cause.
        error_code: Str0255<'a>,
    }

    /// The client solved a template.
    SubmitSolution<'a> = 0x76 connection {
        /// The template.
        template_id: u64,
        /// Version of the header.
        version: u32,
        /// Time of the header, unix seconds.
        header_timestamp: u32,
        /// Nonce of the header.
        header_nonce: u32,
        /// The whole coinbase transaction, with witness.
        coinbase_tx: B064K<'a>,
    }
}
