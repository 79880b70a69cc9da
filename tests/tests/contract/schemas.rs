//! The types of `crates/wire` against the schemas of `infrastructure/openapi.yaml`: the same members, the same of them required, the
//! same words and patterns.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use jiff::Timestamp;
use regex::Regex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sorry_policy::{
    AccountId, AddressRange, ExternalId, Namespace, PersonName, PolicyDigest, ProjectName, RoleName,
    SessionId, SourceIdentity, TierSet, TierTable,
};
use sorry_wire::{
    Access, ApprovalView, AuditHash, AuditList, AuditRecord, CallerList, CallerRemoved, CallerRole,
    CallerSuspended, CallerView, ChangedBy, ClosedReviewView, ConfirmSweep, DecideSession, DigestList,
    DigestView, DryRun, EndCause, EndView, ErrorBody, ExtendSession, ExtensionStatus, ExtensionView, Failure,
    Grant, HoldView, IssuedCredentials, MfaBy, PlannedRole, PublishTiers, PutCaller, RenderedTier,
    RequestSession, ReviewSession, ReviewView, SessionList, SessionView, State, SweepView, TierList,
    TierSetView, TierView, Verdict, Vote, VoteView, WhoAmI,
};

use crate::{
    project::{each, found, names, openapi, source, text, the_only},
    schema::{faults, named, resolved},
};

/// A schema with the type of `crates/wire` that it describes, and two values of it as that type writes them.
struct Pair {
    schema: &'static str,
    rust: &'static str,
    /// With all members.
    full: Value,
    /// With as few as the type allows.
    least: Value,
}

/// A type that is answered: it is written by the functions and read by the command line.
fn answer<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    schema: &'static str,
    rust: &'static str,
    full: &T,
    least: &T,
) -> Pair {
    let written = |value: &T| {
        let json = serde_json::to_value(value).unwrap();
        assert_eq!(
            &serde_json::from_value::<T>(json.clone()).unwrap(),
            value,
            "{rust} does not read what it writes"
        );
        json
    };
    Pair { schema, rust, full: written(full), least: written(least) }
}

/// A type that is asked with: the functions refuse what they do not know.
fn request<T: Serialize + DeserializeOwned>(
    schema: &'static str,
    rust: &'static str,
    full: &T,
    least: Value,
) -> Pair {
    let full = serde_json::to_value(full).unwrap();
    let readable = |value: &Value| serde_json::from_value::<T>(value.clone()).is_ok();
    assert!(readable(&full) && readable(&least), "{rust} does not read what {schema} allows");
    for member in names(&least) {
        let mut without = least.clone();
        without.as_object_mut().unwrap().remove(member);
        assert!(!readable(&without), "{schema} requires `{member}`, and {rust} does without");
    }
    let mut with_more = full.clone();
    with_more["somebody_else"] = json!("x");
    assert!(!readable(&with_more), "{rust} must refuse members that it does not know");
    Pair { schema, rust, full, least }
}

fn at() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn failure() -> Failure {
    Failure { code: "PolicyRefused".into(), message: "CreateRole: no".into() }
}

fn access() -> Access {
    Access {
        role_arn: "arn:aws:iam::123456789012:role/sorry/session/sue/sorry-sue-developer-7k3m9q2x".into(),
        external_id: ExternalId::from_random([4; 16]),
        source_identity: Some(SessionId::from_random([3; 10])),
        role_session_name: "sue-mgr".into(),
        maximum_seconds: 3_600,
    }
}

fn least_session() -> SessionView {
    let (namespace, tier) = ("sue".parse().unwrap(), "developer".parse().unwrap());
    let session_id = SessionId::from_random([3; 10]);
    SessionView {
        state: State::Requested,
        grant: Grant::Role,
        role_name: RoleName::for_session(&namespace, &tier, &session_id),
        session_id,
        tier,
        namespace,
        person: "sue".parse().unwrap(),
        project: None,
        reason: None,
        caller: "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr".into(),
        mfa: false,
        requested_at: at(),
        approval: None,
        review: None,
        activated_at: None,
        expires_at: at(),
        extension: None,
        end: None,
        ended_at: None,
        access: None,
    }
}

