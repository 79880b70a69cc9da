//! `sorry setup`: the vault first, then the settings, then what is left of the key outside the vault; success is said after a round
//! trip. Every step finds out whether it has been done, so that a run that was interrupted is repeated as it was.

mod stack;

use std::{path::Path, time::Duration};

use secrecy::SecretString;
use sorry_profiles::{AccessKeyId, ProfileName};
use sorry_vault::{
    Contents, Costs, Label, LongLivedKey, NewSlot, Open, RecoveryCode, Rotation, Signer, Vault,
};
use sorry_wire::WhoAmI;
use tokio::time::Instant;

use crate::{
    app::{App, Aws},
    args::Setup,
    commands::vault::slots,
    config_file,
    error::{CliError, Exit, Result},
    files, terminal,
    vault::{
        self, crash, identity,
        rotation::{self, How},
        source::{self, Found, Place},
    },
};

pub(crate) async fn run(app: &App, arguments: &Setup) -> Result<u8> {
    app.on_interrupt("nothing is lost: run `sorry setup` again");
    let (open, stale) = match app.stored_vault()? {
        None => (create(app, arguments).await?, None),
        Some(_) => again(app, arguments).await?,
    };
    app.on_interrupt("the key is in the vault: run `sorry setup` again for the rest");
    let aws = app.aws_with(Some(vault::provider(&open)?), "the vault".to_owned()).await?;
    settings(app, arguments, &aws).await?;
    crash::point(app, "setup-config-written");
    prove(app).await?;

    let first = vault::bootstrap(&open)?.access_key_id.clone();
    let mut ids: Vec<AccessKeyId> = stale.clone().into_iter().chain([first]).collect();
    if stale.is_none() && wants_rotation(app, arguments).await {
        let how =
            How { code: arguments.code.clone(), delete_key: arguments.delete_key.clone(), ..How::default() };
        let rotated = rotation::rotate(app, &aws.sdk, open, &how).await?;
        app.ui.say(&format!("the key has a successor: `{}` is deleted at AWS", rotated.old));
        ids.push(rotated.old);
    }
    crash::point(app, "setup-rotated");
    plain_text(app, arguments, &ids).await?;
    crash::point(app, "setup-plain-text");
    let me = prove_new(app).await?;
    app.ui.say(&format!(
        "everything works: the key of `{}` is in the vault, and the service {}",
        me.arn,
        known(&me)
    ));
    app.ui.say("next: sorry tiers, sorry request");
    Ok(0)
}

fn known(me: &WhoAmI) -> String {
    match &me.caller {
        Some(caller) => format!("knows `{}` in namespace `{}`", caller.person, caller.namespace),
        None if me.administrator => "knows an administrator".to_owned(),
        None => "does not know it yet (an administrator adds you: `sorry admin callers add`)".to_owned(),
    }
}

/// A new vault with the key in it.
async fn create(app: &App, arguments: &Setup) -> Result<Open> {
    let found = source::find(app, arguments.source.from_profile.as_ref(), arguments.source.stdin).await?;
    region(app).await?;
    let key = aws_credential_types::provider::SharedCredentialsProvider::new(found.credentials());
    let aws = app.aws_with(Some(key), "the bootstrap key".to_owned()).await?;
    let identity = identity::of_user(app, &aws.sdk, found.credentials()).await?;
    app.ui.say(&format!("the key `{}` is that of `{}`", found.access_key_id, identity.arn));
    let chosen = slots::choose(app, &arguments.key).await?;
    let signer = chosen.signer(app, arguments.key.allow_forwarded).await?;
    let ssh_label = slots::label_of(&chosen.key);
    let recovery_label = Label::parse("recovery")?;
    let code = if arguments.no_recovery { None } else { Some(RecoveryCode::generate(&mut vault::random())?) };
    let passphrase = code.as_ref().map(RecoveryCode::to_passphrase);
    let mut new = vec![NewSlot::Signer { label: &ssh_label, signer: &signer }];
    if let Some(passphrase) = &passphrase {
        new.push(NewSlot::Passphrase { label: &recovery_label, passphrase, costs: Costs::default() });
    }
    let contents = Contents { bootstrap: Some(long_lived(&found, identity)), ..Contents::default() };
    let sealed = Vault::create(&new, contents, (app.clock)(), &mut vault::random())?;
    app.write_vault(sealed, false)?;
    crash::point(app, "setup-vault-written");
    // Before anything else may fail: without the code the slot would be there for nobody.
    if let Some(code) = &code {
        show_recovery_code(app, code)?;
    }
    let open = reopened(app, &signer)?;
    app.ui.say(&format!(
        "the vault `{}` holds the key, and `{}` opens it",
        app.store().path().display(),
        chosen.key.name()
    ));
    if let Some(weakness) = chosen.key.file.as_deref().and_then(slots::weakness) {
        app.ui.say(&weakness);
    }
    Ok(open)
}

