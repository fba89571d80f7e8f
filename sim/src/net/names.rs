//! Names of links, as scenarios write them, and the links of a world.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::link::{Link, LinkConfig};

/// A host's place in the world's list of hosts.
pub(crate) type HostId = usize;

/// Why a link cannot be meant.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Neither `a->b` nor `a<->b`.
    #[error("\"{0}\" names no link; write \"from->to\" or \"one<->other\"")]
    Malformed(String),
    /// Two hosts are meant that do not both exist.
    #[error("\"{0}\" matches no two hosts; the hosts are {1}")]
    NoSuchLink(String, String),
}

/// Which links are meant: `gateway->verifier` (one direction), `gateway<->verifier` (both), with
/// `*` standing for any part of a name; `*` alone is every link between two hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkName {
    from: String,
    to: String,
    both: bool,
}

impl FromStr for LinkName {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (one, other, both) = if text == "*" {
            ("*", "*", true)
        } else if let Some((one, other)) = text.split_once("<->") {
            (one, other, true)
        } else if let Some((from, to)) = text.split_once("->") {
            (from, to, false)
        } else {
            return Err(LinkError::Malformed(text.to_owned()));
        };
        let valid = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*'))
        };
        let (one, other) = (one.trim(), other.trim());
        if !valid(one) || !valid(other) {
            return Err(LinkError::Malformed(text.to_owned()));
        }
        Ok(Self { from: one.to_owned(), to: other.to_owned(), both })
    }
}

impl LinkName {
    /// Whether the direction between two hosts of these names is meant.
    pub fn matches(&self, from: &str, to: &str) -> bool {
        (glob(&self.from, from) && glob(&self.to, to))
            || (self.both && glob(&self.from, to) && glob(&self.to, from))
    }
}

fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((prefix, rest)) => name.strip_prefix(prefix).is_some_and(|tail| {
            (0..=tail.len()).any(|cut| tail.is_char_boundary(cut) && glob(rest, &tail[cut..]))
        }),
    }
}

type Change = Box<dyn Fn(&mut LinkConfig) + Send>;

/// All links, made when they are first needed from the changes that were asked for so far.
#[derive(Default)]
pub(crate) struct Links {
    hosts: Vec<String>,
    changes: Vec<(LinkName, Change)>,
    links: BTreeMap<(HostId, HostId), Link>,
}

impl Links {
    pub(crate) fn add_host(&mut self, name: &str) {
        self.hosts.push(name.to_owned());
    }

    pub(crate) fn at(&mut self, from: HostId, to: HostId) -> &mut Link {
        let Self { hosts, changes, links } = self;
        links.entry((from, to)).or_insert_with(|| {
            if from == to {
                return Link::new(LinkConfig::loopback());
            }
            let mut config = LinkConfig::default();
            for (name, change) in changes.iter() {
                if name.matches(&hosts[from], &hosts[to]) {
                    change(&mut config);
                }
            }
            Link::new(config)
        })
    }

    /// Changes the links of that name, also those of hosts that join later.
    pub(crate) fn change(&mut self, name: LinkName, change: Change) {
        for (&(from, to), link) in &mut self.links {
            if from != to && name.matches(&self.hosts[from], &self.hosts[to]) {
                change(&mut link.config);
            }
        }
        self.changes.push((name, change));
    }

    /// The directions that exist under a name.
    pub(crate) fn find(&self, text: &str) -> Result<Vec<(HostId, HostId)>, LinkError> {
        let name: LinkName = text.parse()?;
        let mut found = Vec::new();
        for (from, from_name) in self.hosts.iter().enumerate() {
            for (to, to_name) in self.hosts.iter().enumerate() {
                if from != to && name.matches(from_name, to_name) {
                    found.push((from, to));
                }
            }
        }
        if found.is_empty() {
            return Err(LinkError::NoSuchLink(text.to_owned(), self.hosts.join(", ")));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("gateway->verifier", "gateway", "verifier", true)]
    #[case("gateway->verifier", "verifier", "gateway", false)]
    #[case("gateway<->verifier", "verifier", "gateway", true)]
    #[case("miner-*->gateway", "miner-07", "gateway", true)]
    #[case("miner-*->gateway", "pool", "gateway", false)]
    #[case("*->*way*", "pool", "gateway-2", true)]
    #[case("*", "pool", "gateway", true)]
    fn names_match_directions(
        #[case] name: &str,
        #[case] from: &str,
        #[case] to: &str,
        #[case] matches: bool,
    ) {
        assert_eq!(name.parse::<LinkName>().unwrap().matches(from, to), matches);
    }

    #[rstest]
    #[case("gateway")]
    #[case("->gateway")]
    #[case("a b->c")]
    #[case("a->b->c")]
    fn other_text_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<LinkName>(), Err(LinkError::Malformed(text.to_owned())));
    }
}