fn full_session() -> SessionView {
    SessionView {
        project: Some("atlas".parse().unwrap()),
        reason: Some("to see what happens".into()),
        approval: Some(approval()),
        review: Some(full_review()),
        activated_at: Some(at()),
        extension: Some(full_extension()),
        end: Some(full_end()),
        ended_at: Some(at()),
        access: Some(access()),
        ..least_session()
    }
}

fn least_extension() -> ExtensionView {
    ExtensionView {
        extending_to: at(),
        requested_at: at(),
        status: ExtensionStatus::UnderWay,
        lapses_at: None,
        failure: None,
    }
}

fn full_extension() -> ExtensionView {
    ExtensionView { lapses_at: Some(at()), failure: Some(failure()), ..least_extension() }
}

fn approval() -> ApprovalView {
    let approvers = CALLER_ROLES.into();
    ApprovalView { needed: 1, approvers, lapses_at: at(), votes: vec![least_vote(), full_vote()] }
}

fn least_vote() -> VoteView {
    let by = caller().arn;
    VoteView { decision: Vote::Approve, person: "ann".parse().unwrap(), by, at: at(), comment: None }
}

fn full_vote() -> VoteView {
    VoteView { comment: Some("as agreed in ticket 4711".into()), ..least_vote() }
}

fn closed_review() -> ClosedReviewView {
    let comment = "read its CloudTrail".into();
    ClosedReviewView { person: "ann".parse().unwrap(), by: caller().arn, at: at(), comment }
}

fn full_review() -> ReviewView {
    ReviewView { opened_at: at(), closed: Some(closed_review()) }
}

fn least_end() -> EndView {
    EndView { cause: EndCause::Expired, by: "clean-up".into(), at: at(), failure: None }
}

fn full_end() -> EndView {
    EndView { cause: EndCause::Failed, failure: Some(failure()), ..least_end() }
}

fn least_tier() -> TierView {
    TierView {
        name: "developer".parse().unwrap(),
        description: "build".into(),
        grant: Grant::Role,
        other_grants: Vec::new(),
        maximum_hours: 8,
        your_hours: None,
        enabled: true,
        mfa: true,
        addresses: Vec::new(),
        reason_required: false,
        alert: false,
        approvals: 0,
        review: false,
        alert_subscribers: None,
        rendered: None,
    }
}

fn full_tier() -> TierView {
    TierView {
        other_grants: vec![Grant::User],
        your_hours: Some(8),
        addresses: addresses(),
        alert_subscribers: Some(2),
        rendered: Some(full_rendered()),
        ..least_tier()
    }
}

fn least_dry_run() -> DryRun {
    DryRun {
        decision: Verdict::Grant,
        rule: "you are registered for it".into(),
        tier: "developer".parse().unwrap(),
        grant: Grant::Role,
        namespace: "sue".parse().unwrap(),
        person: "sue".parse().unwrap(),
        project: None,
        reason: None,
        caller: caller().arn,
        duration_seconds: 3_600,
        expires_at: at(),
        mfa: true,
        addresses: Vec::new(),
        approvals: 0,
        alert: true,
        alert_subscribers: None,
        policy_digest: digest(),
        role: planned_role(),
    }
}

fn full_dry_run() -> DryRun {
    DryRun {
        project: Some("atlas".parse().unwrap()),
        reason: Some("to see what happens".into()),
        alert_subscribers: Some(1),
        addresses: addresses(),
        ..least_dry_run()
    }
}

fn addresses() -> Vec<AddressRange> {
    vec!["192.0.2.0/24".parse().unwrap()]
}

fn least_rendered() -> RenderedTier {
    RenderedTier {
        namespace: "sue".parse().unwrap(),
        project: None,
        policy: json!({"Version": "2012-10-17", "Statement": []}),
        boundary: planned_role().boundary,
        policy_digest: digest(),
    }
}

