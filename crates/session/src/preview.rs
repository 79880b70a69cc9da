//! What a granted request would come to, before anything exists: the same session and the same plan as the real one, with
//! placeholders where only a real session has a value. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use sorry_policy::{ExternalId, ProjectName, SessionId, TierTable, Variables, render};

use crate::{
    CallerEntry, ErrorCode, Session, StepError,
    decision::Terms,
    provision::{GrantPlan, Place, ProvisionPlan, STANDING_PATH, UserProvisionPlan, plan_grant},
};

/// Stands for the session's id.
pub const SESSION_PLACEHOLDER: &str = "<session>";
/// Stands for the beginning of the session's id, in the name of its role.
pub const SHORT_SESSION_PLACEHOLDER: &str = "<first 8 of session>";
/// Stands for the external id, which is drawn with the session and shown to its owner alone.
pub const EXTERNAL_ID_PLACEHOLDER: &str = "<external id>";

/// What a request would come to.
#[derive(Debug)]
pub struct Preview {
    /// What the decision rests on.
    pub rule: String,
    /// The session, if it began now. Its ids are those that were drawn for the preview, and belong to nothing.
    pub session: Session,
    /// What would be written to IAM.
    pub role: PreviewedRole,
}

/// A role or user that would be made, or a standing role as it would be given, with placeholders.
#[derive(Debug)]
pub struct PreviewedRole {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// ARN of its boundary.
    pub boundary_arn: String,
    /// The longest that one set of credentials could be good for.
    pub max_session_seconds: i32,
    /// Its tags.
    pub tags: Vec<(&'static str, String)>,
    /// Who could assume it, and until when; nobody could assume a user, and a standing role only the service.
    pub trust_policy: Option<Value>,
    /// What it could do, and until when.
    pub access_policy: Value,
}

/// The statements of a tier in the corner of a caller, with placeholders: what a session of it is allowed, but for its end.
///
/// # Errors
/// When the tier's template cannot be filled.
pub fn rendered_tier(
    template: &str,
    entry: &CallerEntry,
    project: Option<&ProjectName>,
    session_id: &SessionId,
    place: &Place,
) -> Result<Value, StepError> {
    let variables = Variables {
        namespace: &entry.namespace,
        project,
        session: session_id,
        account: &place.account,
        region: &place.region,
        partition: &place.partition,
    };
    let statements = render(template, &variables)
        .map_err(|error| StepError::new(ErrorCode::Internal, error.to_string()))?;
    let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    parsed(&text.replace(session_id.as_str(), SESSION_PLACEHOLDER))
}

/// Looks ahead. The ids must be random: where they stand in a document is found by looking for them.
///
/// # Errors
/// Those of [`plan`].
pub fn preview(
    terms: Terms,
    session_id: SessionId,
    external_id: ExternalId,
    now: Timestamp,
    tiers: &TierTable,
    place: &Place,
) -> Result<Preview, StepError> {
    let rule = terms.rule().to_owned();
    let session = terms.session(session_id, external_id, now).session;
    let planned = plan_grant(&session, tiers, place)?;
    let role = previewed(planned, &session)?;
    Ok(Preview { rule, role, session })
}

fn previewed(plan: GrantPlan, session: &Session) -> Result<PreviewedRole, StepError> {
    let longest = i32::try_from(session.window().as_secs()).unwrap_or(i32::MAX);
    let (name, path, boundary_arn, max_session_seconds, tags, trust_policy, access_policy) = match plan {
        GrantPlan::Role(plan) => {
            let ProvisionPlan { role, access_policy } = *plan;
            let trust = Some(document(&role.trust_policy, session)?);
            let access = document(&access_policy, session)?;
            (role.name, role.path, role.boundary_arn, role.max_session_seconds, role.tags, trust, access)
        }
        GrantPlan::User(plan) => {
            let UserProvisionPlan { user, expiry_policy, policy } = *plan;
            // Two documents, as they are decided on: together.
            let mut access = document(&policy.document, session)?;
            let expiry = document(&expiry_policy, session)?;
            if let (Some(all), Some(end)) =
                (access.get_mut("Statement").and_then(Value::as_array_mut), expiry.get("Statement"))
            {
                all.extend(end.as_array().into_iter().flatten().cloned());
            }
            (user.name, user.path, user.boundary_arn, longest.max(900), user.tags, None, access)
        }
        GrantPlan::Standing(plan) => {
            let access = document(&plan.session_policy, session)?;
            let plan = *plan;
            (
                plan.name,
                STANDING_PATH.to_owned(),
                plan.boundary_arn,
                longest.clamp(900, 3_600),
                plan.tags,
                None,
                access,
            )
        }
    };
    Ok(PreviewedRole {
        name: name.as_str().replace(session.session_id.short(), SHORT_SESSION_PLACEHOLDER),
        path,
        boundary_arn,
        max_session_seconds,
        tags: tags.into_iter().map(|(key, value)| (key, replaced(&value, session))).collect(),
        trust_policy,
        access_policy,
    })
}

fn replaced(text: &str, session: &Session) -> String {
    text.replace(session.session_id.as_str(), SESSION_PLACEHOLDER)
        .replace(session.external_id.as_str(), EXTERNAL_ID_PLACEHOLDER)
}

fn document(text: &str, session: &Session) -> Result<Value, StepError> {
    parsed(&replaced(text, session))
}

/// Neither the ids nor the placeholders hold anything that JSON escapes.
fn parsed(text: &str) -> Result<Value, StepError> {
    serde_json::from_str(text)
        .map_err(|error| StepError::new(ErrorCode::Internal, format!("a planned document: {error}")))
}
