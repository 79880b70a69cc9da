//! A whole set of tiers, the table with its templates, as it is published: in one piece, and known by its digest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    DocumentKind, ExternalId, Grant, RoleName, SessionId, Tier, TierName, TierTable, TierTableError,
    TrustTerms, Variables, access_policy, lint,
    lint::{glob, texts},
    managed_policy, render, session_policy,
    tiers::{BUILT_IN_TABLE, BUILT_IN_TEMPLATES, sha256},
    trust_policy,
};

/// Most bytes of a set as it is stored. Source: a DynamoDB item holds 400 KB, names of attributes included.
const LONGEST_SET: usize = 256 * 1024;

/// SHA-256 of a set as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TierSetDigest(String);

impl TierSetDigest {
    /// Of a set as it is stored.
    pub fn of(stored: &str) -> Self {
        Self(sha256([stored.as_bytes()]))
    }

    /// The digest as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TierSetDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The table of tiers, and the templates that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSet {
    /// The text of `tiers.toml`.
    pub tiers: String,
    /// The texts of the templates, by file name.
    pub templates: BTreeMap<String, String>,
}

/// A stored set that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TierSetError {
    /// It is not the one that was published.
    #[error("the stored tiers are not those of digest `{0}`")]
    Mismatch(TierSetDigest),
    /// It is what was published, and this program does not understand it.
    #[error("the stored tiers cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// Its table cannot be used.
    #[error(transparent)]
    Table(#[from] TierTableError),
}

impl TierSet {
    /// The set that is built into this program.
    pub fn built_in() -> Self {
        let templates = BUILT_IN_TEMPLATES.map(|(name, text)| (name.to_owned(), text.to_owned()));
        Self { tiers: BUILT_IN_TABLE.to_owned(), templates: templates.into() }
    }

    /// Names of the templates that a table names, as far as it can be read: what is wrong with it, [`TierSet::faults`] says.
    pub fn templates_of(table: &str) -> BTreeSet<String> {
        TierTable::templates_of(table)
    }

    /// The set as it is stored: the same set is the same text.
    pub fn stored(&self) -> String {
        // Members in their order, templates by their names.
        json!({"templates": self.templates, "tiers": self.tiers}).to_string()
    }

    /// What the set is known by.
    pub fn digest(&self) -> TierSetDigest {
        TierSetDigest::of(&self.stored())
    }

    /// Reads what was stored under `digest`.
    ///
    /// # Errors
    /// When it is not that, or cannot be read.
    pub fn read(stored: &str, digest: &TierSetDigest) -> Result<Self, TierSetError> {
        if TierSetDigest::of(stored) != *digest {
            return Err(TierSetError::Mismatch(digest.clone()));
        }
        Ok(serde_json::from_str(stored)?)
    }

