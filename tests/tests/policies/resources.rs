//! The policies of the tables, of the bucket and of the key, with what IAM allows to whoever asks: `policy_templates/cases/resources.toml`.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    cases::{Expect, ResourceCase, filled, resource_cases},
    deployed::{Deployed, context},
    questions::{EVERYTHING, Questions, before},
    simulator::{Documents, Question, ask},
};

/// Everything but IAM: the gist of AWS's PowerUserAccess.
const POWER: &str = "power-user";

/// Documents that belong to the stores, by the beginning of their names.
const STORES: [&str; 3] = ["bucket:", "table:", "key:"];

struct Asked {
    name: String,
    expect: Expect,
    question: Question,
}

pub(crate) fn every_store_keeps_its_own(deployed: &Deployed) {
    let mut documents = Questions::new(deployed).documents;
    let power =
        json!({"Effect": "Allow", "NotAction": ["account:*", "iam:*", "organizations:*"], "Resource": "*"});
    documents.insert(POWER.to_owned(), json!({"Version": "2012-10-17", "Statement": [power]}));
    let cases = resource_cases();
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    assert!(cases.iter().all(|case| !case.stands_for.is_empty()));
    let asked: Vec<_> = cases.iter().flat_map(|case| questions(case, deployed)).collect();

    let answers = answers(&documents, &asked);
    let wrong: Vec<_> = asked
        .iter()
        .zip(&answers)
        .filter(|(asked, allowed)| **allowed != (asked.expect == Expect::Allow))
        .map(|(asked, _)| format!("{}: not {:?}", asked.name, asked.expect))
        .collect();
    assert!(wrong.is_empty(), "{} of {} answers are wrong:\n{}", wrong.len(), asked.len(), wrong.join("\n"));
    every_statement_is_needed(&documents, &asked, &answers);
}

fn answers(documents: &Documents, asked: &[Asked]) -> Vec<bool> {
    let questions: Vec<_> = asked.iter().map(|asked| asked.question.clone()).collect();
    ask(documents, &questions).iter().map(crate::simulator::Answer::is_allowed).collect()
}

/// Takes each statement out of its policy: at least one case must then come out the other way.
fn every_statement_is_needed(documents: &Documents, asked: &[Asked], before: &[bool]) {
    let mut unneeded = Vec::new();
    let mut statements = 0;
    for (name, document) in
        documents.iter().filter(|(name, _)| STORES.iter().any(|store| name.starts_with(store)))
    {
        for (index, statement) in document["Statement"].as_array().unwrap().iter().enumerate() {
            let mut without = documents.clone();
            without.get_mut(name).unwrap()["Statement"].as_array_mut().unwrap().remove(index);
            // A policy has a statement; this one says nothing about anybody.
            let nobody = json!({"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}, "Action": "s3:GetObject", "Resource": "*"});
            without.get_mut(name).unwrap()["Statement"].as_array_mut().unwrap().push(nobody);
            if answers(&without, asked) == before {
                unneeded.push(format!("{name}: {}", statement["Sid"]));
            }
            statements += 1;
        }
    }
    assert!(statements >= 12, "the stores' policies have {statements} statements");
    assert!(unneeded.is_empty(), "no case notices: {unneeded:#?}");
}

/// What a case asks. A session is also asked about without its policy and its boundary: the store alone must hold.
fn questions(case: &ResourceCase, deployed: &Deployed) -> Vec<Asked> {
    let account = &deployed.account;
    let (kind, name) = case.who.split_once(':').unwrap_or((case.who.as_str(), ""));
    let iam = |resource: String| format!("arn:aws:iam::{account}:{resource}");
    let role = |role: &str, session: &str| format!("arn:aws:sts::{account}:assumed-role/{role}/{session}");
    let everything = vec![EVERYTHING.to_owned()];
    let mut asked = context(json!({
        "aws:CurrentTime": "2026-01-01T00:00:00Z", "aws:PrincipalAccount": account, "aws:ResourceAccount": account,
        "aws:SecureTransport": "true", "aws:PrincipalIsAWSService": (kind == "service").to_string(),
    }));
    let mut boundary = None;
    let (principal, principal_arn, identity) = match kind {
        "function" => {
            let function = format!("sorry-function-{name}");
            let arn = iam(format!("role/sorry/service/{function}"));
            (role(&function, &format!("sorry-{name}")), arn, vec![format!("function:{name}")])
        }
        "session" => {
            let session = &deployed.sessions[name];
            asked.insert("aws:CurrentTime".into(), before(&session.expires_at).into());
            for (tag, value) in &session.tags {
                asked.insert(format!("aws:PrincipalTag/{tag}"), value.clone().into());
            }
            boundary = Some(format!("boundary:{name}"));
            let policy = vec![format!("access:{name}")];
            (role(&session.role_name, "sue-mgr"), session.role_arn.clone(), policy)
        }
        "service" => (name.to_owned(), String::new(), Vec::new()),
        // Whom no IAM policy limits.
        "root" => (iam("root".to_owned()), iam("root".to_owned()), everything.clone()),
        user => {
            let name = if user == "administrator" { "local-administrator" } else { user };
            let identity = if user == POWER { vec![POWER.to_owned()] } else { everything.clone() };
            (iam(format!("user/{name}")), iam(format!("user/{name}")), identity)
        }
    };
    if !principal_arn.is_empty() {
        asked.insert("aws:PrincipalArn".into(), principal_arn.into());
    }
    if case.of == "key" {
        asked.insert("kms:CallerAccount".into(), account.clone().into());
    }
    for (key, value) in &case.context {
        asked.insert(key.clone(), filled(value, &[("account", account.as_str())]));
    }
    let (resource, resource_policy) = match (case.of.as_str(), &case.index, &case.resource) {
        ("key", None, None) => (deployed.data_key.clone(), Some("key:data".to_owned())),
        ("digests", None, None) => (
            format!("arn:aws:s3:::{}/digests/2026/01/01/00.json", deployed.audit_bucket),
            Some("bucket:audit".to_owned()),
        ),
        ("iam", None, Some(resource)) => (iam(resource.clone()), None),
        (table, index, None) => {
            let index = index.as_ref().map_or(String::new(), |index| format!("/index/{index}"));
            let arn = format!("arn:aws:dynamodb:us-east-1:{account}:table/sorry-{table}{index}");
            (arn, Some(format!("table:{table}")))
        }
        _ => panic!("{}: of what?", case.name),
    };
    let question = Question {
        principal,
        action: case.action.clone(),
        resource,
        account: account.clone(),
        context: asked,
        identity,
        boundary,
        resource_policy,
    };
    let alone = Question { identity: everything, boundary: None, ..question.clone() };
    let mut all = vec![Asked { name: case.name.clone(), expect: case.expect, question }];
    if kind == "session" {
        let name = format!("{}, by the store alone", case.name);
        all.push(Asked { name, expect: case.expect, question: alone });
    }
    all
}
