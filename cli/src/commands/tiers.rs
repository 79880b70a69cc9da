//! `sorry tiers`.

use sorry_wire::{RenderedTier, TierList, TierView, spoken};

use crate::{
    app::App,
    args::{TableFormat, TextFormat, Tiers, TiersCommand},
    commands::dry_run,
    error::Result,
    sessions::grant_name,
    ui::counted,
};

pub(crate) async fn run(app: &App, arguments: Tiers) -> Result<u8> {
    let aws = app.aws().await?;
    let api = aws.api(app)?;
    if let Some(TiersCommand::Show { tier, rendered, project, output }) = arguments.command {
        let mut query = Vec::new();
        query.extend(rendered.then_some(("rendered", "true")));
        query.extend(project.as_ref().map(|project| ("project", project.as_str())));
        let tier: TierView = api.get(&["tiers", tier.as_str()], &query).await?;
        match output.format {
            TextFormat::Json => app.ui.json(&tier)?,
            TextFormat::Text => print(app, &tier)?,
        }
        return Ok(0);
    }
    let list: TierList = api.get(&["tiers"], &[]).await?;
    if arguments.output.format == TableFormat::Json {
        app.ui.json(&list)?;
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = list.tiers.iter().map(row).collect();
    app.ui.table(&["tier", "yours", "most", "asks for", "description"], &rows)?;
    let least = std::time::Duration::from_secs(list.minimum_seconds);
    app.ui.say(&format!("the shortest window here is {}", spoken(least)));
    Ok(0)
}

fn print(app: &App, tier: &TierView) -> Result<()> {
    app.ui.pairs(&pairs(tier))?;
    let Some(rendered) = &tier.rendered else { return Ok(()) };
    dry_run::document(app, "policy", &rendered.policy)?;
    app.ui.say("a session's own policy also denies everything from its end on");
    Ok(())
}

fn row(tier: &TierView) -> Vec<String> {
    vec![
        tier.name.to_string(),
        yours(tier),
        format!("{}h", tier.maximum_hours),
        asks_for(tier),
        tier.description.clone(),
    ]
}

fn yours(tier: &TierView) -> String {
    match tier.your_hours {
        _ if !tier.enabled => "not lent here".to_owned(),
        Some(hours) => format!("{hours}h"),
        None => "–".to_owned(),
    }
}

fn asks_for(tier: &TierView) -> String {
    let asked = [
        (tier.mfa, "MFA".to_owned()),
        (tier.reason_required, "a reason".to_owned()),
        (!tier.addresses.is_empty(), "an address".to_owned()),
        (tier.approvals > 0, format!("approval by {}", others(tier.approvals))),
        (tier.alert, "an alert".to_owned()),
        (tier.review, "a review".to_owned()),
    ];
    let asked: Vec<String> = asked.into_iter().filter_map(|(asked, what)| asked.then_some(what)).collect();
    if asked.is_empty() { "–".to_owned() } else { asked.join(", ") }
}

/// How a session of it gives access, and what else can be asked for.
fn gives(tier: &TierView) -> String {
    let own = grant_name(tier.grant).to_owned();
    let others = tier.other_grants.iter().map(|grant| format!("{} (`--grant`)", grant_name(*grant)));
    [own].into_iter().chain(others).collect::<Vec<_>>().join(", or a ")
}

/// Other people, by their number.
pub(super) fn others(count: u32) -> String {
    if count == 1 { "1 other".to_owned() } else { format!("{count} others") }
}

fn pairs(tier: &TierView) -> Vec<(&'static str, String)> {
    let of = |member: fn(&RenderedTier) -> String| tier.rendered.as_ref().map(member).unwrap_or_default();
    vec![
        ("tier", tier.name.to_string()),
        ("description", tier.description.clone()),
        ("yours", yours(tier)),
        ("most", format!("{}h", tier.maximum_hours)),
        ("asks for", asks_for(tier)),
        ("gives", gives(tier)),
        ("addresses", dry_run::addresses(&tier.addresses)),
        ("told", tier.alert_subscribers.map(|count| counted(count, "subscriber")).unwrap_or_default()),
        ("namespace", of(|rendered| rendered.namespace.to_string())),
        ("project", of(|rendered| rendered.project.as_ref().map(ToString::to_string).unwrap_or_default())),
        ("boundary", of(|rendered| rendered.boundary.clone())),
        ("digest", of(|rendered| rendered.policy_digest.to_string())),
    ]
}