fn full_rendered() -> RenderedTier {
    RenderedTier { project: Some("atlas".parse().unwrap()), ..least_rendered() }
}

fn least_tier_set() -> TierSetView {
    TierSetView {
        digest: TierSet::built_in().digest().to_string(),
        published_at: None,
        published_by: None,
        unusable: None,
        tiers: None,
        templates: BTreeMap::new(),
    }
}

fn full_tier_set() -> TierSetView {
    let TierSet { tiers, templates } = TierSet::built_in();
    TierSetView {
        published_at: Some(at()),
        published_by: Some(caller().registered_by),
        unusable: Some("the stored tiers are not those of their digest".into()),
        tiers: Some(tiers),
        templates,
        ..least_tier_set()
    }
}

fn publish_tiers() -> PublishTiers {
    let TierSet { tiers, templates } = TierSet::built_in();
    PublishTiers { tiers, templates, replaces: least_tier_set().digest }
}

fn planned_role() -> PlannedRole {
    PlannedRole {
        name: "sorry-sue-developer-<first 8 of session>".into(),
        path: "/sorry/session/sue/".into(),
        boundary: "arn:aws:iam::123456789012:policy/sorry/service/sorry-boundary-developer".into(),
        maximum_seconds: 3_600,
        tags: [("sorry:tier".to_owned(), "developer".to_owned())].into(),
        trust_policy: Some(json!({"Version": "2012-10-17", "Statement": []})),
        access_policy: json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny"}]}),
    }
}

fn issued() -> IssuedCredentials {
    IssuedCredentials {
        session_id: SessionId::from_random([3; 10]),
        grant: Grant::User,
        access_key_id: "ASIAEXAMPLE".into(),
        secret_access_key: "secret".into(),
        session_token: "token".into(),
        expires_at: at(),
        session_ends_at: at(),
    }
}

fn digest() -> PolicyDigest {
    TierTable::built_in().unwrap().digest(&"developer".parse().unwrap()).unwrap().clone()
}

fn caller() -> CallerView {
    CallerView {
        unique_id: "AIDAEXAMPLE".into(),
        arn: "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr".into(),
        person: "sue".parse().unwrap(),
        namespace: "sue".parse().unwrap(),
        tiers: [("developer".parse().unwrap(), 8)].into(),
        projects: ["atlas".parse().unwrap()].into(),
        roles: CALLER_ROLES.into(),
        mfa: MfaBy::Device,
        source_identity: None,
        registered_at: at(),
        registered_by: "arn:aws:iam::123456789012:user/administrator".into(),
        suspended_at: None,
        suspended_by: None,
    }
}

fn suspended() -> CallerView {
    CallerView { suspended_at: Some(at()), suspended_by: Some(caller().registered_by), ..caller() }
}

fn audit_record() -> AuditRecord {
    AuditRecord {
        subject: "sweep".into(),
        sequence: 1,
        at: at(),
        what: "sweep.held".into(),
        by: ChangedBy::service("sweep"),
        details: json!({"count": 6}),
        previous: None,
        hash: None,
    }
}

fn audit_list(cursor: Option<&str>) -> AuditList {
    AuditList { records: vec![audit_record().sealed(None)], cursor: cursor.map(str::to_owned) }
}

fn audit_digest() -> DigestView {
    DigestView { name: "20260101T000000Z.json".into(), text: "{}\n".into(), overwritten: false }
}

fn digest_list(cursor: Option<&str>) -> DigestList {
    DigestList { digests: vec![audit_digest()], cursor: cursor.map(str::to_owned) }
}

