//! `infrastructure/openapi.yaml` against `functions/api`, the gateway's resource policy, and the policy of the callers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use sorry_session::{CallerRole, ErrorCode, Identity, audit::digest::write_due};
use sorry_testkit::{Role, block_on};

use crate::{
    harness::{Bench, administrator, edited_tiers, sue},
    project::{Template, each, fits, found, found_pairs, names, openapi, rendered, source},
    schema::{faults, named, resolved},
};

/// A method on a path, and what the document says of it.
struct Operation {
    method: String,
    path: String,
    described: &'static Value,
}

impl Operation {
    /// `POST /tiers/x/sessions`, as an IAM policy sees it below the stage: `POST/tiers/x/sessions`.
    fn as_resource(&self) -> String {
        let parts: Vec<_> =
            self.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
        format!("{}{}", self.method, parts.join("/"))
    }

    fn is_administration(&self) -> bool {
        self.path.starts_with("/admin/")
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

fn operations() -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in openapi()["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            operations.push(Operation { method: method.to_uppercase(), path: path.clone(), described });
        }
    }
    operations
}

#[test]
fn every_operation_has_a_route_and_every_route_an_operation() {
    let sources = source("functions/api/src/lib.rs") + &source("functions/issue/src/lib.rs");
    let routes = found_pairs(r#"\("([A-Z]+)", "(/[^"]*)"\)\s*=>"#, &sources);
    let routes: BTreeSet<_> = routes.into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    let described: BTreeSet<_> = operations().iter().map(Operation::name).collect();
    assert_eq!(
        routes, described,
        "left: what functions/api/src/lib.rs routes; right: infrastructure/openapi.yaml"
    );
}

/// The function that an operation is answered by.
fn answering(operation: &Operation) -> &'static str {
    // Secrets go through the memory of one function alone.
    if operation.path.ends_with("/credentials") { "Issue" } else { "Api" }
}

