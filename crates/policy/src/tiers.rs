//! The table of tiers, `policy_templates/tiers.toml`, and the copy of it that is built in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{AddressRange, TierName, TierSetDigest};

pub(crate) const BUILT_IN_TABLE: &str = include_str!("../../../policy_templates/tiers.toml");

/// The policy templates that are built in, by the file name that `tiers.toml` uses.
pub(crate) const BUILT_IN_TEMPLATES: [(&str, &str); 4] = [
    ("read-only.json", include_str!("../../../policy_templates/read-only.json")),
    ("developer.json", include_str!("../../../policy_templates/developer.json")),
    ("admin.json", include_str!("../../../policy_templates/admin.json")),
    ("break-glass.json", include_str!("../../../policy_templates/break-glass.json")),
];

/// The longest window that any tier may have. Source: STS ends a `GetSessionToken` session after 36 hours, and with it every
/// renewal.
const LONGEST_HOURS: u32 = 36;

/// How many live sessions of one tier a caller has at most, where the tier does not say.
const CONCURRENT_SESSIONS: u32 = 3;
/// The most that a tier can say: their ids lie in one item of the registry.
const MOST_CONCURRENT_SESSIONS: u32 = 1_000;

/// How a session gives access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// A role made for the session, assumed by the caller.
    Role,
    /// A user made for the session, whose credentials the service hands out: one set of up to 36 hours.
    User,
    /// A role that stands ready for the tier, whose credentials the service hands out: usable at once, with no write to IAM.
    Standing,
}

/// What a registered caller may do. Rows and tiers name it; the registry gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallerRole {
    /// Asks for sessions.
    Caller,
    /// Approves or denies what others ask for, where a tier says so; closes reviews.
    Approver,
    /// Sees and ends everybody's sessions; closes reviews.
    Security,
    /// As `security`. It does not open `/admin`: that is for the principals that the deployment names, so that nobody can be made
    /// an administrator by a row in a table.
    Admin,
}

/// Whose word a request of a tier waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// How many other persons must approve, 1 to 5.
    pub count: u32,
    /// The registry roles of which an approver has one.
    pub approvers: BTreeSet<CallerRole>,
    /// After how many minutes without them the request lapses, 1 to 10080 (a week).
    pub within_minutes: u32,
}

impl CallerRole {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Caller, Self::Approver, Self::Security, Self::Admin];

    /// The role as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Approver => "approver",
            Self::Security => "security",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for CallerRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Approvals {
    /// How long a request waits.
    pub fn within(&self) -> Duration {
        Duration::from_secs(u64::from(self.within_minutes) * 60)
    }

    fn can_be_used(&self) -> bool {
        (1..=5).contains(&self.count)
            && !self.approvers.is_empty()
            && !self.approvers.contains(&CallerRole::Caller)
            && (1..=10_080).contains(&self.within_minutes)
    }
}

/// One tier: a named set of permissions with limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// One line for `sorry tiers`.
    pub description: String,
    /// How a session of this tier gives access.
    pub grant: Grant,
    /// How else, if the request says so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub other_grants: BTreeSet<Grant>,
    /// The longest window, in hours.
    pub maximum_hours: u32,
    /// Whether the role's trust policy asks for an MFA code (where the deployment requires MFA at all).
    pub mfa: bool,
    /// Whether a request must say why.
    #[serde(default)]
    pub reason_required: bool,
    /// Whether security is told before the grant and at its end.
    #[serde(default)]
    pub alert: bool,
    /// Whose approval a request waits for; nobody's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
    /// Whether somebody else has to look at each session afterwards, and say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub review: bool,
    /// From where alone a session can be asked for and its role assumed; from anywhere if empty.
    // Left out where there are none, so that tiers without any keep their digests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressRange>,
    /// How many live sessions of it one caller may have at once, 1 to 1000; 3 if left out.
    #[serde(default = "concurrent_sessions", skip_serializing_if = "is_usual")]
    pub concurrent_sessions: u32,
    /// File with the policy template.
    pub template: String,
    /// Name of the permissions boundary, after the deployment's prefix.
    pub boundary: TierName,
}

