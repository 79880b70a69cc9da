//! What the simulator says to the documents that are deployed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sorry_tests::project;

use crate::{
    TIERS,
    cases::{Case, Expect, cases, paths},
    deployed::Deployed,
    questions::{Moment, Questions, With},
    simulator::{Documents, Question, ask},
};

/// Fewest cases that may be left when somebody tidies up.
const FEWEST: [(Expect, usize); 2] = [(Expect::Allow, 25), (Expect::Deny, 60)];

struct Asked {
    name: String,
    expect: Expect,
    own_keys: BTreeSet<String>,
    question: Question,
}

/// Asks, and says which answers are not what was expected.
fn wrong(documents: &Documents, asked: &[Asked]) -> Vec<String> {
    let questions: Vec<_> = asked.iter().map(|asked| asked.question.clone()).collect();
    let mut wrong = Vec::new();
    for (asked, answer) in asked.iter().zip(ask(documents, &questions)) {
        if answer.is_allowed() != (asked.expect == Expect::Allow) {
            wrong.push(format!("{}: not {:?} but {answer:?}", asked.name, asked.expect));
        }
        for key in answer.ignored.iter().filter(|key| asked.own_keys.contains(&key.to_lowercase())) {
            wrong.push(format!("{}: AWS gives no {key} to {}", asked.name, asked.question.action));
        }
    }
    wrong
}

fn own_keys(case: &Case) -> BTreeSet<String> {
    case.context.keys().map(|key| key.to_lowercase()).collect()
}

fn of_tiers() -> Vec<Case> {
    let found: Vec<_> = ["allow.toml", "deny.toml"].into_iter().flat_map(cases).collect();
    for (expect, fewest) in FEWEST {
        let count = found.iter().filter(|case| case.expect == expect).count();
        assert!(count >= fewest, "{count} cases to {expect:?}, and {fewest} are promised");
    }
    let names: BTreeSet<_> = found.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), found.len(), "two cases have the same name");
    assert!(found.iter().all(|case| !case.stands_for.is_empty() && !case.tiers.is_empty()));
    found
}

/// One test, as reading back is most of the work.
#[test]
fn invariant_8_the_tiers_hold_over_what_is_deployed() {
    let deployed = Deployed::read_back();
    what_is_deployed_fits(&deployed);
    every_case_holds(&deployed);
    no_published_way_up_is_open_that_is_not_listed(&deployed);
    every_denial_of_every_boundary_is_needed(&deployed);
    every_condition_of_every_trust_is_needed(&deployed);
    crate::resources::every_store_keeps_its_own(&deployed);
}

fn every_case_holds(deployed: &Deployed) {
    let mut questions = Questions::new(deployed);
    let mut asked = Vec::new();
    for case in of_tiers() {
        for tier in &case.tiers {
            let mut add = |with, moment, name: String, expect| {
                let question = questions.of_session(&case, tier, with, moment);
                asked.push(Asked { name, expect, own_keys: own_keys(&case), question });
            };
            add(With::Tier, Moment::During, format!("{tier}: {}", case.name), case.expect);
            if case.is_for_the_boundary() {
                let name = format!("{tier}: {}, by the boundary alone", case.name);
                add(With::BoundaryAlone, Moment::During, name, Expect::Deny);
            }
            // Invariant 2: AWS itself ends every permission, at the second.
            if case.expect == Expect::Allow {
                add(With::Tier, Moment::AtTheEnd, format!("{tier}: {}, at the end", case.name), Expect::Deny);
                // Invariant 5.
                add(With::Tier, Moment::Revoked, format!("{tier}: {}, revoked", case.name), Expect::Deny);
            }
        }
    }
    asked.extend(of_user(&mut questions));
    asked.extend(of_another_session_of_a_standing_role(&mut questions));
    for case in cases("trust.toml") {
        for tier in &case.tiers {
            let question = questions.of_trust(&case, tier);
            let name = format!("trust of {tier}: {}", case.name);
            asked.push(Asked { name, expect: case.expect, own_keys: own_keys(&case), question });
        }
    }
    for case in cases("gateway.toml") {
        let question = questions.of_gateway(&case);
        let name = format!("gateway: {}", case.name);
        asked.push(Asked { name, expect: case.expect, own_keys: own_keys(&case), question });
    }
    let wrong = wrong(&questions.documents, &asked);
    assert!(wrong.is_empty(), "{} of {} answers are wrong:\n{}", wrong.len(), asked.len(), wrong.join("\n"));
}

