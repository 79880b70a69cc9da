//! `sorry whoami`: the caller as the service sees it.

use sorry_wire::{CallerView, WhoAmI};

use crate::{
    app::App,
    args::{TextFormat, WhoAmI as Arguments},
    error::Result,
    time::shown,
};

pub(crate) async fn run(app: &App, arguments: &Arguments) -> Result<u8> {
    let aws = app.aws().await?;
    let me: WhoAmI = aws.api(app)?.get(&["whoami"], &[]).await?;
    if arguments.output.format == TextFormat::Json {
        app.ui.json(&me)?;
        return Ok(0);
    }
    let entry = |shown: fn(&CallerView) -> String| me.caller.as_ref().map(shown).unwrap_or_default();
    app.ui.pairs(&[
        ("arn", me.arn.clone()),
        ("unique id", me.unique_id.clone()),
        ("account", me.account.clone()),
        ("address", me.source_address.clone().unwrap_or_default()),
        ("person", entry(|caller| caller.person.to_string())),
        ("namespace", entry(|caller| caller.namespace.to_string())),
        ("tiers", entry(tiers)),
        ("projects", entry(|caller| joined(&caller.projects))),
        ("roles", entry(roles)),
        (
            "suspended",
            me.caller.as_ref().and_then(|caller| caller.suspended_at).map(shown).unwrap_or_default(),
        ),
        ("administrator", if me.administrator { "yes" } else { "" }.to_owned()),
    ])?;
    if me.caller.as_ref().is_some_and(|caller| caller.suspended_at.is_some()) {
        app.ui.say(
            "suspended: nothing else is answered until an administrator says `sorry admin callers resume`",
        );
    }
    if me.caller.is_none() {
        app.ui.say("not registered: an administrator adds you with `sorry admin callers add`");
    }
    Ok(0)
}

/// `developer=8, read-only=36`, as `admin callers add` takes them.
pub(super) fn tiers(caller: &CallerView) -> String {
    let tiers: Vec<String> = caller.tiers.iter().map(|(tier, hours)| format!("{tier}={hours}")).collect();
    tiers.join(", ")
}

pub(super) fn roles(caller: &CallerView) -> String {
    let roles =
        caller.roles.iter().map(|role| serde_json::json!(role).as_str().unwrap_or_default().to_owned());
    roles.collect::<Vec<_>>().join(", ")
}

fn joined<T: ToString>(words: impl IntoIterator<Item = T>) -> String {
    words.into_iter().map(|word| word.to_string()).collect::<Vec<_>>().join(", ")
}
