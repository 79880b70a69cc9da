//! The IAM documents of a session: who may use its principal, what that may do and until when, and what ends it early.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{AddressRange, ExternalId, RenderError, SessionId, SourceIdentity};

/// Inline policy with what the tier allows and the date that ends it.
pub const ACCESS_POLICY_NAME: &str = "access";

/// Inline policy that ends a session early. A name of its own, so that no late write of `access` can overwrite it.
pub const REVOKED_POLICY_NAME: &str = "revoked";

/// Inline policy of a session's user with the date that ends it. What the tier allows is in a managed policy of its own, as a user's
/// inline policies hold too little.
pub const EXPIRY_POLICY_NAME: &str = "expiry";

/// Most characters that AWS takes in a role's inline policies together.
/// Source: IAM and STS quotas, "Role inline policies".
const INLINE_LIMIT: usize = 10_240;

/// Most characters that AWS takes in a trust policy. Source: IAM and STS quotas, "Role trust policies".
const TRUST_LIMIT: usize = 2_048;

/// Most characters that AWS takes in a managed policy. Source: IAM and STS quotas, "Managed policies".
const MANAGED_LIMIT: usize = 6_144;

/// Most characters that AWS takes in the session policies of one `AssumeRole`. Source: IAM and STS quotas, "Session policies".
const SESSION_LIMIT: usize = 2_048;

/// Why a document cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The template cannot be filled.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A value of a caller could mean more than itself: a wildcard or a variable.
    #[error("the {0} of the caller holds characters that no name has")]
    NotLiteral(&'static str),
    /// AWS would refuse it for its size.
    #[error("the {document} policy has {size} characters, and AWS takes {limit}")]
    TooLong {
        /// Which document.
        document: &'static str,
        /// Its characters.
        size: usize,
        /// What AWS takes.
        limit: usize,
    },
}

/// What stands in a role's trust policy.
#[derive(Clone, Debug)]
pub struct TrustTerms<'a> {
    /// ARN of the user, or of the assumed-role session, that may assume the role.
    pub caller_arn: &'a str,
    /// The caller's unique id (`aws:userid`): a principal made anew under the same name has another.
    pub caller_unique_id: &'a str,
    /// What the caller must call the role's session, and CloudTrail shows.
    pub role_session_name: &'a str,
    /// The source identity that the caller's credentials carry already. AWS lets nobody change it, so that the session's cannot be
    /// set.
    pub carried: Option<&'a SourceIdentity>,
    /// The handshake that only the session's owner is shown.
    pub external_id: &'a ExternalId,
    /// Becomes the source identity of every credential of the session, if there is none (see `carried`).
    pub session: &'a SessionId,
    /// From this moment the role can no longer be assumed.
    pub expires_at: Timestamp,
    /// Whether the caller must present a device's code.
    pub mfa: bool,
    /// From where alone the role can be assumed; from anywhere if empty.
    pub addresses: &'a [AddressRange],
}

impl TrustTerms<'_> {
    /// The condition on who is behind the caller. What is being set has the key `sts:SourceIdentity`, what was set before
    /// `aws:SourceIdentity`. Source: IAM User Guide, "Monitor and control actions taken with assumed roles".
    fn identity(&self) -> (&'static str, &str) {
        match self.carried {
            Some(carried) => ("aws:SourceIdentity", carried.as_str()),
            None => ("sts:SourceIdentity", self.session.as_str()),
        }
    }
}

/// The trust policy of a session's role.
///
/// # Errors
/// When it is longer than AWS takes, or when what is said of the caller is no plain name.
pub fn trust_policy(terms: &TrustTerms<'_>) -> Result<String, DocumentError> {
    let of_caller = [
        ("ARN", terms.caller_arn),
        ("unique id", terms.caller_unique_id),
        ("session name", terms.role_session_name),
    ];
    if let Some((what, _)) = of_caller.into_iter().find(|(_, text)| !is_literal(text)) {
        return Err(DocumentError::NotLiteral(what));
    }
    let (identity, value) = terms.identity();
    let mut conditions = json!({
        "StringEquals": {
            "aws:userid": terms.caller_unique_id,
            "sts:ExternalId": terms.external_id,
            "sts:RoleSessionName": terms.role_session_name,
            identity: value,
        },
        "DateLessThan": {"aws:CurrentTime": terms.expires_at},
    });
    if terms.mfa {
        // Here and not in the role's policy: what AssumeRole returns carries no MFA context.
        merge(&mut conditions, json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}}));
    }
    if !terms.addresses.is_empty() {
        merge(&mut conditions, json!({"IpAddress": {"aws:SourceIp": terms.addresses}}));
    }
    let principal = json!({"AWS": terms.caller_arn});
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Assume", "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": conditions},
            // Its own statement: the external id is no context of `sts:SetSourceIdentity`, and would never match.
            {
                "Sid": "CarrySession", "Effect": "Allow", "Principal": principal, "Action": "sts:SetSourceIdentity",
                "Condition": {"StringEquals": {"aws:userid": terms.caller_unique_id, identity: value}},
            },
        ],
    });
    fitting("trust", document.to_string(), TRUST_LIMIT)
}

