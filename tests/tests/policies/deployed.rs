//! What is deployed: documents read back from a running local AWS after real sessions were requested there.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sorry_tests::{LocalAws, Person, eventually, tiers_with_addresses};

use crate::{PATIENCE, TIERS, revoked, simulator::Documents, users, users::UserSession};

/// The administrator of a local AWS has no device; everything else asks for one, but for the people behind a role.
const WITH_MFA: [&str; 2] = [
    "RequireMfa=true",
    "IdentityProviderRoleArns=arn:aws:iam::123456789012:user/local-administrator,arn:aws:iam::123456789012:role/people/Research",
];

/// What read-only is lent to in the sessions of `trust.toml` that are called after something else than a tier.
const ADDRESSES: [&str; 2] = ["127.0.0.0/8", "192.0.2.0/24"];

/// A session as IAM has it.
pub(crate) struct Session {
    pub(crate) role_arn: String,
    pub(crate) role_id: String,
    pub(crate) role_name: String,
    pub(crate) expires_at: String,
    pub(crate) session_id: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) external_id: String,
    /// Who can assume its role.
    pub(crate) owner: Caller,
    /// What they must call the role's session.
    pub(crate) name: String,
}

/// A caller as IAM has it.
#[derive(Clone)]
pub(crate) struct Caller {
    /// As a principal.
    pub(crate) arn: String,
    /// As `aws:PrincipalArn` has it: of a role's session the role.
    pub(crate) principal_arn: String,
    pub(crate) unique_id: String,
    pub(crate) namespace: String,
    /// What its sessions carry.
    pub(crate) source_identity: Option<&'static str>,
}

impl Caller {
    pub(crate) fn is_role(&self) -> bool {
        self.principal_arn != self.arn
    }
}

