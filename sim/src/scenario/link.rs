//! Hosts and the links between them, as scenarios name them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::reader::unknown;

/// The hosts of a world. `miners` stands for every miner; `verifier-2` is there where
/// `topology.verifiers` is 2.
pub const HOSTS: [&str; 7] =
    ["bitcoind", "gateway", "miners", "pool", "templates", "verifier", SECOND_VERIFIER];

/// The verifier that not every world has.
pub const SECOND_VERIFIER: &str = "verifier-2";

/// A link between hosts, in one direction or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Link {
    /// One end, where the bytes come from.
    pub from: String,
    /// The other end.
    pub to: String,
    /// Whether the opposite direction is meant as well.
    pub both: bool,
}

impl Link {
    /// Reads `gateway->verifier` or `gateway<->verifier`.
    ///
    /// # Errors
    /// Text that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (from, to, both) = if let Some((from, to)) = text.split_once("<->") {
            (from, to, true)
        } else if let Some((from, to)) = text.split_once("->") {
            (from, to, false)
        } else {
            return Err(format!("\"{text}\" is no link; write a->b or a<->b"));
        };
        for end in [from, to] {
            known_host(end)?;
        }
        Ok(Self { from: from.to_owned(), to: to.to_owned(), both })
    }

    /// Whether the host is one of its ends.
    pub fn touches(&self, host: &str) -> bool {
        self.from == host || self.to == host
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.both { "<->" } else { "->" };
        write!(f, "{}{arrow}{}", self.from, self.to)
    }
}

impl TryFrom<String> for Link {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Link> for String {
    fn from(link: Link) -> Self {
        link.to_string()
    }
}

pub(super) fn known_host(name: &str) -> Result<(), String> {
    if HOSTS.contains(&name) {
        Ok(())
    } else {
        Err(format!("host \"{name}\" {}", unknown(name, HOSTS.into_iter())))
    }
}
