//! Cases as questions to the simulator: who asks, with which documents, in which context.

use serde_json::{Value, json};

use crate::{
    cases::{Asker, Case, Expect, HeldBy, Path, Step, filled},
    deployed::{Caller, Deployed, Session, context},
    simulator::{Documents, Question},
};

/// Name of the document that allows everything: what a session could give to what it makes.
pub(crate) const EVERYTHING: &str = "everything";

/// Moments before and at the end of a session, and before it when it is revoked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    During,
    AtTheEnd,
    Revoked,
}

/// With whose permissions a case is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    /// The tier's policy, as it is on the role.
    Tier,
    /// Everything: the boundary alone must hold.
    BoundaryAlone,
}

/// The questions about what is deployed.
pub(crate) struct Questions<'a> {
    pub(crate) deployed: &'a Deployed,
    /// All documents that the questions name.
    pub(crate) documents: Documents,
}

impl<'a> Questions<'a> {
    pub(crate) fn new(deployed: &'a Deployed) -> Self {
        let mut documents: Documents =
            deployed.documents.iter().map(|(name, document)| (name.clone(), typeless(document))).collect();
        let everything = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        documents.insert(EVERYTHING.to_owned(), json!({"Version": "2012-10-17", "Statement": [everything]}));
        // What every key of an account has by default: IAM says who may.
        let root = format!("arn:aws:iam::{}:root", deployed.account);
        let statement =
            json!({"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"});
        documents.insert("key".to_owned(), json!({"Version": "2012-10-17", "Statement": [statement]}));
        Self { deployed, documents }
    }

    /// A case of a session of `tier`.
    pub(crate) fn of_session(&mut self, case: &Case, tier: &str, with: With, moment: Moment) -> Question {
        let step = Step {
            action: case.action.clone(),
            resource: case.resource.clone(),
            context: case.context.clone(),
        };
        let mut question = self.step(&step, tier, case.asker, with, moment);
        for key in &case.without {
            assert!(question.context.remove(key).is_some(), "{}: there is no {key} to take away", case.name);
        }
        if case.granted {
            question.resource_policy = Some(self.granted(&question));
        }
        question
    }

    /// The steps of a way up, as a session of `tier`.
    pub(crate) fn of_path(&mut self, path: &Path, tier: &str) -> Vec<Question> {
        path.steps.iter().map(|step| self.step(step, tier, None, With::Tier, Moment::During)).collect()
    }

    fn step(
        &mut self,
        step: &Step,
        tier: &str,
        asker: Option<Asker>,
        with: With,
        moment: Moment,
    ) -> Question {
        let session = &self.deployed.sessions[tier];
        let variables = self.deployed.variables(tier);
        let account = &self.deployed.account;
        let at = match moment {
            Moment::During | Moment::Revoked => before(&session.expires_at),
            Moment::AtTheEnd => session.expires_at.clone(),
        };
        let mut asked = context(json!({
            "aws:CurrentTime": at,
            "aws:PrincipalAccount": account,
            "aws:PrincipalType": "AssumedRole",
            "aws:ResourceAccount": account,
            "aws:SecureTransport": "true",
            "aws:SourceIp": "198.51.100.7",
        }));
        let role_name = if asker.is_some() { "worker" } else { &session.role_name };
        if asker.is_some() {
            asked.insert(
                "aws:PrincipalArn".into(),
                format!("arn:aws:iam::{account}:role/sorry-admin/sue/worker").into(),
            );
            asked.insert("aws:userid".into(), "AROA00000000000000000:x".into());
        } else {
            asked.insert("aws:PrincipalArn".into(), session.role_arn.clone().into());
            asked.insert("aws:userid".into(), format!("{}:sue-mgr", session.role_id).into());
            asked.insert("aws:SourceIdentity".into(), session.session_id.clone().into());
            for (name, value) in &session.tags {
                asked.insert(format!("aws:PrincipalTag/{name}"), value.clone().into());
            }
        }
        if asker == Some(Asker::Tagged) {
            asked.insert("aws:PrincipalTag/sorry:namespace".into(), "bob".into());
        }
        for (key, value) in &step.context {
            asked.insert(key.clone(), filled(value, &variables));
        }
        let mut identity = vec![if with == With::Tier && asker.is_none() {
            format!("access:{tier}")
        } else {
            EVERYTHING.into()
        }];
        if moment == Moment::Revoked {
            identity.push(format!("revoked:{tier}"));
        }
        Question {
            principal: format!("arn:aws:sts::{account}:assumed-role/{role_name}/sue-mgr"),
            action: step.action.clone(),
            resource: text(&step.resource, &variables),
            account: account.clone(),
            context: asked,
            identity,
            boundary: Some(format!("boundary:{tier}")),
            resource_policy: step.action.starts_with("kms:").then(|| "key".to_owned()),
        }
    }

    /// A resource policy that allows the question's action to the session by name.
    pub(crate) fn granted(&mut self, question: &Question) -> String {
        let name = format!("granted:{}:{}", question.action, question.principal);
        let mut statement =
            json!({"Effect": "Allow", "Principal": {"AWS": question.principal}, "Action": question.action});
        // A trust policy has no Resource.
        if question.action != "sts:AssumeRole" {
            statement["Resource"] = "*".into();
        }
        self.documents.insert(name.clone(), json!({"Version": "2012-10-17", "Statement": [statement]}));
        name
    }

    /// A case of `trust.toml`: the role of `tier` is assumed.
    pub(crate) fn of_trust(&self, case: &Case, tier: &str) -> Question {
        let session = &self.deployed.sessions[tier];
        let mut question = self.as_caller(case, tier, Some(session));
        question.resource_policy = Some(format!("trust:{tier}"));
        question
    }

