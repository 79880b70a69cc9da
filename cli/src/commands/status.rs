//! `sorry status`.

use crate::{
    app::App,
    args::{Status, TextFormat},
    error::Result,
    files, sessions,
};

pub(crate) async fn run(app: &App, arguments: &Status) -> Result<u8> {
    let aws = app.aws().await?;
    let api = aws.api(app)?;
    let id = sessions::resolve_one(&api, &arguments.session).await?;
    let session = api.session(id.as_str()).await?;
    match arguments.output.format {
        // With the external id, for those who assume the role by other means; it is shown to the owner alone.
        TextFormat::Json => app.ui.json(&session)?,
        TextFormat::Text => {
            let profiles = files::profiles(app).unwrap_or_default();
            app.ui.pairs(&sessions::as_pairs(app, &session, &profiles))?;
        }
    }
    Ok(0)
}