    /// The table, which remembers the digest of its set.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn table(&self) -> Result<TierTable, TierTableError> {
        let table = TierTable::parse(&self.tiers, |name| self.templates.get(name).cloned())?;
        Ok(table.published_as(self.digest()))
    }

    /// What the templates call actions and the catalogue does not, as template and action. A catalogue has a line for each service: its
    /// prefix, then the names of its actions, separated by spaces. No fault, as AWS has new actions every week, takes names that it does not
    /// know, and gives nothing by them.
    pub fn unknown_actions(&self, catalogue: &str) -> Vec<(String, String)> {
        let services: BTreeMap<&str, &str> =
            catalogue.lines().filter_map(|line| line.split_once(' ')).collect();
        let is_known = |pattern: &str| {
            let Some((service, name)) = pattern.split_once(':') else { return pattern == "*" };
            let actions = services.get(service.to_lowercase().as_str()).copied().unwrap_or_default();
            actions.split(' ').any(|action| glob(&name.to_lowercase(), &action.to_lowercase()))
        };
        let mut unknown = Vec::new();
        for (name, template) in &self.templates {
            // What is no JSON is a fault.
            let document = serde_json::from_str::<serde_json::Value>(template).unwrap_or_default();
            for statement in document.get("Statement").and_then(|all| all.as_array()).into_iter().flatten() {
                let patterns = ["Action", "NotAction"].map(|member| statement.get(member).map(texts));
                let strangers = patterns.into_iter().flatten().flatten().filter(|pattern| !is_known(pattern));
                unknown.extend(strangers.map(|pattern| (name.clone(), pattern)));
            }
        }
        unknown
    }

    /// Everything for which the set is not to be published, one line each; nothing if it can be.
    ///
    /// Looks at every tier as it is rendered for the longest names that there can be. A tier's boundary must be one of the built-in
    /// tiers': boundaries are managed policies of the stack, and are not published.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let size = self.stored().len();
        if size > LONGEST_SET {
            faults.push(format!("the set has {size} bytes, and {LONGEST_SET} can be stored"));
        }
        let table = match self.table() {
            Ok(table) => table,
            Err(_) => {
                let found = TierTable::faults(&self.tiers, |name| self.templates.contains_key(name));
                faults.extend(found.iter().map(|error| {
                    // The parser's own words, where there are some: they have line and column.
                    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
                    format!("{error}{}", cause.unwrap_or_default().trim_end())
                }));
                return faults;
            }
        };
        if table.iter().next().is_none() {
            faults.push("there is no tier".to_owned());
        }
        for name in self.templates.keys() {
            if !table.iter().any(|(_, tier)| tier.template == *name) {
                faults.push(format!("no tier names the template `{name}`"));
            }
        }
        let boundaries = known_boundaries();
        for (name, tier) in table.iter() {
            if !boundaries.contains(&tier.boundary) {
                let known: Vec<_> = boundaries.iter().map(|known| format!("`{known}`")).collect();
                faults.push(format!(
                    "tier `{name}` names the boundary `{}`, and there are {}",
                    tier.boundary,
                    known.join(", ")
                ));
            }
            let template = table.template(name).unwrap_or_default();
            faults.extend(
                template_faults(template, tier).iter().map(|fault| format!("tier `{name}`: {fault}")),
            );
            if tier.grants().any(|grant| grant == Grant::Standing) && !known_standing().contains(name) {
                faults.push(format!(
                    "tier `{name}` has no standing role: there is no `{}`",
                    RoleName::standing(name)
                ));
            }
            faults.extend(trust_fault(tier).map(|fault| format!("tier `{name}`: {fault}")));
        }
        faults
    }
}

/// The boundaries of the stack: those of the built-in tiers, as `tests/tests/contract/deployment.rs` holds.
fn known_boundaries() -> Vec<TierName> {
    let table = TierTable::built_in();
    table.iter().flat_map(TierTable::iter).map(|(_, tier)| tier.boundary.clone()).collect()
}

/// What is wrong with the trust policy of a tier's roles, for the caller with the longest names: each address makes it longer.
fn trust_fault(tier: &Tier) -> Option<String> {
    let (role, name) = ("r".repeat(64), "n".repeat(64));
    let caller_arn = format!("arn:aws-us-gov:sts::123456789012:assumed-role/{role}/{name}");
    let carried = name.parse().ok();
    let trust = trust_policy(&TrustTerms {
        caller_arn: &caller_arn,
        caller_unique_id: &format!("{}:{name}", "A".repeat(21)),
        role_session_name: &name,
        carried: carried.as_ref(),
        external_id: &ExternalId::from_random([255; 16]),
        session: &SessionId::from_random([255; 10]),
        expires_at: Timestamp::MAX,
        mfa: tier.mfa,
        addresses: &tier.addresses,
    });
    trust.err().map(|error| format!("with its addresses {error}"))
}

/// The tiers that the stack has a standing role for: as [`known_boundaries`].
fn known_standing() -> Vec<TierName> {
    let table = TierTable::built_in();
    let tiers = table.iter().flat_map(TierTable::iter);
    tiers.filter(|(_, tier)| tier.grant == Grant::Standing).map(|(name, _)| name.clone()).collect()
}