fn pairs() -> Vec<Pair> {
    let least_who = WhoAmI {
        account: "123456789012".into(),
        unique_id: "AIDAEXAMPLE".into(),
        arn: caller().arn,
        source_address: None,
        administrator: false,
        caller: None,
    };
    let full_who =
        WhoAmI { source_address: Some("192.0.2.1".into()), caller: Some(caller()), ..least_who.clone() };
    let page = SessionList { sessions: vec![least_session(), full_session()], cursor: Some("2026_x".into()) };
    let tiers = TierList { tiers: vec![least_tier(), full_tier()], minimum_seconds: 900 };
    let removed = CallerRemoved { caller: Some(caller()), ended: vec![SessionId::from_random([3; 10])] };
    let hold = HoldView {
        since: at(),
        because: "6 of 7 principals have no session".into(),
        roles: vec![full_session().role_name.into()],
        count: 6,
        digest: "0123456789abcdef".into(),
    };
    let sweep = SweepView {
        hold: Some(hold.clone()),
        confirmed_at: Some(at()),
        confirmed: vec![full_session().role_name.into()],
    };
    let confirm = ConfirmSweep { digest: hold.digest.clone() };
    let error = ErrorBody {
        code: "NotFound".into(),
        message: "there is none".into(),
        hint: "`sorry list`".into(),
        request_id: "r-1".into(),
        retry_after_seconds: Some(30),
    };
    let least_error = ErrorBody { retry_after_seconds: None, ..error.clone() };
    let extend = ExtendSession { client_request_id: "0123-4567".into(), duration_seconds: 3_600 };
    let suspension = CallerSuspended { caller: suspended(), ended: removed.ended.clone() };
    let session_request = RequestSession {
        client_request_id: "0123-4567".into(),
        duration_seconds: 28_800,
        reason: Some("to see what happens".into()),
        project: Some("atlas".into()),
        grant: Some(Grant::User),
        dry_run: true,
    };
    let decide =
        DecideSession { decision: Vote::Approve, extending_to: Some(at()), comment: full_vote().comment };
    let review = ReviewSession { comment: closed_review().comment };
    let put = PutCaller {
        arn: caller().arn,
        person: "sue".into(),
        namespace: "sue".into(),
        tiers: [("developer".to_owned(), 8)].into(),
        projects: ["atlas".to_owned()].into(),
        roles: CALLER_ROLES.into(),
        mfa: MfaBy::Idp,
        source_identity: Some("sue@example.org".into()),
    };
    let full_caller = CallerView { source_identity: Some("sue@example.org".parse().unwrap()), ..suspended() };
    let least_put = json!({"arn": caller().arn, "person": "sue", "namespace": "sue", "tiers": {}});
    let least_request = json!({"client_request_id": "0123-4567", "duration_seconds": 1});
    vec![
        request("RequestSession", "RequestSession", &session_request, least_request.clone()),
        request("ExtendSession", "ExtendSession", &extend, least_request.clone()),
        request("PutCaller", "PutCaller", &put, least_put),
        answer("Session", "SessionView", &full_session(), &least_session()),
        answer("DryRun", "DryRun", &full_dry_run(), &least_dry_run()),
        answer("RenderedTier", "RenderedTier", &full_rendered(), &least_rendered()),
        answer("TierSet", "TierSetView", &full_tier_set(), &least_tier_set()),
        request(
            "PublishTiers",
            "PublishTiers",
            &publish_tiers(),
            json!({"tiers": "", "templates": {}, "replaces": ""}),
        ),
        answer(
            "PlannedRole",
            "PlannedRole",
            &planned_role(),
            &PlannedRole { trust_policy: None, ..planned_role() },
        ),
        answer("IssuedCredentials", "IssuedCredentials", &issued(), &issued()),
        answer("Approval", "ApprovalView", &approval(), &approval()),
        answer("Vote", "VoteView", &full_vote(), &least_vote()),
        answer("Review", "ReviewView", &full_review(), &ReviewView { closed: None, ..full_review() }),
        answer("ClosedReview", "ClosedReviewView", &closed_review(), &closed_review()),
        request("DecideSession", "DecideSession", &decide, json!({"decision": "deny"})),
        request("ReviewSession", "ReviewSession", &review, json!({"comment": "looked at it"})),
        answer("Access", "Access", &access(), &Access { source_identity: None, ..access() }),
        answer("Extension", "ExtensionView", &full_extension(), &least_extension()),
        answer("SessionEnd", "EndView", &full_end(), &least_end()),
        answer("Failure", "Failure", &failure(), &failure()),
        answer("SessionList", "SessionList", &page, &SessionList::default()),
        answer("Tier", "TierView", &full_tier(), &least_tier()),
        answer("TierList", "TierList", &tiers, &TierList::default()),
        answer("WhoAmI", "WhoAmI", &full_who, &least_who),
        answer("Caller", "CallerView", &full_caller, &caller()),
        answer("CallerList", "CallerList", &CallerList { callers: vec![caller()] }, &CallerList::default()),
        answer("CallerRemoved", "CallerRemoved", &removed, &CallerRemoved { caller: None, ended: vec![] }),
        answer("CallerSuspended", "CallerSuspended", &suspension, &suspension),
        answer("Sweep", "SweepView", &sweep, &SweepView::default()),
        answer("SweepHold", "HoldView", &hold, &hold),
        request("ConfirmSweep", "ConfirmSweep", &confirm, json!({"digest": ""})),
        answer(
            "AuditRecord",
            "AuditRecord",
            &audit_record().sealed(Some(AuditHash::of(b"x"))),
            &audit_record(),
        ),
        answer("AuditList", "AuditList", &audit_list(Some("x")), &audit_list(None)),
        answer("Digest", "DigestView", &audit_digest(), &audit_digest()),
        answer("DigestList", "DigestList", &digest_list(Some("x")), &digest_list(None)),
        answer("Error", "ErrorBody", &error, &least_error),
    ]
}

