//! What every store keeps, whatever it is made of; see `queue/conformance.rs`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use crate::clock::later;
use crate::message::Map;
use crate::queue::conformance::{Place, bodies, consume, end, entry, nothing_comes, settle, store, take};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// All cases, each in a place of its own.
pub async fn run<P: Place>(new_place: impl Fn() -> P) {
    a_repeat_is_told_and_a_conflict_kept(&new_place()).await;
    a_claim_ends_with_its_time(&new_place()).await;
    an_intake_is_all_or_nothing_with_its_cursor(&new_place()).await;
    settles_commit_in_the_order_given(&new_place()).await;
    a_settle_is_all_or_nothing(&new_place()).await;
    dead_letters_keep_everything(&new_place()).await;
    dead_letters_are_listed_and_dealt_with_once(&new_place()).await;
    a_row_is_never_covered_by_an_older_one(&new_place()).await;
    rows_of_the_hub_are_listed_newest_first(&new_place()).await;
    an_answer_is_kept_for_whatever_repeats_its_message(&new_place()).await;
    a_group_gathers_and_closes_once(&new_place()).await;
    the_journal_tells_and_is_searched(&new_place()).await;
    what_is_past_its_time_is_forgotten(&new_place()).await;
    a_secret_is_kept_over_its_version(&new_place()).await;
    a_turn_at_a_secret_has_one_holder(&new_place()).await;
}

/// Long enough for a test, by any clock.
const TURN: Duration = Duration::from_secs(3600);

async fn a_secret_is_kept_over_its_version<P: Place>(place: &P) {
    let mut engine = place.open().await;
    let vault = &engine.store;
    let keep = async |engine: &Engine, version: i64, value: &str| {
        engine.store.keep("erp", "me", version, &Value::from(value)).await.expect("it can be written")
    };
    assert_eq!(vault.kept("erp").await.expect("it can be read"), Kept::default());
    assert!(!keep(&engine, 0, "no turn was ever taken").await);
    let mine = vault.take_turn("erp", "me", TURN).await.expect("it can be taken");
    assert_eq!(mine, Some(Kept::default()));
    assert!(keep(&engine, 0, "one\u{0}").await);
    assert!(!keep(&engine, 0, "late").await, "the version is another");
    drop(engine);
    engine = place.open().await;
    let kept = engine.store.kept("erp").await.expect("it can be read");
    assert_eq!(kept, Kept { version: 1, value: Some("one\u{0}".into()) });
    assert_eq!(format!("{kept:?}"), "version 1 of a secret");
    assert!(keep(&engine, 1, "two").await);
    assert!(!keep(&engine, 3, "early").await);
    assert_eq!(engine.store.kept("erp").await.expect("it can be read"), Kept { version: 2, value: Some("two".into()) });
    assert_eq!(engine.store.kept("crm").await.expect("it can be read"), Kept::default());
}

