//! Callers that are roles, callers that carry a source identity, and who cannot use whose session.

use serde_json::{Value, json};
use sorry_tests::{Keys, LocalAws, Person, Verdict, eventually, keys_of};

use crate::{PATIENCE, namespace_call, request, row};

const ADMINISTRATOR: &str = "arn:aws:iam::123456789012:user/local-administrator";

fn session(aws: &LocalAws, role_arn: &str, name: &str) -> Person {
    aws.person(name, &aws.role_session(role_arn, json!({"RoleSessionName": name})))
}

/// Registers a principal for the namespace `lab`.
fn add(aws: &LocalAws, arn: &str, flags: &[&str]) -> sorry_tests::Finished {
    let words = ["admin", "callers", "add", "--existing", arn, "--namespace", "lab", "--person", "lab"];
    let tiers = ["--tier", "developer=8", "--output", "json"];
    aws.administrator_person().sorry(&[&words[..], &tiers, flags].concat())
}

/// How a session's role is assumed, as its owner is told.
#[track_caller]
fn access(aws: &LocalAws, keys: &Keys, session: &str) -> Value {
    let (status, view) = aws.judge.request(Some(keys), &format!("GET /sessions/{session}"), "");
    assert_eq!(status, 200, "{view}");
    let access = &view["access"];
    let mut parameters = json!({
        "RoleArn": access["role_arn"], "RoleSessionName": access["role_session_name"],
        "ExternalId": access["external_id"], "DurationSeconds": 900,
    });
    if let Some(identity) = access.get("source_identity") {
        parameters["SourceIdentity"] = identity.clone();
    }
    parameters
}

fn assume(aws: &LocalAws, keys: &Keys, parameters: &Value) -> Verdict {
    aws.judge.call(keys, "sts.assume_role", parameters.clone())
}

/// Seconds until the credentials that a command fetched run out.
#[track_caller]
fn seconds_left(answer: &Value) -> i64 {
    let end: jiff::Timestamp = answer["credentials_expire_at"].as_str().expect("a date").parse().unwrap();
    end.as_second() - jiff::Timestamp::now().as_second()
}