#[test]
fn every_schema_has_its_type_and_every_type_its_schema() {
    let pairs = pairs();
    let schemas: BTreeSet<_> = pairs.iter().map(|pair| pair.schema).collect();
    assert_eq!(
        names(&openapi()["components"]["schemas"]),
        schemas,
        "left: infrastructure/openapi.yaml; right: this test"
    );
    let types = ["lib", "approval"]
        .map(|file| found(r"pub struct (\w+)", &source(&format!("crates/wire/src/{file}.rs"))));
    for name in types.into_iter().flatten() {
        assert!(
            pairs.iter().any(|pair| pair.rust == name),
            "give `{name}` of crates/wire a schema, and a pair in this test"
        );
    }
}

#[test]
fn what_the_types_write_is_what_the_schemas_describe() {
    for Pair { schema, rust, full, least } in pairs() {
        let described = named(openapi(), schema);
        for value in [&full, &least] {
            let faults = faults(openapi(), described, value);
            assert!(faults.is_empty(), "{rust} of crates/wire is not as schema `{schema}` says: {faults:#?}");
        }
        assert_eq!(described["type"], "object");
        assert_eq!(described["additionalProperties"], false, "schema `{schema}` must name all that there is");
        let required: BTreeSet<_> =
            described["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(
            names(&described["properties"]),
            names(&full),
            "left: properties of schema `{schema}`; right: members of {rust}"
        );
        assert_eq!(
            required,
            names(&least),
            "left: required in schema `{schema}`; right: always there in {rust}"
        );
    }
}

const CALLER_ROLES: [CallerRole; 4] = CallerRole::ALL;
const END_CAUSES: [EndCause; 4] = [EndCause::Expired, EndCause::Revoked, EndCause::Denied, EndCause::Failed];
const MFA_BY: [MfaBy; 2] = [MfaBy::Device, MfaBy::Idp];
const GRANTS: [Grant; 3] = [Grant::Role, Grant::User, Grant::Standing];
const EXTENSION_STATUSES: [ExtensionStatus; 7] = [
    ExtensionStatus::AwaitingApproval,
    ExtensionStatus::UnderWay,
    ExtensionStatus::Done,
    ExtensionStatus::Denied,
    ExtensionStatus::Lapsed,
    ExtensionStatus::Failed,
    ExtensionStatus::Overtaken,
];
const VERDICTS: [Verdict; 2] = [Verdict::Grant, Verdict::AwaitApproval];

