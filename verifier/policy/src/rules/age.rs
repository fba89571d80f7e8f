//! How old the template is.

use verifier_protocol::VerdictCode;

use crate::{Rejection, TemplateFacts, TemplateRules};

pub(crate) fn judge(rules: &TemplateRules, facts: &TemplateFacts) -> Result<(), Rejection> {
    if facts.age_ms > rules.max_template_age_secs * 1000 {
        return Err(Rejection::new(
            VerdictCode::TemplateTooOld,
            format!(
                "age_ms={} > max_template_age_secs={}",
                facts.age_ms, rules.max_template_age_secs
            ),
        ));
    }
    Ok(())
}
