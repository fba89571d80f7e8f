//! The operator's rules for templates.
//!
//! [`Policy::from_toml`] reads `policy.toml` and reports all its problems at once; [`judge`] holds
//! a template's [`TemplateFacts`] against it, and [`explain`] shows every rule with its figures. All are pure: no file, no clock.
#![forbid(unsafe_code)]

mod canonical;
mod explain;
mod facts;
mod judge;
mod model;
mod parse;
mod rules;
pub mod table;

pub use explain::{RuleReport, RuleResult, explain};
pub use facts::TemplateFacts;
pub use judge::{PolicyOutcome, Rejection, judge};
pub use model::{AvgFeeUnit, ConsensusRules, MempoolRules, NodeRules, Policy, TemplateRules};
pub use rules::fees::fee_tier;
