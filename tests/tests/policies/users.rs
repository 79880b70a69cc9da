//! Sessions with a user of their own: what IAM has of one, and the cases of its tier and of `users.toml` asked as what holds its
//! credentials, which GetSessionToken made.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sorry_tests::{LocalAws, Person};

use crate::{
    cases::{Case, filled},
    deployed::{ask_with, context, managed, row_when_active, tags, text},
    questions::{EVERYTHING, Moment, Questions, With, before},
    simulator::{Documents, Question},
};

/// A session with a user, as IAM has it.
pub(crate) struct UserSession {
    pub(crate) session_id: String,
    /// The user's.
    pub(crate) arn: String,
    pub(crate) unique_id: String,
    pub(crate) name: String,
    /// ARN of the managed policy with what the tier allows.
    pub(crate) policy_arn: String,
    /// As the policy `expiry` has it.
    pub(crate) expires_at: String,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Requests a session of read-only with a user, and reads back `access:user`, `expiry:user` and `boundary:user`.
pub(crate) fn read_back(aws: &LocalAws, person: &Person, documents: &mut Documents) -> UserSession {
    let id = ask_with(person, &["--tier", "read-only", "--grant", "user"]);
    let row = row_when_active(aws, person, &id);
    let name = text(&row["role_name"]["S"]);
    let named = json!({"UserName": name});
    let user = aws.call("iam.get_user", named.clone())["User"].clone();
    let inline = aws.call("iam.list_user_policies", named.clone())["PolicyNames"].clone();
    assert_eq!(inline, json!(["expiry"]), "all that is written into the user itself");
    let expiry = json!({"UserName": name, "PolicyName": "expiry"});
    let expiry = aws.call("iam.get_user_policy", expiry)["PolicyDocument"].clone();
    let attached = aws.call("iam.list_attached_user_policies", named.clone())["AttachedPolicies"].clone();
    assert_eq!(attached.as_array().map(Vec::len), Some(1), "{attached}");
    let policy_arn = text(&attached[0]["PolicyArn"]);
    let end = &expiry["Statement"][0]["Condition"]["DateGreaterThanEquals"]["aws:CurrentTime"];
    let session = UserSession {
        session_id: id,
        arn: text(&user["Arn"]),
        unique_id: text(&user["UserId"]),
        expires_at: text(end),
        tags: tags(&aws.call("iam.list_user_tags", named)["Tags"]),
        policy_arn,
        name,
    };
    let boundary = text(&user["PermissionsBoundary"]["PermissionsBoundaryArn"]);
    documents.insert("access:user".to_owned(), managed(aws, &session.policy_arn));
    documents.insert("boundary:user".to_owned(), managed(aws, &boundary));
    documents.insert("expiry:user".to_owned(), expiry);
    session
}

impl Questions<'_> {
    /// A case of read-only or of `users.toml`, asked by what GetSessionToken made of the user's key.
    ///
    /// Besides what the documents say, AWS lets such credentials call nothing of IAM and only AssumeRole and GetCallerIdentity of STS
    /// (STS API Reference, GetSessionToken); the documents have to hold without that.
    pub(crate) fn of_user(&mut self, case: &Case, with: With, moment: Moment) -> Question {
        let deployed = self.deployed;
        let (user, account) = (&deployed.user, &deployed.account);
        let mut variables = deployed.variables("read-only");
        variables.extend([("user", user.arn.as_str()), ("user_policy", user.policy_arn.as_str())]);
        let at = match moment {
            Moment::During | Moment::Revoked => before(&user.expires_at),
            Moment::AtTheEnd => user.expires_at.clone(),
        };
        let mut asked = context(json!({
            "aws:CurrentTime": at,
            // The user has no device.
            "aws:MultiFactorAuthPresent": "false",
            "aws:PrincipalAccount": account,
            "aws:PrincipalArn": user.arn,
            "aws:PrincipalType": "User",
            "aws:ResourceAccount": account,
            "aws:SecureTransport": "true",
            "aws:SourceIp": "198.51.100.7",
            "aws:TokenIssueTime": "2026-01-01T00:00:00Z",
            "aws:userid": user.unique_id,
            "aws:username": user.name,
        }));
        for (name, value) in &user.tags {
            asked.insert(format!("aws:PrincipalTag/{name}"), value.clone().into());
        }
        for (key, value) in &case.context {
            asked.insert(key.clone(), filled(value, &variables));
        }
        for key in &case.without {
            assert!(asked.remove(key).is_some(), "{}: there is no {key} to take away", case.name);
        }
        let mut identity = match with {
            With::Tier => vec!["access:user".to_owned(), "expiry:user".to_owned()],
            With::BoundaryAlone => vec![EVERYTHING.to_owned()],
        };
        if moment == Moment::Revoked {
            identity.push("revoked:user".to_owned());
        }
        let mut question = Question {
            principal: user.arn.clone(),
            action: case.action.clone(),
            resource: text(&filled(&Value::from(case.resource.as_str()), &variables)),
            account: account.clone(),
            context: asked,
            identity,
            boundary: Some("boundary:user".to_owned()),
            resource_policy: case.action.starts_with("kms:").then(|| "key".to_owned()),
        };
        if case.granted {
            question.resource_policy = Some(self.granted(&question));
        }
        question
    }
}
