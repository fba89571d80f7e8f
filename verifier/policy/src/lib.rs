//! The operator's rules for templates.