#[test]
fn a_whole_role_is_a_caller_and_each_of_its_sessions_has_its_own() {
    let exempt =
        format!("IdentityProviderRoleArns={ADMINISTRATOR},arn:aws:iam::123456789012:role/people/Research");
    let aws = LocalAws::start_with(&["RequireMfa=true", &exempt]);
    let (research, other) = (aws.caller_role("Research", "lab"), aws.caller_role("Other", "lab"));

    // MFA by an identity provider is the deployment's word, and not the administrator's.
    let refused = add(&aws, &other, &["--mfa-by", "idp"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("IdentityProviderRoleArns"), "{refused:?}");
    let added = add(&aws, &research, &["--mfa-by", "idp"]).success().json();
    assert_eq!(added["caller"]["mfa"], "idp");
    let role_id = added["caller"]["unique_id"].as_str().unwrap().to_owned();
    assert!(role_id.starts_with("AROA") && !role_id.contains(':'), "{role_id}");

    // Nothing of a vault is asked for in vain.
    let ann = session(&aws, &research, "ann");
    let process = ann.sorry(&["request", "--tier", "developer", "--hours", "2", "--deliver", "process"]);
    assert!(process.code != 0 && process.stderr.contains("vault"), "{process:?}");
    assert!(aws.session_rows().is_empty());

    // Two hours, an hour at a time, without a code.
    let asked = ["request", "--tier", "developer", "--hours", "2", "--output", "json"];
    let asked = ann.sorry(&asked).success();
    assert!(asked.stderr.contains("sorry renew") && !asked.stderr.contains("process"), "{asked:?}");
    let view = asked.json();
    assert!((3_500..=3_600).contains(&seconds_left(&view)), "{view}");
    let id = view["session_id"].as_str().unwrap();
    let keys = ann.profile("lab-developer");
    namespace_call(&aws, &keys, "lab").allowed();
    let row = row(&aws, id);
    assert_eq!(row["caller"]["M"]["unique_id"]["S"], format!("{role_id}:ann"));
    assert_eq!(row["registered_as"]["S"], role_id);
    let name = row["role_name"]["S"].as_str().unwrap();
    let made = aws.call("iam.get_role", json!({"RoleName": name}))["Role"].clone();
    assert_eq!(made["MaxSessionDuration"], 3_600);
    let trust = &made["AssumeRolePolicyDocument"]["Statement"][0];
    assert_eq!(trust["Principal"]["AWS"], "arn:aws:sts::123456789012:assumed-role/Research/ann");
    assert_eq!(trust["Condition"]["StringEquals"]["aws:userid"], format!("{role_id}:ann"));
    assert!(trust["Condition"].get("Bool").is_none(), "a role's session shows no MFA: {trust}");
    let renewed = ann.sorry(&["renew", id, "--output", "json"]).success().json();
    assert!((3_500..=3_600).contains(&seconds_left(&renewed)), "{renewed}");
    let newer = ann.profile("lab-developer");
    assert!(newer != keys, "renewed");
    namespace_call(&aws, &newer, "lab").allowed();
    let good = access(&aws, ann.keys(), id);
    assume(&aws, ann.keys(), &good).allowed();
    let mut long = good.clone();
    long["DurationSeconds"] = 3_601.into();
    assert!(matches!(assume(&aws, ann.keys(), &long), Verdict::Refused(..)), "a role chains for an hour");

    // Another session of the role sees it, as it is one person, and cannot use it, whatever it knows.
    let ben = session(&aws, &research, "ben");
    assert!(access(&aws, ben.keys(), id)["ExternalId"].is_null());
    assert!(assume(&aws, ben.keys(), &good).is_denied());
    // A role of another name is nobody, though a session of it has the same name and may call the same.
    let stranger = session(&aws, &other, "ann");
    let (status, answer) = aws.judge.request(Some(stranger.keys()), &format!("GET /sessions/{id}"), "");
    assert_eq!((status, &answer["code"]), (404, &json!("SessionNotFound")), "{answer}");
    assert!(assume(&aws, stranger.keys(), &good).is_denied());
    let body = json!({"client_request_id": "0123-4567", "duration_seconds": 900}).to_string();
    let ask = |keys: &Keys| aws.judge.request(Some(keys), "POST /tiers/developer/sessions", &body);
    assert_eq!(ask(stranger.keys()).1["code"], "UnknownCaller");
    // Registered without its identity provider's word, it gets nothing that asks for MFA: not a role that nobody could assume.
    add(&aws, &other, &[]).success();
    let (status, answer) = ask(stranger.keys());
    assert_eq!((status, &answer["code"]), (403, &json!("MfaImpossible")), "{answer}");

    ann.sorry(&["revoke", id]).success();
    assert!(namespace_call(&aws, &newer, "lab").is_denied());
    // With the role's entry goes what rests on it.
    let (id, keys) = request(&ben, "developer", "15m");
    aws.administrator_person().sorry(&["admin", "callers", "remove", &research]).success();
    eventually("the session of the removed role is over", PATIENCE, || {
        (self::row(&aws, &id)["state"]["S"] == "REVOKED").then_some(())
    });
    assert!(namespace_call(&aws, &keys, "lab").is_denied());
    assert_eq!(ask(ann.keys()).1["code"], "UnknownCaller");
}

/// One session of a role by its name comes before the role, and stays a caller by the role when its own entry goes.
#[test]
fn a_session_with_an_entry_of_its_own_is_its_own_person() {
    let aws = LocalAws::start();
    let research = aws.caller_role("Research", "lab");
    add(&aws, &research, &[]).success();
    let pinned = "arn:aws:sts::123456789012:assumed-role/Research/ann";
    let words = ["admin", "callers", "add", "--existing", pinned, "--namespace", "ann", "--person", "ann"];
    aws.administrator_person().sorry(&[&words[..], &["--tier", "read-only=1"]].concat()).success();
    let (ann, ben) = (session(&aws, &research, "ann"), session(&aws, &research, "ben"));
    let person = |who: &Person| {
        let me = who.sorry(&["whoami", "--output", "json"]).success().json();
        me["caller"]["person"].as_str().unwrap().to_owned()
    };
    assert_eq!([person(&ann), person(&ben)], ["ann", "lab"]);
    let (id, _) = request(&ben, "developer", "15m");
    assert_eq!(aws.judge.request(Some(ann.keys()), &format!("GET /sessions/{id}"), "").0, 404);
    let removed = aws.administrator_person().sorry(&["admin", "callers", "remove", pinned]).success();
    assert!(removed.stderr.contains("is a caller still"), "{removed:?}");
    assert_eq!(person(&ann), "lab");
}

#[test]
fn a_source_identity_that_is_carried_stays_and_the_session_name_joins() {
    let aws = LocalAws::start();
    let pipeline = aws.caller_role("Pipeline", "lab");
    let carrying = |identity: Option<&str>| {
        let mut parameters = json!({"RoleSessionName": "main"});
        if let Some(identity) = identity {
            parameters["SourceIdentity"] = identity.into();
        }
        aws.role_session(&pipeline, parameters)
    };
    let (robot, other, nobody) = (carrying(Some("robot")), carrying(Some("somebody-else")), carrying(None));
    // Registered without it, the session's own could not be set.
    add(&aws, &pipeline, &[]).success();
    let person = aws.person("main", &robot);
    let no_wait = ["request", "--tier", "developer", "--for", "15m", "--no-wait", "--output", "json"];
    let id = person.sorry(&no_wait).success().json()["session_id"].as_str().unwrap().to_owned();
    crate::reaches(&person, &id, "ACTIVE");
    assert!(assume(&aws, &robot, &access(&aws, &robot, &id)).is_denied());
    assume(&aws, &nobody, &access(&aws, &robot, &id)).allowed();

    let added = add(&aws, &pipeline, &["--source-identity", "robot"]).success().json();
    assert_eq!(added["caller"]["source_identity"], "robot");
    let (id, keys) = request(&person, "developer", "15m");
    namespace_call(&aws, &keys, "lab").allowed();
    let me = aws.judge.call(&keys, "sts.get_caller_identity", json!({})).allowed();
    assert!(
        me["Arn"].as_str().unwrap().ends_with(&format!("/{id}")),
        "the name joins CloudTrail to the row: {me}"
    );
    assert_eq!(row(&aws, &id)["carried_identity"]["S"], "robot");
    let good = access(&aws, &robot, &id);
    assert!(good.get("SourceIdentity").is_none(), "{good}");
    assert_eq!(assume(&aws, &robot, &good).allowed()["SourceIdentity"], "robot");
    let own_name = json!({"RoleSessionName": "main"});
    let set = json!({"SourceIdentity": id});
    for (keys, change, what) in [
        (&other, json!({}), "another source identity"),
        (&nobody, json!({}), "none"),
        (&nobody, json!({"SourceIdentity": "robot"}), "one that is only claimed"),
        (&nobody, set.clone(), "the session's"),
        (&robot, set, "the session's instead of its own"),
        (&robot, own_name, "another name"),
    ] {
        let mut wrong = good.clone();
        wrong.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert!(assume(&aws, keys, &wrong).is_denied(), "{what}");
    }
    person.sorry(&["renew", &id]).success();
    person.sorry(&["revoke", &id]).success();
    assert!(namespace_call(&aws, &keys, "lab").is_denied());
    // A user's key carries none.
    let sue = aws.register("sue-mgr");
    let refused = add(&aws, sue.user_name(), &["--source-identity", "sue"]);
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn a_user_made_anew_under_the_same_name_gets_nothing_of_the_old_ones() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (id, keys) = request(&sue, "developer", "15m");
    let good = access(&aws, sue.keys(), &id);
    assume(&aws, sue.keys(), &good).allowed();

    // Deleted by somebody behind the service's back, and made again with all that the old one had.
    let policy = aws.output("CallerPolicyArn");
    let user = json!({"UserName": "sue-mgr"});
    let old = sue.keys().access_key_id.as_str();
    aws.call("iam.delete_access_key", json!({"UserName": "sue-mgr", "AccessKeyId": old}));
    aws.call("iam.detach_user_policy", json!({"UserName": "sue-mgr", "PolicyArn": policy}));
    aws.call("iam.delete_user", user.clone());
    let tags = json!([{"Key": "sorry:namespace", "Value": "sue"}, {"Key": "sorry:person", "Value": "sue"}]);
    aws.call("iam.create_user", json!({"UserName": "sue-mgr", "Path": "/sorry/caller/", "Tags": tags}));
    aws.call("iam.attach_user_policy", json!({"UserName": "sue-mgr", "PolicyArn": policy}));
    let key = aws.call("iam.create_access_key", user)["AccessKey"].clone();
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    let anew = Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: None,
    };

    assert!(assume(&aws, &anew, &good).is_denied(), "the trust is bound to the old one");
    for asked in [format!("GET /sessions/{id}"), format!("DELETE /sessions/{id}")] {
        assert_eq!(aws.judge.request(Some(&anew), &asked, "").0, 404, "{asked}");
    }
    let body = json!({"client_request_id": "0123-4567", "duration_seconds": 900}).to_string();
    let (_, answer) = aws.judge.request(Some(&anew), "POST /tiers/developer/sessions", &body);
    assert_eq!(answer["code"], "UnknownCaller", "the registry goes by the unique id");
    // Registered again as the same person, she sees what the old one asked for, can end it, and cannot use it.
    add_again(&aws);
    assert!(access(&aws, &anew, &id)["ExternalId"].is_null());
    assert!(assume(&aws, &anew, &good).is_denied());
    assert_eq!(aws.judge.request(Some(&anew), &format!("DELETE /sessions/{id}"), "").0, 202);
    eventually("the old one's credentials are worth nothing", PATIENCE, || {
        namespace_call(&aws, &keys, "sue").is_denied().then_some(())
    });
}

fn add_again(aws: &LocalAws) {
    let words = ["admin", "callers", "add", "sue-mgr", "--tier", "developer=8"];
    aws.administrator_person().sorry(&words).success();
}

/// With everything right but the time: no workflow is left to remove the role, so it is the trust policy that says no.
#[test]
fn a_role_is_not_assumed_after_the_end() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (id, _) = request(&sue, "developer", "30s");
    crate::permissions::kill_workflow(&aws, &id);
    let good = access(&aws, sue.keys(), &id);
    let row = row(&aws, &id);
    let name = row["role_name"]["S"].as_str().unwrap();
    let end: jiff::Timestamp = row["expires_at"]["S"].as_str().unwrap().parse().unwrap();
    keys_of(&assume(&aws, sue.keys(), &good).allowed());
    eventually("the end has come", PATIENCE, || (jiff::Timestamp::now() >= end).then_some(()));
    let verdict = assume(&aws, sue.keys(), &good);
    // The sweep waits half a minute before it takes up a session that is past its end.
    aws.call("iam.get_role", json!({"RoleName": name}));
    assert!(verdict.is_denied(), "{verdict:?}");
}
