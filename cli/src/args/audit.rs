//! `sorry admin audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use sorry_wire::{PersonName, SessionId};

use super::Text;

#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
For administrators, and for callers who are registered as `security` or `admin`. Without --from,
--session and --subject, the last day.

Examples:
  sorry admin audit
  sorry admin audit --user sue --from 2026-01-01 --to 2026-02-01
  sorry admin audit --session 7k3m9q2x4v8n1c5d
  sorry admin audit --from 2026-01-01 --output csv > audit.csv
  sorry admin audit verify"
)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
    /// How to print
    #[arg(long = "output", value_name = "FORMAT", default_value = "table")]
    pub(crate) format: AuditFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Find out whether any record was altered, removed, put in or moved
    Verify(VerifyAudit),
}

/// Which records.
#[derive(Args, Debug)]
pub(crate) struct AuditFilter {
    /// Only what this person did, and what concerns what is theirs
    #[arg(long, value_name = "PERSON")]
    pub(crate) user: Option<PersonName>,
    /// Only this session, by its whole id
    #[arg(long, value_name = "SESSION")]
    pub(crate) session: Option<SessionId>,
    /// Only this subject: `caller#<unique id>`, `refusals#<unique id>`, `sweep` or `tiers`
    #[arg(long, conflicts_with = "session", value_parser = subject)]
    pub(crate) subject: Option<String>,
    /// From this moment on: `2026-01-31` (UTC) or `2026-01-31T17:00:00Z`
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub(crate) from: Option<Timestamp>,
    /// Before this moment
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub(crate) to: Option<Timestamp>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Recomputes the hash of every record and follows the chain of every subject, then compares both with
the digests, which lie in a bucket where nothing can be overwritten. What came after the last digest
is protected by its chain alone. Ends with 1 when something is wrong.

With --digests the service is not asked for them: copy them out of the bucket yourself.

Examples:
  sorry admin audit verify
  aws s3 sync s3://BUCKET/digests digests && sorry admin audit verify --digests digests")]
pub(crate) struct VerifyAudit {
    /// A folder with the digests as they lie in the bucket
    #[arg(long, value_name = "DIR")]
    pub(crate) digests: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuditFormat {
    Table,
    Json,
    Csv,
}

/// What records are about, as the service writes it.
fn subject(text: &str) -> Result<String, String> {
    let of_caller = text.strip_prefix("caller#").or(text.strip_prefix("refusals#"));
    let is_subject = of_caller.is_some_and(|id| !id.is_empty())
        || matches!(text, "sweep" | "tiers")
        || text.parse::<SessionId>().is_ok();
    let refused = || {
        format!(
            "`{text}` is not `caller#<unique id>`, `refusals#<unique id>`, `sweep`, `tiers` or a session's whole id"
        )
    };
    is_subject.then(|| text.to_owned()).ok_or_else(refused)
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let day = || format!("{text}T00:00:00Z").parse();
    text.parse().or_else(|_| day()).map_err(|_: jiff::Error| {
        format!("`{text}` is not a moment such as `2026-01-31` or `2026-01-31T17:00:00Z`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_those_that_records_have() {
        for good in ["caller#AIDAX", "refusals#AROAX:sue", "sweep", "tiers", "7k3m9q2x4v8n1c5d"] {
            assert_eq!(subject(good).as_deref(), Ok(good));
        }
        for bad in ["", "foo", "caller#", "Sweep", "caller"] {
            assert!(subject(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_days_or_times_of_utc() {
        assert_eq!(moment("2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(moment("2026-01-31T18:00:00+01:00").unwrap().to_string(), "2026-01-31T17:00:00Z");
        for bad in ["", "yesterday", "2026-13-01", "2026-01-31 17:00"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