#[test]
fn every_operation_is_signed_named_and_answered_by_the_function() {
    let scheme = &openapi()["components"]["securitySchemes"]["sigv4"];
    assert_eq!(
        scheme["x-amazon-apigateway-authtype"], "awsSigv4",
        "with another type the gateway would verify nothing"
    );
    let mut ids = BTreeSet::new();
    for operation in operations() {
        let (name, described) = (operation.name(), operation.described);
        assert_eq!(
            described["security"],
            json!([{"sigv4": []}]),
            "`{name}` lets anybody in: `security: *signed`"
        );
        let id = described["operationId"].as_str().unwrap_or_else(|| panic!("`{name}` has no operationId"));
        assert!(ids.insert(id), "two operations are called `{id}`");
        let integration = &described["x-amazon-apigateway-integration"];
        assert_eq!(integration["type"], "aws_proxy", "`{name}`");
        assert_eq!(
            integration["httpMethod"], "POST",
            "`{name}`: Lambda is invoked by POST, whatever the caller's method"
        );
        assert!(
            rendered(&integration["uri"])
                .contains(&format!("/functions/${{{}Function.Arn}}/invocations", answering(&operation))),
            "`{name}`"
        );

        let in_path: BTreeSet<_> = found(r"\{(\w+)\}", &operation.path).into_iter().collect();
        let parameters = described["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let declared = parameters.iter().filter(|parameter| parameter["in"] == "path");
        assert_eq!(
            declared.map(|parameter| rendered(&parameter["name"])).collect::<BTreeSet<_>>(),
            in_path,
            "`{name}`"
        );
    }
}

#[test]
fn the_query_is_the_one_that_the_function_reads() {
    let mut described = BTreeSet::new();
    for operation in operations() {
        let parameters = operation.described["parameters"].as_array().into_iter().flatten();
        described.extend(
            parameters
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| rendered(&parameter["name"])),
        );
    }
    let files = ["audit", "callers", "lib", "sessions", "tiers"]
        .map(|file| source(&format!("functions/api/src/{file}.rs")));
    let read: BTreeSet<_> = files.iter().flat_map(|file| found(r#"\bquery\("(\w+)"\)"#, file)).collect();
    assert_eq!(
        described, read,
        "left: query parameters in infrastructure/openapi.yaml; right: what functions/api reads"
    );
}

#[test]
fn every_refusal_has_a_described_status_and_the_form_of_all_others() {
    let every_status: BTreeSet<_> =
        ErrorCode::ALL.iter().map(|code| code.http_status().to_string()).collect();
    let mut described = BTreeSet::new();
    for operation in operations() {
        let responses = operation.described["responses"].as_object().unwrap();
        for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with('2')) {
            assert!(
                every_status.contains(status),
                "`{}` answers {status}, which is no ErrorCode's",
                operation.name()
            );
            let schema = &response["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Error", "{status} of `{}`", operation.name());
            described.insert(status.clone());
        }
        // 400: a path that is not canonical (`check_path`); 403: whom the registry does not know; the others: AWS or this program.
        let mut always = vec!["400", "403", "429", "500", "503"];
        if operation.path.contains('{') {
            always.push("404");
        }
        let missing: Vec<_> = always.into_iter().filter(|status| !responses.contains_key(*status)).collect();
        assert!(missing.is_empty(), "`{}` can answer {missing:?}: add `\"…\": *refused`", operation.name());
    }
    assert_eq!(
        described, every_status,
        "left: statuses in infrastructure/openapi.yaml; right: those of ErrorCode"
    );
}

#[test]
fn the_gateways_own_refusals_are_in_the_form_of_all_others() {
    let responses = openapi()["x-amazon-apigateway-gateway-responses"].as_object().unwrap();
    let required: BTreeSet<_> = each(&named(openapi(), "Error")["required"]).into_iter().collect();
    for (name, response) in responses {
        let template = rendered(&response["responseTemplates"]["application/json"]);
        // The gateway puts a quoted string for `messageString`.
        let filled = template.replace("$context.error.messageString", "\"no\"");
        let body: Value =
            serde_json::from_str(&filled).unwrap_or_else(|error| panic!("{name}: {error}: {template}"));
        assert_eq!(names(&body).into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), required, "{name}");
        let code = body["code"].as_str().unwrap();
        assert!(
            ErrorCode::ALL.iter().any(|known| known.as_str() == code),
            "{name}: `{code}` is no ErrorCode"
        );
    }
    for name in ["DEFAULT_4XX", "DEFAULT_5XX", "ACCESS_DENIED", "THROTTLED"] {
        assert!(responses.contains_key(name), "{name} would be answered in a form of the gateway's own");
    }
}

#[test]
fn every_schema_that_is_named_exists() {
    let text = openapi().to_string();
    for name in found(r#""\$ref":"([^"]+)""#, &text) {
        resolved(openapi(), &json!({"$ref": name}));
    }
}

/// The statements of the resource policy with that Sid, as they are when MFA is required and administrators are named.
fn gateway_statement(sid: &str) -> Value {
    let statements = openapi()["x-amazon-apigateway-policy"]["Statement"].as_array().unwrap();
    let when = |statement: &Value| match statement["Fn::If"].as_array() {
        Some(branches) => branches[1].clone(),
        None => statement.clone(),
    };
    let found = statements.iter().map(when).find(|statement| statement["Sid"] == sid);
    found.unwrap_or_else(|| panic!("x-amazon-apigateway-policy has no statement `{sid}`"))
}

/// What stands for the API where something is let through: one segment. A `*` would also match `<id>/v1/PUT/admin`, and what follows
/// `/v1/` would no longer be the method.
const LET_THROUGH: &str = "??????????";
/// Where something is denied: too much rather than too little.
const DENIED: &str = "*";