async fn a_turn_at_a_secret_has_one_holder<P: Place>(place: &P) {
    let engine = place.open().await;
    let vault = &engine.store;
    let take = async |holder: &str, lives: Duration| {
        vault.take_turn("erp", holder, lives).await.expect("it can be asked").map(|kept| kept.version)
    };
    // Of many who ask at once, one has it.
    let holders = ["a", "b", "c", "d"];
    let asked = futures_util::future::join_all(holders.map(|holder| take(holder, TURN))).await;
    let has = asked.iter().position(Option::is_some).expect("somebody has it");
    assert_eq!(asked.iter().flatten().count(), 1, "{asked:?}");
    let (mine, other) = (holders[has], holders[(has + 1) % 4]);
    assert_eq!(take(mine, TURN).await, Some(0), "asking again is no harm");
    assert_eq!(take(other, TURN).await, None);
    vault.pass_on("erp", other).await.expect("it can be written");
    assert_eq!(take(other, TURN).await, None, "only the holder passes it on");
    vault.pass_on("erp", mine).await.expect("it can be written");
    assert_eq!(take(other, TURN).await, Some(0));
    // Keeping ends it.
    assert!(vault.keep("erp", other, 0, &Value::from("one")).await.expect("it can be written"));
    // One whose holder died ends with its time.
    assert_eq!(take(mine, Duration::from_millis(200)).await, Some(1));
    assert_eq!(take(other, TURN).await, None);
    while take(other, TURN).await.is_none() {
        place.clock().advance(Duration::from_millis(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The former holder wakes: what it brings is kept, as nothing newer is, and the other's turn goes on.
    assert!(vault.keep("erp", mine, 1, &Value::from("two")).await.expect("it can be written"));
    assert_eq!(take("e", TURN).await, None);
    assert!(!vault.keep("erp", other, 1, &Value::from("three")).await.expect("it can be written"));
    assert_eq!(vault.kept("erp").await.expect("it can be read").value, Some("two".into()));
}

/// A place whose engine is a ledger too.
#[async_trait]
pub trait LedgerPlace: Place {
    async fn ledger(&self) -> Arc<dyn Ledger>;
}

/// What the database of the distributed engine keeps beside that.
pub async fn ledger<P: LedgerPlace>(new_place: impl Fn() -> P) {
    a_claim_is_taken_then_ended(&new_place()).await;
    an_end_is_told_once(&new_place()).await;
    an_old_fence_keeps_nothing(&new_place()).await;
    what_is_parked_comes_back_in_its_order(&new_place()).await;
    a_replay_from_elsewhere_goes_first(&new_place()).await;
    leases_have_one_holder(&new_place()).await;
}

pub fn dead_letter(replay: &NewEntry) -> DeadLetter {
    DeadLetter {
        message: replay.message,
        origin: replay.origin,
        pipeline: "web-order".into(),
        destination: Some("erp".into()),
        key: replay.key.clone(),
        time: replay.time,
        at: Timestamp::UNIX_EPOCH,
        headers: [("who", "Ada")].into_iter().collect::<Map>(),
        body: Bytes::from_static(b"original \xff bytes"),
        code: "HTTP-422".into(),
        cause: "refused".to_owned(),
        step: Some("steps[2] map".to_owned()),
        position: Some("$.lines[3]".to_owned()),
        attempts: 3,
        replay: replay.clone(),
    }
}

pub fn hop(message: MessageId, event: Event) -> Hop {
    Hop {
        origin: message,
        message,
        pipeline: "web-order".into(),
        at: Timestamp::UNIX_EPOCH,
        event,
        destination: None,
        note: None,
        count: 1,
        track: Vec::new(),
    }
}

fn claim(place: &impl Place, key: u8, content: u8, message: MessageId) -> Claim {
    let until = later(place.clock().now(), MONTH);
    Claim { pipeline: "web-order".into(), key: [key; 16], content: [content; 16], message, until }
}

async fn arrive(place: &impl Place, engine: &Engine, key: u8, content: u8, body: &str) -> Accepted {
    let mut new = entry("web-order", None, body);
    // The id comes from the key alone, as for a stated `dedupe`.
    new.message = MessageId::derive(&[&[key]]);
    new.origin = new.message;
    let claim = Some(claim(place, key, content, new.message));
    let hops = vec![hop(new.message, Event::Accepted)];
    let arrivals = vec![Intake { claim, stored: Stored::Entry(new), hops }];
    engine.store.intake(arrivals, None).await.expect("the intake is taken")[0]
}

async fn a_repeat_is_told_and_a_conflict_kept<P: Place>(place: &P) {
    let mut engine = place.open().await;
    let first = MessageId::derive(&[&[1]]);
    assert_eq!(arrive(place, &engine, 1, 1, "one").await, Accepted::New(first));
    assert_eq!(arrive(place, &engine, 1, 1, "one").await, Accepted::Repeat(first));
    drop(engine);
    engine = place.open().await;
    assert_eq!(arrive(place, &engine, 1, 1, "one").await, Accepted::Repeat(first));
    let Accepted::Conflict(id) = arrive(place, &engine, 1, 2, "other").await else { panic!("a conflict was expected") };
    assert_ne!(id, first);
    assert_eq!(arrive(place, &engine, 1, 2, "other").await, Accepted::Conflict(id), "the same conflict again");
    let dead = engine.store.dead_letter(id).await.expect("it can be read").expect("it is there");
    assert_eq!((dead.code.as_str(), &dead.body[..]), ("DEDUPE-CONFLICT", &b"other"[..]));
    assert_eq!((dead.replay.message, &dead.replay.body[..]), (id, &b"other"[..]));
    assert_eq!(engine.queue.depth("web-order").await.expect("the depth is known").entries, 1);
    let events: Vec<_> =
        engine.store.journal(first).await.expect("it can be read").iter().map(|hop| hop.event).collect();
    assert_eq!(events, [Event::Accepted, Event::Repeat, Event::Repeat, Event::Conflict, Event::Conflict]);
    // One of many in a commit, and twice in the same one.
    let second = entry("web-order", None, "two");
    let twice = Intake {
        claim: Some(claim(place, 2, 1, second.message)),
        stored: Stored::Entry(second.clone()),
        hops: Vec::new(),
    };
    let accepted = engine.store.intake(vec![twice.clone(), twice], None).await.expect("the intake is taken");
    assert_eq!(accepted, [Accepted::New(second.message), Accepted::Repeat(second.message)]);
}

async fn a_claim_ends_with_its_time<P: Place>(place: &P) {
    let engine = place.open().await;
    let first = MessageId::derive(&[&[1]]);
    arrive(place, &engine, 1, 1, "one").await;
    place.clock().advance(MONTH);
    assert_eq!(arrive(place, &engine, 1, 2, "next year").await, Accepted::New(first));
}

async fn an_intake_is_all_or_nothing_with_its_cursor<P: Place>(place: &P) {
    let mut engine = place.open().await;
    let arrival = |body: &str| Intake { claim: None, stored: Stored::Entry(entry("q", None, body)), hops: Vec::new() };
    let undecoded = Stored::Dead(Box::new(dead_letter(&entry("q", None, "undecoded"))));
    let arrivals = vec![arrival("1"), Intake { claim: None, stored: undecoded, hops: Vec::new() }];
    let cursor = Some(("files".into(), Value::from(2_i64)));
    let accepted = engine.store.intake(arrivals, cursor).await.expect("the intake is taken");
    assert_eq!(accepted.len(), 2);
    drop(engine);
    engine = place.open().await;
    assert_eq!(engine.store.cursor("files").await.expect("it can be read"), Some(Value::from(2_i64)));
    assert_eq!(engine.store.cursor("others").await.expect("it can be read"), None);
    assert_eq!(engine.queue.depth("q").await.expect("the depth is known").entries, 1);
    assert_eq!(engine.store.dead_count().await.expect("they can be counted"), [("web-order".into(), 1)]);
}

async fn settles_commit_in_the_order_given<P: Place>(place: &P) {
    let engine = place.open().await;
    let settles = (0..300).map(|n| {
        let outputs = vec![entry("q", Some("k"), &n.to_string())];
        engine.store.settle(Settlement { outputs, ..Settlement::default() })
    });
    for outcome in futures_util::future::join_all(settles).await {
        outcome.expect("the settle is taken");
    }
    let mut consumer = consume(&engine, "q").await;
    for n in 0..300 {
        let next = take(&mut consumer, 1).await;
        assert_eq!(bodies(&next), [n.to_string()]);
        end(&engine, &next).await;
    }
}

async fn a_settle_is_all_or_nothing<P: Place>(place: &P) {
    let engine = place.open().await;
    let new = entry("q", None, "1");
    store(&engine, std::slice::from_ref(&new)).await;
    let mut consumer = consume(&engine, "q").await;
    let out = take(&mut consumer, 1).await;
    // Everything a settlement can hold, and a dead letter that is not there.
    let settlement = Settlement {
        ended: vec![out[0].at],
        outputs: vec![entry("q.to.erp", None, "2")],
        dead: vec![dead_letter(&new)],
        dead_ended: vec![MessageId::derive(&[b"nobody"])],
        hops: vec![hop(new.message, Event::Routed)],
        cursors: vec![("files".into(), Value::from(1_i64))],
        held: vec![("q".into(), "k".into())],
        ..Settlement::default()
    };
    let fault = engine.store.settle(settlement.clone()).await;
    assert_eq!(fault.expect_err("the dead letter is not there").code(), "STORE-STALE");
    let read = "it can be read";
    assert_eq!(engine.queue.depth("q").await.expect(read).entries, 1);
    assert_eq!(engine.queue.depth("q.to.erp").await.expect(read).entries, 0);
    assert_eq!(engine.store.dead_count().await.expect(read), []);
    assert_eq!(engine.store.journal(new.message).await.expect(read), []);
    assert_eq!(engine.store.cursor("files").await.expect(read), None);
    store(&engine, &[entry("q", Some("k"), "not held")]).await;
    assert_eq!(bodies(&take(&mut consumer, 1).await), ["not held"]);
    // Its neighbours in the same commit are not disturbed.
    let good = Settlement { dead_ended: Vec::new(), held: Vec::new(), ..settlement.clone() };
    let elsewhere = Settlement { outputs: vec![entry("other", None, "3")], ..Settlement::default() };
    let (bad, good, elsewhere) =
        tokio::join!(engine.store.settle(settlement), engine.store.settle(good), engine.store.settle(elsewhere));
    assert!(bad.is_err() && good.is_ok() && elsewhere.is_ok(), "{bad:?} {good:?} {elsewhere:?}");
    assert_eq!(engine.queue.depth("q.to.erp").await.expect(read).entries, 1);
    assert_eq!(engine.queue.depth("other").await.expect(read).entries, 1);
    assert_eq!(engine.store.journal(new.message).await.expect(read), [hop(new.message, Event::Routed)]);
}

async fn dead_letters_keep_everything<P: Place>(place: &P) {
    let mut engine = place.open().await;
    let full = dead_letter(&entry("q", Some("k"), "1"));
    let mut bare = dead_letter(&NewEntry { headers: Map::new(), key: None, start_at: 4, ..entry("q", None, "2") });
    (bare.destination, bare.step, bare.position) = (None, None, None);
    bare.body = bare.replay.body.clone();
    let dead = vec![full.clone(), bare.clone()];
    settle(&engine, Settlement { dead, ..Settlement::default() }).await;
    drop(engine);
    engine = place.open().await;
    for letter in [full, bare] {
        assert_eq!(engine.store.dead_letter(letter.message).await.expect("it can be read"), Some(letter));
    }
    let nobody = engine.store.dead_letter(MessageId::derive(&[b"nobody"])).await;
    assert_eq!(nobody.expect("it can be asked for"), None);
}

async fn dead_letters_are_listed_and_dealt_with_once<P: Place>(place: &P) {
    let engine = place.open().await;
    let letter = |n: usize| {
        let mut dead = dead_letter(&entry("q", None, &n.to_string()));
        if n % 2 == 1 {
            dead.pipeline = "other".into();
            dead.code = "DECODE-CSV".into();
            dead.destination = None;
        }
        dead
    };
    let letters: Vec<_> = (0..10).map(letter).collect();
    settle(&engine, Settlement { dead: letters.clone(), ..Settlement::default() }).await;
    let list = async |filter: DeadFilter| {
        let found = engine.store.dead_letters(filter).await.expect("they can be listed");
        found.into_iter().map(|dead| dead.message).collect::<Vec<_>>()
    };
    let ids = |range: &[usize]| range.iter().map(|n| letters[*n].message).collect::<Vec<_>>();
    let all = DeadFilter { most: 3, ..DeadFilter::default() };
    assert_eq!(list(all.clone()).await, ids(&[0, 1, 2]));
    assert_eq!(list(DeadFilter { after: Some(letters[2].message), ..all.clone() }).await, ids(&[3, 4, 5]));
    assert_eq!(list(DeadFilter { pipeline: Some("other".into()), ..all.clone() }).await, ids(&[1, 3, 5]));
    assert_eq!(list(DeadFilter { destination: Some("erp".into()), ..all.clone() }).await, ids(&[0, 2, 4]));
    assert_eq!(list(DeadFilter { code: Some("DECODE-CSV".into()), ..all.clone() }).await, ids(&[1, 3, 5]));
    assert_eq!(list(DeadFilter { code: Some("HTTP-422".into()), pipeline: Some("other".into()), ..all }).await, []);
    // Two people replay the same one.
    let replay = || Settlement {
        dead_ended: vec![letters[0].message],
        outputs: vec![letters[0].replay.clone()],
        ..Settlement::default()
    };
    let (one, two) = tokio::join!(engine.store.settle(replay()), engine.store.settle(replay()));
    assert!(one.is_ok() && two.is_err());
    assert_eq!(engine.queue.depth("q").await.expect("the depth is known").entries, 1);
    assert_eq!(
        engine.store.dead_count().await.expect("they can be counted"),
        [("other".into(), 5), ("web-order".into(), 4)]
    );
}

async fn a_row_is_never_covered_by_an_older_one<P: Place>(place: &P) {
    let engine = place.open().await;
    let now = place.clock().now();
    let write = |value: &str, seconds: u64, until| RowWrite {
        table: "orders".into(),
        key: "1042".into(),
        row: [("status", value)].into_iter().collect(),
        time: later(now, Duration::from_secs(seconds)),
        until,
    };
    let read = async |now| {
        let row = engine.store.row("orders", "1042", now).await.expect("it can be read");
        row.and_then(|row| row.get("status").and_then(Value::as_text).map(str::to_owned))
    };
    let put = async |row| settle(&engine, Settlement { rows: vec![row], ..Settlement::default() }).await;
    assert_eq!(read(now).await, None);
    put(write("paid", 10, None)).await;
    put(write("placed", 5, None)).await;
    assert_eq!(read(now).await.as_deref(), Some("paid"));
    put(write("sent", 10, Some(later(now, Duration::from_secs(60))))).await;
    assert_eq!(read(now).await.as_deref(), Some("sent"));
    assert_eq!(read(later(now, Duration::from_secs(60))).await, None);
    assert_eq!(engine.store.row("others", "1042", now).await.expect("it can be read"), None);
}

async fn rows_of_the_hub_are_listed_newest_first<P: Place>(place: &P) {
    let engine = place.open().await;
    let now = place.clock().now();
    let after = |seconds| later(now, Duration::from_secs(seconds));
    let write = |table: &str, key: &str, seconds, until| RowWrite {
        table: table.into(),
        key: key.into(),
        row: [("key", key)].into_iter().collect(),
        time: after(seconds),
        until,
    };
    let rows = vec![
        write("@sent", r#"["lampes","1"]"#, 1, None),
        write("@sent", r#"["lampes","2"]"#, 3, Some(after(9))),
        write("@sent", r#"["lampes","3"]"#, 2, Some(after(90))),
        write("@sent", r#"["lampes-2","1"]"#, 4, None),
        write("@seen", r#"["lampes","1"]"#, 5, None),
    ];
    settle(&engine, Settlement { rows, ..Settlement::default() }).await;
    let list = async |prefix: &str, seconds, most| {
        let rows = engine.store.rows("@sent", prefix, after(seconds), most).await.expect("they can be read");
        let key = |row: Map| row.get("key").and_then(Value::as_text).unwrap_or_default().to_owned();
        rows.into_iter().map(key).collect::<Vec<_>>()
    };
    let [one, two, three] = [r#"["lampes","1"]"#, r#"["lampes","2"]"#, r#"["lampes","3"]"#];
    assert_eq!(list(r#"["lampes","#, 5, 10).await, [two, three, one]);
    assert_eq!(list(r#"["lampes","#, 5, 2).await, [two, three]);
    assert_eq!(list(r#"["lampes","#, 10, 10).await, [three, one]);
    assert_eq!(list("", 5, 1).await, [r#"["lampes-2","1"]"#]);
}

async fn an_answer_is_kept_for_whatever_repeats_its_message<P: Place>(place: &P) {
    let mut engine = place.open().await;
    let (first, second) = (MessageId::derive(&[b"1"]), MessageId::derive(&[b"2"]));
    let write = |message, place: &str, answer: Option<Value>| AnswerWrite { message, place: place.into(), answer };
    let settle = async |engine: &Engine, answers: Vec<AnswerWrite>| {
        engine.store.settle(Settlement { answers, ..Settlement::default() }).await
    };
    let lamp: Value = [("name", "Lamp \0")].into_iter().collect::<Map>().into();
    let answers = vec![
        write(first, "a#1", Some(lamp.clone())),
        write(first, "a#2", None),
        write(first, "b#1", Some(Value::Null)),
        write(second, "a#1", Some("other".into())),
    ];
    settle(&engine, answers.clone()).await.expect("answers can be written");
    settle(&engine, answers).await.expect("the same again is the same");
    let another = vec![write(first, "a#3", None), write(first, "a#2", Some("late".into()))];
    let fault = settle(&engine, another).await.expect_err("another answer was given before");
    assert_eq!(fault.code(), "STORE-STALE");
    drop(engine);
    engine = place.open().await;
    let mut kept = engine.store.answers(first).await.expect("answers can be read");
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(kept, [("a#1".into(), Some(lamp)), ("a#2".into(), None), ("b#1".into(), Some(Value::Null))]);
    assert_eq!(engine.store.answers(MessageId::derive(&[b"3"])).await.expect("answers can be read"), []);
    // They go with the journal, but not before the dead letters that may be replayed.
    place.clock().advance(MONTH + Duration::from_secs(1));
    let retention = |dead_letters| Retention { journal: MONTH, dead_letters };
    let sweep = async |retention| {
        while engine.store.sweep(place.clock().now(), retention).await.expect("the store can be swept") {}
        engine.store.answers(second).await.expect("answers can be read").len()
    };
    assert_eq!(sweep(retention(MONTH * 2)).await, 1);
    assert_eq!(sweep(retention(MONTH)).await, 0);
}

async fn a_group_gathers_and_closes_once<P: Place>(place: &P) {
    let mut engine = place.open().await;
    let now = place.clock().now();
    let group = GroupKey { pipeline: "web-order".into(), step: "steps[3]".into(), key: "1042".into() };
    let join = |n: &str, closes| GroupWrite::Join {
        group: group.clone(),
        message: MessageId::derive(&[n.as_bytes()]),
        member: n.into(),
        at: now,
        closes,
    };
    let put = |write| Settlement { groups: vec![write], ..Settlement::default() };
    let closes = later(now, Duration::from_secs(60));
    assert_eq!(engine.store.group(&group).await.expect("it can be read"), Group::default());
    settle(&engine, put(join("a", Some(closes)))).await;
    settle(&engine, put(join("b", None))).await;
    settle(&engine, put(join("a", None))).await;
    drop(engine);
    engine = place.open().await;
    let gathered = Group { window: 0, opened: Some(now), members: vec!["a".into(), "b".into()] };
    assert_eq!(engine.store.group(&group).await.expect("it can be read"), gathered);
    assert_eq!(engine.store.due_groups(&group.pipeline, now, 10).await.expect("they can be listed"), []);
    let due = vec![DueGroup { key: group.clone(), group: gathered }];
    assert_eq!(engine.store.due_groups(&group.pipeline, closes, 10).await.expect("they can be listed"), due);
    assert_eq!(engine.store.due_groups("another", closes, 10).await.expect("they can be listed"), []);
    // Who closes has the queue's turn.
    let consumer = consume(&engine, &group.pipeline).await;
    while !consumer.leads() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let close = GroupWrite::Close { group: group.clone(), window: 0 };
    settle(&engine, put(close.clone())).await;
    let twice = engine.store.settle(put(close)).await;
    assert_eq!(twice.expect_err("it is closed").code(), "STORE-STALE");
    assert_eq!(engine.store.group(&group).await.expect("it can be read"), Group { window: 1, ..Group::default() });
    assert_eq!(engine.store.due_groups(&group.pipeline, closes, 10).await.expect("they can be listed"), []);
    settle(&engine, put(join("a", None))).await;
    assert_eq!(engine.store.group(&group).await.expect("it can be read").members, ["a".into()]);
}

async fn the_journal_tells_and_is_searched<P: Place>(place: &P) {
    let mut engine = place.open().await;
    let origin = |n: usize| MessageId::derive(&[&n.to_be_bytes()]);
    let full = Hop {
        message: origin(7).child("erp", 0),
        destination: Some("erp".into()),
        note: Some("ref 12".into()),
        count: 40_000,
        track: vec![("order".into(), "#7".into()), ("customer".into(), "ada@example.com".into())],
        ..hop(origin(7), Event::Delivered)
    };
    let accepted =
        |n: usize| Hop { track: vec![("order".into(), format!("#{n}").into())], ..hop(origin(n), Event::Accepted) };
    // Enough for several segments of an index.
    for part in 0..40 {
        let hops = (0..1000).map(|n| accepted(part * 1000 + n)).collect();
        settle(&engine, Settlement { hops, ..Settlement::default() }).await;
    }
    settle(&engine, Settlement { hops: vec![full.clone()], ..Settlement::default() }).await;
    for _ in 0..2 {
        let store = &engine.store;
        assert_eq!(store.journal(origin(7)).await.expect("it can be read"), [accepted(7), full.clone()]);
        for n in [1, 20_000, 39_999] {
            assert_eq!(store.journal(origin(n)).await.expect("it can be read"), [accepted(n)]);
            assert_eq!(store.search(&format!("#{n}"), 5).await.expect("it can be searched"), [origin(n)]);
        }
        assert_eq!(store.search("#7", 5).await.expect("it can be searched"), [origin(7)]);
        assert_eq!(store.search("ada@example.com", 5).await.expect("it can be searched"), [origin(7)]);
        assert_eq!(store.search("nobody", 5).await.expect("it can be searched"), []);
        drop(engine);
        engine = place.open().await;
    }
    let same = |n| Hop { track: vec![("order".into(), "same".into())], ..hop(origin(n), Event::Accepted) };
    for n in 0..5 {
        settle(&engine, Settlement { hops: vec![same(n)], ..Settlement::default() }).await;
    }
    assert_eq!(engine.store.search("same", 3).await.expect("it can be searched"), [origin(4), origin(3), origin(2)]);
}

async fn what_is_past_its_time_is_forgotten<P: Place>(place: &P) {
    let engine = place.open().await;
    let retention = Retention { journal: MONTH, dead_letters: MONTH * 2 };
    let sweep = async || {
        while engine.store.sweep(place.clock().now(), retention).await.expect("it can be swept") {}
    };
    let old = MessageId::derive(&[b"old"]);
    let dead = dead_letter(&entry("q", None, "dead"));
    settle(
        &engine,
        Settlement { hops: vec![hop(old, Event::Dead)], dead: vec![dead.clone()], ..Settlement::default() },
    )
    .await;
    sweep().await;
    assert_eq!(engine.store.journal(old).await.expect("it can be read").len(), 1);
    place.clock().advance(MONTH * 3 / 2);
    let new = MessageId::derive(&[b"new"]);
    settle(&engine, Settlement { hops: vec![hop(new, Event::Accepted)], ..Settlement::default() }).await;
    sweep().await;
    assert_eq!(engine.store.journal(old).await.expect("it can be read"), []);
    assert_eq!(engine.store.journal(new).await.expect("it can be read").len(), 1);
    assert!(engine.store.dead_letter(dead.message).await.expect("it can be read").is_some());
    // Dead letters count from when they were given up, which was the epoch.
    place.clock().advance(MONTH * 2);
    sweep().await;
    let left = engine.store.dead_letter(dead.message).await.expect("it can be read");
    let age = place.clock().now().duration_since(Timestamp::UNIX_EPOCH);
    assert_eq!(left.is_some(), age < (MONTH * 2).try_into().expect("two months are a span"));
    nothing_comes(&mut consume(&engine, "q").await).await;
}

fn engine_of(ledger: &Arc<dyn Ledger>) -> Engine {
    Engine { queue: ledger.clone(), store: ledger.clone(), instances: Arc::new(Alone) }
}

async fn a_claim_is_taken_then_ended<P: LedgerPlace>(place: &P) {
    let mut ledger = place.ledger().await;
    let (first, second) = (MessageId::derive(&[b"1"]), MessageId::derive(&[b"2"]));
    let one = |content| claim(place, 1, content, first);
    let two = claim(place, 2, 1, second);
    let take =
        async |ledger: &Arc<dyn Ledger>, claims: &[Claim]| ledger.claim(claims).await.expect("it can be asked for");
    assert_eq!(take(&ledger, &[one(1), two.clone()]).await, [Claimed::Taken; 2]);
    // Killed before it was ended: the same message goes on, other content does not.
    drop(ledger);
    ledger = place.ledger().await;
    assert_eq!(
        take(&ledger, &[one(2), two.clone(), one(1)]).await,
        [Claimed::Conflict, Claimed::Taken, Claimed::Taken]
    );
    let end = |claims: &[Claim]| Settlement { claimed: claims.to_vec(), ..Settlement::default() };
    let engine = engine_of(&ledger);
    // One that was lost with the last moments before a crash is ended all the same.
    settle(&engine, end(&[one(1), claim(place, 3, 1, second)])).await;
    settle(&engine, end(&[one(1)])).await;
    let three = claim(place, 3, 1, first);
    let expected = [Claimed::Repeat(first), Claimed::Conflict, Claimed::Taken, Claimed::Repeat(second)];
    assert_eq!(take(&ledger, &[one(1), one(2), two.clone(), three]).await, expected);
    drop((engine, ledger));
    ledger = place.ledger().await;
    assert_eq!(take(&ledger, &[one(1), two.clone()]).await, [Claimed::Repeat(first), Claimed::Taken]);
    place.clock().advance(MONTH);
    assert_eq!(take(&ledger, &[one(2)]).await, [Claimed::Taken]);
    // Of two at once with other contents, one has it.
    let (four, other) = ([claim(place, 4, 1, first)], [claim(place, 4, 2, first)]);
    let (here, there) = tokio::join!(take(&ledger, &four), take(&ledger, &other));
    let mut outcomes = [here[0], there[0]];
    outcomes.sort_by_key(|claimed| *claimed != Claimed::Taken);
    assert_eq!(outcomes, [Claimed::Taken, Claimed::Conflict]);
}

async fn an_end_is_told_once<P: LedgerPlace>(place: &P) {
    let mut ledger = place.ledger().await;
    let engine = engine_of(&ledger);
    let message = MessageId::derive(&[b"1"]);
    let entry_of = |queue: &str| (Text::from(queue), message);
    let ends = |queues: &[&str]| Settlement {
        settled: queues.iter().map(|queue| entry_of(queue)).collect(),
        hops: vec![hop(message, Event::Delivered)],
        ..Settlement::default()
    };
    settle(&engine, ends(&["web", "web.to.a"])).await;
    let again = engine.store.settle(ends(&["web.to.b", "web"])).await;
    assert_eq!(again.expect_err("it was told before").code(), "STORE-STALE");
    // One that is told by two at once is told by one, and a neighbour is not disturbed.
    let (one, two, other) = tokio::join!(
        engine.store.settle(ends(&["web.to.c"])),
        engine.store.settle(ends(&["web.to.c"])),
        engine.store.settle(ends(&["web.to.d"]))
    );
    assert!(one.is_ok() != two.is_ok() && other.is_ok(), "{one:?} {two:?} {other:?}");
    drop((engine, ledger));
    ledger = place.ledger().await;
    let asked = ["web", "web.to.a", "web.to.b", "web.to.c", "web.to.d"].map(entry_of);
    let told = ledger.settled(&asked).await.expect("it can be asked for");
    assert_eq!(told, [true, true, false, true, true]);
    assert_eq!(ledger.journal(message).await.expect("it can be read").len(), 3);
    // Kept as long as the journal.
    let retention = Retention { journal: MONTH, dead_letters: MONTH };
    for kept in [true, false] {
        while ledger.sweep(place.clock().now(), retention).await.expect("it can be swept") {}
        assert_eq!(ledger.settled(&asked[..1]).await.expect("it can be asked for"), [kept]);
        place.clock().advance(MONTH * 2);
    }
}

fn beat(instance: &str, take: &[&str]) -> Beat {
    let take: Vec<Text> = take.iter().copied().map(Text::new).collect();
    Beat {
        instance: instance.into(),
        name: format!("hub {instance}").into(),
        revision: "r1".into(),
        wants: take.clone(),
        lives: Duration::from_secs(60),
        take,
        ..Beat::default()
    }
}

async fn an_old_fence_keeps_nothing<P: LedgerPlace>(place: &P) {
    let ledger = place.ledger().await;
    let engine = engine_of(&ledger);
    let under = |fence: &Fence, body: &str| Settlement {
        outputs: vec![entry("q", None, body)],
        fences: vec![fence.clone()],
        ..Settlement::default()
    };
    let held = ledger.beat(beat("one", &["web#1"])).await.expect("it beats").held;
    let [fence] = &held[..] else { panic!("one lease was free: {held:?}") };
    settle(&engine, under(fence, "1")).await;
    if !ledger.is_shared() {
        return;
    }
    let unknown = Fence { lease: "web#2".into(), epoch: 1 };
    ledger.beat(Beat { pass_on: vec![fence.clone()], ..beat("one", &[]) }).await.expect("it beats");
    for old in [fence, &unknown] {
        let (stale, good) = tokio::join!(
            engine.store.settle(under(old, "late")),
            engine.store.settle(Settlement { outputs: vec![entry("other", None, "2")], ..Settlement::default() })
        );
        assert_eq!(stale.expect_err("the lease has passed on").code(), "STORE-STALE");
        good.expect("its neighbour is settled");
    }
    let held = ledger.beat(beat("two", &["web#1"])).await.expect("it beats").held;
    assert!(held[0].epoch > fence.epoch, "{held:?}");
    assert_eq!(engine.store.settle(under(fence, "late")).await.expect_err("it has passed on").code(), "STORE-STALE");
    let arrivals = || vec![Intake { claim: None, stored: Stored::Entry(entry("q", None, "2")), hops: Vec::new() }];
    let late = engine.store.intake_under(arrivals(), None, Some(fence.clone())).await;
    assert_eq!(late.expect_err("it has passed on").code(), "STORE-STALE");
    engine.store.intake_under(arrivals(), None, Some(held[0].clone())).await.expect("it is held");
    assert_eq!(engine.queue.entries("q").await.expect("they can be counted"), 2);
    assert_eq!(engine.queue.entries("other").await.expect("they can be counted"), 2);
}

async fn what_is_parked_comes_back_in_its_order<P: LedgerPlace>(place: &P) {
    let mut ledger = place.ledger().await;
    let mut engine = engine_of(&ledger);
    let due = Some(later(place.clock().now(), Duration::from_secs(60)));
    let park = |entries: &[(NewEntry, u32)]| Settlement { parked: entries.to_vec(), ..Settlement::default() };
    let retried = NewEntry { due, ..entry("q#1", Some("k"), "k1") };
    settle(&engine, park(&[(retried, 3), (entry("q#1", Some("k"), "k2"), 0)])).await;
    settle(&engine, park(&[(entry("q#1", Some("l"), "l1"), 2), (entry("q#1", Some("k"), "k3"), 0)])).await;
    let held = vec![("q#1".into(), "m".into())];
    settle(&engine, Settlement { held, ..Settlement::default() }).await;
    let key = |key: &str, entries, held| Key { key: key.into(), entries, held };
    let expected = [key("k", 3, false), key("l", 1, false), key("m", 0, true)];
    assert_eq!(ledger.keys("q#1").await.expect("they can be listed"), expected);
    assert_eq!(ledger.keys("q#2").await.expect("they can be listed"), []);
    drop((engine, ledger));
    ledger = place.ledger().await;
    engine = engine_of(&ledger);
    let mut consumer = consume(&engine, "q#1").await;
    let first = take(&mut consumer, 1).await;
    assert_eq!((bodies(&first), first[0].attempts), (vec!["l1".to_owned()], 2));
    nothing_comes(&mut consumer).await;
    place.clock().advance(Duration::from_secs(60));
    for (body, attempts) in [("k1", 3), ("k2", 0), ("k3", 0)] {
        let next = take(&mut consumer, 1).await;
        assert_eq!((bodies(&next), next[0].attempts), (vec![body.to_owned()], attempts));
        end(&engine, &next).await;
    }
    end(&engine, &first).await;
    assert_eq!(ledger.keys("q#1").await.expect("they can be listed"), [key("m", 0, true)]);
    ledger.release("q#1", "m").await.expect("it can be released");
    assert_eq!(ledger.keys("q#1").await.expect("they can be listed"), []);
}

/// What stopped the key came from a broker: it has no place here before the hold.
async fn a_replay_from_elsewhere_goes_first<P: LedgerPlace>(place: &P) {
    for stop_between in [false, true] {
        let mut engine = engine_of(&place.ledger().await);
        let park =
            |body: &str| Settlement { parked: vec![(entry("q#1", Some("k"), body), 0)], ..Settlement::default() };
        let dead = dead_letter(&entry("q#1", Some("k"), "k1"));
        let held = vec![("q#1".into(), "k".into())];
        settle(&engine, Settlement { dead: vec![dead.clone()], held, ..park("k2") }).await;
        settle(&engine, park("k3")).await;
        let mut consumer = consume(&engine, "q#1").await;
        nothing_comes(&mut consumer).await;
        if stop_between {
            drop((consumer, engine));
            engine = engine_of(&place.ledger().await);
            consumer = consume(&engine, "q#1").await;
        }
        settle(&engine, park("k4")).await;
        let replay = Settlement { dead_ended: vec![dead.message], outputs: vec![dead.replay], ..Settlement::default() };
        settle(&engine, replay).await;
        let first = take(&mut consumer, 1).await;
        assert_eq!(bodies(&first), ["k1"]);
        // Its place is its own, also after a stop.
        drop((consumer, engine));
        engine = engine_of(&place.ledger().await);
        consumer = consume(&engine, "q#1").await;
        for expected in ["k1", "k2", "k3", "k4"] {
            let next = take(&mut consumer, 1).await;
            assert_eq!(bodies(&next), [expected]);
            end(&engine, &next).await;
        }
        assert_eq!(engine.queue.entries("q#1").await.expect("they can be counted"), 0);
    }
}

async fn leases_have_one_holder<P: LedgerPlace>(place: &P) {
    let ledger = place.ledger().await;
    let held = async |beat: Beat| {
        let pulse = ledger.beat(beat).await.expect("it beats");
        let mut held = pulse.held.clone();
        held.sort_by(|one, two| one.lease.cmp(&two.lease));
        (held, pulse)
    };
    let names = |fences: &[Fence]| fences.iter().map(|fence| fence.lease.to_string()).collect::<Vec<_>>();
    let (one, pulse) = held(beat("one", &["a", "b"])).await;
    assert_eq!(names(&one), ["a", "b"]);
    assert_eq!(
        (pulse.instances.len(), pulse.instances[0].this, pulse.instances[0].name.as_str()),
        (1, true, "hub one")
    );
    assert_eq!(
        (&pulse.instances[0].holds[..], pulse.instances[0].revision.as_str()),
        (&["a".into(), "b".into()][..], "r1")
    );
    assert_eq!(pulse.wants, [("one".into(), vec!["a".into(), "b".into()])]);
    let (renewed, _) = held(Beat { renew: one.clone(), ..beat("one", &[]) }).await;
    assert_eq!(renewed, one);
    if !ledger.is_shared() {
        assert!(one.iter().all(|fence| fence.epoch == 1));
        return;
    }
    // What another has is not taken.
    let (two, pulse) = held(beat("two", &["a", "b", "c"])).await;
    assert_eq!(names(&two), ["c"]);
    assert_eq!(pulse.instances.iter().map(|each| each.this).collect::<Vec<_>>(), [true, false]);
    let mut leases = pulse.leases.clone();
    leases.sort_by(|one, two| one.name.cmp(&two.name));
    let lease = |name: &str, holder: Option<&str>| Lease { name: name.into(), holder: holder.map(Text::from) };
    assert_eq!(leases, [lease("a", Some("one")), lease("b", Some("one")), lease("c", Some("two"))]);
    // Passed on, and renewed by one who has it no more.
    let (kept, pulse) = held(Beat { renew: one[1..].to_vec(), pass_on: one[..1].to_vec(), ..beat("one", &[]) }).await;
    assert_eq!(names(&kept), ["b"]);
    assert!(pulse.leases.contains(&lease("a", None)), "{:?}", pulse.leases);
    let (two, _) = held(Beat { renew: two, ..beat("two", &["a"]) }).await;
    assert_eq!(names(&two), ["a", "c"]);
    assert!(two[0].epoch > one[0].epoch);
    assert_eq!(names(&held(Beat { renew: one.clone(), ..beat("one", &[]) }).await.0), ["b"]);
    // One that is silent for so long has lost what it held.
    let short = Duration::from_millis(300);
    held(Beat { renew: vec![one[1].clone()], lives: short, ..beat("one", &[]) }).await;
    let (three, pulse) = loop {
        let (three, pulse) = held(Beat { renew: two.clone(), ..beat("two", &["b"]) }).await;
        if names(&three).len() == 3 {
            break (three, pulse);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(three[1].epoch > one[1].epoch);
    assert_eq!(pulse.instances.len(), 1, "the other is dead");
    assert_eq!(names(&held(Beat { renew: one, ..beat("one", &[]) }).await.0), Vec::<String>::new());
    // Leaving passes on all.
    held(Beat { leaves: true, ..beat("two", &[]) }).await;
    let (one, pulse) = held(beat("one", &["a", "b", "c"])).await;
    assert_eq!(names(&one), ["a", "b", "c"]);
    assert_eq!(pulse.instances.len(), 1);
}
