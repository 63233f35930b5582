//! Leases and the instances that live, by the database's own time.

use std::time::Duration;

use jiff::Timestamp;

use super::connection::{Connection, Connector};
use super::faults::Failure;
use crate::message::{Fault, Text};
use crate::queue::embedded::faults::stale;
use crate::store::{Beat, Fence, Instance, Lease, Pulse};

/// Held until the commit: the lease passes on before it or after, not meanwhile.
pub const CHECK: &str =
    "SELECT 1 FROM lease JOIN unnest($1::text[], $2::bigint[]) AS g (name, epoch) ON lease.name = g.name
    WHERE lease.epoch = g.epoch AND lease.holder IS NOT NULL ORDER BY lease.name FOR SHARE OF lease";

const LEAVE: &str = "WITH gone AS (DELETE FROM instance WHERE id = $1)
    UPDATE lease SET holder = NULL WHERE holder = $1";
const LIVE: &str = "INSERT INTO instance (id, name, revision, wants, seen, dies)
    VALUES ($1, $2, $3, $4, clock_timestamp(), clock_timestamp() + $5 * interval '1 second')
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, revision = excluded.revision, wants = excluded.wants,
        seen = excluded.seen, dies = excluded.dies";
const PASS_ON: &str = "UPDATE lease SET holder = NULL FROM unnest($2::text[], $3::bigint[]) AS g (name, epoch)
    WHERE lease.name = g.name AND lease.epoch = g.epoch AND lease.holder = $1";
const RENEW: &str = "UPDATE lease SET until = clock_timestamp() + $4 * interval '1 second'
    FROM unnest($2::text[], $3::bigint[]) AS g (name, epoch)
    WHERE lease.name = g.name AND lease.epoch = g.epoch AND lease.holder = $1
    RETURNING lease.name, lease.epoch";
// One's own that is not being renewed was taken by a beat whose answer was lost: its epoch is not known, so it takes another.
const TAKE: &str = "INSERT INTO lease (name, holder, epoch, until)
    SELECT g, $1, 1, clock_timestamp() + $3 * interval '1 second' FROM unnest($2::text[]) AS g ORDER BY g
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = lease.epoch + 1, until = excluded.until
        WHERE lease.holder IS NULL OR lease.until <= clock_timestamp() OR lease.holder = excluded.holder
    RETURNING name, epoch";
const LEASES: &str = "SELECT name, CASE WHEN until > clock_timestamp() THEN holder END FROM lease ORDER BY name";
const INSTANCES: &str = "SELECT id, name, revision, wants, (extract(epoch FROM seen) * 1000000)::bigint FROM instance
    WHERE dies > clock_timestamp() ORDER BY id <> $1, name, id";

/// # Errors
/// `STORE-STALE` where one has passed on.
pub async fn check(connection: &Connection, fences: &[&Fence]) -> Result<(), Failure> {
    if fences.is_empty() {
        return Ok(());
    }
    let (names, epochs): (Vec<&str>, Vec<i64>) = fences.iter().map(|fence| (fence.lease.as_str(), fence.epoch)).unzip();
    let held = connection.query(CHECK, &[&names, &epochs]).await?;
    if held.len() == fences.len() { Ok(()) } else { Err(stale("what was done in a turn that has passed on").into()) }
}

/// A beat on `own` connection, opened where there is none. One that fails or is given up closes it, and ends its transaction.
pub async fn beat(connector: &Connector, own: &mut Option<Connection>, beat: &Beat) -> Result<Pulse, Fault> {
    let connection = match own.take().filter(|connection| !connection.is_closed()) {
        Some(connection) => connection,
        None => connector.connect().await?,
    };
    let pulse = transact(&connection, beat).await.map_err(Failure::fault)?;
    *own = Some(connection);
    Ok(pulse)
}

async fn transact(connection: &Connection, beat: &Beat) -> Result<Pulse, Failure> {
    let me = beat.instance.as_str();
    // What a beat locks is let go before the next one, whatever became of who asked.
    let most = (beat.lives / 2).as_millis().max(1);
    let begin =
        format!("BEGIN; SET LOCAL statement_timeout = {most}; SET LOCAL idle_in_transaction_session_timeout = {most}");
    connection.batch(&begin).await?;
    if beat.leaves {
        connection.execute(LEAVE, &[&me]).await?;
        connection.batch("COMMIT").await?;
        return Ok(Pulse::default());
    }
    let lives = beat.lives.max(Duration::from_millis(1)).as_secs_f64();
    let wants: Vec<&str> = beat.wants.iter().map(Text::as_str).collect();
    connection.execute(LIVE, &[&me, &beat.name.as_str(), &beat.revision.as_str(), &wants, &lives]).await?;
    if !beat.pass_on.is_empty() {
        let (names, epochs) = columns(&beat.pass_on);
        connection.execute(PASS_ON, &[&me, &names, &epochs]).await?;
    }
    let mut held = Vec::new();
    let renew: Vec<Fence> = beat.renew.iter().filter(|fence| !beat.pass_on.contains(fence)).cloned().collect();
    if !renew.is_empty() {
        let (names, epochs) = columns(&renew);
        held.extend(fences(&connection.query(RENEW, &[&me, &names, &epochs, &lives]).await?)?);
    }
    let mut take: Vec<&str> = beat.take.iter().map(Text::as_str).collect();
    take.retain(|name| !held.iter().any(|fence| fence.lease == *name));
    take.sort_unstable();
    take.dedup();
    if !take.is_empty() {
        held.extend(fences(&connection.query(TAKE, &[&me, &take, &lives]).await?)?);
    }
    let leases = connection.query(LEASES, &[]).await?;
    let instances = connection.query(INSTANCES, &[&me]).await?;
    connection.batch("COMMIT").await?;
    let mut pulse = Pulse { held, ..Pulse::default() };
    for row in &leases {
        let holder = row.try_get::<_, Option<&str>>(1)?.map(Text::new);
        pulse.leases.push(Lease { name: row.try_get::<_, &str>(0)?.into(), holder });
    }
    for row in &instances {
        let id: &str = row.try_get(0)?;
        let of = |lease: &&Lease| lease.holder.as_deref() == Some(id);
        let wants: Vec<&str> = row.try_get(3)?;
        pulse.wants.push((id.into(), wants.into_iter().map(Text::new).collect()));
        let instance = Instance {
            name: row.try_get::<_, &str>(1)?.into(),
            revision: row.try_get::<_, &str>(2)?.into(),
            seen: Timestamp::from_microsecond(row.try_get(4)?).unwrap_or(Timestamp::MIN),
            holds: pulse.leases.iter().filter(of).map(|lease| lease.name.clone()).collect(),
            this: id == me,
        };
        pulse.instances.push(instance);
    }
    Ok(pulse)
}

fn columns(fences: &[Fence]) -> (Vec<&str>, Vec<i64>) {
    fences.iter().map(|fence| (fence.lease.as_str(), fence.epoch)).unzip()
}

fn fences(rows: &[tokio_postgres::Row]) -> Result<Vec<Fence>, Failure> {
    let fence =
        |row: &tokio_postgres::Row| Ok(Fence { lease: row.try_get::<_, &str>(0)?.into(), epoch: row.try_get(1)? });
    rows.iter().map(fence).collect()
}