/// Does not compile when one of the lists above is not whole any more: complete it, and the enum in infrastructure/openapi.yaml.
const fn _the_lists_are_whole(
    cause: EndCause,
    grant: Grant,
    verdict: Verdict,
    mfa: MfaBy,
    status: ExtensionStatus,
) {
    match status {
        ExtensionStatus::AwaitingApproval
        | ExtensionStatus::UnderWay
        | ExtensionStatus::Done
        | ExtensionStatus::Denied
        | ExtensionStatus::Lapsed
        | ExtensionStatus::Failed
        | ExtensionStatus::Overtaken => {}
    }
    match mfa {
        MfaBy::Device | MfaBy::Idp => {}
    }
    match cause {
        EndCause::Expired | EndCause::Revoked | EndCause::Denied | EndCause::Failed => {}
    }
    match grant {
        Grant::Role | Grant::User | Grant::Standing => {}
    }
    match verdict {
        Verdict::Grant | Verdict::AwaitApproval => {}
    }
}

fn collect_enums(schema: &Value, place: &str, enums: &mut BTreeMap<String, Vec<String>>) {
    let Some(members) = schema.as_object() else { return };
    if let Some(words) = members.get("enum") {
        enums.insert(place.to_owned(), each(words));
    }
    for (name, member) in members {
        collect_enums(member, &format!("{place}.{name}"), enums);
    }
}

