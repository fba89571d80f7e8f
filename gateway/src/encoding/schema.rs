//! The form of each event: the table behind the reference page and the JSON schema.

/// One kind of event.
pub(crate) struct EventSchema {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    /// Name, kind (as the HTTP schemas have them; `~` before it: may be absent) and meaning.
    pub(crate) fields: &'static [(&'static str, &'static str, &'static str)],
}

type Field = (&'static str, &'static str, &'static str);

const TIMESTAMP: Field = ("timestamp_ms", "integer", "when, Unix milliseconds");

/// Every event, in the order of the contract.
#[rustfmt::skip] // One line a field.
pub(crate) const EVENTS: &[EventSchema] = &[
    EventSchema {
        name: "share_accepted",
        meaning: "A submission was answered; one for each, whatever the answer.",
        fields: &[
            ("share_id", "string?", "SHA-256 of the header that the miner hashed; null when none could be rebuilt"),
            ("event_id", "string", "joins the event to its share_forward_result"),
            ("channel_id", "integer", "as submitted"),
            ("job_id", "integer", "as submitted"),
            ("worker_id", "string?", "whom it is credited to; null when the connection owns no such channel"),
            ("miner_id", "integer", "the connection"),
            ("validation_level", "string", "basic, full or enhanced"),
            ("sv2_response", "string", "success or error"),
            ("reason_code", "~string", "why not; only with error"),
            ("fee_tier", "string?", "the tier that the verifier judged the template in"),
            ("difficulty_target", "number?", "difficulty of the target that the job was issued with"),
            TIMESTAMP,
            ("gateway_instance_id", "string", "this gateway"),
        ],
    },
    EventSchema {
        name: "share_forward_result",
        meaning: "An accepted share reached its end; exactly one for each share_accepted with success.",
        fields: &[
            ("share_id", "string", "the share"),
            ("event_id", "string", "that of its share_accepted"),
            ("forwarded", "boolean", "whether the pool has answered for it"),
            ("upstream_accepted", "boolean?", "the pool's judgement"),
            ("upstream_http_status", "integer?", "the last HTTP status"),
            ("upstream_error", "string?", "the pool's own words"),
            ("error_detail", "string?", "what went wrong on the way"),
            ("reason_code", "string?", "null when the pool accepted it"),
            TIMESTAMP,
            ("attempts", "integer", "how often it was sent"),
        ],
    },
    EventSchema {
        name: "template_verdict",
        meaning: "A template was judged.",
        fields: &[
            ("template_id", "integer", "the template"),
            ("height", "integer", "of the block"),
            ("prev_hash", "string", "the tip it builds on"),
            ("mode", "string", "the mode it was judged in"),
            ("accepted", "boolean", "whether it may be mined"),
            ("reason_code", "string", "ok, or the verdict's code"),
            ("reason_detail", "string?", "the figures behind it"),
            ("policy_context", "object?", "fee_tier and min_avg_fee_used"),
            ("warnings", "[]string", "advisories"),
            ("checks", "object", "each check with its outcome"),
            ("policy_hash", "string?", "the policy that judged"),
            ("judged_in_us", "integer?", "how long the verifier took"),
            ("latency_ms", "number", "from proposal to verdict"),
            TIMESTAMP,
        ],
    },
    EventSchema {
        name: "prevhash_switch",
        meaning: "A change of tip ended, one way or another. Stage times count from the tip's first template.",
        fields: &[
            ("prev_hash", "string", "the new tip"),
            ("previous_prev_hash", "string?", "the tip that miners were on"),
            ("height", "integer", "of the block being mined on the new tip"),
            ("template_id", "integer?", "the template that was published, or the last pending"),
            ("mode", "string", "the mode at the end"),
            ("outcome", "string", "switched, rejected, superseded or disconnected"),
            ("reason_code", "string?", "why it ended badly"),
            ("observed_at_ms", "integer", "when the template source saw the tip"),
            ("tip_seen_at_ms", "integer", "when its first template reached the gateway"),
            ("verdict_after_ms", "number?", "first accepting verdict"),
            ("held_after_ms", "number?", "start of the hold"),
            ("ended_after_ms", "number", "the end"),
            TIMESTAMP,
        ],
    },
    EventSchema {
        name: "connection_closed",
        meaning: "A miner connection ended.",
        fields: &[
            ("miner_id", "integer", "the connection"),
            ("reason_code", "string?", "null when the miner left of its own accord"),
            ("detail", "string", "what happened, for people"),
            ("prev_hash", "string?", "the tip it was working on"),
            ("duration_ms", "number", "how long it lasted"),
            TIMESTAMP,
        ],
    },
    EventSchema {
        name: "block_found",
        meaning: "A share met the network target, and the nodes answered.",
        fields: &[
            ("hash", "string", "the block"),
            ("height", "integer", "its height"),
            ("share_id", "string", "the share that made it"),
            ("worker_id", "string", "whom it is credited to"),
            ("accepted", "boolean?", "whether some node took it; null when none could be asked"),
            ("results", "[]string", "each node's answer in words"),
            TIMESTAMP,
        ],
    },
    EventSchema {
        name: "config_reloaded",
        meaning: "The configuration was read again. Values are never told.",
        fields: &[
            ("applied", "boolean", "whether the new one is in force"),
            ("changed", "[]string", "keys whose value changed"),
            ("restart_required", "[]string", "those among them that wait for the next start"),
            ("problems", "[]string", "what was wrong with it"),
            TIMESTAMP,
        ],
    },
    EventSchema {
        name: "mode_changed",
        meaning: "The operator chose another mode.",
        fields: &[("from", "string", "before"), ("to", "string", "from now on"), TIMESTAMP],
    },
    EventSchema {
        name: "log_recovered",
        meaning: "The log could not be written for a while, and no share was acknowledged meanwhile; it can be now.",
        fields: &[
            ("cause", "string", "disk_full or io_error"),
            ("error", "string", "the disk's last answer"),
            ("since_ms", "integer", "since when it could not, Unix milliseconds"),
            ("stalled_ms", "integer", "for how long"),
            TIMESTAMP,
        ],
    },
    EventSchema {
        name: "lagged",
        meaning: "This reader was too slow; seq is that of the last event it missed. Where seq is below what it asked for and nothing is missed, the log no longer has what came after seq, and numbers are given anew. Not in the log.",
        fields: &[("missed", "integer", "how many events")],
    },
];

#[cfg(test)]
mod tests {
    use gateway_core::event::*;
    use gateway_core::ids::*;
    use gateway_core::mode::{Mode, ValidationLevel};
    use gateway_core::prevhash::Verdict;
    use gateway_core::reason::ReasonCode;
    use serde_json::Value;

    use super::*;
    use crate::encoding::encode_fields;

    fn share_samples() -> Vec<Event> {
        let (share_id, event_id) = (ShareId([1; 32]), EventId([2; 32]));
        let share = ShareAccepted {
            share_id: None,
            event_id,
            channel_id: ChannelId(1),
            job_id: JobId(1),
            worker_id: None,
            miner_id: ConnectionId(1),
            validation_level: ValidationLevel::Basic,
            sv2_response: Sv2Response::Error(ReasonCode::ShareRateLimited),
            fee_tier: None,
            difficulty_target: None,
            timestamp_ms: 1,
            gateway_instance_id: InstanceId::new("g"),
        };
        vec![
            Event::ShareAccepted(share.clone()),
            Event::ShareAccepted(ShareAccepted {
                share_id: Some(share_id),
                worker_id: Some(WorkerId::new("w")),
                sv2_response: Sv2Response::Success,
                fee_tier: Some("mid"),
                difficulty_target: gateway_core::target::Difficulty::new(1.5),
                ..share
            }),
            Event::ShareForwardResult(ShareForwardResult {
                share_id,
                event_id,
                forwarded: true,
                upstream_accepted: Some(false),
                upstream_http_status: Some(200),
                upstream_error: Some("stale".to_owned()),
                error_detail: None,
                reason_code: Some(ReasonCode::ShareUpstreamRejected),
                timestamp_ms: 1,
                attempts: 1,
            }),
        ]
    }

    fn other_samples() -> Vec<Event> {
        let hash = bitcoin::constants::genesis_block(bitcoin::Network::Regtest).block_hash();
        let verdict = Verdict { fee_tier: Some("mid"), ..Verdict::default() };
        let (share_id, time) = (ShareId([1; 32]), std::time::Duration::from_millis(3));
        vec![
            Event::TemplateVerdict(TemplateVerdict {
                template_id: TemplateId(1),
                height: 1,
                prev_hash: hash,
                mode: Mode::Inline,
                verdict,
                latency: time,
                timestamp_ms: 1,
            }),
            Event::PrevhashSwitch(PrevhashSwitch {
                prev_hash: hash,
                previous_prev_hash: Some(hash),
                height: 1,
                template_id: None,
                mode: Mode::Inline,
                outcome: SwitchOutcome::Switched,
                reason_code: None,
                observed_at_ms: 1,
                tip_seen_at_ms: 1,
                verdict_after: Some(time),
                held_after: None,
                ended_after: time,
                timestamp_ms: 1,
            }),
            Event::ConnectionClosed(ConnectionClosed {
                miner_id: ConnectionId(1),
                reason_code: None,
                detail: String::new(),
                prev_hash: Some(hash),
                duration: time,
                timestamp_ms: 1,
            }),
            Event::BlockFound(BlockFound {
                hash,
                height: 1,
                share_id,
                worker_id: WorkerId::new("w"),
                accepted: None,
                results: vec!["node: accepted".to_owned()],
                timestamp_ms: 1,
            }),
            Event::ConfigReloaded(ConfigReloaded {
                applied: true,
                changed: vec!["log.sync".to_owned()],
                restart_required: Vec::new(),
                problems: Vec::new(),
                timestamp_ms: 1,
            }),
            Event::ModeChanged(ModeChanged {
                from: Mode::Observe,
                to: Mode::Inline,
                timestamp_ms: 1,
            }),
            Event::LogRecovered(LogRecovered {
                cause: LogFault::DiskFull,
                error: "no space left on device".to_owned(),
                since_ms: 1,
                timestamp_ms: 2,
            }),
        ]
    }

    fn is_of_kind(value: &Value, kind: &str) -> bool {
        if let Some(kind) = kind.strip_suffix('?') {
            return value.is_null() || is_of_kind(value, kind);
        }
        match kind {
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            "number" => value.is_f64(),
            "boolean" => value.is_boolean(),
            "object" => value.is_object(),
            "[]string" => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            other => panic!("unknown kind {other}"),
        }
    }

    #[test]
    fn every_event_has_exactly_the_fields_of_the_table() {
        let mut seen = std::collections::BTreeSet::from(["lagged"]);
        for event in share_samples().into_iter().chain(other_samples()) {
            let event_name = event.name();
            let fields: Value = serde_json::from_str(&encode_fields(&event)).unwrap();
            let fields = fields.as_object().unwrap();
            let schema = EVENTS.iter().find(|schema| schema.name == event_name).unwrap();
            for (name, kind, _) in schema.fields {
                match fields.get(*name) {
                    Some(value) => assert!(
                        is_of_kind(value, kind.trim_start_matches('~')),
                        "{event_name}: {name} = {value} is no {kind}"
                    ),
                    None => assert!(kind.starts_with('~'), "{event_name}: no {name}"),
                }
            }
            let documented = |name: &&String| schema.fields.iter().any(|(field, ..)| field == name);
            let unknown = fields.keys().find(|name| !documented(name));
            assert_eq!(unknown, None, "{event_name}");
            seen.insert(schema.name);
        }
        assert_eq!(seen.len(), EVENTS.len(), "an event has no sample");
    }
}
