//! The audit with everything around it failing: chains hold through every fault, each hour has one digest, refusals leave their record
//! and are never held up by it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: what should not happen ends it"
)]

mod harness;

use std::time::Duration;

use harness::{Bench, administrator, sue};
use serde_json::{Value, json};
use sorry_api::Response;
use sorry_session::{
    CallerEntry, CallerRole, EndCause, Identity, Session,
    audit::{
        digest::{Digest, write_due},
        verify::{Fault as AuditFault, verify},
    },
    events::{ChangedBy, sweep_audit},
    ports::{AuditLog, Clock, Committed, Registry},
};
use sorry_testkit::{Fault, World, block_on};

const HOUR: Duration = Duration::from_secs(3600);

fn digest(world: &World) {
    block_on(write_due(world, world, world, HOUR)).unwrap();
}

/// A record of a subject that is no session.
fn remember(world: &World) {
    let by = ChangedBy::service("test");
    let memory = world.remembered();
    let record = sweep_audit("sweep.held", &by, world, json!({"count": memory.version}));
    let written: Committed = block_on(world.put_sweep_memory(&memory, &record)).unwrap();
    assert_eq!(written, Committed::Yes);
}

/// Some hours with records in some of them.
fn busy(world: &World, hours: i64) {
    for hour in 0..hours {
        if hour % 3 != 1 {
            remember(world);
            remember(world);
        }
        world.advance(3600);
    }
}

#[track_caller]
fn assert_whole(world: &World, label: &str) {
    let digests = world.stored_digests();
    let found = verify(&world.whole_audit(), &digests, world.now());
    assert_eq!(found.findings, [], "{label}");
    assert_eq!(world.violations(), [""; 0], "{label}");
    let names: std::collections::BTreeSet<_> = digests.iter().map(|digest| &digest.name).collect();
    assert_eq!(names.len(), digests.len(), "{label}");
}

#[test]
fn missed_hours_are_made_up_and_hours_without_records_have_their_digest() {
    let world = World::new();
    digest(&world);
    assert!(world.stored_digests().is_empty(), "the first hour is not over");
    busy(&world, 7);
    world.advance(899);
    digest(&world);
    // The seventh has not settled by one second.
    assert_eq!(world.stored_digests().len(), 6);
    world.advance(1);
    digest(&world);
    digest(&world);
    assert_eq!(world.stored_digests().len(), 7);
    let sizes: Vec<_> = world
        .stored_digests()
        .iter()
        .map(|stored| Digest::read(&stored.text).unwrap().records.len())
        .collect();
    assert_eq!(sizes, [2, 0, 2, 2, 0, 2, 2]);
    assert_whole(&world, "made up");
}

/// Each call of the writing of digests fails in each way; the next run puts it right.
#[test]
fn digests_are_written_once_whatever_fails() {
    let prepared = || {
        let world = World::new();
        digest(&world);
        busy(&world, 3);
        world.advance(900);
        world
    };
    let recorded = prepared();
    let before = recorded.calls().len();
    digest(&recorded);
    let after = recorded.calls().len();
    let mut cases = 0;
    for number in before..after {
        for fault in Fault::ALL {
            let world = prepared();
            world.fail_call(number, fault);
            drop(block_on(write_due(&world, &world, &world, HOUR)));
            world.recover();
            world.clear_faults();
            world.land_late_writes();
            digest(&world);
            let label = format!("{fault:?} of call {number} ({})", recorded.calls()[number].port);
            assert_eq!(world.stored_digests().len(), 3, "{label}");
            assert_whole(&world, &label);
            cases += 1;
        }
    }
    assert!(cases >= 70, "{cases} cases");
}

