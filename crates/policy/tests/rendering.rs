//! No value that somebody can choose changes the structure of a rendered policy, or makes an ARN wider.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: what should not happen ends the test"
)]

use proptest::prelude::*;
use serde_json::{Value, json};
use sorry_policy::{
    AccountId, ExternalId, Namespace, ProjectName, Region, SessionId, TierTable, TrustTerms, Variables,
    access_policy, render, trust_policy,
};

const CALLER: &str = "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr";

/// What people would try: JSON, wildcards, variables, ARN separators, line ends, other scripts.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "/",
        "*",
        "?",
        "$",
        "${aws:username}",
        "${namespace}",
        "${*}",
        "\n",
        "\u{0}",
        "-",
        "a",
        "z",
        "0",
        "sue",
        "sorry",
        "é",
        "\u{202e}",
        " ",
        "%2a",
        "..",
        "A",
        "_",
        "@",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

/// The shape of a document: everything but what texts say.
fn shape(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let wild = |character| text.matches(character).count();
            // Wildcards, separators and variables are structure, too.
            json!([wild('*'), wild('?'), wild(':'), wild('/'), text.matches("${").count()])
        }
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        other => other.clone(),
    }
}

fn rendered(
    namespace: &Namespace,
    project: Option<&ProjectName>,
    session: &SessionId,
    template: &str,
) -> Value {
    let account: AccountId = "123456789012".parse().unwrap();
    let region: Region = "eu-west-2".parse().unwrap();
    let partition = "aws".parse().unwrap();
    let variables =
        Variables { namespace, project, session, account: &account, region: &region, partition: &partition };
    let statements = render(template, &variables).unwrap();
    let expires_at = "2026-01-02T03:04:05Z".parse().unwrap();
    serde_json::from_str(&access_policy(statements, expires_at).unwrap()).unwrap()
}

fn templates() -> Vec<String> {
    let table = TierTable::built_in().unwrap();
    let mut templates: Vec<_> =
        table.iter().map(|(tier, _)| table.template(tier).unwrap().to_owned()).collect();
    // Each variable in each place where a template may have one.
    templates.push(
        json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "x", "Effect": "Allow", "Action": "s3:GetObject",
            "Resource": ["arn:aws:s3:::${namespace}-*", "arn:aws:s3:::x/${project}/*", "arn:aws:s3:::x/${session}"],
            "Condition": {"StringLike": {"aws:PrincipalTag/x": "${namespace}/${project}/${session}"}},
        }]})
        .to_string(),
    );
    templates
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn only_plain_words_become_names(text in hostile()) {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._@".contains(&byte));
        prop_assert!(text.parse::<Namespace>().is_err() || (plain(&text) && !text.contains('-')));
        prop_assert!(text.parse::<ProjectName>().is_err() || plain(&text));
        prop_assert!(text.parse::<SessionId>().is_err() || plain(&text));
        prop_assert!(text.parse::<ExternalId>().is_err() || plain(&text));
    }

    #[test]
    fn what_becomes_a_name_changes_no_structure(
        namespace in prop_oneof![hostile(), "[a-z][a-z0-9]{1,19}".prop_map(String::from)],
        project in prop_oneof![hostile(), "[a-z][a-z0-9-]{1,31}".prop_map(String::from)],
        random in any::<[u8; 10]>(),
    ) {
        let Ok(namespace) = namespace.parse::<Namespace>() else { return Ok(()) };
        let project = project.parse::<ProjectName>().ok();
        let session = SessionId::from_random(random);
        let plain_session = SessionId::from_random([0; 10]);
        let (plain, plain_project) = ("sue".parse().unwrap(), "atlas".parse().unwrap());
        for template in templates() {
            let expected = rendered(&plain, project.as_ref().map(|_| &plain_project), &plain_session, &template);
            let found = rendered(&namespace, project.as_ref(), &session, &template);
            prop_assert_eq!(shape(&found), shape(&expected));
        }
    }

    #[test]
    fn no_namespace_reaches_into_another(one in "[a-z][a-z0-9]{1,19}", other in "[a-z][a-z0-9]{1,19}", rest in "[a-z0-9-]{0,9}") {
        let (Ok(one), Ok(other)) = (one.parse::<Namespace>(), other.parse::<Namespace>()) else { return Ok(()) };
        prop_assume!(one != other);
        // A name of the other's: the pattern `<one>-*` does not match it.
        let name = format!("{other}-{rest}");
        let reached = name.starts_with(&format!("{one}-"));
        prop_assert!(!reached);
    }

    #[test]
    fn a_session_name_changes_nothing_but_itself_in_a_trust_policy(
        name in prop_oneof![hostile(), "[a-z][a-z0-9.@-]{1,63}".prop_map(String::from)],
        arn in prop_oneof![hostile(), Just(CALLER.to_owned())],
    ) {
        let trust = |role_session_name: &str, caller_arn: &str| {
            let document = trust_policy(&TrustTerms {
                caller_arn,
                caller_unique_id: "AIDAEXAMPLE",
                role_session_name,
                carried: None,
                external_id: &ExternalId::from_random([1; 16]),
                session: &SessionId::from_random([2; 10]),
                expires_at: "2026-01-02T03:04:05Z".parse().unwrap(),
                mfa: true,
                addresses: &[],
            });
            document.map(|document| serde_json::from_str::<Value>(&document).unwrap())
        };
        let literal = |text: &str| !text.contains(['*', '?', '$', '{', '"', '\\', ' ', '\n']);
        let Ok(mut found) = trust(&name, &arn) else { return Ok(()) };
        prop_assert!(literal(&name) && literal(&arn));
        let said = found["Statement"][0]["Condition"]["StringEquals"]["sts:RoleSessionName"].take();
        prop_assert_eq!(said, Value::String(name));
        let mut expected = trust("sue", &arn).unwrap();
        expected["Statement"][0]["Condition"]["StringEquals"]["sts:RoleSessionName"].take();
        prop_assert_eq!(found, expected);
    }
}