/// What is wrong with a tier's template once it is filled with the longest values.
fn template_faults(template: &str, tier: &Tier) -> Vec<String> {
    let name = |text: &str, times: usize| text.repeat(times);
    let (namespace, project) = (name("n", 20).parse(), name("p", 32).parse());
    let (account, region, partition) = ("123456789012".parse(), name("r", 32).parse(), "aws-us-gov".parse());
    let (Ok(namespace), Ok(project), Ok(account), Ok(region), Ok(partition)) =
        (namespace, project, account, region, partition)
    else {
        return vec!["the longest names are not names".to_owned()];
    };
    let variables = Variables {
        namespace: &namespace,
        project: Some(&project),
        session: &SessionId::from_random([255; 10]),
        account: &account,
        region: &region,
        partition: &partition,
    };
    let statements = match render(template, &variables) {
        Ok(statements) => statements,
        Err(error) => return vec![error.to_string()],
    };
    let version = serde_json::from_str::<serde_json::Value>(template).ok();
    let version = version.and_then(|document| document.get("Version").cloned()).unwrap_or_default();
    let document = json!({"Version": version, "Statement": statements});
    let mut faults: Vec<_> =
        lint(&document, DocumentKind::Inline, None).iter().map(ToString::to_string).collect();
    for grant in tier.grants() {
        let fits = match grant {
            Grant::Role => access_policy(statements.clone(), Timestamp::MAX),
            Grant::User => managed_policy(&statements),
            Grant::Standing => session_policy(statements.clone(), Timestamp::MAX),
        };
        if let Err(error) = fits {
            faults.push(error.to_string());
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn edited(edit: impl FnOnce(&mut TierSet)) -> TierSet {
        let mut set = TierSet::built_in();
        edit(&mut set);
        set
    }

    fn with_statement(statement: &Value) -> TierSet {
        let document = json!({"Version": "2012-10-17", "Statement": [statement]});
        edited(|set| drop(set.templates.insert("developer.json".to_owned(), document.to_string())))
    }

    #[test]
    fn the_built_in_set_is_the_built_in_table_and_has_no_faults() {
        let (set, table) = (TierSet::built_in(), TierTable::built_in().unwrap());
        assert_eq!(set.faults(), [""; 0]);
        let published = set.table().unwrap();
        for (name, tier) in table.iter() {
            assert_eq!(published.tier(name), Some(tier));
            assert_eq!(published.digest(name), table.digest(name));
        }
        assert_eq!(published.published(), Some(&set.digest()));
        assert_eq!(table.published(), None);
    }

    #[test]
    fn actions_that_nobody_knows_are_named() {
        let catalogue = "s3 GetObject PutObject\nsqs SendMessage\n";
        let statement = json!({"Effect": "Allow", "Resource": "*", "Action": [
            "s3:GetObject", "S3:getobject", "s3:Put*", "*", "s3:GetObjekt", "s4:GetObject", "sqs:Get*",
        ]});
        let set = with_statement(&statement);
        let mut unknown = set.unknown_actions(catalogue);
        unknown.retain(|(template, _)| template == "developer.json");
        let actions: Vec<_> = unknown.into_iter().map(|(_, action)| action).collect();
        assert_eq!(actions, ["s3:GetObjekt", "s4:GetObject", "sqs:Get*"]);
        let denied = with_statement(&json!({"Effect": "Deny", "Resource": "*", "NotAction": "s3:Gone"}));
        assert!(denied.unknown_actions(catalogue).contains(&("developer.json".into(), "s3:Gone".into())));
    }

    #[test]
    fn a_set_is_read_by_its_digest_and_no_other() {
        let set = TierSet::built_in();
        let stored = set.stored();
        assert_eq!(TierSet::read(&stored, &set.digest()).unwrap(), set);
        let other = edited(|set| set.tiers.push('\n'));
        assert_ne!(other.digest(), set.digest());
        for damaged in [stored.replace("s3", "s4"), String::new(), other.stored()] {
            assert!(matches!(TierSet::read(&damaged, &set.digest()), Err(TierSetError::Mismatch(_))));
        }
    }

    /// The tier `developer` for users, too; it is longer than a managed policy.
    fn for_users(set: &mut TierSet) {
        set.tiers = set
            .tiers
            .replace("boundary = \"developer\"", "boundary = \"developer\"\nother_grants = [\"user\"]");
    }

    fn standing(set: &mut TierSet, hours: u32) {
        let tier = format!(
            "\n[tiers.other]\ndescription = 'x'\ngrant = 'standing'\nmaximum_hours = {hours}\nmfa = true\n\
             template = 'break-glass.json'\nboundary = 'break-glass'\n"
        );
        set.tiers.push_str(&tier);
    }

    fn many_addresses() -> String {
        (0..100).map(|number| format!("'198.51.{number}.0/24',")).collect()
    }

    #[test]
    fn the_faults_of_several_tiers_are_told_at_once_and_their_templates_are_read_all_the_same() {
        let set = edited(|set| set.tiers = set.tiers.replace("maximum_hours = ", "maximum_hours = 9"));
        let faults = set.faults();
        assert_eq!(faults.len(), 5, "{faults:?}");
        for tier in ["admin", "break-glass", "developer", "read-only"] {
            let said = format!("tier `{tier}` allows 9");
            assert!(faults.iter().any(|fault| fault.starts_with(&said)), "{said}: {faults:?}");
        }
        assert_eq!(TierSet::templates_of(&set.tiers), set.templates.into_keys().collect());
    }

    #[test]
    fn each_fault_is_found() {
        let developer = |from: &str, to: &str| edited(|set| set.tiers = set.tiers.replace(from, to));
        let statement = |member: &str, value: Value| {
            let mut statement =
                json!({"Sid": "x", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
            statement[member] = value;
            with_statement(&statement)
        };
        for (set, said) in [
            (developer("version = 1\n", "version = 2\n"), "version 2"),
            (developer("grant = \"role\"", "grant = \"rule\""), "rule"),
            (developer("boundary = \"developer\"", "boundary = \"nobody\""), "names the boundary `nobody`"),
            (edited(for_users), "the managed policy has"),
            (edited(|set| standing(set, 1)), "tier `other` has no standing role"),
            (edited(|set| standing(set, 8)), "more than 1 hour"),
            (developer("template = \"developer.json\"", "template = \"other.json\""), "does not exist"),
            (
                developer("alert = true\n", &format!("alert = true\naddresses = [{}]\n", many_addresses())),
                "the trust policy has",
            ),
            (
                developer("alert = true\n", "alert = true\naddresses = ['198.51.100.1/24']\n"),
                "write `198.51.100.0/24`",
            ),
            (edited(|set| set.tiers = "version = 1\n[tiers]".to_owned()), "there is no tier"),
            (edited(|set| drop(set.templates.insert("x.json".to_owned(), "{}".to_owned()))), "no tier names"),
            (
                edited(|set| drop(set.templates.insert("developer.json".to_owned(), "{".to_owned()))),
                "is not JSON",
            ),
            (edited(|set| set.tiers.push_str(&"#".repeat(LONGEST_SET))), "can be stored"),
            (statement("Resource", json!("arn:aws:s3:::${namespce}-*")), "unknown variable `${namespce}`"),
            (statement("Principal", json!("*")), "Principal"),
            (statement("Action", json!("everything")), "`everything` is no action"),
            (statement("Resource", json!("x".repeat(10_000))), "AWS takes"),
        ] {
            let faults = set.faults();
            assert!(faults.iter().any(|fault| fault.contains(said)), "{said}: {faults:?}");
        }
    }
}
