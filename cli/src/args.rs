//! The command line as it is typed. Nothing is decided here but what a word means.

mod audit;
mod vault;

use std::{ffi::OsString, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use secrecy::SecretString;
use sorry_profiles::ProfileName;
use sorry_wire::{CallerRole, Grant, Namespace, PersonName, ProjectName, SourceIdentity, State, TierName};

use crate::{delivery::environment::Shell as EnvShell, mfa, time};

/// Lends access to AWS for a while.
#[derive(Debug, Parser)]
#[command(
    name = "sorry",
    version,
    about = "Lends access to AWS for a while",
    long_about = "Lends access to AWS for a while: ask for a tier and a number of hours, use the profile that this writes, and \
                  AWS itself switches it off when the time is up.",
    max_term_width = 100,
    after_help = "\
Examples:
  sorry setup
  sorry request --tier developer --hours 8
  aws --profile sue-developer s3 ls
  sorry list
  sorry revoke 7k3m

Settings: flag, else environment (SORRY_ENDPOINT, AWS_REGION, AWS_PROFILE), else
`$XDG_CONFIG_HOME/sorry/config.toml` with the keys `endpoint` and `region`; for the vault also
`ssh_key`, `mfa_serial`, `mfa_process` (a command that prints an MFA code; SORRY_MFA_PROCESS goes
before it), and `ssh_auth_sock`, which goes before SSH_AUTH_SOCK.

Exit codes: 0 done, 1 failed, 2 usage, 3 refused by policy, 4 not found or expired,
5 cannot reach AWS, 70 a bug, 130 interrupted."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// URL of the service's stage
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// AWS region
    #[arg(long, global = true)]
    pub(crate) region: Option<String>,
    /// The AWS profile that holds your bootstrap key [default: the vault if there is one, else AWS's own order]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) caller_profile: Option<String>,
    /// Print data and errors alone
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say which settings and keys are used, and what is tried again
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take your bootstrap key into an encrypted vault, and try it
    Setup(Setup),
    /// Ask for a session and write its credentials into a profile
    Request(Request),
    /// Show your sessions, newest first
    List(List),
    /// Show one session
    Status(Status),
    /// Fetch a session's credentials, for the first time or again
    Renew(Renew),
    /// Have a session end later
    Extend(Extend),
    /// End sessions before their time
    Revoke(Revoke),
    /// Approve what somebody else asks for
    #[command(after_help = "\
The window begins with the last approval that the tier asks for.

Examples:
  sorry list --awaiting-me
  sorry approve 7k3m --comment 'ticket 4711, as agreed'
  sorry approve 7k3m --until 2026-01-02T18:00:00Z")]
    Approve(Decide),
    /// Deny what somebody else asks for
    #[command(after_help = "\
A denial beats every approval, also those given before, until the time to decide runs out.
With --until it is of that later end alone, and the session goes on as it is.

Examples:
  sorry deny 7k3m
  sorry deny 7k3m --comment 'developer is enough for this'")]
    Deny(Decide),
    /// Say what you found when you looked at somebody else's session afterwards
    Review(Review),
    /// Run a command with a session's credentials
    Exec(Exec),
    /// Print lines that take a session's credentials into a shell
    Env(Env),
    /// Sign the browser in to the AWS console with a session's credentials
    Console(Console),
    /// Print a session's credentials for an SDK (`credential_process`)
    CredentialProcess(CredentialProcess),
    /// Show what can be asked for
    Tiers(Tiers),
    /// Show who you are to the service
    Whoami(WhoAmI),
    /// Look after the encrypted vault of your AWS key
    #[command(
        subcommand,
        after_help = "Examples:\n  sorry vault status\n  sorry vault rotate\n  sorry vault add-key --key ~/.ssh/id_ed25519_desk"
    )]
    Vault(Vault),
    /// Register callers and look after the service
    #[command(
        subcommand,
        after_help = "Examples:\n  sorry admin callers list\n  sorry admin sweep --confirm\n  sorry admin audit --user sue"
    )]
    Admin(Admin),
    /// Look after the profiles in AWS's files
    #[command(
        subcommand,
        after_help = "Examples:\n  sorry profiles list\n  sorry profiles check\n  sorry profiles fix --dry-run"
    )]
    Profiles(Profiles),
    /// Look for what is missing or wrong on this side
    Doctor(Doctor),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  sorry completions bash > ~/.local/share/bash-completion/completions/sorry"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args, Debug)]