/// Patterns of a statement below the stage: `GET/admin/*`. Each is a whole ARN.
fn below_the_stage(patterns: &Value, api: &str) -> Vec<String> {
    let stage = rendered(&Template::deployed().resource("ApiStage")["StageName"]);
    let api = format!("arn:${{AWS::Partition}}:execute-api:${{AWS::Region}}:${{AWS::AccountId}}:{api}");
    let patterns = each(patterns);
    let below = |pattern: &String| pattern.strip_prefix(&format!("{api}/{stage}/")).map(str::to_owned);
    patterns
        .iter()
        .map(|pattern| below(pattern).unwrap_or_else(|| panic!("`{pattern}` is not of the stage `{stage}`")))
        .collect()
}

#[test]
fn without_mfa_one_can_look_ask_and_end_and_nothing_else() {
    let statements = &openapi()["x-amazon-apigateway-policy"]["Statement"];
    assert_eq!(
        statements[0]["Fn::If"][0], "MfaIsRequired",
        "the statement stands by the parameter `RequireMfa`"
    );
    assert_eq!(statements[0]["Fn::If"][2], json!({"Ref": "AWS::NoValue"}));
    let deny = gateway_statement("WithoutMfaOnlyLookAskAndEnd");
    assert_eq!(
        (&deny["Effect"], &deny["Principal"], &deny["Action"]),
        (&json!("Deny"), &json!("*"), &json!("execute-api:Invoke"))
    );
    assert!(
        deny.get("Resource").is_none(),
        "NotResource: a path that is added later needs MFA without anyone remembering"
    );
    let [condition, with_roles, without_roles] = [0, 1, 2].map(|index| &deny["Condition"]["Fn::If"][index]);
    assert_eq!(condition, "IdentityProviderRolesAreNamed");
    for branch in [with_roles, without_roles] {
        assert_eq!(
            branch["BoolIfExists"],
            json!({"aws:MultiFactorAuthPresent": "false"}),
            "long-term keys carry no MFA key at all: only BoolIfExists with \"false\" denies them, too"
        );
    }
    assert_eq!(
        without_roles.as_object().unwrap().len(),
        1,
        "nobody is exempt in a deployment that names no roles"
    );
    assert_eq!(
        with_roles["ArnNotEquals"],
        json!({"aws:PrincipalArn": {"Ref": "IdentityProviderRoleArns"}}),
        "only the roles that the deployment names are exempt, by their whole ARNs"
    );
    let open = below_the_stage(&deny["NotResource"], LET_THROUGH);
    for operation in operations() {
        let resource = operation.as_resource();
        let is_open = open.iter().any(|pattern| fits(pattern, &resource));
        let may_be = operation.method == "GET"
            || ["POST /tiers/{tier}/sessions", "DELETE /sessions/{id}"].contains(&operation.name().as_str());
        assert_eq!(
            is_open,
            may_be,
            "left: whether `{}` is open without MFA; right: whether it should be",
            operation.name()
        );
    }
    for hostile in [
        "PUT/GET/x",
        "POST/tiers/x",
        "DELETE/admin/callers/x",
        "PUT/admin/sweep/confirmation",
        "POST/GET/tiers/x/sessions",
    ] {
        assert!(!open.iter().any(|pattern| fits(pattern, hostile)), "`{hostile}` is open without MFA");
    }
}