#[test]
fn two_sweeps_that_meet_write_one_chain_of_digests() {
    let world = World::new();
    digest(&world);
    busy(&world, 3);
    world.advance(900);
    let before = world.calls().len();
    for step in 0..12 {
        world.before_call(before + step, |world| {
            block_on(write_due(world, world, world, HOUR)).unwrap();
        });
    }
    digest(&world);
    assert_eq!(world.stored_digests().len(), 3);
    assert_whole(&world, "two at once");
}

/// What nobody notices in the table is found by the digests: here, a registry that was put back to an earlier state.
#[test]
fn a_lost_registry_breaks_a_chain_visibly() {
    let world = World::new();
    digest(&world);
    remember(&world);
    remember(&world);
    world.lose_registry_table();
    remember(&world);
    let found = verify(&world.whole_audit(), &[], world.now()).findings;
    assert_eq!(found.iter().map(|one| &one.fault).collect::<Vec<_>>(), [&AuditFault::ChainBroken]);
}

#[test]
fn sessions_that_began_before_there_were_chains_go_on() {
    let mut bench = Bench::new();
    let id = bench.granted("developer", "0123-4567");
    // As the version before left it: a row without a head.
    let mut old = serde_json::to_value(bench.world.row(&id).unwrap()).unwrap();
    old.as_object_mut().unwrap().remove("audit_head").unwrap();
    let old: Session = serde_json::from_value(old).unwrap();
    let change = old.ending(EndCause::Revoked, None, &ChangedBy::service("test"), bench.world.now()).unwrap();
    assert_eq!(change.audit.previous, None, "the chain begins where it stands");
    assert!(change.audit.hash.is_some());
    assert_eq!(change.session.audit_head, change.audit.hash);
}

const TOO_LONG: &str = "refused.WindowTooLong";

/// Sue asks for more than she may have.
fn refused(bench: &Bench) -> Response {
    let body = json!({"client_request_id": "0123-4567", "duration_seconds": 40 * 3600, "reason": "to see what happens"});
    bench.service.send(&sue(), "POST", "/tiers/{tier}/sessions", "developer", &body).unwrap()
}

#[test]
fn refusals_of_registered_callers_are_recorded_once_a_minute_and_counted() {
    let bench = Bench::new();
    for _ in 0..3 {
        for _ in 0..5 {
            assert_eq!(refused(&bench).status, 403);
        }
        bench.world.advance(60);
    }
    let records = bench.world.audit("refusals#AIDASUE");
    let counts: Vec<_> = records.iter().map(|record| record.details["unrecorded_before"].clone()).collect();
    assert_eq!(counts, [0, 4, 4]);
    assert!(records.iter().all(|record| record.what == TOO_LONG && record.by.person().is_some()));
    assert_eq!(records[0].details["operation"], "POST /tiers/{tier}/sessions");
    assert_eq!(bench.world.refusal_tallies()[0].unrecorded, 4, "what no record says yet is not forgotten");
    assert_whole(&bench.world, "refusals");

    // A principal whom nobody registered leaves nothing, whatever it tries.
    let stranger = Identity { unique_id: "AIDASTRANGER".into(), ..sue() };
    let answer = bench.service.send(&stranger, "GET", "/sessions", "", &Value::Null).unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(bench.world.audit("refusals#AIDASTRANGER"), []);
}

#[test]
fn a_refusal_stands_whatever_becomes_of_its_record() {
    for port in ["refusal_tally", "record_refusal"] {
        for fault in [
            Fault::Refused,
            Fault::Throttled,
            Fault::TimedOutApplied,
            Fault::TimedOutNotApplied,
            Fault::AppliedLate,
        ] {
            let bench = Bench::new();
            bench.world.fail_port(port, fault);
            let answer = refused(&bench);
            assert_eq!(
                (answer.status, &answer.body["code"]),
                (403, &json!("WindowTooLong")),
                "{fault:?} of {port}"
            );
            bench.world.clear_faults();
            bench.world.land_late_writes();
            bench.world.advance(60);
            refused(&bench);
            let records = bench.world.audit("refusals#AIDASUE");
            assert!((1..=2).contains(&records.len()), "{fault:?} of {port}: {records:#?}");
            assert_whole(&bench.world, &format!("{fault:?} of {port}"));
        }
    }
}