/// The vault as it lies on the disk, opened by the same key.
fn reopened(app: &App, signer: &dyn Signer) -> Result<Open> {
    let stored = app
        .stored_vault()?
        .ok_or_else(|| CliError::failed("the vault that was just written is not there"))?;
    Ok(app.keep(stored.vault.unlock_with_signer(signer)?))
}

/// Shows it, the only time.
pub(crate) fn show_recovery_code(app: &App, code: &RecoveryCode) -> Result<()> {
    app.ui
        .say("the recovery code opens the vault without the SSH key. Write it down; it is shown this once:");
    let shown = format!("{}\n", code.shown().as_str());
    app.ui.secret(&SecretString::from(shown)).map_err(|error| {
        error.also(
            "the vault is made, but nobody has its recovery code: `sorry vault remove-key recovery`, then \
                    `sorry vault add-passphrase --recovery-code`",
        )
    })
}

/// A key with its owner.
pub(crate) fn long_lived(found: &Found, identity: identity::Identity) -> LongLivedKey {
    LongLivedKey {
        access_key_id: found.access_key_id.clone(),
        secret_access_key: found.secret_access_key.clone(),
        arn: identity.arn,
        account: identity.account,
        created_at: None,
    }
}

/// The vault of an earlier run, and the id of a key that lies about outside and no longer works.
async fn again(app: &App, arguments: &Setup) -> Result<(Open, Option<AccessKeyId>)> {
    app.ui.say("there is a vault already: going on from there");
    let open = app.needed_vault().await?;
    region(app).await?;
    let source = &arguments.source;
    if !source.stdin && source.from_profile.is_none() {
        return Ok((open, None));
    }
    let found = source::find(app, source.from_profile.as_ref(), source.stdin).await?;
    let bootstrap = vault::bootstrap(&open)?;
    let is_old = match &open.contents().rotation {
        Some(Rotation::Switched { old_key_id, .. } | Rotation::Deactivated { old_key_id, .. }) => {
            *old_key_id == found.access_key_id
        }
        _ => false,
    };
    if found.access_key_id == bootstrap.access_key_id || is_old {
        return Ok((open, None));
    }
    // A rotation that is over leaves a key in the file that is none. Only the vault can say so: a key that AWS does not know may be
    // very new, or inactive, and this its only copy.
    if open.contents().retired.contains(&found.access_key_id) {
        return Ok((open, Some(found.access_key_id)));
    }
    let from = match &found.place {
        Place::Profile(name) => format!(" --from-profile {name}"),
        Place::StandardInput => " --stdin".to_owned(),
        Place::Environment | Place::Terminal => String::new(),
    };
    Err(CliError::new(
        Exit::Refused,
        format!("the vault holds the key `{}`, not `{}`", bootstrap.access_key_id, found.access_key_id),
    )
    .hint(format!("`sorry vault import{from} --replace` puts another key in its place")))
}

async fn region(app: &App) -> Result<()> {
    if let Some(region) = app.settings.region().await {
        app.settings.set_region(region);
        return Ok(());
    }
    let asked = terminal::ask("AWS region of the service, such as eu-west-2")
        .await
        .filter(|region| !region.is_empty());
    let region = asked.ok_or_else(|| CliError::usage("no region is set").hint("name it with `--region`"))?;
    sorry_profiles::Region::parse(&region)?;
    app.settings.set_region(region);
    Ok(())
}