impl Grant {
    /// The grant as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::User => "user",
            Self::Standing => "standing",
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

const fn concurrent_sessions() -> u32 {
    CONCURRENT_SESSIONS
}

/// What a tier does not say is not part of its digest, either.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields on by reference")]
const fn is_usual(sessions: &u32) -> bool {
    *sessions == CONCURRENT_SESSIONS
}

impl Tier {
    /// All ways in which a session of this tier can give access, its own first.
    pub fn grants(&self) -> impl Iterator<Item = Grant> {
        std::iter::once(self.grant)
            .chain(self.other_grants.iter().copied().filter(|other| *other != self.grant))
    }

    /// The longest window.
    pub fn maximum(&self) -> Duration {
        Duration::from_secs(u64::from(self.maximum_hours) * 3600)
    }
}

/// SHA-256 of a tier's definition and template: what exactly a session was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyDigest(String);

impl fmt::Display for PolicyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A table of tiers that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TierTableError {
    /// It is not the TOML that is expected.
    #[error("the tier table cannot be read")]
    Unreadable(#[from] toml::de::Error),
    /// It is of a version that this program does not know.
    #[error("the tier table has version {0}, and this program reads version 1")]
    Version(u32),
    /// A tier names a template that is not there.
    #[error("tier `{tier}` names the template `{template}`, which does not exist")]
    NoTemplate {
        /// The tier.
        tier: TierName,
        /// The file it names.
        template: String,
    },
    /// A tier's longest window is out of bounds.
    #[error("tier `{tier}` allows {hours} hours; a tier allows 1 to {LONGEST_HOURS}")]
    Hours {
        /// The tier.
        tier: TierName,
        /// What it says.
        hours: u32,
    },
    /// A standing role's credentials last an hour, and are not asked for again.
    #[error("tier `{0}` lends a standing role for more than 1 hour")]
    StandingHours(TierName),
    /// A tier lends no session at all, or more at once than are counted.
    #[error(
        "tier `{tier}` allows {sessions} sessions at once; a tier allows 1 to {MOST_CONCURRENT_SESSIONS}"
    )]
    ConcurrentSessions {
        /// The tier.
        tier: TierName,
        /// What it says.
        sessions: u32,
    },
    /// A tier's approvals ask for what nobody can give.
    #[error(
        "the approvals of tier `{0}` cannot be used: 1 to 5 by persons with one of the roles `approver`, `security` and `admin`, \
         within 1 to 10080 minutes"
    )]
    Approvals(TierName),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    tiers: BTreeMap<TierName, Tier>,
}

fn read(text: &str) -> Result<File, TierTableError> {
    let file: File = toml::from_str(text)?;
    if file.version == 1 { Ok(file) } else { Err(TierTableError::Version(file.version)) }
}

/// What a tier says that no tier may.
fn limit_faults(name: &TierName, tier: &Tier) -> Vec<TierTableError> {
    let (name, hours, sessions) = (name.clone(), tier.maximum_hours, tier.concurrent_sessions);
    let mut faults = Vec::new();
    if !(1..=LONGEST_HOURS).contains(&hours) {
        faults.push(TierTableError::Hours { tier: name.clone(), hours });
    }
    if tier.grants().any(|grant| grant == Grant::Standing) && hours > 1 {
        faults.push(TierTableError::StandingHours(name.clone()));
    }
    if !(1..=MOST_CONCURRENT_SESSIONS).contains(&sessions) {
        faults.push(TierTableError::ConcurrentSessions { tier: name.clone(), sessions });
    }
    if tier.approvals.as_ref().is_some_and(|approvals| !approvals.can_be_used()) {
        faults.push(TierTableError::Approvals(name));
    }
    faults
}

struct Entry {
    tier: Tier,
    template: String,
    digest: PolicyDigest,
}

/// The tiers that there are, with their templates.
pub struct TierTable {
    entries: BTreeMap<TierName, Entry>,
    published: Option<TierSetDigest>,
}

