//! The audit: who reads it, what is in it, and that damage to it is found by the real command on a real table.

use std::fs;

use serde_json::{Value, json};
use sorry_tests::{LocalAws, Person, eventually};
use tempfile::TempDir;

use crate::{PATIENCE, request};

const TABLE: &str = "sorry-audit";

fn put(aws: &LocalAws, item: &Value) {
    aws.call("dynamodb.put_item", json!({"TableName": TABLE, "Item": item}));
}

fn delete(aws: &LocalAws, item: &Value) {
    let key = json!({"subject": item["subject"], "sequence": item["sequence"]});
    aws.call("dynamodb.delete_item", json!({"TableName": TABLE, "Key": key}));
}

/// The items of a session's records, in order.
fn records_of(aws: &LocalAws, session: &str) -> Vec<Value> {
    let mut items = aws.items(TABLE);
    items.retain(|item| item["subject"]["S"] == session);
    items.sort_by_key(|item| item["sequence"]["N"].as_str().unwrap().parse::<u64>().unwrap());
    items
}

/// What verification says, with its exit code.
fn verified(person: &Person, arguments: &[&str]) -> (i32, Value, String) {
    let done = person.sorry(&[&["admin", "audit", "verify", "--output", "json"], arguments].concat());
    (done.code, done.json(), done.stderr.clone())
}

/// Waits until all that was written is in a digest.
fn everything_is_digested(aws: &LocalAws, person: &Person) {
    eventually("every record is in a digest", 2 * PATIENCE, || {
        let report = aws.sweep();
        assert_eq!(report["failed"], json!([]), "{report}");
        let (code, found, said) = verified(person, &[]);
        assert_eq!(code, 0, "{found} {said}");
        (found["records"] != 0 && found["records"] == found["digested"]).then_some(())
    });
}

/// The digests as they lie in the bucket, in a folder.
fn copied(aws: &LocalAws) -> TempDir {
    let bucket = aws.output("AuditBucket");
    let folder = TempDir::new().unwrap();
    let listed = aws.call("s3.list_objects_v2", json!({"Bucket": bucket, "Prefix": "digests/"}));
    for object in listed["Contents"].as_array().unwrap() {
        let key = object["Key"].as_str().unwrap();
        let text = aws.call("s3.get_object", json!({"Bucket": bucket, "Key": key}))["Body"].clone();
        fs::write(folder.path().join(key.strip_prefix("digests/").unwrap()), text.as_str().unwrap()).unwrap();
    }
    folder
}

#[test]
fn every_damage_to_a_real_record_is_found() {
    let aws = LocalAws::start_with(&["AuditDigestSeconds=20"]);
    // Digests begin with the period before the first sweep.
    aws.sweep();
    let sue = aws.register("sue-mgr");
    let administrator = aws.administrator_person();
    let (session, _) = request(&sue, "developer", "15m");
    sue.sorry(&["revoke", &session]).success();
    everything_is_digested(&aws, &administrator);
    let items = records_of(&aws, &session);
    assert!(items.len() >= 5, "a whole life: {items:#?}");
    let digests = copied(&aws);
    let folder = digests.path().to_str().unwrap();

    let found = |fault: &str| {
        for arguments in [&[][..], &["--digests", folder]] {
            let (code, found, said) = verified(&administrator, arguments);
            assert_eq!(code, 1, "{fault}: {found}");
            assert!(said.contains(&session), "{fault}: the first that is wrong is named: {said}");
            let faults: Vec<_> = found["faults"].as_array().unwrap().iter().collect();
            assert!(
                faults.iter().any(|one| one["fault"].as_str().unwrap().contains(fault)),
                "{fault}: {found}"
            );
            assert!(faults.iter().all(|one| one["subject"] == session.as_str()), "{fault}: {found}");
        }
    };
    let last = items.len() - 1;
    for (index, item) in items.iter().enumerate() {
        let mut altered = item.clone();
        altered["details"]["M"]["reason"] = json!({"S": "something else"});
        put(&aws, &altered);
        found("the record was altered");
        put(&aws, item);

        delete(&aws, item);
        found("the record is gone: its digest names it");
        put(&aws, item);

        if index < last {
            // Two records change places.
            let mut moved = [items[index + 1].clone(), item.clone()];
            for (moved, place) in moved.iter_mut().zip([item, &items[index + 1]]) {
                moved["sequence"] = place["sequence"].clone();
                put(&aws, moved);
            }
            found("the record was altered");
            put(&aws, item);
            put(&aws, &items[index + 1]);
        }
    }
    // The end of the chain is cut off: nothing that is left shows it, but the digests do.
    for item in &items[last - 1..] {
        delete(&aws, item);
    }
    found("the record is gone: its digest names it");
    items[last - 1..].iter().for_each(|item| put(&aws, item));
    // A record more, at the end, as if it had always been there.
    let mut more = items[last].clone();
    more["sequence"] = json!({"N": (items.len() + 1).to_string()});
    put(&aws, &more);
    found("the record is in no digest");
    delete(&aws, &more);

    let (code, found, _) = verified(&administrator, &["--digests", folder]);
    assert_eq!((code, &found["faults"]), (0, &json!([])), "all was put back");
}

