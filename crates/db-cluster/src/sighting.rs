//! What a server says of itself: one question, one answer. What follows from it is for `assess` to say.

use std::time::Duration;

use db_core::{Cause, Error, FromRow, Phase, Query, Result, Signal};

use crate::Lsn;

/// What a server said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// Shared by all servers of a cluster.
    pub(crate) system: u64,
    /// Which run of the server: when it began, in microseconds of Unix time.
    pub(crate) run: i64,
    /// A standby's is the highest that there is evidence of.
    pub(crate) timeline: u32,
    pub(crate) role: Role,
    /// Up to where a primary has flushed its log; what a standby has replayed.
    pub(crate) lsn: Lsn,
    /// Where a primary has inserted up to, which is what a token must ask for: with `synchronous_commit = off` more is
    /// acknowledged than flushed.
    pub(crate) inserted: Lsn,
    /// How old the last transaction is that a standby has replayed, by its own clock. Grows while nobody writes.
    pub(crate) replay_age: Option<Duration>,
    /// Whether the role may see what the receiver of a standby does. Without that, a new timeline is noticed late.
    pub(crate) sees_receiver: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    Standby,
}

/// The receiver's timeline is there at once, for roles that may see it, and goes with the receiver, as it does when the primary
/// ends; those of the control file come with checkpoints. Within a run no server goes back: see [`Sighting::run`]. A server that is promoted just now may refuse a part of this, and is asked again.
const ASK: &str = "
    SELECT s.in_recovery,
           (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system,
           (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint AS run,
           CASE WHEN s.in_recovery
                THEN greatest((SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
                              (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
                              r.received_tli)::bigint
           END AS standby_timeline,
           CASE WHEN NOT s.in_recovery
                THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())
           END AS wal_file,
           (CASE WHEN s.in_recovery THEN pg_catalog.pg_last_wal_replay_lsn()
                 ELSE pg_catalog.pg_current_wal_flush_lsn() END)::text AS lsn,
           (CASE WHEN NOT s.in_recovery THEN pg_catalog.pg_current_wal_insert_lsn() END)::text AS inserted,
           pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS segment_size,
           (extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) * 1000)::bigint
               AS replay_age_ms,
           r.pid IS NULL OR r.status IS NOT NULL AS sees_receiver
    FROM (SELECT pg_catalog.pg_is_in_recovery() AS in_recovery) AS s
         LEFT JOIN pg_catalog.pg_stat_get_wal_receiver() AS r ON true";

#[derive(FromRow)]
struct Answer {
    in_recovery: bool,
    system: i64,
    run: i64,
    standby_timeline: Option<i64>,
    wal_file: Option<String>,
    lsn: Option<String>,
    inserted: Option<String>,
    segment_size: i64,
    replay_age_ms: Option<i64>,
    sees_receiver: bool,
}

impl Sighting {
    /// Asks over a connection.
    pub(crate) async fn ask<E: Query>(on: &E) -> Result<Self> {
        let answer: Answer = on.one(ASK, &[]).await?;
        answer.read().ok_or_else(|| {
            let signal = Signal::new(Cause::UnexpectedResult, Phase::Execute);
            Error::new(signal, "the server does not say where it stands")
        })
    }
}

impl Answer {
    fn read(self) -> Option<Sighting> {
        let timeline = match (self.standby_timeline, &self.wal_file) {
            (Some(timeline), _) => u32::try_from(timeline).ok()?,
            // Its first eight digits.
            (None, Some(file)) => u32::from_str_radix(file.get(..8)?, 16).ok()?,
            (None, None) => return None,
        };
        // A standby that has replayed nothing yet is at the beginning.
        let lsn: Lsn = self.lsn.map_or(Ok(Lsn::default()), |lsn| lsn.parse()).ok()?;
        let inserted = self.inserted.map_or(Ok(lsn), |inserted| inserted.parse()).ok()?;
        let age = self.replay_age_ms.and_then(|age| u64::try_from(age).ok());
        Some(Sighting {
            // The server shows 64 bits as a signed number.
            system: self.system.cast_unsigned(),
            run: self.run,
            timeline,
            role: if self.in_recovery { Role::Standby } else { Role::Primary },
            lsn,
            inserted: inserted.without_header(u64::try_from(self.segment_size).ok()?),
            replay_age: age.map(Duration::from_millis).filter(|_| self.in_recovery),
            sees_receiver: self.sees_receiver,
        })
    }
}

/// What a standby has replayed and of which timeline, asked in the session that is going to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replayed {
    pub(crate) in_recovery: bool,
    pub(crate) lsn: Lsn,
    /// The highest that there is evidence of.
    pub(crate) timeline: u32,
    /// As [`Sighting::run`].
    pub(crate) run: i64,
}

const ASK_REPLAYED: &str = "
    SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_last_wal_replay_lsn()::text,
           greatest((SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
                    (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
                    (SELECT received_tli FROM pg_catalog.pg_stat_get_wal_receiver()))::bigint,
           (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint";

impl Replayed {
    pub(crate) async fn ask<E: Query>(on: &E) -> Result<Self> {
        let (in_recovery, lsn, timeline, run): (bool, Option<String>, i64, i64) =
            on.one(ASK_REPLAYED, &[]).await?;
        Ok(Self {
            in_recovery,
            lsn: lsn.and_then(|lsn| lsn.parse().ok()).unwrap_or_default(),
            timeline: u32::try_from(timeline).unwrap_or_default(),
            run,
        })
    }
}
