//! `sorry setup` and `sorry vault` as they are typed.

use clap::{Args, Subcommand};
use sorry_profiles::{AccessKeyId, ProfileName};
use sorry_vault::Label;

use super::{MfaCode, Text, any_profile};

#[derive(Args, Debug)]
#[command(
    long_about = "Take your bootstrap key into an encrypted vault, and try it.

The key is looked for in the environment and in the profile that AWS_PROFILE names; without either it is asked for. The vault \
                  is opened by your Ed25519 SSH key, through the ssh-agent or from its file, and by a recovery code that is \
                  shown once. Whatever interrupts this, nothing is lost: run it again.",
    after_help = "\
Examples:
  sorry setup
  sorry setup --from-profile sue-mgr --remove-plain-text
  sorry setup --stdin --key ~/.ssh/id_ed25519 --endpoint https://abc123.execute-api.eu-west-2.amazonaws.com/v1
  sorry setup --key SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU --no-recovery --no-rotate --keep-plain-text"
)]
pub(crate) struct Setup {
    #[command(flatten)]
    pub(crate) source: KeySource,
    #[command(flatten)]
    pub(crate) key: SshKeyChoice,
    /// Make no recovery code: the SSH key alone opens the vault
    #[arg(long)]
    pub(crate) no_recovery: bool,
    /// Put a new AWS key in the place of this one, at once
    #[arg(long, conflicts_with = "no_rotate")]
    pub(crate) rotate: bool,
    /// Keep this AWS key
    #[arg(long)]
    pub(crate) no_rotate: bool,
    /// Take the key out of the profile that it was found in
    #[arg(long, conflicts_with = "keep_plain_text")]
    pub(crate) remove_plain_text: bool,
    /// Leave it there
    #[arg(long)]
    pub(crate) keep_plain_text: bool,
    #[command(flatten)]
    pub(crate) code: MfaCode,
    /// A second key of your user that may be deleted to make room for a new one
    #[arg(long, value_name = "ACCESS-KEY-ID", value_parser = access_key_id)]
    pub(crate) delete_key: Option<AccessKeyId>,
    /// The CloudFormation stack whose outputs name endpoint and region, where you may read them
    #[arg(long, value_name = "NAME", default_value = "sorry")]
    pub(crate) stack: String,
}

/// Where the bootstrap key is now.
#[derive(Args, Debug)]
pub(crate) struct KeySource {
    /// Take the key from this AWS profile
    #[arg(long, value_name = "NAME", value_parser = any_profile)]
    pub(crate) from_profile: Option<ProfileName>,
    /// Take the key from standard input: as `sorry admin callers add` prints it, or its id and secret on two lines
    #[arg(long, conflicts_with = "from_profile")]
    pub(crate) stdin: bool,
}

/// Which SSH key.
#[derive(Args, Debug)]
pub(crate) struct SshKeyChoice {
    /// The Ed25519 SSH key: its file, or its fingerprint [default: `ssh_key` in config.toml, else the only one there is]
    #[arg(long, value_name = "FILE|FINGERPRINT")]
    pub(crate) key: Option<String>,
    /// Take a key from an agent that another machine forwards
    #[arg(long)]
    pub(crate) allow_forwarded: bool,
}

/// What every command takes that writes the vault.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct VaultWrite {
    /// Write although a newer vault than this has been seen here
    #[arg(long)]
    pub(crate) accept_older: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Vault {
    /// Show where each secret lies, and what opens the vault
    Status(VaultStatus),
    /// Let another SSH key open the vault
    AddKey(AddKey),
    /// Let a passphrase, or a new recovery code, open the vault
    AddPassphrase(AddPassphrase),
    /// Let a key or passphrase no longer open the vault
    RemoveKey(RemoveKey),
    /// Encrypt the vault anew
    Rekey(RekeyVault),
    /// Put an AWS key into the vault in the place of the one that is there
    Import(ImportKey),
    /// Show what the vault holds, secrets masked
    Show(ShowVault),
    /// Write the AWS key to standard output, in plain text
    Export(ExportVault),
    /// Put a new AWS key in the place of the old one
    Rotate(RotateKey),
    /// Delete the vault
    Remove(RemoveVault),
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sorry vault status\n  sorry vault status --output json")]
pub(crate) struct VaultStatus {
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sorry vault add-key --key ~/.ssh/id_ed25519_desk --label desk\n  sorry vault add-key --key SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
)]
pub(crate) struct AddKey {
    #[command(flatten)]
    pub(crate) key: SshKeyChoice,
    /// What to call it [default: the name of its file]
    #[arg(long, value_parser = label)]
    pub(crate) label: Option<Label>,
    #[command(flatten)]
    pub(crate) write: VaultWrite,
}

