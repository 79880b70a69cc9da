//! Who else in the account may reach the service: the policies of its tables and of its key, the sample of a service control policy, and
//! the static checks of all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::project::{Template, each, rendered, text};

/// What CloudFormation does with a table. Denied to whoever deploys, the table's policy could only be taken away by the root user.
const MANAGEMENT: [&str; 6] = [
    "dynamodb:DeleteResourcePolicy",
    "dynamodb:DeleteTable",
    "dynamodb:DescribeTable",
    "dynamodb:GetResourcePolicy",
    "dynamodb:PutResourcePolicy",
    "dynamodb:UpdateTable",
];
/// Ways to read or write a table that no function uses. Source: Service Authorization Reference, DynamoDB; of these a table's policy
/// knows all (DynamoDB guide, "DynamoDB API operations supported by resource-based policies").
const OTHER_WAYS_IN: [&str; 12] = [
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:CreateBackup",
    "dynamodb:EnableKinesisStreamingDestination",
    "dynamodb:ExportTableToPointInTime",
    "dynamodb:PartiQLDelete",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLSelect",
    "dynamodb:PartiQLUpdate",
    "dynamodb:RestoreTableToPointInTime",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
];

/// A role of the template, as its sessions' `aws:PrincipalArn` says it.
fn arn(role: &Value) -> String {
    let (path, name) = (rendered(&role["Path"]), rendered(&role["RoleName"]));
    format!("arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:role{path}{name}")
}

/// The actions of one service that each role of the template is allowed on a resource, or on what lies below it.
fn allowed(service: &str, resource: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for role in Template::deployed().of_type("AWS::IAM::Role").into_values() {
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap() {
            let here = format!("${{{resource}.Arn}}");
            if each(&statement["Resource"]).iter().any(|one| one.starts_with(&here)) {
                let actions = each(&statement["Action"]);
                let actions = actions.into_iter().filter(|action| action.starts_with(&format!("{service}:")));
                found.entry(arn(role)).or_default().extend(actions);
            }
        }
    }
    assert!(!found.is_empty(), "no role is allowed anything on {resource}");
    found
}

#[test]
fn tables_are_for_the_functions_that_use_them() {
    for (id, table) in Template::deployed().of_type("AWS::DynamoDB::Table") {
        let users = allowed("dynamodb", id);
        let statements = table["ResourcePolicy"]["PolicyDocument"]["Statement"].as_array();
        let [statement] = statements.unwrap_or_else(|| panic!("{id} has no policy")).as_slice() else {
            panic!("{id}: one statement is what this test reads")
        };
        assert_eq!((&statement["Effect"], &statement["Principal"]), (&json!("Deny"), &json!("*")), "{id}");

        let name = rendered(&table["TableName"]);
        let here =
            format!("arn:${{AWS::Partition}}:dynamodb:${{AWS::Region}}:${{AWS::AccountId}}:table/{name}");
        let mut resources = vec![here.clone()];
        resources.extend(table.get("GlobalSecondaryIndexes").map(|_| format!("{here}/index/*")));
        assert_eq!(each(&statement["Resource"]), resources, "{id}: the table and its indexes");

        let denied: BTreeSet<_> = each(&statement["Action"]).into_iter().collect();
        let used = users.values().flatten().map(String::as_str);
        for action in used.chain(OTHER_WAYS_IN) {
            assert!(denied.contains(action), "{id}: others are not denied `{action}`");
        }
        for action in MANAGEMENT {
            assert!(!denied.contains(action), "{id}: denying `{action}` locks out whoever deploys");
        }

        let condition = &statement["Condition"];
        let exempt: BTreeSet<_> = each(&condition["ArnNotEquals"]["aws:PrincipalArn"]).into_iter().collect();
        let users: BTreeSet<_> = users.into_keys().collect();
        assert_eq!(exempt, users, "{id}: left: named in its policy; right: roles that are allowed its data");
        // The conditions of one statement must all be met: neither a function nor an administrator nor AWS itself.
        let administrators = json!({"Fn::If": [
            "AdministratorsAreNamed", {"aws:PrincipalArn": {"Ref": "AdministratorArns"}}, {"Ref": "AWS::NoValue"}
        ]});
        assert_eq!(condition["ArnNotLike"], administrators, "{id}");
        assert_eq!(condition["BoolIfExists"], json!({"aws:PrincipalIsAWSService": "false"}), "{id}");
        assert_eq!(condition.as_object().unwrap().len(), 3, "{id}: another condition denies less");
    }
}