/// Endpoint and region, into the file of settings.
async fn settings(app: &App, arguments: &Setup, aws: &Aws) -> Result<()> {
    if app.settings.endpoint().is_err() {
        let found = match stack::endpoint(app, aws, &arguments.stack).await {
            Some(endpoint) => Some((endpoint, "from the stack's outputs")),
            None => terminal::ask("URL of the service (the stack's output `Endpoint`)")
                .await
                .map(|url| (url, "as typed")),
        };
        let (endpoint, from) = found.ok_or_else(|| {
            CliError::usage("the key is in the vault, and the service's endpoint is not known")
                .hint("your administrator knows it: run this again with `--endpoint`")
        })?;
        app.settings.set_endpoint(&endpoint, from)?;
    }
    let endpoint = app.settings.endpoint()?.url();
    let mut wanted = vec![("endpoint", endpoint), ("region", aws.region.as_str())];
    // A key by its path may lie where nobody would look for it.
    let key = arguments.key.key.as_deref().filter(|key| !key.starts_with("SHA256:"));
    let key = key.map(|path| app.settings.expand(path.strip_suffix(".pub").unwrap_or(path)));
    let key = key.and_then(|path| std::path::absolute(path).ok());
    if let Some(path) = key.as_deref().and_then(Path::to_str) {
        wanted.push(("ssh_key", path));
    }
    if config_file::write(app, &wanted)? {
        app.ui.say(&format!("wrote `{}`", app.settings.config_file().display()));
    }
    Ok(())
}

/// The round trip: the vault as it lies on the disk, its key, the service.
async fn prove(app: &App) -> Result<WhoAmI> {
    let open = app.needed_vault().await?;
    let stored = app.stored_vault()?.map(|stored| stored.vault);
    if stored.as_ref() != Some(open.vault()) {
        return Err(
            CliError::failed("the vault was changed by another process meanwhile").hint("run this again")
        );
    }
    let aws = app.aws_with(Some(vault::provider(&open)?), "the vault".to_owned()).await?;
    aws.api(app)?.get(&["whoami"], &[]).await
}

/// As [`prove`], with a key that may be so new that API Gateway does not know it yet.
async fn prove_new(app: &App) -> Result<WhoAmI> {
    let give_up = Instant::now() + identity::NEW_KEY;
    loop {
        match prove(app).await {
            Err(error) if error.exit == Exit::Refused as u8 && Instant::now() < give_up => {
                app.ui.progress("waiting until all of AWS knows the new key (up to a minute)");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            proved => return proved,
        }
    }
}

async fn wants_rotation(app: &App, arguments: &Setup) -> bool {
    if arguments.rotate || arguments.no_rotate {
        return arguments.rotate;
    }
    let question = "The key has been outside the vault. Put a new one in its place now?";
    match terminal::confirm(question).await {
        Some(answer) => answer,
        None => {
            app.ui
                .say("the key has been outside the vault: `sorry vault rotate` puts a new one in its place");
            false
        }
    }
}

/// Copies of these keys outside the vault: those in profiles are taken out if the person wants it, others are named.
async fn plain_text(app: &App, arguments: &Setup, ids: &[AccessKeyId]) -> Result<()> {
    if app.settings.environment.key().is_some_and(|(id, ..)| ids.iter().any(|known| known.as_str() == id)) {
        app.ui.warn("the environment holds the key, too: unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY, also where they are set");
    }
    for (name, id) in copies(app, ids)? {
        let wanted = if arguments.remove_plain_text || arguments.keep_plain_text {
            arguments.remove_plain_text
        } else {
            let question = format!("Profile `{name}` holds the key in plain text. Take it out?");
            terminal::confirm(&question).await.unwrap_or(false)
        };
        if !wanted {
            app.ui.warn(&format!(
                "profile `{name}` holds the key in plain text: `sorry setup --from-profile {name} --remove-plain-text` takes it out"
            ));
            continue;
        }
        let removed = files::in_context(app, false, |context| {
            app.settings.aws_files.remove_plain_key(context, &name, &id)
        })?;
        files::warn(app, &removed.warnings);
        app.ui.say(&format!("took the key out of profile `{name}`"));
    }
    Ok(())
}

/// The profiles that hold one of these keys.
fn copies(app: &App, ids: &[AccessKeyId]) -> Result<Vec<(ProfileName, AccessKeyId)>> {
    let mut found = Vec::new();
    for profile in files::profiles(app)? {
        // A profile that cannot be read is `sorry doctor`'s matter.
        let key =
            files::in_context(app, false, |context| app.settings.aws_files.plain_key(context, &profile.name));
        if let Ok(Some(key)) = key
            && ids.contains(&key.access_key_id)
        {
            found.push((profile.name, key.access_key_id));
        }
    }
    Ok(found)
}

/// Where a key came from, for a word about what stays there.
pub(crate) fn stays(place: &Place) -> Option<String> {
    match place {
        Place::Environment => {
            Some("the environment holds it still: unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY".to_owned())
        }
        Place::Profile(name) => Some(format!("profile `{name}` holds it still, in plain text")),
        Place::StandardInput | Place::Terminal => None,
    }
}
