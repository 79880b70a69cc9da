//! From the domain's rows to what a caller is shown of them.

use sorry_policy::{AddressRange, Grant, Tier, TierName, TierSet, TierSetDigest};
use sorry_session::{
    Actor, CallerEntry, Session, State,
    approval::{Approval, CastVote, Review},
    caller::Operation,
    decision::{Rules, asks_for_code},
    extension::{Extension, ExtensionOutcome},
    hold::SweepMemory,
    preview::Preview,
    provision::max_session_seconds,
    session::End,
    tiers::PublishedTiers,
};
use sorry_wire::{
    Access, ApprovalView, CallerView, ClosedReviewView, DryRun, EndView, ExtensionStatus, ExtensionView,
    HoldView, PlannedRole, ReviewView, SessionView, SweepView, TierSetView, TierView, Verdict, VoteView,
};

/// A session, with how to use it for the one who can.
pub(crate) fn session(session: &Session, actor: &Actor) -> SessionView {
    let usable = session.state == State::Active && actor.may(Operation::Use, session);
    SessionView {
        session_id: session.session_id.clone(),
        state: session.state,
        tier: session.tier.clone(),
        grant: session.grant,
        namespace: session.namespace.clone(),
        person: session.person.clone(),
        project: session.project.clone(),
        reason: session.reason.clone(),
        caller: session.caller.arn.clone(),
        mfa: session.mfa,
        requested_at: session.requested_at,
        approval: session.approval.as_ref().map(approval),
        review: session.open_or_closed_review().map(review),
        activated_at: session.activated_at,
        expires_at: session.expires_at,
        extension: session.extension.as_ref().map(|asked| extension(asked, session)),
        end: session.end.clone().map(end),
        ended_at: session.ended_at,
        role_name: session.role_name.clone(),
        access: session.role.as_ref().filter(|_| usable && session.grant == Grant::Role).map(|role| Access {
            role_arn: role.arn.clone(),
            external_id: session.external_id.clone(),
            source_identity: session.carried_identity.is_none().then(|| session.session_id.clone()),
            role_session_name: session.role_session_name().to_owned(),
            maximum_seconds: max_session_seconds(session).unsigned_abs(),
        }),
    }
}

fn approval(approval: &Approval) -> ApprovalView {
    let vote = |cast: &CastVote| VoteView {
        decision: cast.vote,
        person: cast.person.clone(),
        by: cast.by.arn.clone(),
        at: cast.at,
        comment: cast.comment.clone(),
    };
    ApprovalView {
        needed: approval.needed,
        approvers: approval.approvers.clone(),
        lapses_at: approval.lapses_at,
        votes: approval.votes.iter().map(vote).collect(),
    }
}

fn review(review: &Review) -> ReviewView {
    let closed = review.closed.as_ref().map(|closed| ClosedReviewView {
        person: closed.person.clone(),
        by: closed.by.clone(),
        at: closed.at,
        comment: closed.comment.clone(),
    });
    ReviewView { opened_at: review.opened_at, closed }
}

/// What a request would come to.
pub(crate) fn dry_run(
    preview: Preview,
    addresses: Vec<AddressRange>,
    alert_subscribers: Option<u64>,
) -> DryRun {
    let Preview { rule, session, role } = preview;
    DryRun {
        decision: if session.approval.is_some() { Verdict::AwaitApproval } else { Verdict::Grant },
        rule,
        duration_seconds: session.expires_at.duration_since(session.requested_at).unsigned_abs().as_secs(),
        tier: session.tier,
        grant: session.grant,
        namespace: session.namespace,
        person: session.person,
        project: session.project,
        reason: session.reason,
        caller: session.caller.arn,
        expires_at: session.expires_at,
        mfa: session.mfa,
        addresses,
        approvals: session.approval.as_ref().map_or(0, |approval| approval.needed),
        alert: session.alert,
        alert_subscribers,
        policy_digest: session.policy_digest,
        role: PlannedRole {
            name: role.name,
            path: role.path,
            boundary: role.boundary_arn,
            maximum_seconds: role.max_session_seconds.unsigned_abs(),
            tags: role.tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            trust_policy: role.trust_policy,
            access_policy: role.access_policy,
        },
    }
}