#[derive(Args, Debug)]
#[command(after_help = "\
A passphrase has 15 characters at least: it opens the vault alone.

Examples:
  sorry vault add-passphrase
  sorry vault add-passphrase --recovery-code --label safe
  pass show sorry | sorry vault add-passphrase --stdin")]
pub(crate) struct AddPassphrase {
    /// Make a recovery code and show it, once, instead of asking for a passphrase
    #[arg(long, conflicts_with = "stdin")]
    pub(crate) recovery_code: bool,
    /// Read the passphrase from the first line of standard input
    #[arg(long)]
    pub(crate) stdin: bool,
    /// What to call it [default: passphrase, or recovery]
    #[arg(long, value_parser = label)]
    pub(crate) label: Option<Label>,
    #[command(flatten)]
    pub(crate) write: VaultWrite,
}

#[derive(Args, Debug)]
#[command(after_help = "\
The vault is encrypted anew, for which every key and passphrase that stays must answer. Whoever
could open the old file still can: rotate the AWS key afterwards.

Examples:
  sorry vault remove-key laptop
  sorry vault remove-key SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU
  sorry vault remove-key laptop recovery && sorry vault rotate")]
pub(crate) struct RemoveKey {
    /// The slots: their labels, ids or fingerprints, as `sorry vault status` shows them
    #[arg(required = true, value_name = "SLOT")]
    pub(crate) slots: Vec<String>,
    #[command(flatten)]
    pub(crate) answers: Answers,
    #[command(flatten)]
    pub(crate) write: VaultWrite,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Every key and passphrase must answer; one that cannot is dropped by its name. Whoever could open the
old file still can: rotate the AWS key afterwards.

Examples:
  sorry vault rekey
  sorry vault rekey --drop lost-laptop")]
pub(crate) struct RekeyVault {
    /// A slot that does not answer and goes: its label, id or fingerprint
    #[arg(long, value_name = "SLOT")]
    pub(crate) drop: Vec<String>,
    #[command(flatten)]
    pub(crate) answers: Answers,
    #[command(flatten)]
    pub(crate) write: VaultWrite,
}

/// Where passphrases come from.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Answers {
    /// Read the passphrases from standard input, one a line, in the order of `sorry vault status`
    #[arg(long)]
    pub(crate) stdin: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sorry vault import --from-profile sue-mgr
  sorry admin callers add sue-mgr --new-key --output json | sorry vault import --stdin --replace")]
pub(crate) struct ImportKey {
    #[command(flatten)]
    pub(crate) source: KeySource,
    /// Put it in the place of another key: that one is gone from here, and stays valid at AWS
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) write: VaultWrite,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sorry vault show\n  sorry vault show --decrypted")]
pub(crate) struct ShowVault {
    /// Show the secrets, too
    #[arg(long)]
    pub(crate) decrypted: bool,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sorry vault export | ssh node 'sorry setup --stdin'
  sorry vault export | ssh node 'sorry vault import --stdin --replace'
  sorry vault export --output json --to-terminal")]
pub(crate) struct ExportVault {
    /// Show the secret although standard output is a terminal
    #[arg(long)]
    pub(crate) to_terminal: bool,
    #[command(flatten)]
    pub(crate) output: Text,
}

#[derive(Args, Debug)]
#[command(after_help = "\
The new key is stored beside the old one and tried before the old one is deactivated and deleted. An
interrupted rotation goes on where it stopped: run it again.

Examples:
  sorry vault rotate
  oathtool --totp -b \"$SEED\" | sorry vault rotate --mfa-stdin")]
pub(crate) struct RotateKey {
    #[command(flatten)]
    pub(crate) code: MfaCode,
    /// A second key of your user that may be deleted to make room for the new one
    #[arg(long, value_name = "ACCESS-KEY-ID", value_parser = access_key_id)]
    pub(crate) delete_key: Option<AccessKeyId>,
    #[command(flatten)]
    pub(crate) write: VaultWrite,
}

#[derive(Args, Debug)]
#[command(after_help = "\
The AWS key stays valid at AWS. Unless it lies elsewhere, too, nobody has it any more.

Examples:
  sorry vault remove
  sorry vault remove --yes")]
pub(crate) struct RemoveVault {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

fn label(text: &str) -> Result<Label, String> {
    Label::parse(text).map_err(|error| error.to_string())
}

fn access_key_id(text: &str) -> Result<AccessKeyId, String> {
    AccessKeyId::parse(text).map_err(|error| error.to_string())
}
