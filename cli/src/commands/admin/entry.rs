//! What `callers add` writes: for a caller that is registered already, what is not named stays as it is.

use std::collections::BTreeMap;

use sorry_wire::{CallerRole, CallerView, MfaBy, Namespace, PersonName, PutCaller};

use super::principal::user_name;
use crate::{
    args::AddCaller,
    error::{CliError, Result},
    time::shown,
};

/// The entry that is to be written, but for the ARN.
///
/// `before` is the entry that there is. With `--replace`, what the caller may do is what is named and nothing else; who it is stays even
/// then, because namespaces are for good.
///
/// # Errors
/// When no namespace follows from the name of a new caller, or somebody who asks for sessions would have no tier.
pub(super) fn wanted(arguments: &AddCaller, before: Option<&CallerView>) -> Result<Wanted> {
    let namespace = match (&arguments.namespace, before) {
        (Some(namespace), _) => namespace.clone(),
        (None, Some(before)) => before.namespace.clone(),
        (None, None) => Namespace::of_user(user_name(&arguments.name)).map_err(|error| {
            CliError::usage(format!("no namespace follows from the name `{}`", arguments.name))
                .hint(format!("name one with `--namespace`: {}", error.hint()))
        })?,
    };
    let person = match (&arguments.person, before) {
        (Some(person), _) => person.clone(),
        (None, Some(before)) => before.person.clone(),
        (None, None) => namespace.as_str().parse::<PersonName>()?,
    };
    let mut entry = PutCaller {
        arn: String::new(),
        person: person.to_string(),
        namespace: namespace.to_string(),
        tiers: arguments.tiers.iter().map(|wanted| (wanted.tier.to_string(), wanted.hours)).collect(),
        projects: arguments.projects.iter().map(ToString::to_string).collect(),
        roles: arguments.roles.iter().copied().map(Into::into).collect(),
        mfa: arguments.mfa_by.map(Into::into).unwrap_or_default(),
        source_identity: arguments.source_identity.as_ref().map(ToString::to_string),
    };
    if let Some(before) = before.filter(|_| !arguments.replace) {
        for (tier, hours) in &before.tiers {
            entry.tiers.entry(tier.to_string()).or_insert(*hours);
        }
        entry.projects.extend(before.projects.iter().map(ToString::to_string));
        entry.roles.extend(before.roles.iter().copied());
        entry.mfa = arguments.mfa_by.map_or(before.mfa, Into::into);
        entry.source_identity =
            entry.source_identity.or_else(|| before.source_identity.as_ref().map(ToString::to_string));
    }
    if entry.roles.is_empty() {
        entry.roles.insert(CallerRole::Caller);
    }
    if entry.tiers.is_empty() && entry.roles.contains(&CallerRole::Caller) {
        return Err(CliError::usage("no tier is given, and somebody who asks for sessions needs one")
            .hint("`--tier developer=8`, or a `--role` beside `caller`"));
    }
    Ok(Wanted { entry, namespace, person })
}

/// What is to be written, with the names that a user's tags need, too.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) entry: PutCaller,
    pub(super) namespace: Namespace,
    pub(super) person: PersonName,
}

/// What became of an entry that was there, in a sentence each: what was added, changed, taken away and kept.
pub(super) fn difference(before: &CallerView, after: &CallerView) -> String {
    let (old, new) = (facts(before), facts(after));
    let mut parts = [("Added", vec![]), ("Changed", vec![]), ("Taken away", vec![]), ("Kept", vec![])];
    let [(_, added), (_, changed), (_, taken), (_, kept)] = &mut parts;
    for (what, value) in &new {
        match old.get(what) {
            None => added.push(shown_fact(what, value)),
            Some(old) if old != value => changed.push(format!("{what} from {old} to {value}")),
            Some(_) => kept.push(shown_fact(what, value)),
        }
    }
    taken.extend(
        old.iter().filter(|(what, _)| !new.contains_key(*what)).map(|(what, value)| shown_fact(what, value)),
    );
    let name = user_name(&after.arn);
    let told: Vec<String> = parts
        .iter()
        .filter(|(_, facts)| !facts.is_empty())
        .map(|(heading, facts)| format!("{heading}: {}", facts.join(", ")))
        .collect();
    format!("`{name}` was registered before. {}", told.join(". "))
}

fn shown_fact(what: &str, value: &str) -> String {
    if value.is_empty() { what.to_owned() } else { format!("{what} {value}") }
}

