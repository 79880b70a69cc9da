//! The same cases on the local AWS, with credentials that `sorry` vended.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Value, json};
use sorry_tests::{Keys, LocalAws, Person, eventually};

use crate::{
    PATIENCE, TIERS,
    cases::{Asker, Case, Expect, cases, filled},
};

/// Name of the role that stands for one that a session of admin made.
const MADE: &str = "made";
/// Status of refusals.
const FORBIDDEN: u64 = 403;

/// Credentials to try, and the role that they are of. For a user's, a role of its owner takes that place.
struct Held {
    keys: Keys,
    role: String,
    role_name: String,
    /// Name of the user and ARN of its policy, for a user's.
    user: Option<(String, String)>,
}

/// The local AWS with what the calls of cases name.
struct Judged<'a> {
    aws: &'a LocalAws,
    /// Session of somebody of another namespace.
    other: Held,
    other_user: String,
    /// Of the role that stands for one that a session made; with a session tag of another namespace.
    made: Keys,
    tagged: Keys,
}

impl<'a> Judged<'a> {
    /// Makes what the calls name: of something that does not exist, AWS knows neither path nor boundary, and S3 says so to anybody.
    fn new(aws: &'a LocalAws, bob: &Person, approver: &Person) -> Self {
        for bucket in ["sue-data", "bob-data", "sue2-data"] {
            aws.call("s3.create_bucket", json!({"Bucket": bucket}));
        }
        let administrator = aws.call("sts.get_caller_identity", json!({}))["Arn"].clone();
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": administrator}, "Action": ["sts:AssumeRole", "sts:TagSession"],
        }]});
        for (name, path, boundary) in [
            ("worker", "/sorry/namespace/sue/", Some("developer")),
            ("bob-worker", "/sorry/namespace/bob/", Some("break-glass")),
            (MADE, "/sorry-admin/sue/", Some("admin")),
            ("emergency", "/", Some("break-glass")),
            ("power", "/", None),
        ] {
            let mut role =
                json!({"RoleName": name, "Path": path, "AssumeRolePolicyDocument": trust.to_string()});
            if let Some(tier) = boundary {
                let account = aws.output("account_id");
                role["PermissionsBoundary"] =
                    format!("arn:aws:iam::{account}:policy/sorry/service/sorry-boundary-{tier}").into();
            }
            aws.call("iam.create_role", role);
        }
        let statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        let everything = json!({"Version": "2012-10-17", "Statement": [statement]});
        let policy =
            json!({"RoleName": MADE, "PolicyName": "everything", "PolicyDocument": everything.to_string()});
        aws.call("iam.put_role_policy", policy);
        let made = aws.call("iam.get_role", json!({"RoleName": MADE}))["Role"]["Arn"].clone();
        let made = made.as_str().expect("an ARN");
        let tags = json!([{"Key": "sorry:namespace", "Value": "bob"}]);
        Self {
            aws,
            other: held(aws, bob.request_approved(approver, "read-only", "15m").1),
            other_user: bob.user_name().to_owned(),
            made: aws.role_session(made, json!({"RoleSessionName": "x"})),
            tagged: aws.role_session(made, json!({"RoleSessionName": "x", "Tags": tags})),
        }
    }

    /// Whether the local AWS lets these credentials do it: done, or refused for any other reason than want of permission.
    fn lets(&self, held: &Held, case: &Case) -> bool {
        let aws = self.aws;
        let variables = [
            ("account", aws.output("account_id")),
            ("region", "us-east-1"),
            ("api", aws.output("ApiId")),
            ("data_key", aws.output("DataKeyArn")),
            ("code_bucket", "sorry-code"),
            ("audit_bucket", aws.output("AuditBucket")),
            ("role", held.role.as_str()),
            ("role_name", held.role_name.as_str()),
            ("other_role", self.other.role.as_str()),
            ("other_role_name", self.other.role_name.as_str()),
            ("other_user", self.other_user.as_str()),
        ];
        let of_user =
            held.user.iter().flat_map(|(name, policy)| [("user_name", &**name), ("user_policy", policy)]);
        let variables: Vec<_> = variables.into_iter().chain(of_user).collect();
        let keys = match case.asker {
            Some(Asker::Made) => &self.made,
            Some(Asker::Tagged) => &self.tagged,
            _ => &held.keys,
        };
        let parameters = filled(&Value::Object(case.parameters.clone()), &variables);
        let call = case.call.as_deref().expect("a call");
        if call.contains(' ') {
            // What the service itself refuses has a code.
            let (status, answer) = aws.judge.request(Some(keys), call, &parameters.to_string());
            return status != FORBIDDEN || answer.get("code").is_some();
        }
        !aws.judge.call(keys, call, parameters).is_denied()
    }

    /// The cases whose action the local AWS decided on for none of their tiers: it judged something else.
    fn misunderstood(&self, tried: &[(String, Case)], held: &BTreeMap<&str, Held>) -> BTreeSet<String> {
        let written = fs::read_to_string(self.aws.folder().join("decisions")).expect("decisions");
        let decided: BTreeSet<(String, String)> = written
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("a decision"))
            .map(|decision| {
                let text = |name: &str| decision[name].as_str().expect("a text").to_owned();
                (text("role"), text("action"))
            })
            .collect();
        let understood: BTreeSet<_> = tried
            .iter()
            .filter(|(tier, case)| {
                let role = if case.asker.is_some() { MADE } else { &held[tier.as_str()].role_name };
                decided.contains(&(role.to_owned(), case.action.clone()))
            })
            .map(|(_, case)| &case.name)
            .collect();
        tried.iter().map(|(_, case)| &case.name).filter(|name| !understood.contains(name)).cloned().collect()
    }
}