/// The policy `access`: the tier's statements and, in the same write, the date that ends them.
///
/// AWS compares the date at every request, so nothing needs to happen for access to end.
///
/// # Errors
/// When it would leave no room for the policy `revoked`.
pub fn access_policy(statements: Vec<Value>, expires_at: Timestamp) -> Result<String, DocumentError> {
    let text = until(statements, expires_at);
    fitting("access", text, INLINE_LIMIT.saturating_sub(revoked_policy().len()))
}

/// The session policy of a standing role's credentials: the same in one document, which travels with them.
///
/// # Errors
/// When it is longer than `AssumeRole` takes.
pub fn session_policy(statements: Vec<Value>, expires_at: Timestamp) -> Result<String, DocumentError> {
    fitting("session", until(statements, expires_at), SESSION_LIMIT)
}

/// The inline policy `expiry` of a session's user: the date that ends all that is attached to it.
pub fn expiry_policy(expires_at: Timestamp) -> String {
    until(Vec::new(), expires_at)
}

/// The managed policy of a session's user: what the tier allows. It is attached when `expiry` is in place, and not before.
///
/// # Errors
/// When it is longer than AWS takes.
pub fn managed_policy(statements: &[Value]) -> Result<String, DocumentError> {
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    fitting("managed", document.to_string(), MANAGED_LIMIT)
}

fn until(mut statements: Vec<Value>, expires_at: Timestamp) -> String {
    statements.push(json!({
        "Sid": "SorryExpiry", "Effect": "Deny", "Action": "*", "Resource": "*",
        "Condition": {"DateGreaterThanEquals": {"aws:CurrentTime": expires_at}},
    }));
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// The policy `revoked`: nothing is allowed any more, whatever credentials were issued.
pub fn revoked_policy() -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Sid": "SorryRevoked", "Effect": "Deny", "Action": "*", "Resource": "*"}],
    })
    .to_string()
}

/// Name of the policy that ends one session of a standing role: each has its own, so that two that are written at once do not lose
/// one another.
pub fn revoked_policy_name(session: &SessionId) -> String {
    format!("{REVOKED_POLICY_NAME}-{session}")
}

/// Beginning of the name of the policy with which an administrator has ended all that was given of a standing role up to a moment, as
/// `infrastructure/destroy.sh` does; the moment follows, in seconds since 1970. No session's id has a hyphen.
const REVOKED_BEFORE: &str = "revoked-before-";

/// The moment up to which all sessions of a standing role were ended, by the name of one of its policies; nothing if that is another
/// kind of policy.
pub fn revoked_before(policy_name: &str) -> Option<Timestamp> {
    let seconds = policy_name.strip_prefix(REVOKED_BEFORE)?.parse().ok()?;
    Timestamp::from_second(seconds).ok()
}

/// The policy that ends one session of a standing role, and touches none of the others: credentials carry the session as their source
/// identity, which nobody can change. Short, for they share 10,240 characters until the credentials are dead.
pub fn revoked_session_policy(session: &SessionId) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "SorryRevoked", "Effect": "Deny", "Action": "*", "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceIdentity": session}},
        }],
    })
    .to_string()
}

/// How many sessions of one standing role can be revoked at once: what IAM takes beside a policy that allows everything.
/// From this many on no further credentials of the role are issued, which leaves as many again for sessions that have theirs.
pub const MOST_REVOKED_AT_ONCE: usize = 25;

/// The characters of IAM names, session names, paths and ARNs: none of them is a wildcard or begins a variable.
fn is_literal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-/:".contains(&byte))
}

fn merge(target: &mut Value, more: Value) {
    if let (Value::Object(target), Value::Object(more)) = (target, more) {
        target.extend(more);
    }
}

