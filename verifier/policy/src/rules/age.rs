//! How old the template is.

use verifier_protocol::VerdictCode;

use super::Rule;

pub(super) const AGE: Rule = Rule {
    code: VerdictCode::TemplateTooOld,
    objection: |on| {
        let (age, limit) = (on.facts.age_ms, on.rules.max_template_age_secs);
        (age > limit * 1000).then(|| format!("age_ms={age} > max_template_age_secs={limit}"))
    },
    input: |on| format!("age_ms={}", on.facts.age_ms),
    limit: |on| format!("max_template_age_secs={}", on.rules.max_template_age_secs),
};