/// Credentials of a role's session, with their role.
fn held(aws: &LocalAws, keys: Keys) -> Held {
    let caller = aws.judge.call(&keys, "sts.get_caller_identity", json!({})).allowed();
    let arn = caller["Arn"].as_str().expect("an ARN");
    let (_, session) = arn.split_once(":assumed-role/").expect("a session of a role");
    let role_name = session.split('/').next().expect("a name").to_owned();
    let role = aws.call("iam.get_role", json!({"RoleName": role_name}))["Role"]["Arn"].clone();
    Held { keys, role: role.as_str().expect("an ARN").to_owned(), role_name, user: None }
}

/// Credentials of a user's session.
fn held_of_user(aws: &LocalAws, keys: Keys, of_owner: &Held) -> Held {
    let caller = aws.judge.call(&keys, "sts.get_caller_identity", json!({})).allowed();
    let (_, name) = caller["Arn"].as_str().and_then(|arn| arn.rsplit_once('/')).expect("a user's ARN");
    let attached = aws.call("iam.list_attached_user_policies", json!({"UserName": name}));
    let policy = attached["AttachedPolicies"][0]["PolicyArn"].as_str().expect("a policy");
    let user = Some((name.to_owned(), policy.to_owned()));
    Held { keys, role: of_owner.role.clone(), role_name: of_owner.role_name.clone(), user }
}