/// The cases of read-only and of `users.toml`, asked by a user's credentials; and that its date and its revocation are what ends them.
fn of_user(questions: &mut Questions<'_>) -> Vec<Asked> {
    let of_tier = of_tiers().into_iter().filter(|case| case.tiers.iter().any(|tier| tier == "read-only"));
    let mut asked = Vec::new();
    for case in of_tier.chain(cases("users.toml")) {
        assert!(case.asker.is_none(), "{}: only asked as the user", case.name);
        let mut add = |with, moment, how: &str, expect, without: Option<&str>| {
            let mut question = questions.of_user(&case, with, moment);
            question.identity.retain(|document| Some(document.as_str()) != without);
            let name = format!("user: {}{how}", case.name);
            asked.push(Asked { name, expect, own_keys: own_keys(&case), question });
        };
        add(With::Tier, Moment::During, "", case.expect, None);
        if case.is_for_the_boundary() {
            add(With::BoundaryAlone, Moment::During, ", by the boundary alone", Expect::Deny, None);
        }
        if case.expect == Expect::Allow {
            add(With::Tier, Moment::AtTheEnd, ", at the end", Expect::Deny, None);
            add(With::Tier, Moment::AtTheEnd, ", without its date", Expect::Allow, Some("expiry:user"));
            add(With::Tier, Moment::Revoked, ", revoked", Expect::Deny, None);
        }
    }
    asked
}

/// What ends one session of a role that stands ends no other.
fn of_another_session_of_a_standing_role(questions: &mut Questions<'_>) -> Vec<Asked> {
    let allowed = of_tiers()
        .into_iter()
        .filter(|case| case.expect == Expect::Allow && case.tiers.iter().any(|tier| tier == "break-glass"));
    let of_other = allowed.map(|case| {
        let mut question = questions.of_session(&case, "break-glass", With::Tier, Moment::Revoked);
        question.context.insert("aws:SourceIdentity".into(), "0000000000000000".into());
        let name = format!("break-glass: {}, another's session revoked", case.name);
        Asked { name, expect: Expect::Allow, own_keys: own_keys(&case), question }
    });
    of_other.collect()
}