/// The statements of the key's policy by their names, those of conditions too.
fn key_statements() -> BTreeMap<String, Value> {
    let policy = &Template::deployed().resource("DataKey")["KeyPolicy"];
    let statements = policy["Statement"].as_array().unwrap().iter().map(|statement| {
        let statement = statement["Fn::If"].get(1).unwrap_or(statement);
        (rendered(&statement["Sid"]), statement.clone())
    });
    statements.collect()
}

#[test]
fn the_key_opens_for_the_functions_the_administrators_and_whoever_deploys() {
    let statements = key_statements();
    let names: Vec<_> = statements.keys().map(String::as_str).collect();
    let expected = [
        "Administration",
        "AlarmsToTheTopic",
        "CloudFormationMakesTheTables",
        "RulesToTheTopic",
        "TheAdministrators",
        "TheFunctions",
    ];
    assert_eq!(names, expected, "a new statement needs a place in this test");
    for (name, statement) in &statements {
        assert_eq!(statement["Effect"], "Allow", "{name}");
    }

    // Whoever manages the key can change its policy, so that it is never lost, and cannot read with it.
    let administration = each(&statements["Administration"]["Action"]);
    for action in &administration {
        let opens = ["Crypt", "crypt", "GenerateDataKey", "CreateGrant", "*"];
        assert!(!opens.iter().any(|word| action.contains(word)), "Administration allows `{action}`");
    }
    assert!(administration.contains(&"kms:PutKeyPolicy".to_owned()));

    let functions = &statements["TheFunctions"];
    let named: BTreeSet<_> =
        each(&functions["Condition"]["ArnEquals"]["aws:PrincipalArn"]).into_iter().collect();
    let users = allowed("kms", "DataKey");
    assert_eq!(named, users.keys().cloned().collect(), "left: named; right: roles that are allowed the key");
    let opened: BTreeSet<_> = each(&functions["Action"]).into_iter().collect();
    for (role, actions) in &users {
        assert!(
            actions.is_subset(&opened),
            "{role} is allowed {actions:?}, and the key's policy says {opened:?}"
        );
    }
    for name in ["TheFunctions", "TheAdministrators"] {
        let condition = &statements[name]["Condition"];
        assert!(condition["ArnEquals"].get("aws:PrincipalArn").is_some(), "{name} names nobody");
        let services = each(&condition["StringEquals"]["kms:ViaService"]);
        assert!(
            !services.is_empty(),
            "{name}: the key is for what lies in a service, and not for use by itself"
        );
    }
    // The topic's own, and nothing else: a rule does not tell KMS whose it is, and the topic's policy says whose it takes.
    let topic = rendered(&Template::deployed().resource("AlertTopic")["TopicName"]);
    let told = &statements["RulesToTheTopic"]["Condition"];
    let arn = told["StringEquals"]["kms:EncryptionContext:aws:sns:topicArn"].to_string();
    assert!(arn.contains(&format!(":{topic}\"")) && !arn.contains('*'), "{arn}");
    assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
    assert_eq!(statements["RulesToTheTopic"]["Principal"], json!({"Service": "events.amazonaws.com"}));

    // Source: IAM guide, "Forward access sessions": with DynamoDB called by CloudFormation as the example.
    let made = &statements["CloudFormationMakesTheTables"]["Condition"]["StringEquals"];
    assert_eq!(made["aws:CalledViaFirst"], "cloudformation.amazonaws.com");
    assert_eq!(made["aws:CalledViaLast"], "dynamodb.amazonaws.com");
    // Source: DynamoDB guide, "Key policy for a customer managed key", the least that whoever chooses the key for a table needs.
    let mut needed: BTreeSet<_> =
        each(&statements["CloudFormationMakesTheTables"]["Action"]).into_iter().collect();
    needed.extend(administration);
    for action in [
        "kms:CreateGrant",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey*",
        "kms:ReEncrypt*",
    ] {
        assert!(needed.contains(action), "no table can be made: `{action}` is missing");
    }
}

