//! No value that somebody can choose changes the structure of a rendered policy, or makes an ARN wider.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests: what should not happen ends the test"
)]

use proptest::prelude::*;
use serde_json::{Value, json};
use sorry_policy::{
    AccountId, AddressRange, DocumentError, ExternalId, Namespace, PersonName, PolicyArn, ProjectName,
    Region, RoleName, SessionId, SourceIdentity, TierName, TierTable, TrustTerms, Variables, access_policy,
    expiry_policy, managed_policy, render, revoked_policy, revoked_policy_name, revoked_session_policy,
    session_policy, trust_policy,
};

const CALLER: &str = "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr";

/// Names that stand in no template, so that they can be found again in what was rendered.
const PLAIN: (&str, &str, [u8; 10]) = ("placeholdernamespace", "placeholder-project", [255; 10]);

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

/// Ranges of addresses: some of them all addresses, which are refused.
fn range() -> impl Strategy<Value = String> {
    let v4 = (any::<u32>(), 0_u32..=32).prop_map(|(address, bits)| {
        let whole = address & u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        format!("{}/{bits}", std::net::Ipv4Addr::from(whole))
    });
    let v6 = (any::<u128>(), 0_u32..=128).prop_map(|(address, bits)| {
        let whole = address & u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        format!("{}/{bits}", std::net::Ipv6Addr::from(whole))
    });
    prop_oneof![v4, v6]
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

/// The statements of a template, and each document that is made of them: `access`, a user's managed policy, and, where it fits, the
/// session policy of a standing role.
fn rendered(
    namespace: &Namespace,
    project: Option<&ProjectName>,
    session: &SessionId,
    template: &str,
) -> (Vec<Value>, [Option<Value>; 3]) {
    let account: AccountId = "123456789012".parse().unwrap();
    let region: Region = "eu-west-2".parse().unwrap();
    let partition = "aws".parse().unwrap();
    let variables =
        Variables { namespace, project, session, account: &account, region: &region, partition: &partition };
    let statements = render(template, &variables).unwrap();
    let expires_at = "2026-01-02T03:04:05Z".parse().unwrap();
    let access = access_policy(statements.clone(), expires_at).unwrap();
    let read = |document: Result<String, DocumentError>| match document {
        Ok(document) => Some(serde_json::from_str(&document).unwrap()),
        Err(DocumentError::TooLong { .. }) => None,
        Err(other) => panic!("{other}"),
    };
    let managed = managed_policy(&statements);
    let of_session = session_policy(statements.clone(), expires_at);
    (statements, [Ok(access), managed, of_session].map(read))
}

/// The same, with other names in every text, and nowhere else.
fn renamed(value: &Value, names: &[(&str, &str)]) -> Value {
    match value {
        Value::String(text) => {
            names.iter().fold(text.clone(), |text, (from, to)| text.replace(from, to)).into()
        }
        Value::Array(items) => items.iter().map(|item| renamed(item, names)).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), renamed(value, names))).collect()
        }
        other => other.clone(),
    }
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
        prop_assert!(text.parse::<PersonName>().is_err() || plain(&text));
        prop_assert!(text.parse::<RoleName>().is_err() || plain(&text));
        prop_assert!(text.parse::<TierName>().is_err() || plain(&text));
        let literal = |text: &str| !text.contains(['*', '?', '$', '{', '}', '"', '\\', ' ', '\n', '\0']);
        prop_assert!(text.parse::<SourceIdentity>().is_err() || literal(&text));
        let arn = format!("arn:aws:iam::123456789012:policy/sorry/session/{text}");
        prop_assert!(arn.parse::<PolicyArn>().is_err() || literal(&text));
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
        let (plain, plain_project) = (PLAIN.0.parse().unwrap(), PLAIN.1.parse().unwrap());
        let plain_session = SessionId::from_random(PLAIN.2);
        let project_name = project.as_ref().map_or(PLAIN.1, ProjectName::as_str);
        let names =
            [(PLAIN.0, namespace.as_str()), (PLAIN.1, project_name), (plain_session.as_str(), session.as_str())];
        for template in templates() {
            let of_plain = project.as_ref().map(|_| &plain_project);
            let (_, expected) = rendered(&plain, of_plain, &plain_session, &template);
            let (statements, found) = rendered(&namespace, project.as_ref(), &session, &template);
            for (found, expected) in found.iter().zip(&expected) {
                // The one with the longer names may not fit: then there is nothing to be wrong with.
                let (Some(found), Some(expected)) = (found, expected) else { continue };
                prop_assert_eq!(shape(found), shape(expected));
                prop_assert_eq!(found, &renamed(expected, &names));
            }
            // Whatever the names: what is allowed comes with its end, and a user's has it in `expiry`.
            let [access, managed, of_session] = &found;
            let ended = [statements.clone(), expiry_statements()].concat();
            prop_assert_eq!(access.as_ref().map(|access| &access["Statement"]), Some(&Value::from(ended.clone())));
            if let Some(managed) = managed {
                prop_assert_eq!(&managed["Statement"], &Value::from(statements));
            }
            if let Some(of_session) = of_session {
                prop_assert_eq!(&of_session["Statement"], &Value::from(ended));
            }
        }
    }

    #[test]
    fn the_date_and_nothing_else_stands_in_what_ends_a_user(second in 0_i64..4_102_444_800) {
        let at = jiff::Timestamp::from_second(second).unwrap();
        let document: Value = serde_json::from_str(&expiry_policy(at)).unwrap();
        let said = document["Statement"][0]["Condition"]["DateGreaterThanEquals"]["aws:CurrentTime"].as_str().unwrap();
        prop_assert_eq!(said.parse::<jiff::Timestamp>().unwrap(), at);
        prop_assert_eq!(renamed(&document, &[(said, "2026-01-02T03:04:05Z")])["Statement"].clone(), Value::from(expiry_statements()));
    }

    #[test]
    fn what_ends_a_session_of_a_standing_role_names_it_and_no_other(one in any::<[u8; 10]>(), other in any::<[u8; 10]>()) {
        let (one, other) = (SessionId::from_random(one), SessionId::from_random(other));
        let of = |session: &SessionId| serde_json::from_str::<Value>(&revoked_session_policy(session)).unwrap();
        prop_assert_eq!(shape(&of(&one)), shape(&of(&other)));
        prop_assert_eq!(renamed(&of(&one), &[(one.as_str(), other.as_str())]), of(&other));
        // What denies everything to everybody, but for the condition; and that is no pattern.
        let mut without = of(&one);
        let condition = without["Statement"][0].as_object_mut().unwrap().remove("Condition");
        prop_assert_eq!(condition, Some(json!({"StringEquals": {"aws:SourceIdentity": one.as_str()}})));
        prop_assert_eq!(without, serde_json::from_str::<Value>(&revoked_policy()).unwrap());
        // Neither writes over the other's. Source of the alphabet: IAM PutRolePolicy, PolicyName.
        let name = revoked_policy_name(&one);
        prop_assert_eq!(name == revoked_policy_name(&other), one == other);
        prop_assert!(name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        prop_assert!(name != "revoked" && name != "access");
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
    fn what_is_said_of_a_caller_changes_nothing_but_itself_in_a_trust_policy(
        name in prop_oneof![hostile(), "[a-z][a-z0-9.@-]{1,63}".prop_map(String::from)],
        arn in prop_oneof![hostile(), Just(CALLER.to_owned())],
        unique_id in prop_oneof![hostile(), "A[A-Z0-9]{4,20}(:[a-z]{1,9})?".prop_map(String::from)],
        carried in prop_oneof![hostile(), "[a-z+=,.@_-]{2,64}".prop_map(String::from)],
        session in any::<[u8; 10]>(),
        addresses in prop::collection::vec(range(), 0..4),
    ) {
        let carried = carried.parse::<SourceIdentity>().ok();
        let addresses: Vec<AddressRange> = addresses.iter().filter_map(|text| text.parse().ok()).collect();
        let trust = |name: &str, arn: &str, unique_id: &str, carried: Option<&SourceIdentity>, session: [u8; 10]| {
            let document = trust_policy(&TrustTerms {
                caller_arn: arn,
                caller_unique_id: unique_id,
                role_session_name: name,
                carried,
                external_id: &ExternalId::from_random([1; 16]),
                session: &SessionId::from_random(session),
                expires_at: "2026-01-02T03:04:05Z".parse().unwrap(),
                mfa: true,
                addresses: &addresses,
            });
            document.map(|document| serde_json::from_str::<Value>(&document).unwrap())
        };
        let literal = |text: &str| !text.contains(['*', '?', '$', '{', '"', '\\', ' ', '\n']);
        let Ok(found) = trust(&name, &arn, &unique_id, carried.as_ref(), session) else { return Ok(()) };
        prop_assert!(literal(&name) && literal(&arn) && literal(&unique_id));
        let plain_carried = carried.as_ref().map(|_| "sue@example.org".parse().unwrap());
        let mut expected = trust("sue", "arn:x", "AIDAX", plain_carried.as_ref(), PLAIN.2).unwrap();
        // Each of them stands in its own places, and in no other.
        let session = SessionId::from_random(session);
        let identity = carried.as_ref().map_or(session.as_str(), SourceIdentity::as_str);
        let key = if carried.is_some() { "aws:SourceIdentity" } else { "sts:SourceIdentity" };
        for statement in expected["Statement"].as_array_mut().unwrap() {
            statement["Principal"]["AWS"] = arn.as_str().into();
            statement["Condition"]["StringEquals"]["aws:userid"] = unique_id.as_str().into();
            statement["Condition"]["StringEquals"][key] = identity.into();
        }
        expected["Statement"][0]["Condition"]["StringEquals"]["sts:RoleSessionName"] = name.as_str().into();
        prop_assert_eq!(found, expected);
    }

    /// What STS compares is the range that was written, and not a wider one.
    #[test]
    fn a_range_of_addresses_is_written_as_it_was_read_or_refused(text in prop_oneof![hostile(), range()]) {
        if let Ok(range) = text.parse::<AddressRange>() {
            prop_assert_eq!(serde_json::to_value(range).unwrap(), Value::from(text));
        }
    }
}

/// The statements that end whatever stands before them.
fn expiry_statements() -> Vec<Value> {
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let document: Value = serde_json::from_str(&expiry_policy(at)).unwrap();
    let statements = document["Statement"].as_array().unwrap().clone();
    assert_eq!(
        statements,
        [json!({
            "Sid": "SorryExpiry", "Effect": "Deny", "Action": "*", "Resource": "*",
            "Condition": {"DateGreaterThanEquals": {"aws:CurrentTime": "2026-01-02T03:04:05Z"}},
        })]
    );
    statements
}

/// So that the property over names says something about each of the three documents.
#[test]
fn every_kind_of_document_is_made_of_some_template() {
    let session = SessionId::from_random(PLAIN.2);
    let (namespace, project) = (PLAIN.0.parse().unwrap(), PLAIN.1.parse().unwrap());
    let found = templates().iter().fold([0; 3], |found: [usize; 3], template| {
        let (_, documents) = rendered(&namespace, Some(&project), &session, template);
        [0, 1, 2].map(|kind| found[kind] + usize::from(documents[kind].is_some()))
    });
    assert_eq!(found[0], templates().len());
    assert!(found[1] >= 3 && found[2] >= 2, "{found:?}");
    // The template with every variable fits everywhere.
    let last = templates().pop().unwrap();
    assert!(rendered(&namespace, Some(&project), &session, &last).1.iter().all(Option::is_some));
}
