//! What a local AWS cannot show of the template: encryption, recovery, who trusts whom, and that a deployment takes effect.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Value, json};
use sorry_policy::{Grant, RoleName, TierTable};
use tempfile::TempDir;

use crate::project::{Template, each, found, found_pairs, rendered, source, text};

const TABLES: [&str; 3] = ["AuditTable", "RegistryTable", "SessionsTable"];
/// Services that tell whose behalf they act on, by `aws:SourceArn` or `aws:SourceAccount`, when they assume a role or use a
/// resource. Source: the services' own guides, "Cross-service confused deputy prevention". Lambda's has none; that it sends
/// `aws:SourceAccount` when it assumes an execution role is in AWS's samples, so `aws:SourceArn` stands by a parameter there.
const TELLING_SERVICES: [&str; 4] =
    ["cloudwatch.amazonaws.com", "events.amazonaws.com", "lambda.amazonaws.com", "states.amazonaws.com"];

#[test]
fn tables_are_encrypted_recoverable_protected_and_forget_by_ttl() {
    let template = Template::deployed();
    let tables = template.of_type("AWS::DynamoDB::Table");
    assert_eq!(
        tables.keys().copied().collect::<Vec<_>>(),
        TABLES,
        "a new table needs all that this test looks for"
    );
    for (id, table) in tables {
        assert_eq!(
            table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true,
            "{id}: PITR"
        );
        let key = json!({"SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": {"Fn::GetAtt": ["DataKey", "Arn"]}});
        assert_eq!(table["SSESpecification"], key, "{id}: the service's own key, not AWS's");
        assert_eq!(
            table["TimeToLiveSpecification"],
            json!({"AttributeName": "ttl", "Enabled": true}),
            "{id}: TTL"
        );
        assert_eq!(table["BillingMode"], "PAY_PER_REQUEST", "{id}");
        assert_eq!(
            table["DeletionProtectionEnabled"],
            json!({"Fn::If": ["DataIsKept", true, false]}),
            "{id}"
        );
        assert_kept(id);
    }
    let sessions = source("crates/aws/src/sessions.rs");
    assert!(
        sessions.contains(r#"insert("ttl""#) && sessions.contains("ttl: i64"),
        "crates/aws writes another attribute than `ttl`"
    );
}

/// What a stack deletes by mistake is gone.
fn assert_kept(id: &str) {
    let resource = &Template::deployed().all()["Resources"][id];
    let policy = resource["DeletionPolicy"].as_str().unwrap_or_default();
    assert!(["Retain", "RetainExceptOnCreate"].contains(&policy), "{id}: DeletionPolicy `{policy}`");
    assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{id}");
}

/// `("by-due", "due_shard", "due_at")` of each index of a table.
fn indexes(table: &Value) -> BTreeSet<(String, String, String)> {
    let indexes = table["GlobalSecondaryIndexes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let key = |index: &Value, kind: &str| {
        let keys = index["KeySchema"].as_array().unwrap();
        let found = keys.iter().find(|key| key["KeyType"] == kind).map(|key| rendered(&key["AttributeName"]));
        found.unwrap_or_default()
    };
    indexes
        .iter()
        .map(|index| {
            // Rows are read from the index whole.
            assert_eq!(index["Projection"]["ProjectionType"], "ALL", "{}", index["IndexName"]);
            (rendered(&index["IndexName"]), key(index, "HASH"), key(index, "RANGE"))
        })
        .collect()
}

#[test]
fn indexes_are_those_that_the_adapters_query() {
    let template = Template::deployed();
    let text = |name: &str, hash: &str, range: &str| (name.to_owned(), hash.to_owned(), range.to_owned());
    for (id, file, expected) in [
        (
            "SessionsTable",
            "crates/aws/src/sessions.rs",
            BTreeSet::from([
                text("by-person", "person", "requested_at"),
                text("by-namespace", "namespace", "requested_at"),
                text("by-due", "due_shard", "due_at"),
            ]),
        ),
        ("RegistryTable", "crates/aws/src/registry.rs", BTreeSet::from([text("by-kind", "kind", "key")])),
        ("AuditTable", "crates/aws/src/audit.rs", BTreeSet::from([text("by-hour", "at_hour", "at")])),
    ] {
        assert_eq!(indexes(template.resource(id)), expected, "left: the indexes of {id}; right: this test");
        let adapter = source(file);
        let mut queried = found_pairs(r#"\("(by-[a-z]+)", "(\w+)","#, &adapter);
        queried.extend(found_pairs(
            r#"index_name\("(by-[a-z]+)"\)\s*\.key_condition_expression\("(\w+) = :"#,
            &adapter,
        ));
        let queried: BTreeSet<_> = queried.into_iter().collect();
        let expected: BTreeSet<_> = expected.into_iter().map(|(name, hash, _)| (name, hash)).collect();
        assert_eq!(queried, expected, "left: what {file} queries; right: the indexes of {id} and their keys");
    }
    // How the adapters write the keys of the indexes decides their types.
    let mut types = BTreeMap::new();
    for id in TABLES {
        for attribute in template.resource(id)["AttributeDefinitions"].as_array().unwrap() {
            types.insert(rendered(&attribute["AttributeName"]), rendered(&attribute["AttributeType"]));
        }
    }
    let numbers: Vec<_> =
        types.iter().filter(|(_, kind)| *kind == "N").map(|(name, _)| name.as_str()).collect();
    assert_eq!(numbers, ["due_at", "sequence"], "all other keys are written as strings");
}

#[test]
fn keys_of_the_tables_are_those_that_the_adapters_write() {
    let expected = [
        ("AuditTable", vec!["subject", "sequence"]),
        ("RegistryTable", vec!["key"]),
        ("SessionsTable", vec!["session_id"]),
    ];
    for (id, names) in expected {
        let keys = Template::deployed().resource(id)["KeySchema"].as_array().unwrap();
        let keys: Vec<_> = keys.iter().map(|key| rendered(&key["AttributeName"])).collect();
        assert_eq!(keys, names, "{id}");
    }
}

#[test]
fn every_index_may_be_queried_by_whoever_does() {
    for (role, indexes) in [
        ("ApiRole", vec!["by-due", "by-hour", "by-kind", "by-namespace", "by-person"]),
        ("SweepRole", vec!["by-due", "by-hour", "by-kind"]),
    ] {
        let statements =
            Template::deployed().resource(role)["Policies"][0]["PolicyDocument"]["Statement"].clone();
        let queries =
            statements.as_array().unwrap().iter().filter(|statement| statement["Action"] == "dynamodb:Query");
        let allowed: BTreeSet<_> =
            queries.flat_map(|statement| found(r"/index/([a-z-]+)", &statement.to_string())).collect();
        assert_eq!(allowed, indexes.into_iter().map(str::to_owned).collect(), "what {role} may query");
    }
}

/// The adapters delete one kind of item: a caller, in the API.
#[test]
fn only_the_api_may_delete_from_a_table() {
    let mut may_delete = BTreeSet::new();
    for (id, role) in Template::deployed().of_type("AWS::IAM::Role") {
        for policy in role["Policies"].as_array().into_iter().flatten() {
            for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
                if each(&statement["Action"]).iter().any(|action| action == "dynamodb:DeleteItem") {
                    may_delete.insert((id.to_owned(), rendered(&statement["Resource"])));
                }
            }
        }
    }
    assert_eq!(may_delete, BTreeSet::from([("ApiRole".to_owned(), "${RegistryTable.Arn}".to_owned())]));
}

/// Append-only: whoever writes to the audit only puts, and the adapters put on condition that nothing is there.
#[test]
fn nobody_changes_or_deletes_what_the_audit_holds() {
    let mut allowed = BTreeSet::new();
    for (id, role) in Template::deployed().of_type("AWS::IAM::Role") {
        for policy in role["Policies"].as_array().into_iter().flatten() {
            for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
                for resource in each(&statement["Resource"]) {
                    if resource.starts_with("${AuditTable") || resource.starts_with("${AuditBucket") {
                        let actions = each(&statement["Action"]);
                        allowed.extend(actions.into_iter().map(|action| (id.to_owned(), action)));
                    }
                }
            }
        }
    }
    let expected = [
        ("ApiRole", "dynamodb:PutItem"),
        ("ApiRole", "dynamodb:Query"),
        ("ApiRole", "s3:GetObjectVersion"),
        ("ApiRole", "s3:ListBucketVersions"),
        ("CleanUpRole", "dynamodb:PutItem"),
        ("IssueRole", "dynamodb:PutItem"),
        ("ProvisionRole", "dynamodb:PutItem"),
        ("SweepRole", "dynamodb:PutItem"),
        ("SweepRole", "dynamodb:Query"),
        ("SweepRole", "s3:GetObject"),
        ("SweepRole", "s3:PutObject"),
    ];
    let expected = expected.map(|(role, action)| (role.to_owned(), action.to_owned()));
    assert_eq!(allowed, expected.into(), "left: the template; right: what the audit needs");
    let sessions = source("crates/aws/src/sessions.rs");
    assert!(sessions.contains(r#".condition_expression("attribute_not_exists(subject)")"#));
    assert!(source("crates/aws/src/digests.rs").contains(r#".if_none_match("*")"#));
}

#[test]
fn digests_are_locked_versioned_and_out_of_reach() {
    let template = Template::deployed();
    let bucket = template.resource("AuditBucket");
    assert_eq!(bucket["VersioningConfiguration"]["Status"], "Enabled");
    assert_eq!(bucket["ObjectLockEnabled"], true);
    let lock = &bucket["ObjectLockConfiguration"];
    assert_eq!(lock["ObjectLockEnabled"], "Enabled");
    let retention = json!({"Mode": {"Ref": "AuditLockMode"}, "Days": {"Ref": "AuditLockDays"}});
    assert_eq!(lock["Rule"]["DefaultRetention"], retention);
    let parameters = &template.all()["Parameters"];
    assert_eq!(parameters["AuditLockMode"]["AllowedValues"], json!(["GOVERNANCE", "COMPLIANCE"]));
    assert!(
        parameters["AuditLockDays"]["Default"].as_u64() >= Some(365),
        "an audit is asked for after a year"
    );
    assert_eq!(parameters["AuditDigestSeconds"]["Default"], 3600);
    for seconds in parameters["AuditDigestSeconds"]["AllowedValues"].as_array().unwrap() {
        assert_eq!(3600 % seconds.as_u64().unwrap(), 0, "periods must fit into an hour");
    }
    assert_kept("AuditBucketPolicy");

    let statements = &template.resource("AuditBucketPolicy")["PolicyDocument"]["Statement"];
    let statements = statements.as_array().unwrap();
    assert!(statements.iter().all(|statement| statement["Effect"] == "Deny"), "it only takes away");
    let named = |sid: &str| statements.iter().find(|statement| statement["Sid"] == sid).unwrap();
    let nothing = named("NothingIsDeletedOrUnlocked");
    assert!(nothing.get("Condition").is_none(), "whoever it is");
    for action in ["DeleteObject", "DeleteObjectVersion", "BypassGovernanceRetention", "PutObjectRetention"] {
        assert!(each(&nothing["Action"]).contains(&format!("s3:{action}")), "{action} is not denied");
    }
    let writers = &named("OnlyTheSweepWrites")["Condition"]["ArnNotEquals"]["aws:PrincipalArn"];
    assert!(rendered(writers).ends_with(":role/sorry/service/sorry-function-sweep"), "{writers}");
    assert_eq!(each(&named("OverTlsAlone")["Resource"]).len(), 2);
}

#[test]
fn what_is_stored_or_sent_is_encrypted() {
    let template = Template::deployed();
    for (id, topic) in template.of_type("AWS::SNS::Topic") {
        assert!(rendered(&topic["KmsMasterKeyId"]).starts_with("${DataKey"), "{id}: the service's own key");
    }
    for (id, queue) in template.of_type("AWS::SQS::Queue") {
        let encrypted = queue["SqsManagedSseEnabled"] == true || queue.get("KmsMasterKeyId").is_some();
        assert!(encrypted, "{id} is not encrypted");
    }
    for (id, bucket) in template.of_type("AWS::S3::Bucket") {
        let rule = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"];
        assert_eq!(rule["SSEAlgorithm"], "aws:kms", "{id}");
        assert!(rendered(&rule["KMSMasterKeyID"]).starts_with("${DataKey"), "{id}: the service's own key");
        let block = bucket["PublicAccessBlockConfiguration"].as_object().unwrap();
        assert!(
            block.len() == 4 && block.values().all(|on| *on == true),
            "{id} must be closed to the public"
        );
        assert_kept(id);
    }
    assert_eq!(template.resource("DataKey")["EnableKeyRotation"], true);
    assert_kept("DataKey");
}

#[test]
fn what_a_rule_cannot_deliver_is_tried_again_and_then_kept() {
    let template = Template::deployed();
    let queue_policy = template.resource("DeadLetterQueuePolicy").to_string();
    let rules = template.of_type("AWS::Events::Rule");
    assert_eq!(
        rules.keys().copied().collect::<Vec<_>>(),
        ["AlertRule", "StrangeInvocationRule", "SweepRule"]
    );
    for (id, rule) in rules {
        for target in rule["Targets"].as_array().unwrap() {
            let letters = rendered(&target["DeadLetterConfig"]["Arn"]);
            assert_eq!(letters, "${DeadLetterQueue.Arn}", "{id} loses what it cannot deliver");
            // Without a policy of its own a rule tries for a day. Source: EventBridge guide, "Retrying delivery".
            let tries = target["RetryPolicy"]["MaximumRetryAttempts"].as_u64();
            assert!(target.get("RetryPolicy").is_none() || tries >= Some(1), "{id} gives up at once");
        }
        assert!(
            queue_policy.contains(&json!({"Fn::GetAtt": [id, "Arn"]}).to_string()),
            "{id} may not write to the queue"
        );
    }
    // An alert that was delivered and not sent is kept, too.
    let alert = template.resource("AlertInvocations");
    assert!(alert["MaximumRetryAttempts"].as_u64() >= Some(1));
    assert_eq!(rendered(&alert["DestinationConfig"]["OnFailure"]["Destination"]), "${DeadLetterQueue.Arn}");
}

#[test]
fn the_rule_for_alerts_matches_what_the_events_say() {
    let rule = Template::deployed().resource("AlertRule");
    assert_eq!(rule["EventPattern"], json!({"source": ["sorry"], "detail": {"alert": [true]}}));
    assert_eq!(rendered(&rule["EventBusName"]), "${EventBus}");
    let adapter = source("crates/aws/src/events.rs") + &source("crates/session/src/events.rs");
    assert!(adapter.contains("\"sorry\""), "no event has the source `sorry` any more");
    assert!(adapter.contains("\"alert\""), "no event says `alert` any more");
}

#[test]
fn only_the_one_source_may_invoke_a_function() {
    let template = Template::deployed();
    for (id, permission) in template.of_type("AWS::Lambda::Permission") {
        let arn = rendered(&permission["SourceArn"]);
        assert!(
            permission.get("SourceArn").is_some(),
            "{id}: without SourceArn anybody's {} may invoke it",
            permission["Principal"]
        );
        // An ARN of S3 has no account; those of a resource of this stack, or with the account in them, do.
        let tells_account = arn.contains("${AWS::AccountId}") || !arn.contains("s3");
        assert!(
            tells_account || permission.get("SourceAccount").is_some(),
            "{id} needs SourceAccount: `{arn}` has no account"
        );
        assert_eq!(permission["Action"], "lambda:InvokeFunction", "{id}");
    }
}

#[test]
fn every_service_is_trusted_for_this_account_alone() {
    let mut seen = BTreeSet::new();
    for (place, statement) in Template::deployed().statements() {
        if statement["Effect"] != "Allow" {
            continue;
        }
        for service in each(&statement["Principal"]["Service"]) {
            assert!(
                TELLING_SERVICES.contains(&service.as_str()),
                "{place}: does {service} send aws:SourceArn? Say so in this test"
            );
            let condition = statement["Condition"].to_string();
            // To KMS a rule tells the topic, and nothing else: with `aws:SourceAccount` every alert would be dropped.
            let tells = if place.starts_with("DataKey:") && service == "events.amazonaws.com" {
                condition.contains("kms:EncryptionContext:aws:sns:topicArn")
                    && !condition.contains("aws:Source")
            } else {
                condition.contains("aws:SourceArn") || condition.contains("aws:SourceAccount")
            };
            assert!(
                tells,
                "{place} trusts {service} for any account: add aws:SourceAccount or aws:SourceArn"
            );
            assert!(
                !condition.contains("IfExists"),
                "{place}: a service that does not say whom it acts for is let in"
            );
            seen.insert(service);
        }
    }
    assert_eq!(seen, TELLING_SERVICES.map(str::to_owned).into(), "services that the template trusts");
    for (id, role) in Template::deployed().of_type("AWS::IAM::Role") {
        if id.ends_with("StandingRole") {
            continue;
        }
        for statement in role["AssumeRolePolicyDocument"]["Statement"].as_array().unwrap() {
            assert!(
                statement["Condition"].to_string().contains("aws:SourceArn"),
                "{id} is not for one resource alone"
            );
        }
    }
}

/// One role stands ready for each tier that is lent so: bounded, and for sessions that `issue` gives it to.
#[test]
fn what_stands_ready_is_bounded_and_for_the_issue_function_alone() {
    let template = Template::deployed();
    let tiers = TierTable::built_in().unwrap();
    let standing: Vec<_> = tiers.iter().filter(|(_, tier)| tier.grant == Grant::Standing).collect();
    let roles: BTreeMap<_, _> = template
        .of_type("AWS::IAM::Role")
        .into_iter()
        .filter(|(id, _)| id.ends_with("StandingRole"))
        .collect();
    let names: BTreeSet<_> = roles.values().map(|role| rendered(&role["RoleName"])).collect();
    let expected: BTreeSet<_> =
        standing.iter().map(|(name, _)| RoleName::standing(name).to_string()).collect();
    assert_eq!(names, expected, "left: roles of the template; right: built-in tiers");
    for (id, role) in roles {
        assert_eq!(role["Path"], "/sorry/standing/", "{id}");
        assert_eq!(role["MaxSessionDuration"], 3600, "{id}");
        let (name, tier) =
            standing.iter().find(|(name, _)| role["RoleName"] == RoleName::standing(name).as_str()).unwrap();
        let boundary = template.resource(role["PermissionsBoundary"]["Ref"].as_str().unwrap());
        assert_eq!(boundary["ManagedPolicyName"], format!("sorry-boundary-{}", tier.boundary), "{id}");
        let issue = json!({"AWS": {"Fn::GetAtt": ["IssueRole", "Arn"]}});
        for statement in role["AssumeRolePolicyDocument"]["Statement"].as_array().unwrap() {
            assert_eq!(statement["Principal"], issue, "{id}");
            let condition = &statement["Condition"];
            match rendered(&statement["Sid"]).as_str() {
                "ForASession" => {
                    let sixteen = json!({"StringLike": {"sts:SourceIdentity": "????????????????"}});
                    assert_eq!(*condition, sixteen, "{id}: it is revoked by its source identity");
                }
                _ => {
                    assert_eq!(condition["StringEquals"]["aws:RequestTag/sorry:tier"], name.as_str(), "{id}")
                }
            }
        }
    }
}

#[test]
fn nothing_is_allowed_to_everybody() {
    for (place, statement) in Template::deployed().statements() {
        if statement["Effect"] == "Allow" {
            let principal = &statement["Principal"];
            let everybody = *principal == "*" || each(&principal["AWS"]).iter().any(|one| one == "*");
            assert!(
                !everybody && statement.get("NotPrincipal").is_none(),
                "{place} allows something to everybody"
            );
        }
    }
}

#[test]
fn the_functions_and_the_workflow_are_allowed_calls_and_not_services() {
    let template = Template::deployed();
    for (id, role) in template.of_type("AWS::IAM::Role") {
        if id.ends_with("StandingRole") {
            continue;
        }
        assert!(role.get("ManagedPolicyArns").is_none(), "{id}: AWS's policies allow more than is needed");
        for statement in role["Policies"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap())
        {
            for action in each(&statement["Action"]) {
                assert!(!action.ends_with(":*") && action != "*", "{id} allows `{action}`");
            }
            assert!(statement.get("NotAction").is_none(), "{id}: list what is allowed");
        }
    }
}

#[test]
fn logs_end() {
    for (id, group) in Template::deployed().of_type("AWS::Logs::LogGroup") {
        assert_eq!(rendered(&group["RetentionInDays"]), "${LogRetentionDays}", "{id} would be kept for ever");
    }
}

#[test]
fn no_log_holds_a_body_or_an_executions_data() {
    let template = Template::deployed();
    assert_eq!(template.resource("StateMachine")["LoggingConfiguration"]["IncludeExecutionData"], false);
    let stage = template.resource("ApiStage");
    for settings in stage["MethodSettings"].as_array().unwrap() {
        assert_eq!(
            (&settings["DataTraceEnabled"], &settings["LoggingLevel"]),
            (&json!(false), &json!("OFF"))
        );
    }
    let format = rendered(&stage["AccessLogSetting"]["Format"]);
    for word in ["input", "body", "header", "querystring"] {
        assert!(!format.to_lowercase().contains(word), "the access log's format has `{word}`");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in
        fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != "__pycache__")
    {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The stage's deployment, which must be the only one there is.
fn deployment(template: &Template) -> String {
    let deployments = template.of_type("AWS::ApiGateway::Deployment");
    assert_eq!(deployments.len(), 1);
    let id = deployments.keys().next().unwrap();
    assert_eq!(
        rendered(&template.resource("ApiStage")["DeploymentId"]),
        format!("${{{id}}}"),
        "the stage serves another one"
    );
    (*id).to_owned()
}

/// A deployment is a snapshot: only a resource of another name makes the stage serve what has changed.
#[test]
fn the_stage_serves_what_is_deployed() {
    let project = sorry_tests::project();
    let now = deployment(Template::deployed());
    assert_eq!(deployment(&Template::of(&project, "")), now, "the same sources, the same deployment");
    assert_ne!(
        deployment(&Template::of(&project, "another")),
        now,
        "`--revision` must make a new deployment"
    );

    let folder = TempDir::with_prefix("sorry-contract-").unwrap();
    for part in ["infrastructure", "policy_templates"] {
        copy(&project.join(part), &folder.path().join(part));
    }
    assert_eq!(deployment(&Template::of(folder.path(), "")), now, "where the sources lie must not matter");
    let path = folder.path().join("infrastructure/openapi.yaml");
    let changed =
        text("infrastructure/openapi.yaml").replace("/v1/DELETE/sessions/*", "/v1/DELETE/sessions/x");
    fs::copy(project.join("infrastructure/openapi.yaml"), &path).unwrap();
    assert_ne!(changed, text("infrastructure/openapi.yaml"));
    overwrite(&path, &changed);
    assert_ne!(
        deployment(&Template::of(folder.path(), "")),
        now,
        "a change of the resource policy must make a new deployment"
    );
    assert!(
        text("infrastructure/deploy.sh").contains("--revision"),
        "a parameter alone changes neither: deploy.sh gives each a revision"
    );
}

fn overwrite(path: &Path, content: &str) {
    use std::io::Write;
    fs::File::create(path).unwrap().write_all(content.as_bytes()).unwrap();
}

#[test]
fn every_tier_has_its_boundary_and_every_boundary_a_tier() {
    let template = Template::deployed();
    let tiers = TierTable::built_in().unwrap();
    let wanted: BTreeSet<_> = tiers.iter().map(|(_, tier)| tier.boundary.to_string()).collect();
    let mut deployed = BTreeSet::new();
    for (id, policy) in template.of_type("AWS::IAM::ManagedPolicy") {
        let name = rendered(&policy["ManagedPolicyName"]);
        assert_eq!(
            policy["Path"], "/sorry/service/",
            "{id}: what lies elsewhere could be changed from a session"
        );
        if let Some(boundary) = name.strip_prefix("sorry-boundary-") {
            let file: Value =
                serde_json::from_str(&text(&format!("policy_templates/boundaries/{boundary}.json"))).unwrap();
            assert_eq!(
                policy["PolicyDocument"], file,
                "{id} is not made of policy_templates/boundaries/{boundary}.json"
            );
            deployed.insert(boundary.to_owned());
        } else {
            assert_eq!(name, "sorry-caller", "{id} is neither a boundary nor the callers' policy");
        }
    }
    assert_eq!(
        deployed, wanted,
        "left: boundaries in the template; right: `boundary` in policy_templates/tiers.toml"
    );

    let (_, provision) = template.function("provision");
    let prefix = rendered(&provision["Environment"]["Variables"]["SORRY_BOUNDARY_ARN_PREFIX"]);
    assert_eq!(prefix, "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/sorry/service/sorry-boundary-");
    let role = template.resource("ProvisionRole").to_string();
    assert!(
        role.contains(&format!("{prefix}*")),
        "ProvisionRole must make roles with these boundaries, and no others"
    );
}

#[test]
fn a_new_deployment_lends_little() {
    let parameters = &Template::deployed().all()["Parameters"];
    assert_eq!(parameters["EnabledTiers"]["Default"], "read-only,developer");
    assert_eq!(parameters["RequireMfa"]["Default"], "true");
    assert_eq!(parameters["RetainData"]["Default"], "true");
    assert_eq!(
        parameters["BindFunctionRoles"]["Default"], "true",
        "a function's role is for that function, unless somebody finds that Lambda does not say which it is"
    );
    assert_eq!(parameters["AdministratorArns"]["Default"], "", "nobody is an administrator unless named");
    assert_eq!(parameters["MinimumWindowSeconds"]["Default"], 900, "STS gives no credentials for less");
    let tiers = TierTable::built_in().unwrap();
    let known: BTreeSet<_> = tiers.iter().map(|(name, _)| name.to_string()).collect();
    for tier in parameters["EnabledTiers"]["Default"].as_str().unwrap().split(',') {
        assert!(
            known.contains(tier),
            "`{tier}` is enabled by default, and policy_templates/tiers.toml does not have it"
        );
    }
}
