//! From a block template to work for miners, and back to a block.

mod coinbase;
mod merkle;
mod template;
#[cfg(test)]
mod tests;
mod work;

pub use coinbase::{Coinbase, CoinbaseSpec, PayoutOutput};
pub use merkle::{merkle_path, merkle_root};
pub use template::{Template, TemplateTransaction};
pub(crate) use work::Header;
pub use work::{BuildError, Declared, JobData, Work};
