//! `sorry admin audit verify`: reads everything, and lets `sorry_session::audit::verify` judge.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use jiff::ToSpan;
use serde_json::json;
use sorry_wire::{AuditRecord, Digest, DigestList, Finding, StoredDigest, Verification, verify};

use super::records;
use crate::{
    api::Api,
    app::App,
    args::{TextFormat, VerifyAudit},
    error::{CliError, Result, causes},
    time::shown,
    ui::counted,
};

/// Faults that are listed; all of them are in the JSON.
const MOST_LISTED: usize = 50;
/// How far before the first digest records are read, in hours: sessions of 36 hours that had begun then are whole.
const HOURS_BEFORE: i64 = 48;
/// Subjects that are read again one by one, at most.
const MOST_READ_AGAIN: usize = 1000;

pub(super) async fn run(app: &App, arguments: &VerifyAudit) -> Result<u8> {
    let aws = app.aws().await?;
    let api = aws.api(app)?;
    app.ui.progress("reading the digests");
    // Before the records: what is digested meanwhile must not look as if it were in no digest.
    let digests = match &arguments.digests {
        Some(folder) => from_folder(folder)?,
        None => from_service(&api).await?,
    };
    app.ui.progress("reading the records");
    let mut all = read(app, &api, &digests).await?;
    let now = (app.clock)();
    let mut found = verify(&flat(&all), &digests, now);
    // Lists lag by moments; a subject by itself is read consistently.
    let doubtful: BTreeSet<_> = found
        .findings
        .iter()
        .filter(|finding| finding.sequence.is_some())
        .map(|finding| finding.subject.clone())
        .take(MOST_READ_AGAIN)
        .collect();
    for subject in &doubtful {
        app.ui.progress(&format!("reading {subject} again"));
        all.insert(subject.clone(), of_subject(&api, subject).await?);
    }
    if !doubtful.is_empty() {
        found = verify(&flat(&all), &digests, now);
    }
    print(app, &found, arguments.output.format)?;
    match found.findings.first() {
        None => Ok(0),
        Some(first) => {
            Err(CliError::failed(format!("the audit is not what was written; first {}", told(first))).hint(
                "keep everything as it is, and compare with a backup: point-in-time recovery, CloudTrail",
            ))
        }
    }
}

type Subjects = BTreeMap<String, Vec<AuditRecord>>;

fn flat(subjects: &Subjects) -> Vec<AuditRecord> {
    subjects.values().flatten().cloned().collect()
}

/// All records since a little before the first digest; of subjects whose beginning is not among them, all.
async fn read(app: &App, api: &Api<'_>, digests: &[StoredDigest]) -> Result<Subjects> {
    let now = (app.clock)();
    let first = digests.iter().find_map(|digest| Digest::read(&digest.text).ok());
    let from = first.map_or(now, |digest| digest.begins);
    let from = from.checked_sub(HOURS_BEFORE.hours()).unwrap_or(from);
    let mut subjects = Subjects::new();
    for record in records(api, &[("from", from.to_string())]).await? {
        subjects.entry(record.subject.clone()).or_default().push(record);
    }
    let headless = |records: &Vec<AuditRecord>| {
        let first = records.iter().min_by_key(|record| record.sequence);
        first
            .is_some_and(|first| first.previous.is_some() || (first.is_of_a_session() && first.sequence != 1))
    };
    let whole: Vec<_> = subjects
        .iter()
        .filter(|(_, records)| headless(records))
        .map(|(subject, _)| subject.clone())
        .collect();
    for subject in whole {
        let records = of_subject(api, &subject).await?;
        subjects.insert(subject, records);
    }
    Ok(subjects)
}

async fn of_subject(api: &Api<'_>, subject: &str) -> Result<Vec<AuditRecord>> {
    records(api, &[("subject", subject.to_owned())]).await
}

async fn from_service(api: &Api<'_>) -> Result<Vec<StoredDigest>> {
    let (mut digests, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let query: Vec<_> = cursor.iter().map(|cursor| ("cursor", cursor.as_str())).collect();
        let page: DigestList = api.get(&["audit", "digests"], &query).await?;
        let stored = |digest: sorry_wire::DigestView| StoredDigest {
            name: digest.name,
            text: digest.text,
            overwritten: digest.overwritten,
        };
        digests.extend(page.digests.into_iter().map(stored));
        match page.cursor {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(digests),
        }
    }
}

fn from_folder(folder: &Path) -> Result<Vec<StoredDigest>> {
    let unreadable = |path: &Path, error: &std::io::Error| {
        CliError::usage(format!("cannot read `{}`: {}", path.display(), causes(error)))
            .hint("copy them out of the bucket: `aws s3 sync s3://BUCKET/digests DIR`")
    };
    let mut digests = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.ends_with(".json") {
            continue;
        }
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        // What is not text is not what was written, and is found to be so.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        digests.push(StoredDigest { name, text, overwritten: false });
    }
    if digests.is_empty() {
        return Err(CliError::usage(format!("there are no digests in `{}`", folder.display()))
            .hint("copy them out of the bucket: `aws s3 sync s3://BUCKET/digests DIR`"));
    }
    digests.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(digests)
}

fn told(finding: &Finding) -> String {
    let Finding { at, subject, sequence, fault } = finding;
    match sequence {
        Some(sequence) => format!("`{subject}` {sequence} ({}): {fault}", shown(*at)),
        None => format!("`{subject}` ({}): {fault}", shown(*at)),
    }
}

fn print(app: &App, found: &Verification, format: TextFormat) -> Result<()> {
    if format == TextFormat::Json {
        let faults: Vec<_> = found
            .findings
            .iter()
            .map(|Finding { at, subject, sequence, fault }| {
                json!({"at": at, "subject": subject, "sequence": sequence, "fault": fault.to_string()})
            })
            .collect();
        return app.ui.json(&json!({
            "records": found.sealed, "digested": found.digested, "without_hash": found.unsealed,
            "digests": found.digests, "digested_until": found.digested_until, "faults": faults,
        }));
    }
    for finding in found.findings.iter().take(MOST_LISTED) {
        app.ui.data(&told(finding))?;
    }
    if found.findings.len() > MOST_LISTED {
        app.ui.say(&format!("and {} more: `--output json` has all", found.findings.len() - MOST_LISTED));
    }
    let digested = match found.digested_until {
        None => "none: there is no digest yet".to_owned(),
        Some(until) => {
            format!(
                "{} of them, in {}, until {}",
                found.digested,
                counted(found.digests, "digest"),
                shown(until)
            )
        }
    };
    app.ui.pairs(&[
        ("records", found.sealed.to_string()),
        ("in digests", digested),
        (
            "without hash",
            match found.unsealed {
                0 => String::new(),
                count => format!("{count}, from before there were chains: nothing can be said of them"),
            },
        ),
    ])?;
    if found.findings.is_empty() {
        app.ui.say("nothing was altered, removed, put in or moved");
        if found.digests == 0 {
            app.ui.warn("without a digest, the chains alone say so: the service writes the first one by itself, as a rule an hour and a quarter after its first sweep");
        }
    }
    Ok(())
}