/// An extension, as far as it has come. What is open in the row is overtaken by an end that is decided.
fn extension(extension: &Extension, session: &Session) -> ExtensionView {
    let status = match &extension.settled {
        Some(settled) => match settled.outcome {
            ExtensionOutcome::Done => ExtensionStatus::Done,
            ExtensionOutcome::Denied => ExtensionStatus::Denied,
            ExtensionOutcome::Lapsed => ExtensionStatus::Lapsed,
            ExtensionOutcome::Failed => ExtensionStatus::Failed,
        },
        None if session.extension_awaiting().is_some() => ExtensionStatus::AwaitingApproval,
        None if session.extension_under_way().is_some() => ExtensionStatus::UnderWay,
        None => ExtensionStatus::Overtaken,
    };
    let awaited = extension.approval.as_ref().filter(|_| status == ExtensionStatus::AwaitingApproval);
    ExtensionView {
        extending_to: extension.extending_to,
        requested_at: extension.requested_at,
        status,
        lapses_at: awaited.map(|approval| approval.lapses_at),
        failure: extension.settled.as_ref().and_then(|settled| settled.failure.clone()),
    }
}

fn end(end: End) -> EndView {
    EndView { cause: end.cause, by: end.by, at: end.at, failure: end.failure }
}

/// A tier as this caller may have it here.
pub(crate) fn tier(name: &TierName, tier: &Tier, actor: &Actor, rules: &Rules) -> TierView {
    let hours = actor.entry.as_ref().and_then(|entry| entry.tiers.get(name).copied());
    TierView {
        name: name.clone(),
        description: tier.description.clone(),
        grant: tier.grant,
        other_grants: tier.grants().skip(1).collect(),
        maximum_hours: tier.maximum_hours,
        your_hours: hours.map(|hours| hours.min(tier.maximum_hours)),
        enabled: rules.enabled_tiers.contains(name),
        mfa: asks_for_code(tier, actor, rules),
        addresses: tier.addresses.clone(),
        reason_required: tier.reason_required,
        alert: tier.alert,
        approvals: tier.approvals.as_ref().map_or(0, |approvals| approvals.count),
        review: tier.review,
        alert_subscribers: None,
        rendered: None,
    }
}

/// The set in force, or why it cannot be used.
pub(crate) fn tier_set(
    digest: &TierSetDigest,
    published: Option<&PublishedTiers>,
    set: Result<TierSet, String>,
) -> TierSetView {
    let (set, unusable) = match set {
        Ok(set) => (Some(set), None),
        Err(why) => (None, Some(why)),
    };
    let (tiers, templates) = set.map(|set| (set.tiers, set.templates)).unzip();
    TierSetView {
        digest: digest.to_string(),
        published_at: published.map(|published| published.published_at),
        published_by: published.map(|published| published.published_by.clone()),
        unusable,
        tiers,
        templates: templates.unwrap_or_default(),
    }
}

/// A caller's entry.
pub(crate) fn caller(entry: &CallerEntry) -> CallerView {
    CallerView {
        unique_id: entry.unique_id.clone(),
        arn: entry.arn.clone(),
        person: entry.person.clone(),
        namespace: entry.namespace.clone(),
        tiers: entry.tiers.clone(),
        projects: entry.projects.clone(),
        roles: entry.roles.clone(),
        mfa: entry.mfa,
        source_identity: entry.source_identity.clone(),
        registered_at: entry.registered_at,
        registered_by: entry.registered_by.clone(),
        suspended_at: entry.suspended.as_ref().map(|suspension| suspension.at),
        suspended_by: entry.suspended.as_ref().map(|suspension| suspension.by.clone()),
    }
}

/// What the sweep holds, and what it was allowed.
pub(crate) fn sweep(memory: &SweepMemory) -> SweepView {
    let hold = memory.hold.clone().map(|hold| HoldView {
        since: hold.since,
        because: hold.because,
        roles: hold.roles,
        count: hold.count,
        digest: hold.digest,
    });
    let confirmation = memory.confirmation.as_ref();
    SweepView {
        hold,
        confirmed_at: confirmation.map(|confirmation| confirmation.at),
        confirmed: confirmation.map(|confirmation| confirmation.roles.clone()).unwrap_or_default(),
    }
}