#[test]
fn two_refusals_at_once_are_two() {
    let bench = Bench::new();
    let begun = bench.world.calls().len();
    refused(&bench);
    // Just before the tally of the next one is written another one comes.
    let one = bench.world.calls().split_off(begun);
    let write = one.iter().position(|call| call.port == "record_refusal").unwrap();
    let next = begun + one.len() + write;
    bench.world.before_call(next, |world| {
        // What the other function does: it counts.
        let tally = world.refusal_tallies()[0].clone();
        let note = sorry_session::audit::refusal::RefusalNote {
            tally: sorry_session::audit::refusal::RefusalTally {
                unrecorded: tally.unrecorded + 1,
                ..tally.clone()
            },
            record: None,
        };
        let written = block_on(world.record_refusal(&note, Some(&tally))).unwrap();
        assert_eq!(written, Committed::Yes);
    });
    refused(&bench);
    assert_eq!(bench.world.refusal_tallies()[0].unrecorded, 2, "none is lost");
}

#[test]
fn the_audit_is_read_by_those_who_may_and_page_by_page() {
    let mut bench = Bench::new();
    let id = bench.granted("developer", "0123-4567");
    refused(&bench);
    let ask = |who: &Identity, query: &[(&str, &str)]| {
        bench.service.send_with_query(who, "GET", "/audit", "", query, &Value::Null).unwrap()
    };
    for path in ["/audit", "/audit/digests"] {
        let answer = bench.service.send(&sue(), "GET", path, "", &Value::Null).unwrap();
        assert_eq!((answer.status, &answer.body["code"]), (403, &json!("NotAllowed")), "{path}");
    }
    let all = |query: &[(&str, &str)]| {
        let (mut records, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = query.to_vec();
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let answer = ask(&administrator(), &query);
            assert_eq!(answer.status, 200, "{}", answer.body);
            records.extend(answer.body["records"].as_array().unwrap().clone());
            match answer.body["cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return records,
            }
        }
    };
    let of_session = all(&[("session", id.as_str())]);
    assert_eq!(of_session.len(), bench.world.audit(id.as_str()).len());
    assert_eq!(all(&[]).len(), bench.world.whole_audit().len(), "the last day is everything here");
    let hers = all(&[("person", "sue")]);
    assert!(hers.len() > of_session.len() && hers.iter().any(|record| record["what"] == TOO_LONG));
    assert!(all(&[("person", "bob")]).is_empty());
    assert!(all(&[("to", "2020-01-01T00:00:00Z")]).is_empty());
    assert!(all(&[("session", id.as_str()), ("from", "2030-01-01T00:00:00Z")]).is_empty());
    for bad in [
        &[("session", "x")][..],
        &[("session", id.as_str()), ("subject", "tiers")],
        &[("subject", "")],
        &[("from", "yesterday")],
        &[("cursor", "50")],
    ] {
        let answer = ask(&administrator(), bad);
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!("InvalidInput")), "{bad:?}");
    }
    // A row in the registry is enough to read, and for nothing else under /admin.
    bench.world.plant_caller(CallerEntry {
        roles: [CallerRole::Security].into(),
        unique_id: "AIDAANN".into(),
        person: "ann".parse().unwrap(),
        namespace: "ann".parse().unwrap(),
        ..bench.world.aside(|world| block_on(world.caller("AIDASUE")).unwrap().unwrap())
    });
    let ann = Identity { unique_id: "AIDAANN".into(), ..sue() };
    assert_eq!(ask(&ann, &[]).status, 200);
    let admin = bench.service.send(&ann, "GET", "/admin/callers", "", &Value::Null).unwrap();
    assert_eq!(admin.status, 403);
}