#[command(
    group(clap::ArgGroup::new("window").required(true)),
    after_help = "\
Examples:
  sorry request --tier developer --hours 8
  sorry request --tier read-only --for 90m --profile look
  sorry request --tier admin --hours 1 --reason 'rotate the certificates, ticket 4711'
  sorry request --tier developer --hours 8 --deliver process
  sorry request --tier developer --hours 8 --dry-run
  sorry request --tier developer --hours 1 --output json | jq -r .profile

For a batch job, which has no ssh-agent and nobody to ask: before submitting it, ask with
`--deliver file` for a window that is long enough, and point AWS_SHARED_CREDENTIALS_FILE to a
folder of the node's own."
)]
pub(crate) struct Request {
    /// What you need: see `sorry tiers`
    #[arg(long)]
    pub(crate) tier: TierName,
    /// For how many hours, in whole hours
    #[arg(long, group = "window", value_name = "N", value_parser = time::hours, allow_negative_numbers = true)]
    pub(crate) hours: Option<u32>,
    /// For how long, such as 90m or 1h30m
    #[arg(long = "for", group = "window", value_name = "DURATION", value_parser = time::seconds, allow_hyphen_values = true)]
    pub(crate) duration: Option<u64>,
    /// What for, in 10 characters or more
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// The project that the work is for
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// How it is to give access, where the tier offers more than one way: see `sorry tiers`
    #[arg(long, value_name = "HOW")]
    pub(crate) grant: Option<GrantChoice>,
    #[command(flatten)]
    pub(crate) delivery: Delivery,
    /// Do not wait: `sorry renew` fetches the credentials later
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Show what would be decided and made, and ask for nothing
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Text,
}

/// How a session gives access.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GrantChoice {
    /// A role of its own, which your key assumes
    Role,
    /// A user of its own: one set of credentials for the whole window, for jobs that nobody attends; they cannot call IAM
    User,
    /// A role that stands ready
    Standing,
}

impl From<GrantChoice> for Grant {
    fn from(choice: GrantChoice) -> Self {
        match choice {
            GrantChoice::Role => Self::Role,
            GrantChoice::User => Self::User,
            GrantChoice::Standing => Self::Standing,
        }
    }
}

/// Where credentials go.
#[derive(Args, Debug)]
pub(crate) struct Delivery {
    /// The profile to write [default: the one that holds the session, else <namespace>-<tier>]
    #[arg(long, value_name = "NAME", value_parser = profile)]
    pub(crate) profile: Option<ProfileName>,
    /// Where the credentials go [default: file; `renew` keeps what it finds]
    #[arg(long, value_name = "HOW")]
    pub(crate) deliver: Option<Deliver>,
    #[command(flatten)]
    pub(crate) code: MfaCode,
    /// Overwrite files that cannot be replaced (bind mounts), keeping a copy
    #[arg(long)]
    pub(crate) in_place: bool,
}

/// Where an MFA code comes from, where AWS asks for one.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct MfaCode {
    /// The MFA code, where AWS asks for one [default: `mfa_process` of the settings, else you are asked]
    #[arg(long, value_name = "CODE", value_parser = mfa_code)]
    pub(crate) mfa_code: Option<SecretString>,
    /// Read the MFA code from standard input
    #[arg(long, conflicts_with = "mfa_code")]
    pub(crate) mfa_stdin: bool,
}

