//! The workflow's state `Alert`, and the target of the rule `sorry-alerts`: tells security.
//!
//! Before a grant it fails closed: when the alert cannot be sent, or nobody would receive it, the workflow grants nothing.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sorry_policy::SessionId;
use sorry_session::{
    ErrorCode, Session, State, StepError,
    decision::spoken,
    events::{SESSION_EVENT, SWEEP_HELD_EVENT},
    ports::{Alerts, PortError, SessionStore},
};

/// What arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// The workflow is about to grant a session.
    Workflow {
        /// Which session.
        session_id: SessionId,
        /// What happens to it.
        moment: Moment,
    },
    /// An event on the bus that is marked for security.
    Event {
        /// The kind of event.
        #[serde(rename = "detail-type")]
        detail_type: String,
        /// The event.
        detail: Value,
    },
}

/// What happens to a session, as the workflow says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// It is about to be granted.
    Granting,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Subscribers that had confirmed when the alert was sent.
    pub subscribers: u64,
}

/// An e-mail's subject is at most this long. Source: SNS Publish, Subject.
const LONGEST_SUBJECT: usize = 100;

/// Sends what `input` calls for.
///
/// # Errors
/// [`ErrorCode::NoSubscriber`] when nobody has confirmed, [`ErrorCode::AlertUndeliverable`] when the topic refuses the alert,
/// [`ErrorCode::Superseded`] when the session is no longer to be granted.
pub async fn alert(
    store: &impl SessionStore,
    alerts: &impl Alerts,
    input: &Input,
) -> Result<Output, StepError> {
    let (subject, message) = match input {
        Input::Workflow { session_id, moment: Moment::Granting } => {
            let session = store.load(session_id).await?;
            let session = session.ok_or_else(|| {
                StepError::new(ErrorCode::NotFound, format!("there is no session `{session_id}`"))
            })?;
            if session.state != State::Requested {
                let message = format!("session `{session_id}` is {}, and not to be granted", session.state);
                return Err(StepError::new(ErrorCode::Superseded, message));
            }
            granting(&session)
        }
        Input::Event { detail_type, detail } => happened(detail_type, detail),
    };
    let undeliverable = |error: PortError| {
        let message = format!("the alert could not be sent: {error}");
        match error {
            // Worth another try, which the workflow makes; it grants nothing until one succeeds.
            PortError::Throttled(_) | PortError::Unavailable(_) => {
                StepError::new(StepError::from(error).code, message)
            }
            PortError::Refused(_) | PortError::UnknownPrincipal(_) | PortError::Unreadable(_) => {
                StepError::new(ErrorCode::AlertUndeliverable, message)
            }
        }
    };
    let subscribers = alerts.confirmed_subscribers().await.map_err(undeliverable)?;
    if subscribers == 0 {
        return Err(StepError::new(ErrorCode::NoSubscriber, "nobody has subscribed to the alert topic"));
    }
    alerts.send(&subject, &message).await.map_err(undeliverable)?;
    Ok(Output { subscribers })
}

fn granting(session: &Session) -> (String, String) {
    let window = session.expires_at.duration_since(session.requested_at).unsigned_abs();
    let subject = subject(&format!("{} session for {}", session.tier, session.person));
    let message = format!(
        "A {tier} session is about to be granted.\n\n\
         session:   {id}\n\
         person:    {person}\n\
         caller:    {arn}\n\
         from:      {address}\n\
         reason:    {reason}\n\
         for:       {window}, until {expires_at}\n\
         role:      {role}\n\n\
         To end it: sorry revoke {id}\n",
        tier = session.tier,
        id = session.session_id,
        person = session.person,
        arn = session.caller.arn,
        address = session.caller.source_address.as_deref().unwrap_or("unknown"),
        reason = session.reason.as_deref().unwrap_or("none given"),
        window = spoken(window),
        expires_at = session.expires_at,
        role = session.role_name,
    );
    (subject, message)
}

fn happened(detail_type: &str, detail: &Value) -> (String, String) {
    let text = |name: &str| detail.get(name).and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let headline = match detail_type {
        SESSION_EVENT => format!("{} session of {} is {}", text("tier"), text("person"), text("state")),
        SWEEP_HELD_EVENT => "the sweep holds: somebody must look".to_owned(),
        other => other.to_owned(),
    };
    let hint = match (detail_type, text("state").as_str()) {
        (SESSION_EVENT, "CLEAN_UP_FAILED") => {
            "Something of it is left; every sweep tries again. The function's log says why.\n"
        }
        (SESSION_EVENT, "PENDING_APPROVAL") => {
            "Somebody else must decide: sorry approve <session>, or sorry deny <session>; what waits for you: sorry list --awaiting-me\n"
        }
        (SESSION_EVENT, "ACTIVE") if asks_for_a_later_end(detail) => {
            "Somebody else must decide on its later end: sorry approve <session> --until <extending_to>, or sorry deny with the same\n"
        }
        (SWEEP_HELD_EVENT, _) => {
            "What it holds: sorry admin sweep\nTo let that go once you have looked: sorry admin sweep --confirm\n"
        }
        _ => "",
    };
    let pretty = serde_json::to_string_pretty(detail).unwrap_or_default();
    (subject(&headline), format!("{headline}\n{hint}\n{pretty}\n"))
}

/// Whether what the event tells of is an extension that waits for others.
fn asks_for_a_later_end(detail: &Value) -> bool {
    detail.get("extension").is_some_and(|extension| {
        extension.get("approval").is_some()
            && extension.get("decided_at").is_none()
            && extension.get("settled").is_none()
    })
}

fn subject(text: &str) -> String {
    format!("sorry: {text}")
        .chars()
        .filter(|character| character.is_ascii() && !character.is_control())
        .take(LONGEST_SUBJECT)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_senders_are_understood() {
        let id = "0123456789abcdef";
        let workflow = json!({"session_id": id, "moment": "granting"});
        assert!(matches!(serde_json::from_value(workflow).unwrap(), Input::Workflow { .. }));
        let event = json!({"source": "sorry", "detail-type": "Sweep Held", "detail": {"alert": true}});
        assert!(matches!(serde_json::from_value(event).unwrap(), Input::Event { .. }));
        assert!(serde_json::from_value::<Input>(json!({"session_id": id, "moment": "lunch"})).is_err());
    }

    #[test]
    fn subjects_are_what_sns_takes() {
        let (subject, message) =
            happened(SESSION_EVENT, &json!({"tier": "é\n".repeat(200), "state": "CLEAN_UP_FAILED"}));
        assert!(subject.len() <= LONGEST_SUBJECT && subject.is_ascii() && !subject.contains('\n'));
        assert!(message.contains("every sweep tries again"));
    }

    #[test]
    fn approvers_are_told_how_to_name_a_later_end_while_it_waits() {
        let told = |extension: serde_json::Value| {
            let detail = json!({"tier": "admin", "state": "ACTIVE", "extension": extension});
            happened(SESSION_EVENT, &detail).1.contains("--until")
        };
        let waits = json!({"extending_to": "2026-01-02T18:00:00Z", "approval": {"needed": 1}});
        assert!(told(waits.clone()));
        for settled in ["decided_at", "settled"] {
            let mut over = waits.clone();
            over[settled] = json!("2026-01-02T17:00:00Z");
            assert!(!told(over), "{settled}");
        }
        assert!(!told(json!({"extending_to": "2026-01-02T18:00:00Z"})));
    }
}
