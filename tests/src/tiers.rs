//! The project's tiers, changed.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

/// A folder with the tiers of the project, of which `tier` is lent to `addresses` alone.
pub fn tiers_with_addresses(tier: &str, addresses: &[&str]) -> TempDir {
    let folder = TempDir::with_prefix("sorry-tiers-").expect("a folder can be made");
    let templates = crate::project().join("policy_templates");
    for entry in fs::read_dir(&templates).expect("the tiers are there") {
        let entry = entry.expect("a file");
        if entry.path().is_file() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("the folder is ours");
        }
    }
    let table = fs::read_to_string(templates.join("tiers.toml")).expect("the table");
    let heading = format!("[tiers.{tier}]\n");
    assert!(table.contains(&heading), "the tier is written otherwise now");
    let lent = table.replace(&heading, &format!("{heading}addresses = {}\n", json!(addresses)));
    fs::write(folder.path().join("tiers.toml"), lent).expect("the folder is ours");
    folder
}
