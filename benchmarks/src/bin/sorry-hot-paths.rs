//! Goes through one of the pure hot paths so often as it is told: `sorry-hot-paths PATH PASSES`. What it takes is counted from outside;
//! see `sorry_benchmarks::instructions`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "what is measured here must work: everything it works on is in this file"
)]

use std::{hint::black_box, time::Duration};

use ed25519_dalek::{Signer as _, SigningKey};
use jiff::Timestamp;
use serde_json::json;
use sorry_policy::{ExternalId, SessionId, TierTable};
use sorry_profiles::{
    AccessKeyId, FileKind, ProfileName, SecretAccessKey,
    ini::{Document, SectionEdit},
    values::Value,
};
use sorry_session::{
    Actor, Session,
    decision::{Decision, Rules, SessionRequest, decide},
    limits::Limits,
    provision::{Place, plan},
};
use sorry_vault::{Contents, Label, LongLivedKey, NewSlot, PublicKey, SignError, Signer, Vault};

const NOW: &str = "2026-11-21T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().expect("a timestamp")
}

fn actor() -> Actor {
    let identity = json!({
        "account": "123456789012", "unique_id": "AIDAEXAMPLE",
        "arn": "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr", "source_address": "192.0.2.1",
    });
    let entry = json!({
        "unique_id": "AIDAEXAMPLE", "account": "123456789012",
        "arn": "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr", "person": "sue", "namespace": "sue",
        "tiers": {"developer": 8, "read-only": 36}, "projects": ["atlas"], "roles": ["caller"],
        "registered_at": NOW, "registered_by": "arn:aws:iam::123456789012:user/administrator",
    });
    Actor {
        identity: serde_json::from_value(identity).expect("an identity"),
        entry: Some(serde_json::from_value(entry).expect("an entry")),
        administrator: false,
        identity_provider: false,
    }
}

fn rules() -> Rules {
    Rules {
        enabled_tiers: ["read-only", "developer"].map(|name| name.parse().expect("a tier's name")).into(),
        minimum_window: Duration::from_secs(900),
        mfa_required: true,
        limits: Limits { requests_per_minute: 10, session_principals: 900 },
    }
}

fn request() -> SessionRequest {
    SessionRequest {
        client_request_id: "0123-4567".to_owned(),
        tier: "developer".to_owned(),
        duration_seconds: 4 * 3600,
        reason: Some("to see what it takes".to_owned()),
        project: Some("atlas".to_owned()),
        grant: None,
    }
}

fn decided(tiers: &TierTable, actor: &Actor, rules: &Rules, request: &SessionRequest) -> Session {
    match decide(request, actor, tiers, rules) {
        Decision::Grant(terms) => {
            terms.session(SessionId::from_random([1; 10]), ExternalId::from_random([2; 16]), now()).session
        }
        Decision::Refuse(refusal) => panic!("refused: {refusal:?}"),
    }
}

/// A key in memory, in the place of an agent.
struct Key {
    signing: SigningKey,
    public: PublicKey,
}

impl Signer for Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, data: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.signing.sign(data).to_bytes())
    }
}

fn vault(key: &Key) -> Vec<u8> {
    let contents = Contents {
        bootstrap: Some(LongLivedKey {
            access_key_id: AccessKeyId::parse("AKIAIOSFODNN7EXAMPLE").expect("a key id"),
            secret_access_key: SecretAccessKey::parse("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
                .expect("a secret"),
            arn: "arn:aws:iam::123456789012:user/sue-mgr".to_owned(),
            account: "123456789012".to_owned(),
            created_at: None,
        }),
        ..Contents::default()
    };
    let label = Label::parse("laptop").expect("a label");
    // The same file in every run.
    let mut next = 0_u8;
    let mut random = |buffer: &mut [u8]| {
        for byte in buffer {
            next = next.wrapping_mul(5).wrapping_add(7);
            *byte = next;
        }
        Ok(())
    };
    let slots = [NewSlot::Signer { label: &label, signer: key }];
    Vault::create(&slots, contents, now(), &mut random).expect("a vault").bytes().to_vec()
}

/// Forty profiles, as in a file that has grown for years.
fn file() -> String {
    let profile = |number: usize| {
        format!(
            "# {number}\n[profile-{number}]\naws_access_key_id = AKIA{number:016}\naws_secret_access_key = s{number}\n\n"
        )
    };
    (0..40).map(profile).collect()
}

fn edit() -> SectionEdit {
    let value = |text: &str| Value::parse(text).expect("a value");
    SectionEdit::default()
        .set("aws_access_key_id", value("ASIAIOSFODNN7EXAMPLE"))
        .set("aws_secret_access_key", value("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
        .set("aws_session_token", value("IQoJb3JpZ2luX2VjEXAMPLE"))
}

fn main() {
    let mut words = std::env::args().skip(1);
    let path = words.next().unwrap_or_default();
    let passes: u64 = words.next().and_then(|passes| passes.parse().ok()).expect("PATH PASSES");
    // Each path prepares what it needs and nothing else, outside of what is repeated.
    let repeat = |pass: &mut dyn FnMut()| (0..passes).for_each(|_| pass());
    match path.as_str() {
        "tiers" => repeat(&mut || drop(black_box(TierTable::built_in()))),
        "decision" => {
            let (tiers, actor, rules, request) =
                (TierTable::built_in().expect("tiers"), actor(), rules(), request());
            repeat(&mut || drop(black_box(decided(&tiers, black_box(&actor), &rules, &request))));
        }
        "rendering" => {
            let tiers = TierTable::built_in().expect("tiers");
            let session = decided(&tiers, &actor(), &rules(), &request());
            let place = Place {
                account: "123456789012".parse().expect("an account"),
                region: "us-east-1".parse().expect("a region"),
                partition: "aws".parse().expect("a partition"),
                boundary_arn_prefix: "arn:aws:iam::123456789012:policy/sorry/service/sorry-boundary-"
                    .to_owned(),
            };
            repeat(&mut || drop(black_box(plan(black_box(&session), &tiers, &place).expect("a plan"))));
        }
        "dates" => {
            let session = decided(&TierTable::built_in().expect("tiers"), &actor(), &rules(), &request());
            let now = now();
            repeat(&mut || {
                let session = black_box(&session);
                black_box((
                    session.due_at(),
                    session.listed_at(),
                    session.due_shard(),
                    session.forget_at(),
                    session.may_still_appear(now),
                    session.window(),
                    session.expires_at.to_string(),
                ));
            });
        }
        "row" => {
            let session = decided(&TierTable::built_in().expect("tiers"), &actor(), &rules(), &request());
            repeat(&mut || {
                let text = serde_json::to_string(black_box(&session)).expect("JSON");
                drop(black_box(serde_json::from_str::<Session>(&text).expect("a session")));
            });
        }
        "vault" => {
            let signing = SigningKey::from_bytes(&[7; 32]);
            let public = PublicKey::from_raw(signing.verifying_key().as_bytes());
            let key = Key { signing, public };
            let file = vault(&key);
            repeat(&mut || {
                let vault = Vault::parse(black_box(&file)).expect("a vault");
                drop(black_box(vault.unlock_with_signer(&key).expect("opens")));
            });
        }
        "ini" => {
            let (file, edit) = (file(), edit());
            let name = ProfileName::parse("profile-20").expect("a name");
            repeat(&mut || {
                let document = Document::parse(FileKind::Credentials, black_box(file.as_bytes()));
                drop(black_box(document.apply(&name, &edit).expect("can be edited")));
            });
        }
        other => panic!("there is no path `{other}`"),
    }
}
