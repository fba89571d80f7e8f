//! What a case is, and what can come of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::bench::Bench;
use crate::client::Counter;

/// How the specification words the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A server that breaks it is at fault.
    Must,
    /// A server that breaks it deviates, perhaps for a reason.
    Should,
}

impl Level {
    /// The word of RFC 2119.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        }
    }
}

/// The part of the catalogue that a case stands in; what `--section` selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Data types, frames and `SetupConnection` (specification 3).
    Overview,
    /// The Noise handshake and transport (specification 4).
    Security,
    /// Opening, updating and closing channels (specification 5).
    Channels,
    /// Jobs, prev-hashes and targets (specification 5).
    Jobs,
    /// Shares and their answers (specification 5).
    Shares,
    /// Extension negotiation and TLVs.
    Extensions,
    /// Deadlines and patience.
    Timing,
    /// Slow, fragmented and half-closed connections.
    Robustness,
}

impl Section {
    /// All, in the order of the catalogue.
    pub const ALL: [Self; 8] = [
        Self::Overview,
        Self::Security,
        Self::Channels,
        Self::Jobs,
        Self::Shares,
        Self::Extensions,
        Self::Timing,
        Self::Robustness,
    ];

    /// The mining protocol's, which `--section mining` stands for.
    pub const MINING: [Self; 3] = [Self::Channels, Self::Jobs, Self::Shares];

    /// The word for `--section`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Security => "security",
            Self::Channels => "channels",
            Self::Jobs => "jobs",
            Self::Shares => "shares",
            Self::Extensions => "extensions",
            Self::Timing => "timing",
            Self::Robustness => "robustness",
        }
    }
}

/// One thing that is tried on a server or a client, and the rule it is judged by.
#[derive(Clone, Copy)]
pub struct Case {
    /// The rule's id and a letter, such as `OV-30a`. Stable.
    pub id: &'static str,
    /// Where the case stands in the catalogue.
    pub section: Section,
    /// Whether the rule binds.
    pub level: Level,
    /// The section of the specification, or the field fact, that the rule comes from.
    pub spec: &'static str,
    /// What the other side has to do, as one sentence.
    pub sentence: &'static str,
    /// Tries it.
    pub run: Body,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.id, self.level.as_str(), self.sentence)
    }
}

/// What tries a case's rule, by whose rule it is.
#[derive(Clone, Copy)]
pub enum Body {
    /// On a server.
    Server(Run),
    /// On a client.
    Client(ClientRun),
}

/// A body that waits for the client's connections.
pub type ClientRun = for<'c> fn(&'c Counter) -> Pin<Box<dyn Future<Output = Judged> + Send + 'c>>;

/// A body for servers. It opens its own connections and leaves none behind.
pub type Run = for<'b> fn(&'b Bench) -> Pin<Box<dyn Future<Output = Judged> + Send + 'b>>;

/// The value of a step, or why the case ends there.
pub type Judged<T = ()> = Result<T, Stop>;

/// Why a case ends before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The server did what the rule forbids, or not what it demands.
    Breach(String),
    /// The rule cannot be tried on this server as it is set up.
    Inapplicable(String),
}

impl Stop {
    /// A breach, in words.
    pub fn breach(text: impl Into<String>) -> Self {
        Self::Breach(text.into())
    }

    /// A case that cannot be tried, in words.
    pub fn inapplicable(text: impl Into<String>) -> Self {
        Self::Inapplicable(text.into())
    }
}

/// Ends the case with a breach unless `holds`.
///
/// # Errors
/// [`Stop::Breach`] with `otherwise`.
pub fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Judged {
    if holds { Ok(()) } else { Err(Stop::Breach(otherwise())) }
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server does what the rule says.
    Pass,
    /// The server breaks a rule that binds.
    Fail(String),
    /// The server breaks a rule that recommends.
    Deviation(String),
    /// The rule could not be tried, and why.
    Skip(String),
}

impl Verdict {
    /// The verdict of a body's end under the case's level.
    pub fn of(judged: Judged, level: Level) -> Self {
        match (judged, level) {
            (Ok(()), _) => Self::Pass,
            (Err(Stop::Inapplicable(reason)), _) => Self::Skip(reason),
            (Err(Stop::Breach(reason)), Level::Must) => Self::Fail(reason),
            (Err(Stop::Breach(reason)), Level::Should) => Self::Deviation(reason),
        }
    }

    /// The word for tables.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "FAIL",
            Self::Deviation(_) => "deviates",
            Self::Skip(_) => "skip",
        }
    }

    /// What was wrong, or why it could not be tried.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Pass => None,
            Self::Fail(reason) | Self::Deviation(reason) | Self::Skip(reason) => Some(reason),
        }
    }
}

/// Declares the cases of one file: id, level, specification section, sentence, and the body as a
/// function, or as a closure that hands parameters to one.
macro_rules! cases {
    ($section:ident: $($rest:tt)*) => {
        $crate::case::cases! { Server $section: $($rest)* }
    };
    ($side:ident $section:ident: $($id:literal $level:ident $spec:literal $sentence:literal $body:expr;)*) => {
        /// The cases of this file, in the order in which they run.
        #[allow(clippy::redundant_closure_call)] // It hands parameters to a shared body.
        pub(crate) const CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            id: $id,
            section: $crate::case::Section::$section,
            level: $crate::case::Level::$level,
            spec: $spec,
            sentence: $sentence,
            run: $crate::case::Body::$side(|bench| Box::pin($body(bench))),
        }),*];
    };
}
pub(crate) use cases;
