//! `sorry admin tiers`: looks a set of tiers over, shows what it would change, and publishes it.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::json;
use similar::TextDiff;
use sorry_wire::{ErrorCode, PublishTiers, TierSet, TierSetView};

use crate::{
    api::Api,
    app::App,
    args::{MfaCode, PublishedTiers, TextFormat, TierFolder},
    error::{CliError, Exit, Result, causes},
    terminal,
    time::shown,
};

/// The file with the table, in the folder of a set.
const TABLE: &str = "tiers.toml";

/// The actions of AWS when this version was made, by service.
const ACTIONS: &str = include_str!("actions.txt");

pub(super) async fn run(app: &App, command: PublishedTiers) -> Result<u8> {
    match command {
        PublishedTiers::Validate(arguments) => validate(app, &arguments),
        PublishedTiers::Diff(arguments) => diff(app, &arguments).await,
        PublishedTiers::Publish { folder, code, yes } => publish(app, &folder, &code, yes).await,
    }
}

/// Asks nobody.
fn validate(app: &App, arguments: &TierFolder) -> Result<u8> {
    let set = read(&arguments.folder)?;
    let (faults, digest) = (set.faults(), set.digest());
    if arguments.output.format == TextFormat::Json {
        app.ui.json(
            &json!({"digest": digest, "faults": faults, "unknown_actions": set.unknown_actions(ACTIONS)}),
        )?;
    } else {
        faults.iter().try_for_each(|fault| app.ui.data(fault))?;
    }
    warn_of_unknown_actions(app, &set);
    if !faults.is_empty() {
        return Err(not_usable(&arguments.folder, &faults));
    }
    if arguments.output.format == TextFormat::Text {
        app.ui.pairs(&[("digest", digest.to_string())])?;
    }
    app.ui.say("nothing is wrong with these tiers");
    Ok(0)
}

async fn diff(app: &App, arguments: &TierFolder) -> Result<u8> {
    let set = read(&arguments.folder)?;
    let aws = app.aws().await?;
    let in_force = in_force(&aws.api(app)?).await?;
    let changes = changes(&in_force, &set);
    if arguments.output.format == TextFormat::Json {
        let changes: BTreeMap<_, _> = changes.iter().map(|change| (&change.file, &change.diff)).collect();
        app.ui.json(&json!({
            "in_force": in_force.digest, "unusable": in_force.unusable, "digest": set.digest(), "changes": changes,
        }))?;
    } else {
        print(app, &in_force, &set, &changes)?;
    }
    Ok(0)
}

async fn publish(app: &App, arguments: &TierFolder, code: &MfaCode, yes: bool) -> Result<u8> {
    let set = read(&arguments.folder)?;
    let faults = set.faults();
    if !faults.is_empty() {
        faults.iter().for_each(|fault| app.ui.say(fault));
        return Err(not_usable(&arguments.folder, &faults));
    }
    warn_of_unknown_actions(app, &set);
    let aws = app.aws_with_mfa(code).await?;
    let api = aws.api(app)?;
    let before = in_force(&api).await?;
    let digest = set.digest();
    if before.published_at.is_some() && before.unusable.is_none() && before.digest == digest.as_str() {
        app.ui.say("these tiers are in force already");
        return print_in_force(app, &before, arguments.output.format);
    }
    if arguments.output.format == TextFormat::Text {
        print(app, &before, &set, &changes(&before, &set))?;
    }
    if !yes {
        let question = format!("publish the tiers of digest {digest}?");
        let only_shows = "`sorry admin tiers diff` only shows";
        terminal::agreed(&question, "nothing was published", only_shows).await?;
    }
    let body = PublishTiers { tiers: set.tiers, templates: set.templates, replaces: before.digest };
    let published: TierSetView = api.put(&["admin", "tiers"], &body).await?;
    print_in_force(app, &published, arguments.output.format)?;
    app.ui.say("new sessions are made from these tiers; those that are there keep what they were made with");
    Ok(0)
}

fn warn_of_unknown_actions(app: &App, set: &TierSet) {
    for (template, action) in set.unknown_actions(ACTIONS) {
        app.ui.warn(&format!(
            "`{action}` in `{template}` is no action that this version knows: if AWS knows none either, it gives nothing by it"
        ));
    }
}

async fn in_force(api: &Api<'_>) -> Result<TierSetView> {
    api.get(&["admin", "tiers"], &[]).await
}

