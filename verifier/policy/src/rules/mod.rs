//! The rules, one module a family.

pub(crate) mod age;
pub(crate) mod coinbase;
pub(crate) mod content;
pub(crate) mod fees;
pub(crate) mod identity;
pub(crate) mod sigops;
pub(crate) mod weight;
