//! Forgetting what is past its time, a bounded part at a call and a kind at a statement, so that no settle waits behind it.

use std::time::Duration;

use jiff::Timestamp;

use super::connection::Pool;
use crate::message::Fault;
use crate::queue::embedded::nanoseconds;
use crate::store::Retention;

/// Rows of one kind forgotten in one call.
const PART: i64 = 2000;

const ROWS: &str = "DELETE FROM durable_row WHERE place IN (SELECT place FROM durable_row
    WHERE until IS NOT NULL AND until <= $1 ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1";
// One that stops a key stays.
const DEAD: &str = "DELETE FROM dead WHERE number IN (SELECT number FROM dead WHERE at <= $1
    AND NOT EXISTS (SELECT 1 FROM held WHERE held.message = dead.replay_message) ORDER BY number LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING 1";
// A key that comes back starts at a window none of the forgotten had reached, so the ids of its closed groups stay new.
const GROUPS: &str = "WITH gone AS (DELETE FROM gathering WHERE number IN (SELECT number FROM gathering
        WHERE opened IS NULL AND touched <= $1 ORDER BY touched LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING turn),
    kept AS (INSERT INTO fact (name, value) SELECT 'first_window', max(turn) FROM gone HAVING count(*) > 0
        ON CONFLICT (name) DO UPDATE SET value = greatest(fact.value, excluded.value))
    SELECT turn FROM gone";
const JOURNAL: &str =
    "DELETE FROM journal_page WHERE id IN (SELECT id FROM journal_page ORDER BY id LIMIT $2) AND at <= $1
    RETURNING 1";
const CLAIMS: &str = "DELETE FROM claim WHERE key IN (SELECT key FROM claim WHERE until <= $1 ORDER BY until LIMIT $2
    FOR UPDATE SKIP LOCKED) RETURNING 1";
const ANSWERS: &str =
    "DELETE FROM answers WHERE number IN (SELECT number FROM answers ORDER BY number LIMIT $2) AND at <= $1
    RETURNING 1";
const SETTLED: &str =
    "DELETE FROM settled WHERE entry IN (SELECT entry FROM settled WHERE at <= $1 ORDER BY at LIMIT $2)
    RETURNING 1";
const INSTANCES: &str = "DELETE FROM instance WHERE dies < clock_timestamp() - interval '1 hour' RETURNING 1";
const MARKS: &str = "DELETE FROM mark WHERE at < clock_timestamp() - interval '1 day' RETURNING 1";

/// True while there may be more.
pub async fn sweep(pool: &Pool, now: Timestamp, retention: Retention) -> Result<bool, Fault> {
    let (present, journal) = (nanoseconds(now), before(now, retention.journal));
    let kinds = [
        (ROWS, present),
        (DEAD, before(now, retention.dead_letters)),
        (GROUPS, journal),
        (JOURNAL, journal),
        (CLAIMS, present),
        (SETTLED, journal),
        (ANSWERS, before(now, retention.answers())),
    ];
    let mut more = false;
    for (sql, time) in kinds {
        more |= pool.execute(sql, &[&time, &PART]).await? == PART as usize;
    }
    pool.execute(INSTANCES, &[]).await?;
    pool.execute(MARKS, &[]).await?;
    Ok(more)
}

fn before(now: Timestamp, age: Duration) -> i64 {
    now.checked_sub(age).map_or(i64::MIN, nanoseconds)
}