fn print_in_force(app: &App, set: &TierSetView, format: TextFormat) -> Result<u8> {
    if format == TextFormat::Json {
        let TierSetView { digest, published_at, published_by, .. } = set;
        app.ui
            .json(&json!({"digest": digest, "published_at": published_at, "published_by": published_by}))?;
    } else {
        app.ui.pairs(&[
            ("digest", set.digest.clone()),
            ("published", set.published_at.map(shown).unwrap_or_default()),
            ("by", set.published_by.clone().unwrap_or_default()),
        ])?;
    }
    Ok(0)
}

/// The table of a folder, and the templates that it names.
fn read(folder: &Path) -> Result<TierSet> {
    let tiers = read_file(&folder.join(TABLE))?;
    let mut templates = BTreeMap::new();
    for name in TierSet::templates_of(&tiers) {
        // A name and nothing else: no file outside of the folder is read or sent.
        if Path::new(&name).file_name().is_none_or(|file| file != name.as_str()) {
            return Err(CliError::usage(format!(
                "`{name}` in `{TABLE}` is not the name of a file beside it"
            )));
        }
        templates.insert(name.clone(), read_file(&folder.join(&name))?);
    }
    Ok(TierSet { tiers, templates })
}

fn read_file(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        CliError::usage(format!("cannot read `{}`: {}", path.display(), causes(&error)))
            .hint(format!("name the folder with `{TABLE}` and the templates, such as `policy_templates`"))
    })
}

fn not_usable(folder: &Path, faults: &[String]) -> CliError {
    let count = faults.len();
    let faults = if count == 1 { "1 fault".to_owned() } else { format!("{count} faults") };
    CliError::new(Exit::Usage, format!("the tiers in `{}` have {faults}", folder.display()))
        .code(ErrorCode::InvalidInput.as_str())
}

/// A file that is not what it is in the set in force.
struct Change {
    file: String,
    diff: String,
}

fn changes(in_force: &TierSetView, set: &TierSet) -> Vec<Change> {
    let old = files(in_force.tiers.as_deref().unwrap_or_default(), &in_force.templates);
    let new = files(&set.tiers, &set.templates);
    let mut changes = Vec::new();
    for file in old.keys().chain(new.keys().filter(|file| !old.contains_key(*file))) {
        let text = |files: &BTreeMap<&str, &str>| files.get(file).copied().unwrap_or_default().to_owned();
        let (before, after) = (text(&old), text(&new));
        if before != after {
            let diff = TextDiff::from_lines(&before, &after);
            let diff =
                diff.unified_diff().header(&format!("in force/{file}"), &format!("new/{file}")).to_string();
            changes.push(Change { file: (*file).to_owned(), diff });
        }
    }
    changes
}

fn files<'a>(tiers: &'a str, templates: &'a BTreeMap<String, String>) -> BTreeMap<&'a str, &'a str> {
    let templates = templates.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    templates.chain([(TABLE, tiers)]).filter(|(_, text)| !text.is_empty()).collect()
}

fn print(app: &App, in_force: &TierSetView, set: &TierSet, changes: &[Change]) -> Result<()> {
    if let Some(why) = &in_force.unusable {
        app.ui.warn(&format!("what is in force cannot be used, and nothing is granted: {why}"));
    }
    for change in changes {
        change.diff.lines().try_for_each(|line| app.ui.data(line))?;
    }
    if changes.is_empty() {
        app.ui.say("nothing would change");
    }
    let since = match (&in_force.published_at, &in_force.published_by) {
        (Some(at), Some(by)) => format!("published {} by {by}", shown(*at)),
        _ => "built in".to_owned(),
    };
    app.ui.say(&format!("in force  {}  {since}", in_force.digest));
    app.ui.say(&format!("new       {}", set.digest()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_shown_file_by_file() {
        let built_in = TierSet::built_in();
        let mut set = built_in.clone();
        set.templates.insert("new.json".to_owned(), "{}\n".to_owned());
        set.templates.remove("admin.json");
        set.tiers = set.tiers.replace("maximum_hours = 36", "maximum_hours = 12");
        let in_force = TierSetView {
            digest: built_in.digest().to_string(),
            published_at: None,
            published_by: None,
            unusable: None,
            tiers: Some(built_in.tiers.clone()),
            templates: built_in.templates.clone(),
        };
        let found = changes(&in_force, &set);
        let files: Vec<_> = found.iter().map(|change| change.file.as_str()).collect();
        assert_eq!(files, ["admin.json", "tiers.toml", "new.json"]);
        assert!(found[1].diff.contains("-maximum_hours = 36\n+maximum_hours = 12"), "{}", found[1].diff);
        assert!(changes(&in_force, &built_in).is_empty());
    }
}