fn no_published_way_up_is_open_that_is_not_listed(deployed: &Deployed) {
    let mut questions = Questions::new(deployed);
    let threats = std::fs::read_to_string(project().join("docs/threats.md")).unwrap();
    let mut steps = Vec::new();
    let mut ways = Vec::new();
    for path in paths() {
        for tier in TIERS {
            let of_path = questions.of_path(&path, tier);
            ways.push((path.clone(), tier, steps.len()..steps.len() + of_path.len()));
            steps.extend(of_path);
        }
    }
    let answers = ask(&questions.documents, &steps);
    let mut wrong = Vec::new();
    for (path, tier, range) in ways {
        let open = answers[range].iter().all(|answer| answer.is_allowed());
        let accepted = path.accepted.iter().any(|accepted| accepted == tier);
        if open != accepted {
            let found = if open { "is open" } else { "is closed, and listed as accepted" };
            wrong.push(format!("{tier}: {} ({}) {found}", path.name, path.title));
        }
        if accepted && ["read-only", "developer"].contains(&tier) {
            wrong.push(format!("{tier}: {} cannot be accepted", path.name));
        }
        if accepted && !threats.contains(&format!("`{}`", path.name)) {
            wrong.push(format!("{}: accepted, and docs/threats.md does not say why", path.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Takes each Deny out of its boundary: at least one case must then come out the other way.
fn every_denial_of_every_boundary_is_needed(deployed: &Deployed) {
    let mut questions = Questions::new(deployed);
    let mut asked = Vec::new();
    for case in of_tiers().iter().filter(|case| case.is_for_the_boundary()) {
        for tier in &case.tiers {
            asked.push((tier.clone(), questions.of_session(case, tier, With::BoundaryAlone, Moment::During)));
        }
    }
    let all: Vec<_> = asked.iter().map(|(_, question)| question.clone()).collect();
    // Only what a single statement denies can change with it.
    let mut by_statement = BTreeMap::<(String, String), Vec<Question>>::new();
    for ((tier, question), answer) in asked.into_iter().zip(ask(&questions.documents, &all)) {
        if let [sid] = answer.denied_by.as_slice() {
            by_statement.entry((tier, sid.clone())).or_default().push(question);
        }
    }
    let mut mutated = Vec::new();
    let mut names = Vec::new();
    for tier in TIERS {
        let boundary = questions.documents[&format!("boundary:{tier}")].clone();
        for (index, statement) in boundary["Statement"].as_array().unwrap().iter().enumerate() {
            let sid = statement["Sid"].as_str().expect("a Sid").to_owned();
            if statement["Effect"] != "Deny" {
                continue;
            }
            let mut without = boundary.clone();
            without["Statement"].as_array_mut().unwrap().remove(index);
            let name = format!("{tier} without {sid}");
            questions.documents.insert(name.clone(), without);
            for question in by_statement.remove(&(tier.to_owned(), sid)).unwrap_or_default() {
                mutated.push(Question { boundary: Some(name.clone()), ..question });
            }
            names.push(name);
        }
    }
    let noticed: BTreeSet<_> = mutated
        .iter()
        .zip(ask(&questions.documents, &mutated))
        .filter(|(_, answer)| answer.is_allowed())
        .filter_map(|(question, _)| question.boundary.clone())
        .collect();
    assert!(names.len() > 20, "the boundaries deny in {} statements", names.len());
    let unnoticed: Vec<_> = names.iter().filter(|name| !noticed.contains(*name)).collect();
    assert!(unnoticed.is_empty(), "no case notices: {unnoticed:#?}");
}

/// Takes each condition out of each role's trust: at least one case must then come out the other way.
fn every_condition_of_every_trust_is_needed(deployed: &Deployed) {
    let mut questions = Questions::new(deployed);
    let cases = cases("trust.toml");
    let (mut mutated, mut removed) = (Vec::new(), BTreeSet::new());
    for role in deployed.sessions.keys() {
        let of_role = |case: &&Case| case.tiers.contains(role) && case.expect == Expect::Deny;
        let asked: Vec<_> = cases.iter().filter(of_role).map(|case| questions.of_trust(case, role)).collect();
        let trust = questions.documents[&format!("trust:{role}")].clone();
        for (index, statement) in trust["Statement"].as_array().unwrap().iter().enumerate() {
            for (operator, keys) in statement["Condition"].as_object().unwrap() {
                for key in keys.as_object().unwrap().keys() {
                    let mut without = trust.clone();
                    let conditions = &mut without["Statement"][index]["Condition"];
                    conditions[operator].as_object_mut().unwrap().remove(key);
                    if conditions[operator].as_object().unwrap().is_empty() {
                        conditions.as_object_mut().unwrap().remove(operator);
                    }
                    let name = format!("{role}: {} without {key}", statement["Sid"]);
                    questions.documents.insert(name.clone(), without);
                    let again = asked.iter().cloned();
                    mutated.extend(
                        again.map(|question| Question { resource_policy: Some(name.clone()), ..question }),
                    );
                    removed.insert(name);
                }
            }
        }
    }
    let noticed: BTreeSet<_> = mutated
        .iter()
        .zip(ask(&questions.documents, &mutated))
        .filter(|(_, answer)| answer.is_allowed())
        .filter_map(|(question, _)| question.resource_policy.clone())
        .collect();
    assert!(removed.len() > 40, "the roles' trusts have {} conditions", removed.len());
    let unnoticed: Vec<_> = removed.difference(&noticed).collect();
    assert!(unnoticed.is_empty(), "no case notices: {unnoticed:#?}");
}

/// Sizes that AWS takes, without white space. Source: IAM and STS quotas.
const MANAGED_LIMIT: usize = 6_144;
const INLINE_LIMIT: usize = 10_240;
const TRUST_LIMIT: usize = 2_048;

fn what_is_deployed_fits(deployed: &Deployed) {
    let size = |name: &str| deployed.documents[name].to_string().chars().count();
    for tier in TIERS {
        assert!(size(&format!("boundary:{tier}")) <= MANAGED_LIMIT, "{tier}");
        assert!(size(&format!("access:{tier}")) <= INLINE_LIMIT - 128, "{tier}");
        assert!(size(&format!("trust:{tier}")) <= TRUST_LIMIT, "{tier}");
    }
    assert!(size("caller") <= MANAGED_LIMIT);
    // What lists keys of tags lists all that the service sets.
    for tier in TIERS.into_iter().filter(|tier| *tier != "read-only") {
        let boundary = deployed.documents[&format!("boundary:{tier}")].to_string();
        for tag in deployed.sessions[tier].tags.keys() {
            assert!(boundary.contains(&format!("\"{tag}\"")), "{tier}: `{tag}` is set without the service");
        }
    }
    assert!(size("access:user") <= MANAGED_LIMIT);
    // What every denial of read-only's boundary is needed for, it is needed for here.
    assert_eq!(deployed.documents["boundary:user"], deployed.documents["boundary:read-only"]);
    let every = |document: &Value| document["Statement"].as_array().unwrap().clone();
    for tier in TIERS {
        let statements = every(&deployed.documents[&format!("boundary:{tier}")]);
        let service = |statement: &&Value| statement["Sid"] == "TheServiceItself";
        let first = every(&deployed.documents["boundary:read-only"]);
        assert_eq!(
            statements.iter().find(service),
            first.iter().find(service),
            "{tier}: the service is the same for all"
        );
    }
}
