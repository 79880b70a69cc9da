//! `sorry admin audit`: what was done, by whom, and by which rule.

mod csv;
mod verify;

use serde_json::Value;
use sorry_wire::{AuditList, AuditRecord, ChangedBy};

use crate::{
    api::Api,
    app::App,
    args::{Audit, AuditCommand, AuditFilter, AuditFormat},
    error::{CliError, Result},
    time::shown,
};

pub(super) async fn run(app: &App, arguments: &Audit) -> Result<u8> {
    if let Some(AuditCommand::Verify(arguments)) = &arguments.command {
        return verify::run(app, arguments).await;
    }
    let AuditFilter { session, subject, from, to, .. } = &arguments.filter;
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return Err(CliError::usage(format!(
            "`--from` ({}) is not before `--to` ({})",
            shown(*from),
            shown(*to)
        )));
    }
    // Of a session or a subject the service gives everything there is.
    let day = match (session, subject, from, to) {
        (None, None, None, None) => "; without `--from` these are those of the last day",
        (None, None, None, Some(_)) => "; without `--from` these are those of the day before `--to`",
        _ => "",
    };
    let aws = app.aws().await?;
    let records = records(&aws.api(app)?, &query(&arguments.filter)).await?;
    match arguments.format {
        AuditFormat::Json => app.ui.json(&AuditList { records, cursor: None })?,
        AuditFormat::Csv => app.ui.raw(&csv::document(&records)?)?,
        AuditFormat::Table if records.is_empty() => {
            app.ui.say(&format!("no records{day}"));
        }
        AuditFormat::Table => {
            let rows: Vec<_> = records.iter().map(row).collect();
            app.ui.table(&["at", "what", "who", "subject", "about"], &rows)?;
        }
    }
    Ok(0)
}

fn query(filter: &AuditFilter) -> Vec<(&'static str, String)> {
    let AuditFilter { user, session, subject, from, to } = filter;
    [
        ("person", user.as_ref().map(ToString::to_string)),
        ("session", session.as_ref().map(ToString::to_string)),
        ("subject", subject.clone()),
        ("from", from.map(|from| from.to_string())),
        ("to", to.map(|to| to.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| (name, value)))
    .collect()
}

/// All records that a query gives, page by page.
async fn records(api: &Api<'_>, query: &[(&'static str, String)]) -> Result<Vec<AuditRecord>> {
    let (mut records, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if let Some(cursor) = &cursor {
            query.push(("cursor", cursor));
        }
        let page: AuditList = api.get(&["audit"], &query).await?;
        records.extend(page.records);
        match page.cursor {
            // A cursor that comes back would go on for ever.
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(records),
        }
    }
}

fn row(record: &AuditRecord) -> Vec<String> {
    vec![shown(record.at), record.what.clone(), who(&record.by), record.subject.clone(), about(record)]
}

/// The person, where there is one; else the principal, or the part of the service.
fn who(by: &ChangedBy) -> String {
    by.person().map_or_else(|| by.name().to_owned(), ToString::to_string)
}

/// What says most of a record in few words: what was refused and why; tier, reason and failure of a session.
fn about(record: &AuditRecord) -> String {
    let detail = |name: &str| text(&record.details, name);
    let failure = record.details.get("failure").map(|failure| text(failure, "code")).unwrap_or_default();
    let parts =
        [detail("message"), detail("tier"), detail("project"), detail("reason"), failure, detail("arn")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// A member as text; nothing if it is not there or null.
fn text(details: &Value, name: &str) -> String {
    match details.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