#[test]
fn the_words_of_the_enums_are_the_same() {
    let mut enums = BTreeMap::new();
    for (name, schema) in openapi()["components"]["schemas"].as_object().unwrap() {
        collect_enums(schema, name, &mut enums);
    }
    let words =
        |values: &[Value]| values.iter().map(|value| value.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let states = words(&State::ALL.map(|state| serde_json::to_value(state).unwrap()));
    let grants = words(&GRANTS.map(|grant| serde_json::to_value(grant).unwrap()));
    let causes = words(&END_CAUSES.map(|cause| serde_json::to_value(cause).unwrap()));
    let roles = words(&CALLER_ROLES.map(|role| serde_json::to_value(role).unwrap()));
    let votes = words(&[Vote::Approve, Vote::Deny].map(|vote| serde_json::to_value(vote).unwrap()));
    let mfa_by = words(&MFA_BY.map(|by| serde_json::to_value(by).unwrap()));
    let verdicts = words(&VERDICTS.map(|verdict| serde_json::to_value(verdict).unwrap()));
    let statuses = words(&EXTENSION_STATUSES.map(|status| serde_json::to_value(status).unwrap()));
    let expected = [
        ("Extension.properties.status", statuses),
        ("DryRun.properties.decision", verdicts),
        ("DryRun.properties.grant", grants.clone()),
        ("Approval.properties.approvers.items", roles.clone()),
        ("DecideSession.properties.decision", votes.clone()),
        ("Vote.properties.decision", votes),
        ("Caller.properties.mfa", mfa_by.clone()),
        ("PutCaller.properties.mfa", mfa_by),
        ("Caller.properties.roles.items", roles.clone()),
        ("PutCaller.properties.roles.items", roles),
        ("Session.properties.grant", grants.clone()),
        ("Session.properties.state", states),
        ("SessionEnd.properties.cause", causes),
        ("RequestSession.properties.grant", grants.clone()),
        ("IssuedCredentials.properties.grant", grants.clone()),
        ("Tier.properties.other_grants.items", grants.clone()),
        ("Tier.properties.grant", grants),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(place, words)| (place.to_owned(), words)).collect();
    assert_eq!(
        enums, expected,
        "left: infrastructure/openapi.yaml; right: the enums of crates/session and crates/policy"
    );
}

/// Words on both sides of every rule.
fn words() -> Vec<String> {
    let lengths = [0, 1, 2, 7, 8, 12, 16, 19, 20, 21, 31, 32, 33, 63, 64, 65];
    let same = |character: &str| lengths.map(|length| character.repeat(length)).to_vec();
    let bits = [
        "a", "A", "f", "g", "i", "l", "o", "u", "z", "0", "7", "-", ".", "_", "@", " ", "é", "/", ":", "*",
        "$",
    ];
    let mut words: Vec<String> = bits.iter().flat_map(|bit| same(bit)).collect();
    words
        .extend(bits.iter().flat_map(|bit| {
            [format!("a{bit}"), format!("{bit}a"), format!("a{bit}b"), format!("sue{bit}x")]
        }));
    words.extend(bits.iter().map(|bit| format!("0123456789abcde{bit}")));
    words
}

#[track_caller]
fn assert_same_rule(place: &str, accepts: impl Fn(&str) -> bool) {
    let (schema, property) = place.split_once('.').unwrap();
    let mut described = &named(openapi(), schema)["properties"][property];
    if described["type"] == "array" {
        described = &described["items"];
    }
    let pattern = described["pattern"].as_str().unwrap_or_else(|| panic!("{place} has no pattern"));
    let pattern = Regex::new(pattern).unwrap();
    for word in words() {
        assert_eq!(
            pattern.is_match(&word),
            accepts(&word),
            "left: the pattern of {place} in infrastructure/openapi.yaml; right: the service; `{word}`"
        );
    }
}

#[test]
fn the_patterns_are_the_rules_of_the_names() {
    assert_same_rule("RequestSession.project", |word| word.parse::<ProjectName>().is_ok());
    assert_same_rule("PutCaller.projects", |word| word.parse::<ProjectName>().is_ok());
    assert_same_rule("PutCaller.person", |word| word.parse::<PersonName>().is_ok());
    // Three names more are refused, which are reserved: a pattern cannot say that readably.
    assert_same_rule("PutCaller.namespace", |word| word.parse::<Namespace>().is_ok());
    assert_same_rule("PutCaller.source_identity", |word| word.parse::<SourceIdentity>().is_ok());
    assert_same_rule("Session.session_id", |word| word.parse::<SessionId>().is_ok());
    assert_same_rule("Access.external_id", |word| word.parse::<ExternalId>().is_ok());
    assert_same_rule("WhoAmI.account", |word| word.parse::<AccountId>().is_ok());
}

#[test]
fn the_limits_are_the_services() {
    let property =
        |schema: &str, name: &str| resolved(openapi(), &named(openapi(), schema)["properties"][name]).clone();
    let decision = source("crates/session/src/decision.rs");
    let longest =
        the_only(r"const LONGEST_REASON: usize = (\d+);", &decision, "crates/session/src/decision.rs");
    assert_eq!(property("RequestSession", "reason")["maxLength"].to_string(), longest);
    let shortest =
        the_only(r"const SHORTEST_REASON: usize = (\d+);", &decision, "crates/session/src/decision.rs");
    let said = property("RequestSession", "reason")["description"].to_string();
    assert!(
        said.contains(&format!("{shortest} characters at least")),
        "the description of `reason` says another minimum: {said}"
    );

    let tiers = text("crates/policy/src/tiers.rs");
    let hours: u64 =
        the_only(r"const LONGEST_HOURS: u32 = (\d+);", &tiers, "crates/policy/src/tiers.rs").parse().unwrap();
    assert_eq!(property("RequestSession", "duration_seconds")["maximum"], hours * 3_600);
    assert_eq!(property("ExtendSession", "duration_seconds")["maximum"], hours * 3_600);
    assert_eq!(property("Tier", "maximum_hours")["maximum"], hours);
    assert_eq!(property("PutCaller", "tiers")["additionalProperties"]["maximum"], hours);
    let highest = TierTable::built_in().unwrap().iter().map(|(_, tier)| u64::from(tier.maximum_hours)).max();
    assert!(highest <= Some(hours));
}
