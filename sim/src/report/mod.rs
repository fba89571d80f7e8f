//! What a run came to, and how it is shown and compared.

pub mod model;