#[test]
fn invariants_2_and_8_the_local_aws_judges_alike_with_vended_credentials_until_they_end() {
    let aws = LocalAws::start();
    let _security = aws.subscribe_to_alerts();
    let (sue, ann) = (aws.register("sue-mgr"), aws.register_approver("ann-mgr"));
    let judged = Judged::new(&aws, &aws.register("bob-mgr"), &ann);
    let request = |tier: &str, window: &str| held(&aws, sue.request_approved(&ann, tier, window).1);
    let tried: Vec<_> = ["allow.toml", "deny.toml"]
        .into_iter()
        .flat_map(cases)
        .filter(|case| case.call.is_some())
        .flat_map(|case| case.tiers.clone().into_iter().map(move |tier| (tier, case.clone())))
        .collect();
    let allowed = |tier: &str| {
        let allowed = tried.iter().filter(move |(of, case)| of == tier && case.expect == Expect::Allow);
        allowed.map(|(_, case)| case.clone()).collect::<Vec<_>>()
    };

    // AWS issues no credentials for less than 15 minutes: these outlive their sessions.
    let short: Vec<_> = TIERS.iter().map(|tier| (*tier, request(tier, "15s"), allowed(tier))).collect();
    let (last, last_keys, of_last) = short.last().expect("tiers");
    assert!(judged.lets(last_keys, &of_last[0]), "{last}: {}", of_last[0].name);

    let keys: BTreeMap<_, _> = TIERS.iter().map(|tier| (*tier, request(tier, "15m"))).collect();
    let mut wrong = Vec::new();
    let mut different: BTreeMap<&str, bool> = BTreeMap::new();
    for (tier, case) in &tried {
        let agrees = judged.lets(&keys[tier.as_str()], case) == (case.expect == Expect::Allow);
        if case.local.is_some() {
            *different.entry(&case.name).or_default() |= !agrees;
        } else if !agrees {
            wrong.push(format!("{tier}: {}: the other way", case.name));
        }
    }
    let alike = different.iter().filter(|(_, different)| !**different);
    wrong.extend(alike.map(|(name, _)| format!("{name}: as expected everywhere, and listed as different")));
    assert!(tried.len() > 300, "{} calls", tried.len());
    let misunderstood = judged.misunderstood(&tried, &keys);
    wrong.extend(misunderstood.iter().map(|name| format!("{name}: the local AWS decided on another action")));
    assert!(wrong.is_empty(), "of {} calls:\n{}", tried.len(), wrong.join("\n"));

    // Another key of hers: as many sessions as she may have, she has.
    let job = aws.register_with("sue-job", &["--namespace", "sue", "--person", "sue"]);
    let with_user = |window: &str| {
        let words =
            ["request", "--tier", "read-only", "--grant", "user", "--for", window, "--profile", "job"];
        job.sorry(&words).success();
        held_of_user(&aws, job.profile("job"), &keys["read-only"])
    };
    let (ending, keys) = (with_user("20s"), with_user("15m"));
    let of_user = of_user(&tried);
    assert!(judged.lets(&ending, &of_user[0]), "user: {}", of_user[0].name);
    let wrong = of_user.iter().filter(|case| judged.lets(&keys, case) != (case.expect == Expect::Allow));
    let wrong: Vec<_> = wrong.map(|case| &case.name).collect();
    assert!(wrong.is_empty(), "user: the other way: {wrong:?}");
    let of_user = of_user.into_iter().filter(|case| case.expect == Expect::Allow).collect();

    for (tier, keys, of_tier) in short.into_iter().chain([("user", ending, of_user)]) {
        eventually(&format!("{tier}: the end"), PATIENCE, || {
            (!judged.lets(&keys, &of_tier[0])).then_some(())
        });
        let still: Vec<_> =
            of_tier.iter().filter(|case| judged.lets(&keys, case)).map(|case| &case.name).collect();
        assert!(still.is_empty(), "{tier}: after the end: {still:?}");
    }
}

/// The cases of read-only, and of a user's session, for what GetSessionToken made of a user's key: those that such credentials can call at all, what is allowed
/// first. Source: STS API Reference, GetSessionToken: nothing of IAM.
fn of_user(tried: &[(String, Case)]) -> Vec<Case> {
    let mut found: Vec<_> = tried
        .iter()
        .filter(|(tier, case)| tier == "read-only" && case.local.is_none())
        .map(|(_, case)| case.clone())
        .chain(cases("users.toml").into_iter().filter(|case| case.call.is_some()))
        .filter(|case| case.expect == Expect::Deny || !case.action.starts_with("iam:"))
        .collect();
    found.sort_by_key(|case| case.expect == Expect::Deny);
    assert!(found.len() > 20, "{} calls", found.len());
    found
}
