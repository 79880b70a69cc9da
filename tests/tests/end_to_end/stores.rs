//! What lies in the tables, and the key that opens it, are the functions': whatever IAM allows to others in the account.

use serde_json::json;
use sorry_tests::{Keys, LocalAws};

use crate::request;

/// A user of the account with every permission that IAM can give.
fn mighty(aws: &LocalAws) -> Keys {
    aws.call("iam.create_user", json!({"UserName": "mighty"}));
    let everything =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    aws.call(
        "iam.put_user_policy",
        json!({"UserName": "mighty", "PolicyName": "everything", "PolicyDocument": everything.to_string()}),
    );
    let key = aws.call("iam.create_access_key", json!({"UserName": "mighty"}))["AccessKey"].clone();
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: None,
    }
}

#[test]
fn whoever_may_do_everything_reads_no_table_and_opens_nothing_with_the_key() {
    let aws = LocalAws::start();
    let _security = aws.subscribe_to_alerts();
    let sue = aws.register("sue-mgr");
    let (_, break_glass) = request(&sue, "break-glass", "15m");
    let key = aws.output("DataKeyArn");
    for (who, keys) in [("a user with everything", mighty(&aws)), ("break-glass", break_glass)] {
        let call = |call: &str, parameters| aws.judge.call(&keys, call, parameters);
        // They can do something, and it is these things that are closed.
        call("dynamodb.list_tables", json!({})).allowed();
        for (table, index) in
            [("sorry-sessions", Some("by-due")), ("sorry-registry", Some("by-kind")), ("sorry-audit", None)]
        {
            for (operation, parameters) in [
                ("dynamodb.scan", json!({"TableName": table})),
                ("dynamodb.get_item", json!({"TableName": table, "Key": {}})),
                ("dynamodb.put_item", json!({"TableName": table, "Item": {}})),
                ("dynamodb.delete_item", json!({"TableName": table, "Key": {}})),
            ] {
                let verdict = call(operation, parameters);
                assert!(verdict.is_denied(), "{who}: {operation} on {table}: {verdict:?}");
            }
            if let Some(index) = index {
                let verdict = call("dynamodb.query", json!({"TableName": table, "IndexName": index}));
                assert!(verdict.is_denied(), "{who}: index {index}: {verdict:?}");
            }
        }
        for (operation, parameters) in [
            ("kms.encrypt", json!({"KeyId": key, "Plaintext": "x"})),
            ("kms.generate_data_key", json!({"KeyId": key, "KeySpec": "AES_256"})),
        ] {
            let verdict = call(operation, parameters);
            assert!(verdict.is_denied(), "{who}: {operation}: {verdict:?}");
        }
    }
    // Nobody is locked out: whom IAM lets manage the table and the key can.
    let mighty = json!({"TableName": "sorry-registry"});
    aws.call("dynamodb.describe_table", mighty);
    aws.call("kms.describe_key", json!({"KeyId": key}));
}
