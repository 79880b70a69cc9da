//! What to do about a session that failed, by the code of its failure: where the service told nobody anything but the code and a
//! message. `docs/errors.md` says it at greater length.

use sorry_wire::ErrorCode;

/// What would help; nothing where asking again is all there is to do.
pub(crate) const fn remedy(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::NoSubscriber => Some(
            "somebody of security subscribes to the topic `sorry-alerts` and confirms: then ask again, at once",
        ),
        ErrorCode::AlertUndeliverable => Some(
            "ask again; if that stays, whoever runs the service finds in the log of `sorry-alert` why the topic takes no alert",
        ),
        ErrorCode::CallerUnknownToIam => Some(
            "were you registered just now, ask again in a minute; was your user deleted and made again, an administrator runs \
             `sorry admin callers add`",
        ),
        ErrorCode::PolicyRefused => Some(
            "ask again, once; if that stays, whoever runs the service finds AWS's own words in the log of `sorry-provision`",
        ),
        ErrorCode::WindowOver => Some("ask again, for a longer time"),
        ErrorCode::TiersUnusable => {
            Some("an administrator looks with `sorry admin tiers diff` and publishes again")
        }
        _ => None,
    }
}
