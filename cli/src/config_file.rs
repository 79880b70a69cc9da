//! Writing `config.toml`: a setting is added or its line replaced, everything else stays as it is.

use std::fs;

use sorry_profiles::write;

use crate::{
    app::App,
    error::{CliError, Exit, Result},
    files,
};

/// Writes these settings, unless they stand there already. Says whether something changed. The folder must be there.
pub(crate) fn write(app: &App, settings: &[(&str, &str)]) -> Result<bool> {
    let path = app.settings.config_file();
    let before = match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(CliError::usage(format!("`{}` cannot be read: {error}", path.display()))),
    };
    let mut after = before.clone().unwrap_or_default();
    for (name, value) in settings {
        after = with(&after, name, value)?;
    }
    if Some(&after) == before.as_ref() {
        return Ok(false);
    }
    let expected = |bytes: Option<&[u8]>| bytes == before.as_deref().map(str::as_bytes);
    let written =
        files::in_context(app, false, |context| write::replace(path, after.as_bytes(), context, &expected))?;
    if written {
        Ok(true)
    } else {
        Err(CliError::failed(format!("`{}` was changed meanwhile", path.display()))
            .hint("run the command again"))
    }
}

/// The text with a setting. The file knows no tables: every setting stands at the beginning of a line of its own.
fn with(text: &str, name: &str, value: &str) -> Result<String> {
    let bug = |what: &str| CliError::new(Exit::Bug, format!("the file of settings: {what}"));
    // A basic string of TOML is written like one of JSON.
    let quoted = serde_json::to_string(value).map_err(|_| bug("a value that is no text"))?;
    let line = format!("{name} = {quoted}");
    let is_it = |line: &str| {
        line.trim_start().strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut lines: Vec<&str> = text.lines().collect();
    match lines.iter_mut().find(|line| is_it(line)) {
        Some(found) if read(found, name).as_deref() == Some(value) => {}
        Some(found) => *found = &line,
        None => lines.push(&line),
    }
    let made = lines.iter().flat_map(|line| [line, "\n"]).collect::<String>();
    if read(&made, name).as_deref() == Some(value) { Ok(made) } else { Err(bug("it would not be readable")) }
}

fn read(text: &str, name: &str) -> Option<String> {
    let table: toml::Table = toml::from_str(text).ok()?;
    Some(table.get(name)?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_added_or_replaced_and_the_rest_stays() {
        let text = "# ours\nendpoint='https://old' # was\nregion_x = 1\n";
        assert_eq!(
            with(text, "endpoint", "https://new").unwrap(),
            "# ours\nendpoint = \"https://new\"\nregion_x = 1\n"
        );
        assert_eq!(with(text, "endpoint", "https://old").unwrap(), text);
        assert_eq!(with("", "region", "a\"b\\").unwrap(), "region = \"a\\\"b\\\\\"\n");
        assert_eq!(with("endpoint = \"x\"", "region", "y").unwrap(), "endpoint = \"x\"\nregion = \"y\"\n");
    }
}