#[test]
fn administration_is_denied_to_everybody_but_administrators() {
    let deny = gateway_statement("AdministrationIsForAdministrators");
    assert_eq!(
        (&deny["Effect"], &deny["Principal"], &deny["Action"]),
        (&json!("Deny"), &json!("*"), &json!("execute-api:Invoke"))
    );
    let condition = json!({"Fn::If": [
        "AdministratorsAreNamed",
        {"ArnNotEquals": {"aws:PrincipalArn": {"Ref": "AdministratorArns"}}},
        {"Ref": "AWS::NoValue"},
    ]});
    assert_eq!(deny["Condition"], condition, "without an administrator's name, nobody is one");
    let closed = below_the_stage(&deny["Resource"], DENIED);
    for operation in operations() {
        let is_closed = closed.iter().any(|pattern| fits(pattern, &operation.as_resource()));
        assert_eq!(
            is_closed,
            operation.is_administration(),
            "left: whether the gateway denies `{}`",
            operation.name()
        );
    }
    for method in ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"] {
        let resource = format!("{method}/admin/of/something/new");
        assert!(
            closed.iter().any(|pattern| fits(pattern, &resource)),
            "{method} below /admin/ is not denied"
        );
    }
    assert!(
        !closed.iter().any(|pattern| fits(pattern, "POST/tiers/admin/sessions")),
        "the tier `admin` is no administration"
    );
}

#[test]
fn the_gateways_policy_lets_nobody_in_by_itself() {
    let statements = openapi()["x-amazon-apigateway-policy"]["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 2, "a new statement needs a test of its own here");
    assert!(
        !statements.iter().any(|statement| statement.to_string().contains("\"Allow\"")),
        "it only denies"
    );
    let body = &Template::deployed().resource("Api")["Body"];
    assert_eq!(
        body["x-amazon-apigateway-policy"],
        openapi()["x-amazon-apigateway-policy"],
        "the API is made without the policy"
    );
}

#[test]
fn callers_may_call_all_but_administration() {
    let policy = &Template::deployed().resource("CallerPolicy")["PolicyDocument"]["Statement"];
    let ask = policy.as_array().unwrap().iter().find(|statement| statement["Sid"] == "Ask").unwrap();
    let stage = rendered(&Template::deployed().resource("ApiStage")["StageName"]);
    let marker = format!(":${{Api}}/{stage}/");
    let below = |resource: &String| resource.split_once(&marker).map(|(_, below)| below.to_owned());
    let allowed: Vec<_> =
        each(&ask["Resource"]).iter().map(|resource| below(resource).expect("of this API's stage")).collect();
    for operation in operations() {
        let is_allowed = allowed.iter().any(|pattern| fits(pattern, &operation.as_resource()));
        assert_eq!(
            is_allowed,
            !operation.is_administration(),
            "left: whether `sorry-caller` allows `{}`",
            operation.name()
        );
    }
}

/// Written out, so that nothing is added by the way: a bootstrap key asks, uses its namespace's sessions, finds its own device, and
/// changes its own keys with MFA. It touches no device: `sorry admin callers add` enrols it, and a stolen key could take it away.
#[test]
fn a_bootstrap_key_may_do_what_the_design_says_and_nothing_else() {
    let caller = Template::deployed().resource("CallerPolicy");
    let document = &caller["PolicyDocument"];
    let ask = &document["Statement"][0]["Resource"];
    // Audit for those who oversee; the function refuses all others.
    let asked = [
        "GET/tiers",
        "GET/tiers/*",
        "POST/tiers/*",
        "GET/sessions",
        "GET/sessions/*",
        "POST/sessions/*",
        "DELETE/sessions/*",
        "POST/sessions/*/extension",
        "GET/whoami",
        "GET/audit",
        "GET/audit/digests",
    ];
    assert_eq!(below_the_stage(ask, "${Api}"), asked);
    let principal = "arn:${AWS::Partition}:iam::${AWS::AccountId}";
    let of_account = |resource: &str| json!({"Fn::Sub": format!("{principal}:{resource}")});
    let itself = of_account("user/sorry/caller/${!aws:username}");
    let with_mfa = json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}});
    let expected = json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "Ask", "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": ask},
        {
            "Sid": "UseSessionsOfTheNamespace",
            "Effect": "Allow",
            "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
            "Resource": of_account("role/sorry/session/${!aws:PrincipalTag/sorry:namespace}/*"),
        },
        {"Sid": "FindOwnMfaDevice", "Effect": "Allow", "Action": "iam:ListMFADevices", "Resource": itself},
        {
            "Sid": "RotateOwnKey",
            "Effect": "Allow",
            "Action": ["iam:CreateAccessKey", "iam:DeleteAccessKey", "iam:ListAccessKeys", "iam:UpdateAccessKey"],
            "Resource": itself,
            "Condition": {"Fn::If": ["MfaIsRequired", with_mfa, {"Ref": "AWS::NoValue"}]},
        },
    ]});
    assert_eq!(document, &expected, "left: `CallerPolicy`; right: what a bootstrap key may do");
    assert!(
        ["Groups", "Roles", "Users"].iter().all(|who| caller.get(who).is_none()),
        "only `sorry admin callers add` gives it to somebody"
    );
}

