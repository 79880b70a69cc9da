//! Tiers that are lent to some addresses: elsewhere nobody gets credentials, by the service's word and by AWS's.

use serde_json::json;
use sorry_tests::{LocalAws, Person, tiers_with_addresses};

use crate::{namespace_call, request};

fn publish(administrator: &Person, addresses: &[&str]) {
    let folder = tiers_with_addresses("developer", addresses);
    let path = folder.path().to_str().unwrap();
    administrator.sorry(&["admin", "tiers", "publish", path, "--yes"]).success();
}

#[test]
fn nobody_gets_credentials_from_outside_the_addresses() {
    let aws = LocalAws::start();
    let (sue, administrator) = (aws.register("sue-mgr"), aws.administrator_person());

    // What cannot be published is said.
    let wrong = tiers_with_addresses("developer", &["192.0.2.1/24"]);
    let refused = administrator.sorry(&["admin", "tiers", "validate", wrong.path().to_str().unwrap()]);
    assert!(refused.code != 0 && format!("{refused:?}").contains("192.0.2.0/24"), "{refused:?}");

    publish(&administrator, &["192.0.2.0/24", "2001:db8::/32"]);
    let refused = sue.sorry(&["request", "--tier", "developer", "--hours", "1"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(
        refused.stderr.contains("AddressNotAllowed") && refused.stderr.contains("192.0.2.0/24"),
        "{refused:?}"
    );
    assert!(aws.session_rows().is_empty() && aws.roles("/sorry/session/").is_empty());
    let shown = sue.sorry(&["tiers", "show", "developer"]).success();
    assert!(shown.stdout.contains("192.0.2.0/24, 2001:db8::/32"), "{shown:?}");
    // Other tiers are lent as ever.
    request(&sue, "read-only", "15m");

    publish(&administrator, &["127.0.0.1/32", "192.0.2.0/24"]);
    let words = ["request", "--tier", "developer", "--for", "15m", "--dry-run", "--output", "json"];
    let dry = sue.sorry(&words).success().json();
    let conditions = &dry["role"]["trust_policy"]["Statement"][0]["Condition"];
    assert_eq!(conditions["IpAddress"], json!({"aws:SourceIp": ["127.0.0.1/32", "192.0.2.0/24"]}), "{dry}");
    assert_eq!(dry["addresses"], json!(["127.0.0.1/32", "192.0.2.0/24"]));
    let (id, keys) = request(&sue, "developer", "15m");
    namespace_call(&aws, &keys, "sue").allowed();
    // AWS asks by itself: all that its owner has is worth nothing elsewhere.
    let (_, view) = aws.judge.request(Some(sue.keys()), &format!("GET /sessions/{id}"), "");
    let access = &view["access"];
    let good = json!({
        "RoleArn": access["role_arn"], "RoleSessionName": access["role_session_name"],
        "ExternalId": access["external_id"], "SourceIdentity": id,
    });
    for (address, expected) in [("127.0.0.1", true), ("127.0.0.2", false)] {
        let verdict = aws.judge.call_from(address, sue.keys(), "sts.assume_role", good.clone());
        assert_eq!(!verdict.is_denied(), expected, "{address}: {verdict:?}");
    }
}