#[test]
fn the_sample_of_a_service_control_policy_protects_the_services_paths() {
    let policy: Value = serde_json::from_str(&text("infrastructure/service-control-policy.json")).unwrap();
    let compact = policy.to_string();
    // Source: AWS Organizations, "Quotas and service limits".
    assert!(compact.len() <= 5120, "{} characters; a service control policy has 5120 at most", compact.len());
    let mut protected = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Deny", "{}: it takes away, and allows nothing", statement["Sid"]);
        protected.extend(each(&statement["Resource"]));
        let exempt = each(&statement["Condition"]["ArnNotLike"]["aws:PrincipalArn"]);
        let service = "arn:aws:iam::*:role/sorry/service/*".to_owned();
        assert!(exempt.contains(&service), "{} stops the service's own functions", statement["Sid"]);
        assert!(exempt.len() > 1, "{} leaves nobody to deploy", statement["Sid"]);
    }
    for kind in ["instance-profile", "policy", "role", "user"] {
        let path = format!("arn:aws:iam::*:{kind}/sorry/*");
        assert!(protected.contains(&path), "`{path}` is not protected");
    }
    for role in Template::deployed().of_type("AWS::IAM::Role").into_values() {
        // What stands ready is lent: it is a session's, and not exempt.
        let expected =
            if rendered(&role["RoleName"]).starts_with("sorry-standing-") { "standing" } else { "service" };
        assert_eq!(
            role["Path"],
            format!("/sorry/{expected}/"),
            "the sample exempts the service's roles by their path"
        );
    }
    for table in Template::deployed().of_type("AWS::DynamoDB::Table").into_values() {
        assert!(rendered(&table["TableName"]).starts_with("sorry-"), "the sample names tables by `sorry-`");
    }
    // Callers use their sessions' roles, which lie under `/sorry/session/`, and change their own access keys.
    let principals = &policy["Statement"][0];
    let spared = each(&principals["NotAction"]);
    for action in ["sts:*", "iam:PassRole", "iam:CreateAccessKey"] {
        assert!(spared.contains(&action.to_owned()), "`{action}` is taken from callers and sessions");
    }
}

#[test]
fn what_checkov_is_told_to_skip_has_a_reason() {
    let mut skipped = 0;
    for (id, resource) in Template::deployed().resources() {
        for skip in resource["Metadata"]["checkov"]["skip"].as_array().into_iter().flatten() {
            let reason = skip["comment"].as_str().unwrap_or_default();
            assert!(reason.split(' ').count() > 3, "{id} skips {} and does not say why", skip["id"]);
            skipped += 1;
        }
    }
    assert!(skipped > 0, "checkov's skips are read elsewhere now");
    let lint = text("Makefile");
    assert!(
        !lint.contains("--skip-check") && !lint.contains("--soft-fail"),
        "skips stand beside the resource"
    );
}

/// What the linter of policies says of one statement.
fn lint(statement: &Value, kind: &str) -> String {
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]});
    let input = json!([{"name": "policy", "kind": kind, "narrow": true, "policy": policy}]).to_string();
    let linter = sorry_tests::project().join("tests/local/node/lint_policies.mjs");
    let mut node = Command::new("node");
    let mut node =
        node.arg(linter).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    node.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = node.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(complaint.is_empty(), "{complaint}");
    // Excuses that this one policy does not need are none of its faults.
    let said = String::from_utf8_lossy(&done.stdout);
    said.lines().filter(|line| line.starts_with("policy: ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_linter_of_policies_finds_what_it_is_for() {
    let allow =
        |action: &str, resource: &str| json!({"Effect": "Allow", "Action": action, "Resource": resource});
    let table = "arn:aws:dynamodb:*:*:table/sue-*";
    assert_eq!(lint(&allow("dynamodb:GetItem", table), "identity"), "");
    for (statement, expected) in [
        (allow("dynamodb:GetItems", table), "there is no action `dynamodb:GetItems`"),
        (allow("dynamo:GetItem", table), "there is no action `dynamo:GetItem`"),
        (allow("dynamodb:Nothing*", table), "there is no action `dynamodb:Nothing*`"),
        (
            allow("dynamodb:GetItem", "arn:aws:s3:::sue-*"),
            "`dynamodb:GetItem` works on none of the resources",
        ),
        (allow("ec2:RunInstances", "arn:aws:ec2:*:123456789012:image/*"), "no action here works on"),
        (allow("dynamodb:GetItem", "*"), "`dynamodb:GetItem` could name its resources"),
        (
            json!({"Effect": "Allow", "Action": ["iam:CreateRole", "iam:TagRole"], "Resource": "arn:aws:iam::*:role/sue/*",
                   "Condition": {"StringEquals": {"iam:PermissionsBoundary": "arn:aws:iam::123456789012:policy/b"}}}),
            "`iam:TagRole` has no condition key `iam:PermissionsBoundary`",
        ),
        (
            json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Bool": {"iam:Nothing": "true"}}}),
            "there is no condition key `iam:Nothing`",
        ),
        (json!({"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*", "Resources": "*"}), "Resources"),
    ] {
        let said = lint(&statement, "identity");
        assert!(said.contains(expected), "of {statement} it says:\n{said}");
    }
    let anonymous = json!({"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::sue-x/*"});
    assert!(lint(&anonymous, "resource").contains("Principal"), "a statement for nobody");
}
