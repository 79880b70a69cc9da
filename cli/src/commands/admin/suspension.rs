//! `sorry admin callers suspend|resume`: an entry that stays and opens nothing.

use serde_json::json;
use sorry_wire::{CallerList, CallerSuspended, CallerView};

use super::{
    callers::{fitting, pairs},
    principal::user_name,
};
use crate::{
    api::Api,
    app::App,
    args::{ResumeCaller, SuspendCaller, TextFormat},
    error::{CliError, Exit, Result},
};

pub(super) async fn suspend(app: &App, arguments: &SuspendCaller) -> Result<u8> {
    let aws = app.aws_with_mfa(&arguments.code).await?;
    let api = aws.api(app)?;
    let entry = registered(&api, &arguments.caller).await?;
    app.on_interrupt("running the same command again goes on where this one stopped");
    let path = ["admin", "callers", &entry.unique_id, "suspension"];
    let suspended: CallerSuspended = api.put(&path, &json!({})).await?;
    if arguments.output.format == TextFormat::Json {
        app.ui.json(&suspended)?;
        return Ok(0);
    }
    for id in &suspended.ended {
        app.ui.data(&format!("{id}  ending"))?;
    }
    let name = user_name(&suspended.caller.arn);
    app.ui.say(&format!(
        "suspended `{name}`; {} of its sessions are ending. `sorry admin callers resume {name}` lifts it",
        suspended.ended.len()
    ));
    Ok(0)
}

pub(super) async fn resume(app: &App, arguments: &ResumeCaller) -> Result<u8> {
    let aws = app.aws_with_mfa(&arguments.code).await?;
    let api = aws.api(app)?;
    let entry = registered(&api, &arguments.caller).await?;
    let resumed: CallerView = api.delete(&["admin", "callers", &entry.unique_id, "suspension"]).await?;
    match arguments.output.format {
        TextFormat::Json => app.ui.json(&resumed)?,
        TextFormat::Text => app.ui.pairs(&pairs(&resumed))?,
    }
    app.ui.say(&format!("`{}` can ask for sessions again", user_name(&resumed.arn)));
    Ok(0)
}

async fn registered(api: &Api<'_>, wanted: &str) -> Result<CallerView> {
    let listed: CallerList = api.get(&["admin", "callers"], &[]).await?;
    fitting(listed, wanted)?.ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("there is no caller `{wanted}`"))
            .hint("`sorry admin callers list` shows them")
    })
}