impl TierTable {
    /// The table that is built into this program.
    ///
    /// # Errors
    /// Never in a program whose tests have run.
    pub fn built_in() -> Result<Self, TierTableError> {
        Self::parse(BUILT_IN_TABLE, |wanted| {
            BUILT_IN_TEMPLATES.iter().find(|(name, _)| *name == wanted).map(|(_, text)| (*text).to_owned())
        })
    }

    /// Reads a table; `template` finds the text of a template by its file name.
    ///
    /// # Errors
    /// When the table, or what it names, cannot be used.
    pub fn parse(text: &str, template: impl Fn(&str) -> Option<String>) -> Result<Self, TierTableError> {
        let mut entries = BTreeMap::new();
        for (name, tier) in read(text)?.tiers {
            if let Some(fault) = limit_faults(&name, &tier).into_iter().next() {
                return Err(fault);
            }
            let Some(template) = template(&tier.template) else {
                return Err(TierTableError::NoTemplate { tier: name, template: tier.template });
            };
            let digest = digest(&name, &tier, &template);
            entries.insert(name, Entry { tier, template, digest });
        }
        Ok(Self { entries, published: None })
    }

    /// Everything for which [`TierTable::parse`] refuses a table; nothing if it does not.
    pub(crate) fn faults(text: &str, template: impl Fn(&str) -> bool) -> Vec<TierTableError> {
        let file = match read(text) {
            Ok(file) => file,
            Err(error) => return vec![error],
        };
        let mut faults = Vec::new();
        for (name, tier) in file.tiers {
            faults.extend(limit_faults(&name, &tier));
            if !template(&tier.template) {
                faults.push(TierTableError::NoTemplate { tier: name, template: tier.template });
            }
        }
        faults
    }

    /// Names of the templates that a table names, whatever else is wrong with it; none if it cannot be read.
    pub(crate) fn templates_of(text: &str) -> BTreeSet<String> {
        let tiers = read(text).map(|file| file.tiers).unwrap_or_default();
        tiers.into_values().map(|tier| tier.template).collect()
    }

    /// The same table, of a set that was published.
    pub(crate) fn published_as(self, digest: TierSetDigest) -> Self {
        Self { published: Some(digest), ..self }
    }

    /// The set that the table is of; nothing if it is the built-in one.
    pub fn published(&self) -> Option<&TierSetDigest> {
        self.published.as_ref()
    }

    /// Names and limits of all tiers, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&TierName, &Tier)> {
        self.entries.iter().map(|(name, entry)| (name, &entry.tier))
    }

    /// The limits of a tier.
    pub fn tier(&self, name: &TierName) -> Option<&Tier> {
        self.entries.get(name).map(|entry| &entry.tier)
    }

    /// The policy template of a tier.
    pub fn template(&self, name: &TierName) -> Option<&str> {
        self.entries.get(name).map(|entry| entry.template.as_str())
    }

    /// What a session of this tier is granted, as a digest.
    pub fn digest(&self, name: &TierName) -> Option<&PolicyDigest> {
        self.entries.get(name).map(|entry| &entry.digest)
    }
}

fn digest(name: &TierName, tier: &Tier, template: &str) -> PolicyDigest {
    // Of the parsed definition: the comments of the file grant nothing.
    let tier = serde_json::to_string(tier).unwrap_or_default();
    let parts = [name.as_str(), &tier, template];
    let lengths = parts.map(|part| part.len().to_be_bytes());
    let parts = lengths.iter().zip(parts).flat_map(|(length, part)| [length.as_slice(), part.as_bytes()]);
    PolicyDigest(sha256(parts))
}