/// The deployment, its callers, one session of each tier, and their documents: `access:TIER`, `trust:TIER`, `boundary:TIER`,
/// `revoked:TIER`, the same but for the trust and with `expiry:user` for the session of a user, `caller`, `gateway`, `table:NAME`,
/// `key:data`, `bucket:audit`, `function:NAME`.
pub(crate) struct Deployed {
    pub(crate) documents: Documents,
    pub(crate) sessions: BTreeMap<String, Session>,
    /// A session of read-only with a user.
    pub(crate) user: UserSession,
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
        let ann = aws.register_approver_with_mfa("ann-mgr");
        let mut documents = Documents::new();
        let requested: Vec<_> = TIERS.iter().map(|tier| (*tier, approved(&sue, &ann, tier))).collect();
        let mut sessions: BTreeMap<_, _> = requested
            .into_iter()
            .map(|(tier, id)| {
                (tier.to_owned(), session(&aws, &sue, tier, &id, &caller(&aws, &sue), &mut documents))
            })
            .collect();
        let user = users::read_back(&aws, &sue, &mut documents);
        sessions.extend(others(&aws, &sue, &mut documents));
        documents.insert("caller".to_owned(), managed(&aws, aws.output("CallerPolicyArn")));
        let api = aws.call("apigateway.get_rest_api", json!({"restApiId": aws.output("ApiId")}));
        documents.insert("gateway".to_owned(), with_its_id(&json_text(&api["policy"]), aws.output("ApiId")));
        stores(&aws, &mut documents);
        revoked::read_back(&aws, &sue, &sessions, &user, &mut documents);
        Self {
            documents,
            sessions,
            user,
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

/// Sessions of read-only, lent to some addresses, by their names: of a user, of a whole role's session, and of one that carries a source
/// identity.
fn others(aws: &LocalAws, sue: &Person, documents: &mut Documents) -> Vec<(String, Session)> {
    let administrator = aws.administrator_person();
    let arn = aws.caller_role("Research", "lab");
    let add = |arn: &str, flags: &[&str]| {
        let words = ["admin", "callers", "add", "--existing", arn, "--namespace", "lab", "--person", "lab"];
        let more = ["--tier", "read-only=8", "--mfa-by", "idp", "--output", "json"];
        administrator.sorry(&[&words[..], &more, flags].concat()).success().json()
    };
    let role_id = add(&arn, &[])["caller"]["unique_id"].as_str().expect("an id").to_owned();
    let session_arn = |name: &str| format!("arn:aws:sts::123456789012:assumed-role/Research/{name}");
    add(&session_arn("pipeline"), &["--source-identity", "robot"]);
    let lent = tiers_with_addresses("read-only", &ADDRESSES);
    let folder = lent.path().to_str().expect("a path");
    administrator.sorry(&["admin", "tiers", "publish", folder, "--yes"]).success();

    let of_role = |name: &str, source_identity: Option<&'static str>| {
        let mut parameters = json!({"RoleSessionName": name});
        if let Some(identity) = source_identity {
            parameters["SourceIdentity"] = identity.into();
        }
        let owner = Caller {
            arn: session_arn(name),
            principal_arn: arn.clone(),
            unique_id: format!("{role_id}:{name}"),
            namespace: "lab".to_owned(),
            source_identity,
        };
        (aws.person(name, &aws.role_session(&arn, parameters)), owner)
    };
    let mut found = vec![("by-address".to_owned(), {
        let id = ask_for(sue, "read-only");
        session(aws, sue, "by-address", &id, &caller(aws, sue), documents)
    })];
    for (called, name, source_identity) in
        [("by-role", "ann", None), ("by-carrier", "pipeline", Some("robot"))]
    {
        let (person, owner) = of_role(name, source_identity);
        let id = ask_for(&person, "read-only");
        found.push((called.to_owned(), session(aws, &person, called, &id, &owner, documents)));
    }
    found
}

/// The policies of tables, key and bucket, and what the functions' roles allow.
fn stores(aws: &LocalAws, documents: &mut Documents) {
    let account = aws.output("account_id");
    for table in ["audit", "registry", "sessions"] {
        let arn = format!("arn:aws:dynamodb:us-east-1:{account}:table/sorry-{table}");
        let policy = aws.call("dynamodb.get_resource_policy", json!({"ResourceArn": arn}));
        documents.insert(format!("table:{table}"), json_text(&policy["Policy"]));
    }
    let key = json!({"KeyId": aws.output("DataKeyArn"), "PolicyName": "default"});
    documents.insert("key:data".to_owned(), json_text(&aws.call("kms.get_key_policy", key)["Policy"]));
    let bucket = json!({"Bucket": aws.output("AuditBucket")});
    documents
        .insert("bucket:audit".to_owned(), json_text(&aws.call("s3.get_bucket_policy", bucket)["Policy"]));
    for function in ["alert", "api", "clean-up", "issue", "provision", "sweep"] {
        let name = format!("sorry-function-{function}");
        let policy = aws.call("iam.get_role_policy", json!({"RoleName": name, "PolicyName": "calls"}));
        documents.insert(format!("function:{function}"), policy["PolicyDocument"].clone());
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

/// A session that somebody else has approved, if it waits for that.
fn approved(person: &Person, approver: &Person, tier: &str) -> String {
    let session = ask_for(person, tier);
    let view = person.sorry(&["status", &session, "--output", "json"]).success().json();
    if view["state"] == "PENDING_APPROVAL" {
        approver.sorry(&["approve", &session]).success();
    }
    session
}

fn ask_for(person: &Person, tier: &str) -> String {
    ask_with(person, &["--tier", tier])
}

/// Asks for a session of a quarter of an hour, and gives its id.
pub(crate) fn ask_with(person: &Person, flags: &[&str]) -> String {
    let words = ["request", "--for", "15m", "--no-wait", "--reason", "the policies are read back"];
    let view = person.sorry(&[&words[..], &["--output", "json"], flags].concat()).success().json();
    view["session_id"].as_str().expect("an id").to_owned()
}

/// The row of a session, when it is ACTIVE.
pub(crate) fn row_when_active(aws: &LocalAws, person: &Person, id: &str) -> Value {
    eventually("the session is active", PATIENCE, || {
        let view = person.sorry(&["status", id, "--output", "json"]).success().json();
        (view["state"] == "ACTIVE").then_some(())
    });
    aws.session_rows().into_iter().find(|row| row["session_id"]["S"] == id).expect("a row")
}

/// A text in an answer.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Tags as IAM lists them.
pub(crate) fn tags(listed: &Value) -> BTreeMap<String, String> {
    let listed = listed.as_array().expect("tags").iter();
    listed.map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect()
}

fn session(
    aws: &LocalAws,
    person: &Person,
    tier: &str,
    id: &str,
    owner: &Caller,
    documents: &mut Documents,
) -> Session {
    let row = row_when_active(aws, person, id);
    let role_name = text(&row["role_name"]["S"]);
    let role = aws.call("iam.get_role", json!({"RoleName": role_name}))["Role"].clone();
    let access = aws.call("iam.get_role_policy", json!({"RoleName": role_name, "PolicyName": "access"}));
    let boundary = &role["PermissionsBoundary"]["PermissionsBoundaryArn"];
    let mut access = access["PolicyDocument"].clone();
    let expires_at = text(&row["expires_at"]["S"]);
    let stands = row["grant"]["S"] == "standing";
    if stands {
        // What a session of it may do is decided by the role's policy and the session's together; both allow everything, and the
        // second ends.
        access = session_policy(tier, &expires_at);
    }
    documents.insert(format!("access:{tier}"), access);
    documents.insert(format!("trust:{tier}"), role["AssumeRolePolicyDocument"].clone());
    documents.insert(format!("boundary:{tier}"), managed(aws, &text(boundary)));
    let equals = &role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"];
    if stands {
        let tags = ["sorry:session", "sorry:namespace", "sorry:person", "sorry:tier"];
        let values = [id, "sue", "sue", tier];
        return Session {
            role_arn: text(&role["Arn"]),
            role_id: text(&role["RoleId"]),
            role_name,
            expires_at,
            session_id: id.to_owned(),
            external_id: text(&row["external_id"]["S"]),
            owner: owner.clone(),
            name: "sue-mgr".to_owned(),
            tags: tags.map(str::to_owned).into_iter().zip(values.map(str::to_owned)).collect(),
        };
    }
    Session {
        role_arn: text(&role["Arn"]),
        role_id: text(&role["RoleId"]),
        role_name,
        expires_at: text(
            &role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["DateLessThan"]["aws:CurrentTime"],
        ),
        session_id: id.to_owned(),
        external_id: text(&equals["sts:ExternalId"]),
        owner: owner.clone(),
        name: text(&equals["sts:RoleSessionName"]),
        tags: tags(&role["Tags"]),
    }
}

/// The session policy that `issue` gives along: nobody can read it back from AWS.
fn session_policy(tier: &str, expires_at: &str) -> Value {
    let tiers = sorry_policy::TierTable::built_in().expect("tiers");
    let template = tiers.template(&tier.parse().expect("a tier")).expect("a template");
    let variables = sorry_policy::Variables {
        namespace: &"sue".parse().expect("a namespace"),
        project: None,
        session: &sorry_policy::SessionId::from_random([0; 10]),
        account: &"123456789012".parse().expect("an account"),
        region: &"us-east-1".parse().expect("a region"),
        partition: &"aws".parse().expect("a partition"),
    };
    let statements = sorry_policy::render(template, &variables).expect("it renders");
    let text =
        sorry_policy::session_policy(statements, expires_at.parse().expect("a date")).expect("it fits");
    serde_json::from_str(&text).expect("JSON")
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
        principal_arn: user["Arn"].as_str().expect("an ARN").to_owned(),
        source_identity: None,
        unique_id: user["UserId"].as_str().expect("an id").to_owned(),
        namespace: namespace["Value"].as_str().expect("a text").to_owned(),
    }
}

/// The default version of a managed policy.
pub(crate) fn managed(aws: &LocalAws, arn: &str) -> Value {
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