    /// A case of `gateway.toml`.
    pub(crate) fn of_gateway(&self, case: &Case) -> Question {
        let mut question = self.as_caller(case, "", None);
        question.resource_policy = Some("gateway".to_owned());
        question
    }

    fn as_caller(&self, case: &Case, tier: &str, session: Option<&Session>) -> Question {
        let account = &self.deployed.account;
        let variables = self.deployed.variables(tier);
        let owner = session.map_or(&self.deployed.owner, |session| &session.owner);
        let who = match case.asker {
            Some(Asker::Owner) => owner.clone(),
            Some(Asker::Other) => self.deployed.other.clone(),
            Some(Asker::Stranger) => stranger(account),
            Some(Asker::Colleague) => colleague(owner),
            Some(Asker::Namesake) => namesake(owner),
            Some(Asker::Issue) => issue(account),
            other => panic!("{}: asked as {other:?}", case.name),
        };
        let mut asked = context(json!({
            "aws:PrincipalArn": who.principal_arn,
            "aws:PrincipalTag/sorry:namespace": who.namespace,
            "aws:PrincipalType": if who.is_role() { "AssumedRole" } else { "User" },
            "aws:CurrentTime": session.map_or("2026-01-01T00:00:00Z".to_owned(), |session| before(&session.expires_at)),
            "aws:SourceIp": "192.0.2.7",
            "aws:userid": who.unique_id,
        }));
        if !who.is_role() {
            asked.insert("aws:username".into(), who.arn.rsplit('/').next().unwrap_or_default().into());
        }
        if let Some(identity) = who.source_identity {
            asked.insert("aws:SourceIdentity".into(), identity.into());
        }
        if let Some(session) = session {
            // A role's session shows none, and who carries a source identity sets none.
            if !who.is_role() {
                asked.insert("aws:MultiFactorAuthPresent".into(), "true".into());
            }
            if owner.source_identity.is_none() {
                asked.insert("sts:SourceIdentity".into(), session.session_id.clone().into());
            }
            if case.action == "sts:AssumeRole" {
                asked.insert("sts:RoleSessionName".into(), session.name.clone().into());
                asked.insert("sts:ExternalId".into(), session.external_id.clone().into());
            }
        }
        for (key, value) in &case.context {
            asked.insert(key.clone(), filled(value, &variables));
        }
        for key in &case.without {
            assert!(asked.remove(key).is_some(), "{}: there is no {key} to take away", case.name);
        }
        Question {
            principal: who.arn,
            action: case.action.clone(),
            resource: text(&case.resource, &variables),
            account: account.clone(),
            context: asked,
            identity: match case.asker {
                Some(Asker::Stranger) => Vec::new(),
                Some(Asker::Issue) => vec![EVERYTHING.to_owned()],
                _ => vec!["caller".to_owned()],
            },
            boundary: None,
            resource_policy: None,
        }
    }
}

/// A principal of the account whom nobody has given anything.
fn stranger(account: &str) -> Caller {
    let arn = format!("arn:aws:iam::{account}:user/stranger");
    Caller {
        principal_arn: arn.clone(),
        unique_id: "AIDASTRANGER".to_owned(),
        namespace: "stranger".to_owned(),
        source_identity: None,
        arn,
    }
}

/// The function that hands out credentials.
fn issue(account: &str) -> Caller {
    Caller {
        arn: format!("arn:aws:sts::{account}:assumed-role/sorry-function-issue/sorry-issue"),
        principal_arn: format!("arn:aws:iam::{account}:role/sorry/service/sorry-function-issue"),
        unique_id: "AROAISSUE:sorry-issue".to_owned(),
        namespace: "none".to_owned(),
        source_identity: None,
    }
}

/// Another session of a role.
fn colleague(owner: &Caller) -> Caller {
    let renamed = |text: &str, before: char| {
        let (role, _) = text.rsplit_once(before).expect("a session of a role");
        format!("{role}{before}ben")
    };
    Caller { arn: renamed(&owner.arn, '/'), unique_id: renamed(&owner.unique_id, ':'), ..owner.clone() }
}

/// A session of the same name, of a role of another name.
fn namesake(owner: &Caller) -> Caller {
    let (_, session) = owner.unique_id.split_once(':').expect("a session of a role");
    Caller {
        arn: owner.arn.replace("/Research/", "/Other/"),
        principal_arn: owner.principal_arn.replace("/Research", "/Other"),
        unique_id: format!("AROA00000000000000000:{session}"),
        ..owner.clone()
    }
}

impl Case {
    /// Whether the boundary must deny this by itself.
    pub(crate) fn is_for_the_boundary(&self) -> bool {
        self.expect == Expect::Deny && self.held_by != Some(HeldBy::Tier)
    }
}

fn text(text: &str, variables: &[(&str, &str)]) -> String {
    match filled(&Value::from(text), variables) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The simulator takes the `/` in a variable's name for the end of a resource type. ARNs of queues and topics have none: in these
/// the variable is put in beforehand, as AWS does it with every request.
fn typeless(document: &Value) -> Value {
    match document {
        Value::String(text) if text.contains(":sns:") || text.contains(":sqs:") => {
            text.replace("${aws:PrincipalTag/sorry:namespace}", "sue").into()
        }
        Value::Array(items) => items.iter().map(typeless).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), typeless(value))).collect()
        }
        other => other.clone(),
    }
}

/// A second earlier.
pub(crate) fn before(moment: &str) -> String {
    let moment: jiff::Timestamp = moment.parse().expect("a date");
    (moment - jiff::SignedDuration::from_secs(1)).to_string()
}