/// SHA-256 over all parts, in hexadecimal.
pub(crate) fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SessionId, Variables, access_policy, render};

    fn name(text: &str) -> TierName {
        text.parse().unwrap()
    }

    #[test]
    fn the_built_in_table_has_the_four_tiers_with_their_limits() {
        let table = TierTable::built_in().unwrap();
        let limits: Vec<_> = table.iter().map(|(name, tier)| (name.as_str(), tier.maximum_hours)).collect();
        assert_eq!(limits, [("admin", 8), ("break-glass", 1), ("developer", 8), ("read-only", 36)]);
        assert!(table.tier(&name("break-glass")).unwrap().alert);
    }

    #[test]
    fn every_built_in_template_renders_and_fits() {
        let table = TierTable::built_in().unwrap();
        let project = "p".repeat(32).parse().unwrap();
        for (tier, _) in table.iter() {
            let statements = render(
                table.template(tier).unwrap(),
                &Variables {
                    namespace: &"n".repeat(20).parse().unwrap(),
                    project: Some(&project),
                    session: &SessionId::from_random([255; 10]),
                    account: &"123456789012".parse().unwrap(),
                    region: &"ap-southeast-2".parse().unwrap(),
                    partition: &"aws-us-gov".parse().unwrap(),
                },
            )
            .unwrap();
            assert!(!statements.is_empty());
            access_policy(statements, "2026-01-02T03:04:05Z".parse().unwrap()).unwrap();
        }
    }

    #[test]
    fn unusable_tables_are_refused() {
        let tier = "description = 'x'\ngrant = 'role'\nmfa = true\ntemplate = 't'\nboundary = 'x2'";
        let parse = |text: String, template: Option<&str>| {
            TierTable::parse(&text, |_| template.map(str::to_owned)).map(|table| table.entries.len())
        };
        let table = |hours: u32| format!("version = 1\n[tiers.x2]\n{tier}\nmaximum_hours = {hours}");
        assert_eq!(parse(table(36), Some("{}")).unwrap(), 1);
        assert!(matches!(parse(table(0), Some("{}")), Err(TierTableError::Hours { .. })));
        assert!(matches!(parse(table(37), Some("{}")), Err(TierTableError::Hours { .. })));
        assert!(matches!(parse(table(1), None), Err(TierTableError::NoTemplate { .. })));
        assert!(matches!(
            parse(table(1).replace("= 1\n", "= 2\n"), Some("")),
            Err(TierTableError::Version(2))
        ));
        let concurrent =
            |sessions: u32| parse(format!("{}\nconcurrent_sessions = {sessions}", table(1)), Some("{}"));
        assert!(concurrent(1).is_ok() && concurrent(1_000).is_ok());
        for sessions in [0, 1_001] {
            assert!(matches!(concurrent(sessions), Err(TierTableError::ConcurrentSessions { .. })));
        }
        assert!(parse(format!("{}\nsurprise = 1", table(1)), Some("{}")).is_err());
        assert!(parse(format!("{}\naddresses = ['192.0.2.0/24']", table(1)), Some("{}")).is_ok());
        assert!(parse(format!("{}\naddresses = ['192.0.2.1/24']", table(1)), Some("{}")).is_err());
    }

    #[test]
    fn the_digest_follows_definition_and_template() {
        let definition = |hours| {
            format!(
                "version = 1\n[tiers.x2]\ndescription = 'x'\ngrant = 'role'\nmfa = true\ntemplate = 't'\nboundary = 'x2'\n\
                 maximum_hours = {hours}"
            )
        };
        let digest = |hours, template: &str| {
            let table = TierTable::parse(&definition(hours), |_| Some(template.to_owned())).unwrap();
            table.digest(&name("x2")).unwrap().clone()
        };
        assert_eq!(digest(1, "a"), digest(1, "a"));
        assert_ne!(digest(1, "a"), digest(2, "a"));
        assert_ne!(digest(1, "a"), digest(1, "b"));
        let with = |more: &str| {
            let text = format!("{}\n{more}", definition(1));
            TierTable::parse(&text, |_| Some("a".to_owned())).unwrap().digest(&name("x2")).unwrap().clone()
        };
        assert_eq!(with("concurrent_sessions = 3"), digest(1, "a"), "what is usual need not be said");
        assert_ne!(with("concurrent_sessions = 4"), digest(1, "a"));
    }
}
