//! What the binary does beside serving.

pub(crate) mod companions;
pub(crate) mod files;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod top;
mod view;
