//! `sorry request --dry-run`: what the service would decide and make.

use std::time::Duration;

use serde_json::Value;
use sorry_wire::{AddressRange, DryRun, Verdict, spoken};

use crate::{
    app::App, args::TextFormat, commands::tiers::others, error::Result, sessions::grant_name,
    time::with_distance,
};

pub(super) fn print(app: &App, found: &DryRun, format: TextFormat) -> Result<u8> {
    if format == TextFormat::Json {
        app.ui.json(found)?;
    } else {
        app.ui.pairs(&pairs(app, found))?;
        document(app, "access policy", &found.role.access_policy)?;
        if let Some(trust) = &found.role.trust_policy {
            document(app, "trust policy", trust)?;
        }
    }
    if found.alert_subscribers == Some(0) {
        app.ui.warn("nobody has subscribed to the alerts, so nothing would be granted");
    }
    app.ui.say("nothing was asked for, and nothing made");
    Ok(0)
}

fn pairs(app: &App, found: &DryRun) -> Vec<(&'static str, String)> {
    let told = match found.alert_subscribers {
        Some(count) => format!("security is told before the grant and at the end ({count} subscribers)"),
        None => "nobody is told".to_owned(),
    };
    let optional = |value: Option<String>| value.unwrap_or_default();
    vec![
        (
            "decision",
            match found.decision {
                Verdict::Grant => "granted".to_owned(),
                Verdict::AwaitApproval => format!("granted if {} approve", others(found.approvals)),
            },
        ),
        ("because", found.rule.clone()),
        ("tier", found.tier.to_string()),
        ("namespace", found.namespace.to_string()),
        ("project", optional(found.project.as_ref().map(ToString::to_string))),
        ("reason", optional(found.reason.clone())),
        ("for", spoken(Duration::from_secs(found.duration_seconds))),
        ("until", with_distance(found.expires_at, (app.clock)())),
        ("MFA", if found.mfa { "a code is asked for" } else { "not asked for" }.to_owned()),
        ("addresses", addresses(&found.addresses)),
        ("alert", told),
        (grant_name(found.grant), format!("{}{}", found.role.path, found.role.name)),
        ("boundary", found.role.boundary.clone()),
        ("digest", found.policy_digest.to_string()),
    ]
}

/// From where a tier is lent, if not from anywhere.
pub(super) fn addresses(ranges: &[AddressRange]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An IAM document under its name.
pub(super) fn document(app: &App, name: &str, document: &Value) -> Result<()> {
    app.ui.data(&format!("{name}:"))?;
    app.ui.json(document)
}
