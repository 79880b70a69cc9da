//! The audit for spreadsheets. What people wrote (reasons, names) is in it, so no cell may become a formula or hide what is in it.

use sorry_wire::{AuditRecord, ChangedBy};

use super::text;
use crate::error::{CliError, Exit, Result, causes};

const HEADING: [&str; 17] = [
    "at",
    "subject",
    "sequence",
    "what",
    "by",
    "by_person",
    "by_unique_id",
    "by_address",
    "person",
    "tier",
    "project",
    "reason",
    "rule",
    "policy_digest",
    "details",
    "previous",
    "hash",
];

pub(super) fn document(records: &[AuditRecord]) -> Result<String> {
    let failed = |error: &dyn std::error::Error| {
        CliError::new(Exit::Bug, format!("cannot write CSV: {}", causes(error)))
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADING).map_err(|error| failed(&error))?;
    for record in records {
        writer.write_record(cells(record).map(|cell| harmless(&cell))).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

fn cells(record: &AuditRecord) -> [String; HEADING.len()] {
    let detail = |name: &str| text(&record.details, name);
    let (unique_id, address) = match &record.by {
        ChangedBy::Caller(changer) => {
            let identity = &changer.identity;
            (identity.unique_id.clone(), identity.source_address.clone().unwrap_or_default())
        }
        ChangedBy::Service(_) => (String::new(), String::new()),
    };
    let hash =
        |hash: &Option<sorry_wire::AuditHash>| hash.as_ref().map(ToString::to_string).unwrap_or_default();
    [
        record.at.to_string(),
        record.subject.clone(),
        record.sequence.to_string(),
        record.what.clone(),
        record.by.name().to_owned(),
        record.by.person().map(ToString::to_string).unwrap_or_default(),
        unique_id,
        address,
        detail("person"),
        detail("tier"),
        detail("project"),
        detail("reason"),
        detail("rule"),
        detail("policy_digest"),
        record.details.to_string(),
        hash(&record.previous),
        hash(&record.hash),
    ]
}

/// A cell that no spreadsheet takes for a formula, and in which nothing is invisible. Source of the characters that begin formulas: OWASP,
/// "CSV Injection"; the last four are the same in full width.
fn harmless(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    for character in cell.chars() {
        let marks = matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || marks {
            text.push_str(&format!("\\u{{{:x}}}", u32::from(character)));
        } else {
            text.push(character);
        }
    }
    let formula = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    if text.trim_start().starts_with(formula) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_none_hides_anything() {
        for (cell, expected) in [
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            (" =1", "' =1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("\t=1", "\\u{9}=1"),
            ("a\r\nb", "a\\u{d}\\u{a}b"),
            ("abc\u{202e}def", "abc\\u{202e}def"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("rotate the certificates, ticket 4711", "rotate the certificates, ticket 4711"),
            ("", ""),
        ] {
            assert_eq!(harmless(cell), expected);
        }
    }

    #[test]
    fn every_record_is_one_line_of_as_many_cells_as_the_heading() {
        let record = AuditRecord {
            subject: "0123456789abcdef".to_owned(),
            sequence: 1,
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            what: "session.REQUESTED".to_owned(),
            by: ChangedBy::service("test"),
            details: json!({"person": "sue", "reason": "=1, \"two\"\nthree"}),
            previous: None,
            hash: None,
        };
        let text = document(&[record.clone(), record]).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        for row in reader.records() {
            let row = row.unwrap();
            assert_eq!(row.len(), HEADING.len());
            assert_eq!(row.get(11), Some("'=1, \"two\"\\u{a}three"));
        }
    }
}