/// Everything that the document describes, asked of the real handlers over the world in memory.
struct Tour {
    bench: Bench,
    answered: BTreeMap<String, BTreeSet<u16>>,
}

impl Tour {
    /// Asks, and holds question and answer to the document.
    fn ask(&mut self, who: &Identity, method: &str, resource: &str, parameter: &str, body: &Value) -> Value {
        let name = format!("{method} {resource}");
        let described = operations()
            .into_iter()
            .find(|operation| operation.name() == name)
            .expect("an operation")
            .described;
        let request = &described["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(
            request.is_null(),
            body.is_null(),
            "`{name}`: a body, and none described, or the other way round"
        );
        if !body.is_null() {
            assert_eq!(
                faults(openapi(), request, body),
                Vec::<String>::new(),
                "`{name}` is asked with {body}"
            );
        }
        let answer =
            self.bench.service.send(who, method, resource, parameter, body).expect("nothing dies here");
        self.hold(name, described, answer)
    }

    /// Asks for credentials of a session, which another function hands out.
    fn issue(&mut self, who: &Identity, id: &str) -> Value {
        let name = "POST /sessions/{id}/credentials".to_owned();
        let described =
            operations().into_iter().find(|operation| operation.name() == name).expect("it is there");
        let answer = self.bench.service.issue(who, &id.parse().unwrap()).expect("nothing dies here");
        self.hold(name, described.described, answer)
    }

    fn hold(&mut self, name: String, described: &Value, answer: sorry_api::Response) -> Value {
        let response = described["responses"].get(answer.status.to_string());
        let response = response.unwrap_or_else(|| {
            panic!(
                "`{name}` answers {}, which infrastructure/openapi.yaml does not have: {}",
                answer.status, answer.body
            )
        });
        let faults = faults(openapi(), &response["content"]["application/json"]["schema"], &answer.body);
        assert!(faults.is_empty(), "`{name}`, {}: {faults:#?}", answer.status);
        self.answered.entry(name).or_default().insert(answer.status);
        answer.body
    }
}