impl MfaCode {
    /// Whether the code came with the command.
    pub(crate) fn is_given(&self) -> bool {
        self.mfa_code.is_some() || self.mfa_stdin
    }
}

/// How credentials are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deliver {
    /// Keys in the credentials file, good as long as AWS lends them at once
    File,
    /// A command in the config file: SDKs renew by themselves, no secret lies in plain text; needs the vault
    Process,
    /// Lines for a shell, on standard output; nothing is written
    Env,
    /// Nowhere: the session is there, and that is all
    #[value(name = "none")]
    Nowhere,
}

#[derive(Args, Debug)]
#[command(after_help = "\
The command is run in the place of `sorry`, so its exit code is its own. It finds the keys, the
region and AWS_CREDENTIAL_EXPIRATION in its environment, and no other source of credentials. It
keeps these keys to its end: for longer ones, use a profile written with `--deliver process`.

Examples:
  sorry exec -- aws s3 ls
  sorry exec sue-developer -- terraform apply
  sorry exec -- sh -c 'echo until $AWS_CREDENTIAL_EXPIRATION'")]
pub(crate) struct Exec {
    /// The profile [default: AWS_PROFILE if `sorry` wrote it, else the only one that is live]
    #[arg(value_parser = profile)]
    pub(crate) profile: Option<ProfileName>,
    /// The command and its words, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
A profile written with `--deliver process` is named in AWS_PROFILE and nothing else, so that SDKs
renew by themselves; of others the keys are set. Batch systems hand the environment on: keys do not
belong into a shell that submits jobs.

Examples:
  eval \"$(sorry env)\"
  eval \"$(sorry env sue-developer --keys)\"
  eval \"$(sorry env --unset)\"
  sorry env --shell fish | source
  eval `sorry env --shell csh`")]
pub(crate) struct Env {
    /// The profile [default: AWS_PROFILE if `sorry` wrote it, else the only one that is live]
    #[arg(value_parser = profile, conflicts_with = "unset")]
    pub(crate) profile: Option<ProfileName>,
    /// Set the keys in any case, and show them on a terminal, too
    #[arg(long, conflicts_with = "unset")]
    pub(crate) keys: bool,
    /// Take everything out of the shell that could be a credential
    #[arg(long)]
    pub(crate) unset: bool,
    /// Which shell reads it
    #[arg(long, default_value = "sh")]
    pub(crate) shell: EnvShell,
}

#[derive(Args, Debug)]
#[command(
    group(clap::ArgGroup::new("how").required(true)),
    after_help = "\
The link signs in whoever has it. `--open` hands it to the browser in a file that only you can read,
which is then removed; `--print` shows it.

Examples:
  sorry console --open
  sorry console sue-developer --open --destination s3
  sorry console --print --duration 1h"
)]
pub(crate) struct Console {
    /// The profile [default: AWS_PROFILE if `sorry` wrote it, else the only one that is live]
    #[arg(value_parser = profile)]
    pub(crate) profile: Option<ProfileName>,
    /// Open it in the browser
    #[arg(long, group = "how")]
    pub(crate) open: bool,
    /// Print the link
    #[arg(long, group = "how")]
    pub(crate) print: bool,
    /// Where to go: a service, such as s3, or a URL
    #[arg(long, value_name = "SERVICE|URL")]
    pub(crate) destination: Option<String>,
    /// How long the browser stays signed in, 15m to 12h [default: AWS's; the session's end ends it in any case]
    #[arg(long, value_name = "DURATION", value_parser = time::seconds)]
    pub(crate) duration: Option<u64>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
`sorry request --deliver process` writes it into the config file, for SDKs to call. It never asks
anything: the vault is opened through the ssh-agent. Credentials are renewed when 20 minutes are
left; as long as those at hand are good they are printed, whatever else fails. Within 25 seconds
there is one JSON object on standard output, or one line on standard error.

Example:
  sorry credential-process --session 7k3m9q2x4v8n1c5d")]
pub(crate) struct CredentialProcess {
    /// The session, by its whole id
    #[arg(long)]
    pub(crate) session: String,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sorry list
  sorry list --status active
  sorry list --awaiting-me
  sorry list --everybody --status clean-up-failed
  sorry list --namespace --output json")]
pub(crate) struct List {
    /// Everybody's sessions in your namespace, not yours alone
    #[arg(long)]
    pub(crate) namespace: bool,
    /// Other people's sessions whose approval or review waits for you
    #[arg(long, conflicts_with = "namespace")]
    pub(crate) awaiting_me: bool,
    /// Everybody's sessions that are not over, if you oversee them
    #[arg(long, conflicts_with_all = ["namespace", "awaiting_me"])]
    pub(crate) everybody: bool,
    /// Only those in this state, or `live`
    #[arg(long, value_name = "STATE")]
    pub(crate) status: Option<StateFilter>,
    #[command(flatten)]
    pub(crate) output: TableOutput,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sorry status 7k3m9q2x4v8n1c5d
  sorry status 7k3m --output json")]
pub(crate) struct Status {
    /// The session: its id, or the beginning of it
    pub(crate) session: String,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sorry renew 7k3m
  sorry renew 7k3m --profile other
  sorry renew 7k3m --deliver process")]
pub(crate) struct Renew {
    /// The session: its id, or the beginning of it
    pub(crate) session: String,
    #[command(flatten)]
    pub(crate) delivery: Delivery,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(
    group(clap::ArgGroup::new("time").required(true)),
    after_help = "\
Before its end only, and for no longer in all than the tier and your registration allow, counted
from the beginning of its window. Credentials that a program has in use go on; the profiles that
hold the session are written again, with credentials for the longer time.

Examples:
  sorry extend 7k3m --hours 2
  sorry extend 7k3m --for 90m
  sorry extend 7k3m --hours 1 --no-wait --output json"
)]
pub(crate) struct Extend {
    /// The session: its id, or the beginning of it
    pub(crate) session: String,
    /// By how many hours, in whole hours
    #[arg(long, group = "time", value_name = "N", value_parser = time::hours, allow_negative_numbers = true)]
    pub(crate) hours: Option<u32>,
    /// By how much, such as 90m or 1h30m
    #[arg(long = "for", group = "time", value_name = "DURATION", value_parser = time::seconds, allow_hyphen_values = true)]
    pub(crate) duration: Option<u64>,
    #[command(flatten)]
    pub(crate) code: MfaCode,
    /// Overwrite files that cannot be replaced (bind mounts), keeping a copy
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Do not wait until AWS has the new end; profiles stay as they are
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Waits until nothing of them is left. Credentials that this machine holds are tried (sns:ListTopics)
before and after, and it is said after how long AWS refused them.

Examples:
  sorry revoke 7k3m
  sorry revoke 7k3m 0c9d
  sorry revoke --all
  sorry revoke 7k3m --output json")]
pub(crate) struct Revoke {
    /// The sessions: their ids, or the beginnings of them
    #[arg(required_unless_present = "all", value_name = "SESSION")]
    pub(crate) sessions: Vec<String>,
    /// All of yours that are not over
    #[arg(long, conflicts_with = "sessions")]
    pub(crate) all: bool,
    /// Do not wait until the access is gone
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
pub(crate) struct Decide {
    /// The session: its id, or the beginning of it
    pub(crate) session: String,
    /// The later end that the session asks for, as it was shown: your word is on that, and on no other
    #[arg(long, value_name = "END", value_parser = time::moment)]
    pub(crate) until: Option<jiff::Timestamp>,
    /// Why, in 10 characters or more
    #[arg(long)]
    pub(crate) comment: Option<String>,
    #[command(flatten)]
    pub(crate) code: MfaCode,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(after_help = "\
A break-glass session opens a review, which stays open until somebody else closes it.

Examples:
  sorry list --awaiting-me
  sorry review 7k3m --comment 'read its CloudTrail: only the failed disk was replaced'")]
pub(crate) struct Review {
    /// The session: its id, or the beginning of it
    pub(crate) session: String,
    /// What you found, in 10 characters or more
    #[arg(long)]
    pub(crate) comment: String,
    #[command(flatten)]
    pub(crate) code: MfaCode,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  sorry tiers
  sorry tiers show developer --output json"
)]
pub(crate) struct Tiers {
    #[command(subcommand)]
    pub(crate) command: Option<TiersCommand>,
    #[command(flatten)]
    pub(crate) output: TableOutput,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TiersCommand {
    /// Show one tier
    #[command(
        after_help = "Examples:\n  sorry tiers show developer\n  sorry tiers show developer --rendered --project atlas"
    )]
    Show {
        /// The tier
        tier: TierName,
        /// Show its policy, too, as it is in your namespace
        #[arg(long)]
        rendered: bool,
        /// The project that the policy is rendered for
        #[arg(long, requires = "rendered")]
        project: Option<ProjectName>,
        #[command(flatten)]
        output: Text,
    },
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sorry whoami --output json")]
pub(crate) struct WhoAmI {
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Profiles {
    /// Show all profiles: their form, session and where they are
    List(ListProfiles),
    /// Look for what tools read differently, what is over, and who else can read it
    Check(CheckProfiles),
    /// Mend what can be mended without taking anything that `sorry` did not write
    Fix(FixProfiles),
    /// Remove every profile that `sorry` wrote
    #[command(after_help = "Examples:\n  sorry profiles reset --dry-run\n  sorry profiles reset --yes")]
    Reset(MendProfiles),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sorry profiles list
  sorry profiles list --output json")]
pub(crate) struct ListProfiles {
    #[command(flatten)]
    pub(crate) output: TableOutput,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Exits with 1 if it finds anything.

Examples:
  sorry profiles check
  sorry profiles check --offline --output json")]
pub(crate) struct CheckProfiles {
    /// Do not ask the service which sessions are over
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) output: TableOutput,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Shows what it will do and asks. Files are copied beside themselves first, for you alone to read.

Examples:
  sorry profiles fix --dry-run
  sorry profiles fix --yes")]
pub(crate) struct FixProfiles {
    /// Do not ask the service which sessions are over
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) mend: MendProfiles,
}

#[derive(Args, Debug)]
pub(crate) struct MendProfiles {
    /// Do it without asking
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Overwrite files that cannot be replaced (bind mounts), keeping a copy
    #[arg(long)]
    pub(crate) in_place: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sorry doctor")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Register, list and remove callers
    #[command(
        subcommand,
        after_help = "Examples:\n  sorry admin callers add sue-mgr --tier developer=8\n  sorry admin callers list"
    )]
    Callers(Callers),
    /// Look tiers over, compare them with those in force, and publish them
    #[command(
        subcommand,
        after_help = "Examples:\n  sorry admin tiers validate\n  sorry admin tiers diff policy_templates\n  sorry admin tiers publish"
    )]
    Tiers(PublishedTiers),
    /// Show what the sweep holds, and let it go
    Sweep(Sweep),
    /// Read the audit, and find out whether it was tampered with
    Audit(Audit),
}

#[derive(Args, Debug)]
#[command(after_help = "\
The sweep deletes nothing when a table was lost or too much looks orphaned: it holds. Look at
what it holds; if it is right, confirm, and the next sweeps remove those roles and no others.

Examples:
  sorry admin sweep
  sorry admin sweep --confirm")]
pub(crate) struct Sweep {
    /// Let go what is held: what was shown with this digest, or what is held now
    #[arg(long, value_name = "DIGEST", num_args = 0..=1, require_equals = true)]
    pub(crate) confirm: Option<Option<String>>,
    #[command(flatten)]
    pub(crate) code: MfaCode,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PublishedTiers {
    /// Look for what is wrong with the tiers of a folder, without the service
    #[command(after_help = "Example:\n  sorry admin tiers validate policy_templates")]
    Validate(TierFolder),
    /// Show what publishing the tiers of a folder would change
    #[command(after_help = "Example:\n  sorry admin tiers diff policy_templates")]
    Diff(TierFolder),
    /// Put the tiers of a folder in force, as a whole
    #[command(after_help = "\
Shows what changes and asks. Sessions that are there keep what they were made with, those of a
tier that goes, too. Boundaries belong to the stack and are not published.

Examples:
  sorry admin tiers publish policy_templates
  sorry admin tiers publish --yes")]
    Publish {
        #[command(flatten)]
        folder: TierFolder,
        #[command(flatten)]
        code: MfaCode,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
}

/// A set of tiers on this side.
#[derive(Args, Debug)]
pub(crate) struct TierFolder {
    /// The folder with `tiers.toml` and the templates that it names
    #[arg(default_value = "policy_templates")]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Callers {
    /// Register a caller: makes an IAM user for it and prints its key, once
    Add(Box<AddCaller>),
    /// Show the registered callers
    List(ListCallers),
    /// End a caller's sessions and answer it nothing, until it is resumed
    Suspend(SuspendCaller),
    /// Lift a caller's suspension
    Resume(ResumeCaller),
    /// Remove a caller, its sessions and, if `add` made it, its user
    Remove(RemoveCaller),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Running it again completes what an earlier run left open and changes the entry in what is named;
what is not named stays, and what was kept is said. With --replace it is taken away.

Examples:
  sorry admin callers add sue-mgr --tier developer=8 --tier read-only=36 --mfa
  sorry admin callers add sue-mgr --role approver
  sorry admin callers add sue-mgr --replace --tier read-only=36
  sorry admin callers add sue-mgr --tier admin=1 --project atlas --role caller --role admin
  sorry admin callers add --existing arn:aws:sts::123456789012:assumed-role/Research/sue \\
      --namespace sue --person sue --tier developer=8
  sorry admin callers add --existing arn:aws:iam::123456789012:role/Research --mfa-by idp \\
      --namespace research --person research --tier read-only=8")]
pub(crate) struct AddCaller {
    /// Name of the IAM user; with --existing also its ARN, that of an assumed-role session, or that of a whole role
    pub(crate) name: String,
    /// A tier the caller may have, and for how many hours at most
    #[arg(long = "tier", value_name = "TIER=HOURS")]
    pub(crate) tiers: Vec<TierHours>,
    /// Whose keys they are; must be said with --namespace [default: the namespace]
    #[arg(long)]
    pub(crate) person: Option<PersonName>,
    /// The person's corner of the account [default: the name without `-mgr`]
    // A namespace may be somebody's already: the default would make whoever is added that person.
    #[arg(long, requires = "person")]
    pub(crate) namespace: Option<Namespace>,
    /// A project that the caller may name
    #[arg(long = "project", value_name = "PROJECT")]
    pub(crate) projects: Vec<ProjectName>,
    /// What the caller may do: `caller` asks for sessions, `approver` decides on those of others, `security` and `admin` see and
    /// end them [default for somebody new: caller]
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<Role>,
    /// Take away what is not named here: the caller's other tiers, projects and roles, --mfa-by and --source-identity
    #[arg(long)]
    pub(crate) replace: bool,
    /// Register a principal that exists elsewhere: no user, no policy, no key
    #[arg(long)]
    pub(crate) existing: bool,
    /// Make a key although the user has one already
    #[arg(long, conflicts_with = "existing")]
    pub(crate) new_key: bool,
    /// Give the user a device for MFA codes (an app on a phone) and show its secret, once
    #[arg(long, conflicts_with = "existing")]
    pub(crate) mfa: bool,
    /// Who asks a role for MFA: `idp` where its people get it only after their identity provider asked; the deployment must name the
    /// role in `IdentityProviderRoleArns` [default for somebody new: device]
    #[arg(long, value_enum, requires = "existing")]
    pub(crate) mfa_by: Option<MfaBy>,
    /// The source identity that the role's sessions carry already, and keep
    #[arg(long, value_name = "IDENTITY", requires = "existing")]
    pub(crate) source_identity: Option<SourceIdentity>,
    #[command(flatten)]
    pub(crate) code: MfaCode,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sorry admin callers list --output json")]
pub(crate) struct ListCallers {
    #[command(flatten)]
    pub(crate) output: TableOutput,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sorry admin callers remove sue-mgr
  sorry admin callers remove AROAEXAMPLEID00000001:sue")]
pub(crate) struct RemoveCaller {
    /// The caller's name, or its unique id
    pub(crate) caller: String,
    #[command(flatten)]
    pub(crate) code: MfaCode,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(after_help = "\
The entry stays. All sessions of the caller and what it has asked for are ended; run again, it ends
what is left. The caller's own AWS key stays as it is: it opens nothing here.

Examples:
  sorry admin callers suspend sue-mgr
  sorry admin callers suspend AROAEXAMPLEID00000001:sue --output json")]
pub(crate) struct SuspendCaller {
    /// The caller's name, or its unique id
    pub(crate) caller: String,
    #[command(flatten)]
    pub(crate) code: MfaCode,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sorry admin callers resume sue-mgr")]
pub(crate) struct ResumeCaller {
    /// The caller's name, or its unique id
    pub(crate) caller: String,
    #[command(flatten)]
    pub(crate) code: MfaCode,
    #[command(flatten)]
    pub(crate) output: Text,
}

pub(crate) use audit::{Audit, AuditCommand, AuditFilter, AuditFormat, VerifyAudit};
pub(crate) use vault::{
    AddKey, AddPassphrase, Answers, ExportVault, ImportKey, RekeyVault, RemoveKey, RemoveVault, RotateKey,
    Setup, ShowVault, SshKeyChoice, Vault, VaultStatus,
};

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Text {
    /// How to print
    #[arg(long = "output", value_name = "FORMAT", default_value = "text")]
    pub(crate) format: TextFormat,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TableOutput {
    /// How to print
    #[arg(long = "output", value_name = "FORMAT", default_value = "table")]
    pub(crate) format: TableFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    Table,
    Json,
}

/// `--status`: a state, or all that are not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateFilter {
    Live,
    In(State),
}

impl StateFilter {
    pub(crate) fn fits(self, state: State) -> bool {
        match self {
            Self::Live => !state.is_over(),
            Self::In(wanted) => state == wanted,
        }
    }
}

impl FromStr for StateFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.replace('-', "_");
        if wanted.eq_ignore_ascii_case("live") {
            return Ok(Self::Live);
        }
        State::ALL
            .into_iter()
            .find(|state| state.as_str().eq_ignore_ascii_case(&wanted))
            .map(Self::In)
            .ok_or_else(|| {
                let states: Vec<String> =
                    State::ALL.iter().map(|state| format!("`{}`", state.as_str().to_lowercase())).collect();
                format!("not a state: `live`, {}", states.join(", "))
            })
    }
}

/// `developer=8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TierHours {
    pub(crate) tier: TierName,
    pub(crate) hours: u32,
}

impl FromStr for TierHours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tier, hours) =
            text.split_once('=').ok_or("write a tier and its hours, such as `developer=8`")?;
        let tier = tier.parse().map_err(|error: sorry_wire::NameError| error.to_string())?;
        let hours = hours.parse().map_err(|_| format!("`{hours}` is not a number of hours"))?;
        Ok(Self { tier, hours })
    }
}

/// A [`CallerRole`] as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Caller,
    Approver,
    Security,
    Admin,
}

impl From<Role> for CallerRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Caller => Self::Caller,
            Role::Approver => Self::Approver,
            Role::Security => Self::Security,
            Role::Admin => Self::Admin,
        }
    }
}

/// A [`sorry_wire::MfaBy`] as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MfaBy {
    Device,
    Idp,
}

impl From<MfaBy> for sorry_wire::MfaBy {
    fn from(by: MfaBy) -> Self {
        match by {
            MfaBy::Device => Self::Device,
            MfaBy::Idp => Self::Idp,
        }
    }
}

/// The name of a profile that is only read.
fn any_profile(text: &str) -> Result<ProfileName, String> {
    ProfileName::parse(text).map_err(|error| error.to_string())
}

fn mfa_code(text: &str) -> Result<SecretString, String> {
    // Without the text: it may be another secret, pasted by mistake.
    if mfa::is_code(text) { Ok(SecretString::from(text)) } else { Err("a code has six digits".to_owned()) }
}

fn profile(text: &str) -> Result<ProfileName, String> {
    let name = ProfileName::parse(text).map_err(|error| error.to_string())?;
    if name.is_default() { Err(sorry_profiles::Error::DefaultProfile.to_string()) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_window_is_given_in_exactly_one_way() {
        let parse = |words: &str| Arguments::try_parse_from(words.split(' '));
        assert!(parse("sorry request --tier developer --hours 8").is_ok());
        assert!(parse("sorry request --tier developer --for 90m").is_ok());
        assert!(parse("sorry request --tier developer").is_err());
        assert!(parse("sorry request --tier developer --for 90m --hours 1").is_err());
        assert!(parse("sorry request --tier developer --hours 1.5").is_err());
        // Limits are the service's: it says what is allowed.
        assert!(parse("sorry request --tier developer --hours 0").is_ok());
        assert!(parse("sorry admin callers add xy --tier developer=1 --namespace sue --person sue").is_ok());
        assert!(parse("sorry admin callers add xy --tier developer=1 --namespace sue").is_err());
        assert!(parse("sorry revoke").is_err());
        assert!(parse("sorry revoke --all 7k3m").is_err());
        assert!(parse("sorry request --tier developer --hours 1 --profile default").is_err());
    }

    #[test]
    fn what_is_no_window_is_refused_in_words_about_windows() {
        let said = |words: &str| Arguments::try_parse_from(words.split(' ')).unwrap_err().to_string();
        for (words, expected) in [
            ("sorry request --tier developer --hours -1", "`-1` is not a whole number of hours"),
            ("sorry extend 7k3m --hours 1e9", "`1e9` is not a whole number of hours"),
            ("sorry request --tier developer --for -1h", "`-1h` is not a duration"),
            ("sorry approve 7k3m --until tomorrow", "`tomorrow` is not a moment"),
        ] {
            let said = said(words);
            assert!(said.contains(expected), "{words}: {said}");
        }
    }

    #[test]
    fn states_are_typed_in_any_case() {
        assert_eq!("active".parse(), Ok(StateFilter::In(State::Active)));
        assert_eq!("clean-up-failed".parse(), Ok(StateFilter::In(State::CleanUpFailed)));
        assert_eq!("Live".parse(), Ok(StateFilter::Live));
        assert!("gone".parse::<StateFilter>().is_err());
    }

    #[test]
    fn tiers_come_with_their_hours() {
        assert_eq!("developer=8".parse(), Ok(TierHours { tier: "developer".parse().unwrap(), hours: 8 }));
        for bad in ["developer", "developer=", "developer=-1", "=8", "Dev=8"] {
            assert!(bad.parse::<TierHours>().is_err(), "{bad}");
        }
    }
}
