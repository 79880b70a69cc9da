//! What IAM has of sessions that were revoked a moment ago: read back while the service is kept from removing the rest.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sorry_tests::{LocalAws, Person, Verdict, eventually};

use crate::{PATIENCE, TIERS, deployed::Session, simulator::Documents, users::UserSession};

/// Revokes the session of each tier, and that with a user: `revoked:TIER`, `revoked:user`.
pub(crate) fn read_back(
    aws: &LocalAws,
    person: &Person,
    sessions: &BTreeMap<String, Session>,
    user: &UserSession,
    documents: &mut Documents,
) {
    // Of a role that stands nothing is denied before it was lent.
    person.sorry(&["renew", &sessions["break-glass"].session_id]).success();
    let removals = json!({"Effect": "Deny", "Action": ["iam:Delete*", "iam:Detach*"], "Resource": "*"});
    let removals = json!({"Version": "2012-10-17", "Statement": [removals]}).to_string();
    for function in ["clean-up", "sweep"] {
        let role = format!("sorry-function-{function}");
        let kept = json!({"RoleName": role, "PolicyName": "kept-from-it", "PolicyDocument": removals});
        aws.call("iam.put_role_policy", kept);
    }
    let of_tiers = TIERS.map(|tier| (tier, &sessions[tier]));
    let ids =
        of_tiers.iter().map(|(_, session)| session.session_id.as_str()).chain([user.session_id.as_str()]);
    let words = ["revoke", "--no-wait"].into_iter().chain(ids).collect::<Vec<_>>();
    person.sorry(&words).success();

    let mut written = |what: &str, call: &str, parameters: Value| {
        let document = eventually(&format!("{what} is revoked"), PATIENCE, || {
            match aws.try_call(call, parameters.clone()) {
                Verdict::Allowed(answer) => Some(answer["PolicyDocument"].clone()),
                Verdict::Refused(code, _) => {
                    assert_eq!(code, "NoSuchEntity");
                    None
                }
            }
        });
        documents.insert(format!("revoked:{what}"), document);
    };
    for (tier, session) in of_tiers {
        // A role that stands has a policy for each of its sessions.
        let stands = session.role_arn.contains(":role/sorry/standing/");
        let policy = if stands { format!("revoked-{}", session.session_id) } else { "revoked".to_owned() };
        let asked = json!({"RoleName": session.role_name, "PolicyName": policy});
        written(tier, "iam.get_role_policy", asked);
    }
    written("user", "iam.get_user_policy", json!({"UserName": user.name, "PolicyName": "revoked"}));
}
