//! Errors for people.

use std::error::Error;

/// The error and its causes on one line, each said once: many errors quote their cause already.
pub fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("log.path: {0}")]
        Quoting(#[source] std::io::Error),
        #[error("the log cannot be opened")]
        Silent(#[source] std::io::Error),
    }

    #[test]
    fn each_cause_is_said_once() {
        let disk = || std::io::Error::other("disk on fire");
        assert_eq!(in_full(&Outer::Quoting(disk())), "log.path: disk on fire");
        assert_eq!(in_full(&Outer::Silent(disk())), "the log cannot be opened: disk on fire");
    }
}