/// What an entry says, each thing once: what it is, and its value if it has one.
fn facts(caller: &CallerView) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::from([
        ("person".to_owned(), caller.person.to_string()),
        ("namespace".to_owned(), caller.namespace.to_string()),
    ]);
    facts.extend(caller.tiers.iter().map(|(tier, hours)| (format!("tier {tier}"), format!("{hours}h"))));
    facts.extend(caller.projects.iter().map(|project| (format!("project {project}"), String::new())));
    facts.extend(caller.roles.iter().map(|role| {
        let role = serde_json::json!(role);
        (format!("role {}", role.as_str().unwrap_or_default()), String::new())
    }));
    if caller.mfa == MfaBy::Idp {
        facts.insert("MFA by its identity provider".to_owned(), String::new());
    }
    if let Some(identity) = &caller.source_identity {
        facts.insert("source identity".to_owned(), identity.to_string());
    }
    if let Some(since) = caller.suspended_at {
        facts.insert("suspended since".to_owned(), shown(since));
    }
    facts
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Admin, Arguments, Callers, Command};

    fn add(words: &str) -> AddCaller {
        let words = format!("sorry admin callers add {words}");
        match Arguments::try_parse_from(words.split(' ')).unwrap().command {
            Command::Admin(Admin::Callers(Callers::Add(add))) => *add,
            other => panic!("{other:?}"),
        }
    }

    fn dan() -> CallerView {
        serde_json::from_value(json!({
            "unique_id": "AROAEXAMPLE:dan", "arn": "arn:aws:sts::123456789012:assumed-role/Lab/dan", "person": "daniel",
            "namespace": "lab", "tiers": {"developer": 8, "read-only": 36}, "projects": ["atlas"], "roles": ["caller"],
            "mfa": "idp", "source_identity": "dan", "registered_at": "2026-11-21T04:00:00Z", "registered_by": "admin",
            "suspended_at": "2026-11-21T05:00:00Z"
        }))
        .unwrap()
    }

    fn written(words: &str) -> serde_json::Value {
        let mut entry = json!(wanted(&add(words), Some(&dan())).unwrap().entry);
        entry.as_object_mut().unwrap().remove("arn");
        entry
    }

    #[test]
    fn what_is_not_named_stays() {
        let all = json!({"person": "daniel", "namespace": "lab", "tiers": {"developer": 8, "read-only": 36}, "projects": ["atlas"],
            "roles": ["caller"], "mfa": "idp", "source_identity": "dan"});
        for (words, named) in [
            ("dan-mgr", json!({})),
            ("dan-mgr --role approver", json!({"roles": ["caller", "approver"]})),
            ("dan-mgr --tier developer=4", json!({"tiers": {"developer": 4, "read-only": 36}})),
            ("dan-mgr --tier admin=1", json!({"tiers": {"admin": 1, "developer": 8, "read-only": 36}})),
            ("dan-mgr --project zeus", json!({"projects": ["atlas", "zeus"]})),
            ("dan-mgr --person dan", json!({"person": "dan"})),
            ("dan --existing --source-identity robot", json!({"source_identity": "robot"})),
        ] {
            let mut expected = all.clone();
            expected.as_object_mut().unwrap().extend(named.as_object().unwrap().clone());
            assert_eq!(written(words), expected, "{words}");
        }
        assert!(written("dan --existing --mfa-by device").get("mfa").is_none());
    }

    #[test]
    fn with_replace_only_who_it_is_stays() {
        assert_eq!(
            written("dan-mgr --replace --tier developer=8"),
            json!({"person": "daniel", "namespace": "lab", "tiers": {"developer": 8}, "projects": [], "roles": ["caller"]})
        );
        assert_eq!(written("dan-mgr --replace --role approver")["tiers"], json!({}));
        assert!(wanted(&add("dan-mgr --replace"), Some(&dan())).is_err(), "no tier");
    }

    #[test]
    fn a_new_caller_is_what_is_named() {
        let entry = |words: &str| wanted(&add(words), None).map(|wanted| json!(wanted.entry));
        assert_eq!(
            entry("dan-mgr --tier developer=8").unwrap(),
            json!({"arn": "", "person": "dan", "namespace": "dan", "tiers": {"developer": 8}, "projects": [], "roles": ["caller"]})
        );
        assert_eq!(entry("dan-mgr --role approver").unwrap()["roles"], json!(["approver"]));
        assert!(entry("dan-mgr").is_err() && entry("dan-mgr --role caller").is_err(), "no tier");
    }

    #[test]
    fn what_became_of_the_entry_is_said() {
        let mut after = dan();
        after.tiers.insert("developer".parse().unwrap(), 4);
        after.tiers.retain(|tier, _| tier.as_str() != "read-only");
        after.roles.insert(CallerRole::Approver);
        assert_eq!(
            difference(&dan(), &after),
            "`dan` was registered before. Added: role approver. Changed: tier developer from 8h to 4h. \
             Taken away: tier read-only 36h. Kept: MFA by its identity provider, namespace lab, person daniel, project atlas, \
             role caller, source identity dan, suspended since 2026-11-21 05:00:00 UTC"
        );
    }
}
