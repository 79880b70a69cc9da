//! `sorry status`.

use serde_json::json;

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
    let profiles = files::profiles(app).unwrap_or_default();
    match arguments.output.format {
        TextFormat::Json => {
            let mut object = sessions::with_profile(&session, &profiles)?;
            // With the external id, for those who assume the role by other means; it is shown to the owner alone.
            if let Some(access) = &session.access {
                object.insert("access".to_owned(), json!(access));
            }
            app.ui.json(&object)?;
        }
        TextFormat::Text => {
            app.ui.pairs(&sessions::as_pairs(app, &session, &profiles))?;
        }
    }
    Ok(0)
}