#[test]
fn digests_can_neither_be_replaced_nor_deleted() {
    let aws = LocalAws::start_with(&["AuditDigestSeconds=20"]);
    // Digests begin with the period before the first sweep.
    aws.sweep();
    let administrator = aws.administrator_person();
    aws.register("sue-mgr");
    everything_is_digested(&aws, &administrator);
    let bucket = aws.output("AuditBucket");
    let versions = aws.call("s3.list_object_versions", json!({"Bucket": bucket, "Prefix": "digests/"}));
    let versions = versions["Versions"].as_array().unwrap();
    let (key, version) = (&versions[0]["Key"], &versions[0]["VersionId"]);
    assert_eq!(versions[0]["Size"].as_u64().map(|size| size > 100), Some(true), "{versions:?}");

    let one = json!({"Bucket": bucket, "Key": key, "VersionId": version});
    assert!(aws.try_call("s3.delete_object", one.clone()).is_denied());
    assert!(aws.try_call("s3.put_object", json!({"Bucket": bucket, "Key": key, "Body": "{}"})).is_denied());
    // An administrator can take the policy away. The lock stays, and what is written over a digest is seen.
    aws.call("s3.delete_bucket_policy", json!({"Bucket": bucket}));
    assert!(aws.try_call("s3.delete_object", one).is_denied());
    aws.call("s3.put_object", json!({"Bucket": bucket, "Key": key, "Body": "{}"}));
    let (code, found, _) = verified(&administrator, &[]);
    let fault = "something else was written under this digest's name";
    assert_eq!(code, 1, "{found}");
    assert!(found["faults"].to_string().contains(fault), "{found}");
    // The first version still testifies: nothing else is wrong.
    assert_eq!(found["faults"].as_array().unwrap().len(), 1, "{found}");
}

#[test]
fn security_reads_who_did_what_and_which_rule_refused() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let ann = aws.register_as("ann-mgr", &["caller", "security"]);
    let (session, _) = request(&sue, "developer", "15m");
    // A rule refuses, five times within a minute.
    for _ in 0..5 {
        assert_eq!(sue.sorry(&["request", "--tier", "developer", "--hours", "9"]).code, 3);
    }
    ann.sorry(&["revoke", &session]).success();

    let list = |person: &Person, arguments: &[&str]| -> Vec<Value> {
        let answer = person.sorry(&[&["admin", "audit", "--output", "json"], arguments].concat()).success();
        answer.json()["records"].as_array().unwrap().clone()
    };
    let life = list(&ann, &["--session", &session]);
    let states: Vec<_> = life.iter().map(|record| record["what"].as_str().unwrap()).collect();
    assert_eq!(states[0], "session.REQUESTED");
    assert_eq!(states.last(), Some(&"session.REVOKED"));
    let asked = &life[0];
    assert_eq!(asked["by"]["caller"]["person"], "sue");
    assert!(asked["by"]["caller"]["unique_id"].as_str().unwrap().starts_with("AIDA"), "{asked}");
    assert!(asked["by"]["caller"]["source_address"].is_string(), "{asked}");
    assert!(asked["details"]["rule"].as_str().unwrap().contains("you are registered"), "{asked}");
    assert_eq!(asked["details"]["reason"], "an end-to-end test");
    assert!(asked["details"]["policy_digest"].is_string(), "{asked}");
    let revoked = life.iter().find(|record| record["what"] == "session.REVOKING").unwrap();
    assert_eq!(revoked["by"]["caller"]["person"], "ann", "{revoked}");

    let refused: Vec<_> = list(&ann, &["--user", "sue"])
        .into_iter()
        .filter(|record| record["what"] == "refused.WindowTooLong")
        .collect();
    assert!((1..=2).contains(&refused.len()), "one a minute: {refused:#?}");
    assert_eq!(refused[0]["details"]["path"], "/tiers/developer/sessions");
    assert!(list(&ann, &["--user", "ann"]).iter().all(|record| record["subject"] != refused[0]["subject"]));

    // Neither their own nor others' for a plain caller; and that is recorded, too.
    let answer = sue.sorry(&["admin", "audit"]);
    assert_eq!(answer.code, 3, "{}", answer.stderr);
    let subject = refused[0]["subject"].as_str().unwrap();
    let said = list(&ann, &["--subject", subject]);
    assert_eq!(said.last().unwrap()["what"], "refused.NotAllowed", "{said:#?}");
    let csv = ann.sorry(&["admin", "audit", "--user", "sue", "--output", "csv"]).success();
    assert!(csv.stdout.starts_with("at,subject,sequence,"), "{}", csv.stdout);
    assert!(csv.stdout.contains("session.REQUESTED"), "{}", csv.stdout);
    ann.sorry(&["admin", "audit", "verify"]).success();
}