/// AWS does not count white space outside strings, and these documents have none.
fn fitting(document: &'static str, text: String, limit: usize) -> Result<String, DocumentError> {
    let size = text.chars().count();
    if size > limit { Err(DocumentError::TooLong { document, size, limit }) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(mfa: bool, carried: Option<&SourceIdentity>, addresses: &[AddressRange]) -> Value {
        let text = trust_policy(&TrustTerms {
            caller_arn: "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr",
            caller_unique_id: "AIDAEXAMPLE",
            role_session_name: "sue-mgr",
            carried,
            external_id: &ExternalId::from_random([1; 16]),
            session: &SessionId::from_random([2; 10]),
            expires_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            mfa,
            addresses,
        });
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    #[test]
    fn a_source_identity_that_is_carried_stays() {
        let document = trust(false, Some(&"sue@example.org".parse().unwrap()), &[]);
        let statements = document["Statement"].as_array().unwrap();
        for statement in statements {
            let equals = &statement["Condition"]["StringEquals"];
            assert_eq!(equals["aws:SourceIdentity"], "sue@example.org");
            assert!(equals.get("sts:SourceIdentity").is_none(), "nothing is set: {equals}");
        }
    }

    #[test]
    fn addresses_are_asked_for_where_there_are_some() {
        assert!(trust(false, None, &[])["Statement"][0]["Condition"].get("IpAddress").is_none());
        let addresses = ["192.0.2.0/24", "2001:db8::/32"].map(|range| range.parse().unwrap());
        let condition = &trust(true, None, &addresses)["Statement"][0]["Condition"];
        assert_eq!(condition["IpAddress"], json!({"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]}));
    }

    #[test]
    fn invariant_2_the_tier_and_its_end_travel_in_one_document() {
        let text =
            access_policy(vec![json!({"Effect": "Allow"})], "2026-01-02T03:04:05Z".parse().unwrap()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["Statement"][0]["Effect"], "Allow");
        assert_eq!(document["Statement"][1]["Effect"], "Deny");
        assert_eq!(
            document["Statement"][1]["Condition"]["DateGreaterThanEquals"]["aws:CurrentTime"],
            "2026-01-02T03:04:05Z"
        );
    }

    #[test]
    fn the_trust_policy_binds_caller_handshake_name_session_and_date() {
        let condition = &trust(false, None, &[])["Statement"][0]["Condition"];
        for key in ["aws:userid", "sts:ExternalId", "sts:RoleSessionName", "sts:SourceIdentity"] {
            assert!(condition["StringEquals"][key].is_string(), "{key}");
        }
        assert_eq!(condition["DateLessThan"]["aws:CurrentTime"], "2026-01-02T03:04:05Z");
        assert!(condition.get("Bool").is_none());
        let asked = &trust(true, None, &[])["Statement"][0]["Condition"];
        assert_eq!(asked["Bool"]["aws:MultiFactorAuthPresent"], "true");
    }

    #[test]
    fn a_policy_that_leaves_no_room_for_revocation_is_refused() {
        let expires_at = "2026-01-02T03:04:05Z".parse().unwrap();
        let statement = |length: usize| vec![json!({"Resource": "x".repeat(length)})];
        let overhead = access_policy(statement(0), expires_at).unwrap().len() + revoked_policy().len();
        assert!(access_policy(statement(INLINE_LIMIT - overhead), expires_at).is_ok());
        assert!(access_policy(statement(INLINE_LIMIT - overhead + 1), expires_at).is_err());
    }

    #[test]
    fn each_document_is_held_to_the_limit_of_its_place() {
        let expires_at = Timestamp::MAX;
        let of = |length: usize| vec![json!({"Effect": "Allow", "Resource": "x".repeat(length)})];
        assert!(
            session_policy(of(1_700), expires_at).is_ok() && session_policy(of(2_000), expires_at).is_err()
        );
        assert!(managed_policy(&of(6_000)).is_ok() && managed_policy(&of(6_100)).is_err());
        // Source: IAM and STS quotas, "User inline policies": 2,048 characters together.
        assert!(expiry_policy(expires_at).len() + revoked_policy().len() < 2_048);
    }

    #[test]
    fn a_standing_role_has_room_for_twice_the_revocations_that_stop_new_credentials() {
        let one = revoked_session_policy(&SessionId::from_random([255; 10])).len();
        assert!(one * 2 * MOST_REVOKED_AT_ONCE < INLINE_LIMIT - 500, "{one} characters each");
    }

    #[test]
    fn the_moment_that_an_administrator_ended_all_at_stands_in_a_policys_name() {
        let moment = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(revoked_before("revoked-before-1767323045"), Some(moment));
        for other in ["access", "revoked", "revoked-before-", "revoked-before-soon", "before-1767323045"] {
            assert_eq!(revoked_before(other), None, "{other}");
        }
        assert_eq!(revoked_before(&revoked_policy_name(&SessionId::from_random([2; 10]))), None);
    }

    #[test]
    fn a_revoked_session_is_named_by_its_source_identity() {
        let session = SessionId::from_random([2; 10]);
        let document: Value = serde_json::from_str(&revoked_session_policy(&session)).unwrap();
        let statement = &document["Statement"][0];
        assert_eq!((statement["Effect"].as_str(), statement["Action"].as_str()), (Some("Deny"), Some("*")));
        assert_eq!(statement["Condition"], json!({"StringEquals": {"aws:SourceIdentity": session}}));
    }
}