#[test]
fn every_operation_answers_as_it_is_described() {
    let mut tour = Tour { bench: Bench::new(), answered: BTreeMap::new() };
    let (sue, administrator, none) = (sue(), administrator(), Value::Null);
    let stranger = Identity { unique_id: "AIDASTRANGER".into(), ..sue.clone() };
    let body =
        json!({"client_request_id": "0123-4567", "duration_seconds": 3600, "reason": "to see what happens"});

    tour.ask(&sue, "GET", "/whoami", "", &none);
    tour.ask(&stranger, "GET", "/whoami", "", &none);
    tour.ask(&sue, "GET", "/tiers", "", &none);
    tour.ask(&sue, "GET", "/tiers/{tier}", "developer", &none);
    tour.ask(&sue, "GET", "/tiers/{tier}", "break-glass", &none);
    tour.ask(&sue, "GET", "/tiers/{tier}", "no-such", &none);
    let mut dry = body.clone();
    dry["dry_run"] = json!(true);
    tour.ask(&sue, "POST", "/tiers/{tier}/sessions", "developer", &dry);
    tour.ask(&sue, "POST", "/tiers/{tier}/sessions", "break-glass", &dry);
    let session = tour.ask(&sue, "POST", "/tiers/{tier}/sessions", "developer", &body);
    let id = session["session_id"].as_str().unwrap().to_owned();
    tour.bench.run_for(0);
    let active = tour.ask(&sue, "GET", "/sessions/{id}", &id, &none);
    assert!(active["access"].is_object(), "the owner of an active session is told how to use it: {active}");
    tour.ask(&sue, "GET", "/sessions", "", &none);
    let hour = json!({"client_request_id": "extension-1", "duration_seconds": 3600});
    let extending = tour.ask(&sue, "POST", "/sessions/{id}/extension", &id, &hour);
    assert_eq!(extending["extension"]["status"], "under-way", "{extending}");
    tour.bench.run_for(0);
    assert_eq!(tour.ask(&sue, "GET", "/sessions/{id}", &id, &none)["extension"]["status"], "done");
    let days = json!({"client_request_id": "extension-2", "duration_seconds": 129_600});
    tour.ask(&sue, "POST", "/sessions/{id}/extension", &id, &days);
    tour.ask(&stranger, "POST", "/sessions/{id}/extension", &id, &hour);
    tour.ask(&sue, "POST", "/tiers/{tier}/sessions", "no-such", &body);
    let other = json!({"client_request_id": "0123-4567", "duration_seconds": 1800});
    tour.ask(&sue, "POST", "/tiers/{tier}/sessions", "developer", &other);
    tour.ask(&sue, "DELETE", "/sessions/{id}", "0000000000000000", &none);
    tour.ask(&sue, "DELETE", "/sessions/{id}", &id, &none);
    tour.bench.run_for(400);
    tour.ask(&sue, "GET", "/sessions/{id}", &id, &none);
    // Once more: there is nothing left to end.
    tour.ask(&sue, "DELETE", "/sessions/{id}", &id, &none);

    let ann = tour.bench.approver("ann");
    let yes = json!({"decision": "approve", "comment": "as agreed in ticket 4711"});
    let mut waiting = body.clone();
    waiting["client_request_id"] = json!("0123-4568");
    let waits = tour.ask(&sue, "POST", "/tiers/{tier}/sessions", "admin", &waiting);
    let waits = waits["session_id"].as_str().unwrap().to_owned();
    tour.ask(&sue, "POST", "/sessions/{id}/decision", &waits, &yes);
    tour.ask(&ann, "POST", "/sessions/{id}/decision", "0000000000000000", &yes);
    tour.ask(&ann, "POST", "/sessions/{id}/decision", &waits, &yes);
    tour.ask(&ann, "POST", "/sessions/{id}/decision", &waits, &json!({"decision": "deny"}));
    waiting["client_request_id"] = json!("0123-4569");
    let reviewed = tour.ask(&sue, "POST", "/tiers/{tier}/sessions", "break-glass", &waiting);
    let reviewed = reviewed["session_id"].as_str().unwrap().to_owned();
    tour.bench.run_for(0);
    let found = json!({"comment": "read its CloudTrail: in order"});
    tour.issue(&sue, &reviewed);
    tour.ask(&sue, "POST", "/sessions/{id}/review", &reviewed, &found);
    tour.ask(&ann, "POST", "/sessions/{id}/review", &reviewed, &found);
    tour.ask(&sue, "DELETE", "/sessions/{id}", &reviewed, &none);
    tour.bench.run_for(400);
    let closed = tour.ask(&ann, "POST", "/sessions/{id}/review", &reviewed, &found);
    assert!(closed["review"]["closed"].is_object(), "{closed}");
    tour.ask(&ann, "POST", "/sessions/{id}/review", &waits, &found);
    tour.issue(&ann, &reviewed);
    tour.issue(&stranger, "0000000000000000");
    tour.bench.run_for(8 * 3_600);

    let entry = json!({"arn": "arn:aws:iam::123456789012:user/sorry/caller/ann", "person": "ann", "namespace": "ann", "tiers": {"developer": 8}});
    tour.ask(&sue, "PUT", "/admin/callers/{id}", "AIDA0123456789AB", &entry);
    tour.ask(&administrator, "PUT", "/admin/callers/{id}", "AIDA0123456789AB", &entry);
    let taken = json!({"arn": "arn:aws:iam::123456789012:user/bob", "person": "bob", "namespace": "ann", "tiers": {}});
    tour.ask(&administrator, "PUT", "/admin/callers/{id}", "AIDA0123456789AC", &taken);
    tour.ask(&administrator, "GET", "/admin/callers", "", &none);
    tour.ask(&sue, "GET", "/admin/callers", "", &none);
    for _ in 0..2 {
        tour.ask(&administrator, "PUT", "/admin/callers/{id}/suspension", "AIDA0123456789AB", &none);
    }
    tour.ask(&administrator, "GET", "/admin/callers", "", &none);
    tour.ask(&administrator, "DELETE", "/admin/callers/{id}/suspension", "AIDA0123456789AB", &none);
    tour.ask(&sue, "PUT", "/admin/callers/{id}/suspension", "AIDA0123456789AB", &none);
    tour.ask(&administrator, "DELETE", "/admin/callers/{id}", "AIDA0123456789AB", &none);
    tour.ask(&administrator, "DELETE", "/admin/callers/{id}", "AIDA0123456789AB", &none);
    let nothing = json!({"digest": "0123456789abcdef"});
    tour.ask(&administrator, "GET", "/admin/sweep", "", &none);
    tour.ask(&administrator, "PUT", "/admin/sweep/confirmation", "", &nothing);
    for number in 0..6 {
        let name = format!("sorry-sue-developer-orphan{number}");
        tour.bench.world.plant_role(Role::new("/sorry/session/sue/", &name));
    }
    tour.bench.sweep();
    let held = tour.ask(&administrator, "GET", "/admin/sweep", "", &none);
    assert_eq!(held["hold"]["roles"].as_array().unwrap().len(), 6, "{held}");
    let shown = json!({"digest": held["hold"]["digest"]});
    let confirmed = tour.ask(&administrator, "PUT", "/admin/sweep/confirmation", "", &shown);
    assert_eq!(confirmed["confirmed"], held["hold"]["roles"]);
    tour.ask(&stranger, "GET", "/admin/sweep", "", &none);
    tour.ask(&stranger, "PUT", "/admin/sweep/confirmation", "", &shown);

    let set = edited_tiers();
    let shown = tour.ask(&administrator, "GET", "/admin/tiers", "", &none);
    let mut publication =
        json!({"tiers": set.tiers, "templates": set.templates, "replaces": shown["digest"]});
    let published = tour.ask(&administrator, "PUT", "/admin/tiers", "", &publication);
    assert_eq!(published, tour.ask(&administrator, "GET", "/admin/tiers", "", &none));
    tour.ask(&administrator, "PUT", "/admin/tiers", "", &publication);
    publication["tiers"] = json!("version = 1");
    tour.ask(&administrator, "PUT", "/admin/tiers", "", &publication);
    tour.ask(&stranger, "PUT", "/admin/tiers", "", &publication);
    tour.bench.world.damage_tier_sets(|_| None);
    let unusable = tour.ask(&administrator, "GET", "/admin/tiers", "", &none);
    assert!(unusable["unusable"].is_string(), "{unusable}");
    tour.ask(&sue, "GET", "/tiers", "", &none);
    tour.ask(&sue, "POST", "/tiers/{tier}/sessions", "developer", &body);

    let written = |tour: &Tour| {
        block_on(write_due(
            &tour.bench.world,
            &tour.bench.world,
            &tour.bench.world,
            Duration::from_secs(3600),
        ))
    };
    written(&tour).unwrap();
    tour.bench.world.advance(2 * 3600);
    assert!(written(&tour).unwrap().count > 0);
    let records = tour.ask(&administrator, "GET", "/audit", "", &none);
    assert!(!records["records"].as_array().unwrap().is_empty(), "{records}");
    let digests = tour.ask(&administrator, "GET", "/audit/digests", "", &none);
    assert!(!digests["digests"].as_array().unwrap().is_empty(), "{digests}");
    tour.ask(&sue, "GET", "/audit", "", &none);
    tour.ask(&stranger, "GET", "/audit/digests", "", &none);

    for operation in operations() {
        let answered = tour.answered.get(&operation.name()).cloned().unwrap_or_default();
        let successes = operation.described["responses"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|status| status.starts_with('2'));
        for status in successes {
            let seen = answered.iter().any(|seen| seen.to_string() == *status);
            assert!(
                seen,
                "`{}` never answered {status} here: add the question that does, or remove the answer",
                operation.name()
            );
        }
    }
}

