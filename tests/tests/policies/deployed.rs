//! What is deployed: documents read back from a running local AWS after real sessions were requested there.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sorry_tests::{LocalAws, Person, eventually};

use crate::{PATIENCE, TIERS, simulator::Documents};

/// The administrator of a local AWS has no device; everything else asks for one.
const WITH_MFA: [&str; 2] =
    ["RequireMfa=true", "IdentityProviderRoleArns=arn:aws:iam::123456789012:user/local-administrator"];

/// A session as IAM has it.
pub(crate) struct Session {
    pub(crate) role_arn: String,
    pub(crate) role_id: String,
    pub(crate) role_name: String,
    pub(crate) expires_at: String,
    pub(crate) session_id: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) external_id: String,
}

/// A caller as IAM has it.
pub(crate) struct Caller {
    pub(crate) arn: String,
    pub(crate) unique_id: String,
    pub(crate) namespace: String,
}

/// The deployment, its callers, one session of each tier, and their documents: `access:TIER`, `trust:TIER`, `boundary:TIER`,
/// `caller`, `gateway`.
pub(crate) struct Deployed {
    pub(crate) documents: Documents,
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) owner: Caller,
    pub(crate) other: Caller,
    pub(crate) account: String,
    pub(crate) api: String,
    pub(crate) data_key: String,
    pub(crate) audit_bucket: String,
}

impl Deployed {
    /// Deploys with MFA required, registers two callers and requests a session of each tier as one of them.
    pub(crate) fn read_back() -> Self {
        let aws = LocalAws::start_with(&WITH_MFA);
        let _security = aws.subscribe_to_alerts();
        let sue = aws.register_with_mfa("sue-mgr");
        let bob = aws.register("bob-mgr");
        let mut documents = Documents::new();
        let requested: Vec<_> = TIERS.iter().map(|tier| (*tier, ask_for(&sue, tier))).collect();
        let sessions = requested
            .into_iter()
            .map(|(tier, id)| (tier.to_owned(), session(&aws, &sue, tier, &id, &mut documents)))
            .collect();
        documents.insert("caller".to_owned(), managed(&aws, aws.output("CallerPolicyArn")));
        let api = aws.call("apigateway.get_rest_api", json!({"restApiId": aws.output("ApiId")}));
        documents.insert("gateway".to_owned(), with_its_id(&json_text(&api["policy"]), aws.output("ApiId")));
        Self {
            documents,
            sessions,
            owner: caller(&aws, &sue),
            other: caller(&aws, &bob),
            account: aws.output("account_id").to_owned(),
            api: aws.output("ApiId").to_owned(),
            data_key: aws.output("DataKeyArn").to_owned(),
            audit_bucket: aws.output("AuditBucket").to_owned(),
        }
    }

    /// What stands for `${name}` in a case, asked about a session of `tier`.
    pub(crate) fn variables<'a>(&'a self, tier: &str) -> Vec<(&'static str, &'a str)> {
        let role = self.sessions.get(tier).map_or("", |session| session.role_arn.as_str());
        vec![
            ("account", &self.account),
            ("region", "us-east-1"),
            ("api", &self.api),
            ("data_key", &self.data_key),
            ("code_bucket", "sorry-code"),
            ("audit_bucket", &self.audit_bucket),
            ("role", role),
        ]
    }
}

/// The gateway's policy with the API's id in the place of the patterns for it. The simulator takes what stands before the first slash
/// for a resource type, where AWS allows no pattern; API Gateway's guide allows one for the id ("Control access for invoking an API").
fn with_its_id(policy: &Value, id: &str) -> Value {
    let before = policy.to_string();
    assert_eq!(id.len(), 10, "an id that the pattern of the policy stands for");
    let after =
        before.replace(":??????????/v1/", &format!(":{id}/v1/")).replace(":*/v1/", &format!(":{id}/v1/"));
    assert!(before != after && !after.contains('?') && !after.contains(":*/"), "{after}");
    serde_json::from_str(&after).expect("it was JSON before")
}

fn ask_for(person: &Person, tier: &str) -> String {
    let arguments = [
        "request",
        "--tier",
        tier,
        "--for",
        "15m",
        "--no-wait",
        "--reason",
        "the policies are read back",
        "--output",
        "json",
    ];
    let view = person.sorry(&arguments).success().json();
    view["session_id"].as_str().expect("an id").to_owned()
}

fn session(aws: &LocalAws, person: &Person, tier: &str, id: &str, documents: &mut Documents) -> Session {
    eventually("the session is active", PATIENCE, || {
        let view = person.sorry(&["status", id, "--output", "json"]).success().json();
        (view["state"] == "ACTIVE").then_some(())
    });
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let row = aws.session_rows().into_iter().find(|row| row["session_id"]["S"] == id).expect("a row");
    let role_name = text(&row["role_name"]["S"]);
    let role = aws.call("iam.get_role", json!({"RoleName": role_name}))["Role"].clone();
    let access = aws.call("iam.get_role_policy", json!({"RoleName": role_name, "PolicyName": "access"}));
    let boundary = &role["PermissionsBoundary"]["PermissionsBoundaryArn"];
    documents.insert(format!("access:{tier}"), access["PolicyDocument"].clone());
    documents.insert(format!("trust:{tier}"), role["AssumeRolePolicyDocument"].clone());
    documents.insert(format!("boundary:{tier}"), managed(aws, &text(boundary)));
    let tags = role["Tags"].as_array().expect("tags").iter();
    let tags: BTreeMap<_, _> = tags.map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect();
    Session {
        role_arn: text(&role["Arn"]),
        role_id: text(&role["RoleId"]),
        role_name,
        expires_at: tags["sorry:expires-at"].clone(),
        session_id: id.to_owned(),
        external_id: text(
            &role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"],
        ),
        tags,
    }
}

fn caller(aws: &LocalAws, person: &Person) -> Caller {
    let user = aws.call("iam.get_user", json!({"UserName": person.user_name()}))["User"].clone();
    let tags = aws.call("iam.list_user_tags", json!({"UserName": person.user_name()}))["Tags"].clone();
    let namespace = tags
        .as_array()
        .into_iter()
        .flatten()
        .find(|tag| tag["Key"] == "sorry:namespace")
        .expect("a namespace");
    Caller {
        arn: user["Arn"].as_str().expect("an ARN").to_owned(),
        unique_id: user["UserId"].as_str().expect("an id").to_owned(),
        namespace: namespace["Value"].as_str().expect("a text").to_owned(),
    }
}

/// The default version of a managed policy.
fn managed(aws: &LocalAws, arn: &str) -> Value {
    let policy = aws.call("iam.get_policy", json!({"PolicyArn": arn}));
    let version = aws.call(
        "iam.get_policy_version",
        json!({"PolicyArn": arn, "VersionId": policy["Policy"]["DefaultVersionId"]}),
    );
    let document = &version["PolicyVersion"]["Document"];
    if document.is_string() { json_text(document) } else { document.clone() }
}

/// A document that a service gives as text. API Gateway escapes its quotation marks once more.
fn json_text(text: &Value) -> Value {
    let text = text.as_str().expect("a document");
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&text.replace("\\\"", "\"")))
        .unwrap_or_else(|error| panic!("no JSON ({error}): {text}"))
}

/// A context as one object.
pub(crate) fn context(members: Value) -> Map<String, Value> {
    members.as_object().cloned().expect("an object")
}
