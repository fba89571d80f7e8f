//! What the operator lets the verifier decide.

use std::fmt;
use std::str::FromStr;

/// How the gateway treats miners and verdicts (`gateway.mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// No miner is served; templates are judged and the verdicts recorded.
    Shadow,
    /// Miners are served at once; templates are judged beside it and never gate a job.
    Observe,
    /// A job reaches a miner only after an accepting verdict on its template.
    Inline,
}

impl Mode {
    /// Every mode, in order of strictness.
    pub const ALL: [Self; 3] = [Self::Shadow, Self::Observe, Self::Inline];

    /// The name used in configuration, events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Observe => "observe",
            Self::Inline => "inline",
        }
    }

    /// Whether miners may connect.
    pub const fn serves_miners(self) -> bool {
        !matches!(self, Self::Shadow)
    }

    /// Whether a job needs an accepting verdict.
    pub const fn gates_jobs(self) -> bool {
        matches!(self, Self::Inline)
    }

    /// How deeply shares are checked; `enhanced` is the operator's `share.validation = "enhanced"`.
    pub const fn validation_level(self, enhanced: bool) -> ValidationLevel {
        match (self, enhanced) {
            (Self::Inline, true) => ValidationLevel::Enhanced,
            (Self::Inline, false) => ValidationLevel::Full,
            (Self::Shadow | Self::Observe, _) => ValidationLevel::Basic,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown mode `{0}`; use shadow, observe or inline")]
pub struct UnknownModeError(String);

impl FromStr for Mode {
    type Err = UnknownModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| UnknownModeError(text.to_owned()))
    }
}

/// How deeply a share was checked before its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValidationLevel {
    /// The SV2 checks: channel, job, ntime, version bits, extranonce length, difficulty.
    Basic,
    /// [`Basic`](Self::Basic) and replay detection.
    Full,
    /// [`Full`](Self::Full), and the job is traced to a template whose accepting verdict is still
    /// held, and the coinbase that the miner hashed is rebuilt and compared.
    Enhanced,
}

impl ValidationLevel {
    /// The name used in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Full => "full",
            Self::Enhanced => "enhanced",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for mode in Mode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
        }
        let error = "inlin".parse::<Mode>().unwrap_err();
        assert_eq!(error.to_string(), "unknown mode `inlin`; use shadow, observe or inline");
    }

    #[test]
    fn only_inline_can_be_enhanced() {
        assert_eq!(Mode::Inline.validation_level(true), ValidationLevel::Enhanced);
        assert_eq!(Mode::Inline.validation_level(false), ValidationLevel::Full);
        assert_eq!(Mode::Observe.validation_level(true), ValidationLevel::Basic);
    }
}