/// The registry's role `admin` sees and ends sessions; `/admin` is for the principals that the deployment names, at the gateway and
/// in the function alike.
#[test]
fn the_registrys_role_admin_does_not_open_administration() {
    let mut bench = Bench::new();
    let id = bench.granted("developer", "request-1");
    let overseer = Identity { unique_id: "AIDAOVERSEER".into(), ..sue() };
    let entry = json!({
        "arn": overseer.arn, "person": "ann", "namespace": "ann", "tiers": {}, "roles": ["caller", "admin"],
    });
    let ask = |who: &Identity, method: &str, resource: &str, parameter: &str, body: &Value| {
        bench.service.send(who, method, resource, parameter, body).unwrap()
    };
    let overseer = Identity { unique_id: "AIDAOVERSEER12345".into(), ..overseer };
    assert_eq!(ask(&administrator(), "PUT", "/admin/callers/{id}", &overseer.unique_id, &entry).status, 200);
    for operation in operations().iter().filter(|operation| operation.is_administration()) {
        let answer = ask(&overseer, &operation.method, &operation.path, "AIDASUE", &json!({"digest": "x"}));
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (403, &json!("NotAllowed")),
            "{}",
            operation.name()
        );
    }
    let me = ask(&overseer, "GET", "/whoami", "", &Value::Null).body;
    assert_eq!(
        (&me["administrator"], &me["caller"]["roles"]),
        (&json!(false), &json!([CallerRole::Caller, CallerRole::Admin]))
    );
    assert_eq!(ask(&overseer, "GET", "/sessions/{id}", id.as_str(), &Value::Null).status, 200);
    assert_eq!(ask(&overseer, "DELETE", "/sessions/{id}", id.as_str(), &Value::Null).status, 202);
}

#[test]
fn a_cursor_that_no_page_gave_is_the_callers_mistake() {
    let mut bench = Bench::new();
    bench.world.lift_limits();
    let ids: Vec<_> =
        (0..51).map(|number| bench.granted("developer", &format!("request-{number}"))).collect();
    let page = bench.service.list(&[]).unwrap();
    assert_eq!(page.body["sessions"].as_array().unwrap().len(), 50);
    let cursor = page.body["cursor"].as_str().unwrap();
    let rest = bench.service.list(&[("cursor", cursor)]).unwrap();
    assert_eq!(rest.body["sessions"].as_array().unwrap().len(), ids.len() - 50);
    assert!(rest.body.get("cursor").is_none());
    for garbage in ["", "50", "x_y", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z_../x", "_"] {
        let refused = bench.service.list(&[("cursor", garbage)]).unwrap();
        assert_eq!((refused.status, &refused.body["code"]), (400, &json!("InvalidInput")), "{garbage}");
        assert!(refused.body["hint"].as_str().unwrap().contains("cursor"), "{}", refused.body);
    }
}
