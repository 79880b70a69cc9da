//! `sorry admin sweep`: what the sweep holds, and letting it go.

use sorry_wire::{ConfirmSweep, ErrorCode, HoldView, SweepView};

use crate::{
    app::App,
    args::{Sweep, TextFormat},
    error::{CliError, Result},
    time::shown,
};

pub(super) async fn run(app: &App, arguments: &Sweep) -> Result<u8> {
    let aws = match arguments.confirm {
        Some(_) => app.aws_with_mfa(&arguments.code).await?,
        None => app.aws().await?,
    };
    let api = aws.api(app)?;
    let found: SweepView = api.get(&["admin", "sweep"], &[]).await?;
    let Some(wanted) = &arguments.confirm else {
        print(app, &found, arguments.output.format)?;
        if let Some(hold) = &found.hold {
            app.ui.say(&format!(
                "once you have looked at these roles, let them go: `sorry admin sweep --confirm={}`",
                hold.digest
            ));
        }
        return Ok(0);
    };
    // Without a digest: what is held now, which is printed. What has changed by then the service refuses.
    let digest = wanted.clone().or_else(|| found.hold.map(|hold| hold.digest)).ok_or_else(|| {
        CliError::failed("the sweep holds nothing")
            .code(ErrorCode::Conflict.as_str())
            .hint("there is nothing to confirm")
    })?;
    let confirmed: SweepView = api.put(&["admin", "sweep", "confirmation"], &ConfirmSweep { digest }).await?;
    print(app, &confirmed, arguments.output.format)?;
    app.ui.say("the next sweeps remove these roles and no others; what they find besides is held anew");
    Ok(0)
}

fn print(app: &App, sweep: &SweepView, format: TextFormat) -> Result<()> {
    if format == TextFormat::Json {
        return app.ui.json(sweep);
    }
    let Some(hold) = &sweep.hold else { return app.ui.pairs(&[("holds", "nothing".to_owned())]) };
    app.ui.pairs(&[
        ("holds since", shown(hold.since)),
        ("because", hold.because.clone()),
        ("confirmed", sweep.confirmed_at.map_or_else(|| "no".to_owned(), shown)),
        ("digest", hold.digest.clone()),
        ("roles", named(hold)),
    ])?;
    hold.roles.iter().try_for_each(|role| app.ui.data(&role.to_string()))
}

fn named(hold: &HoldView) -> String {
    if hold.count > hold.roles.len() {
        format!("{}, of which a confirmation lets go the {} below", hold.count, hold.roles.len())
    } else {
        hold.count.to_string()
    }
}
