//! The profile `messenger`: users who write to each other. Messages are due by a schedule that does not wait for answers, and
//! the time of each counts from when it was due: a server that falls behind is charged for all that waits meanwhile.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use db_app::prelude::*;
use db_app::{Database, Preference};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::measure::{Failure, Meter, Recorder, Stage};
use super::progress::Bar;

/// So many messages of a conversation are read at once.
const LAST: i64 = 20;

/// Messages that are due at a rate, for some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) users: u32,
    /// Messages in a second.
    pub(super) rate: u32,
    pub(super) seconds: u32,
}

/// Each user has a conversation with the next one, and so takes part in two.
pub(super) fn tables(users: u32) -> String {
    format!(
        "CREATE TABLE db_bench.users (id bigint PRIMARY KEY, name text NOT NULL);
         CREATE TABLE db_bench.conversations (
             id bigint PRIMARY KEY,
             first_user bigint NOT NULL REFERENCES db_bench.users,
             second_user bigint NOT NULL REFERENCES db_bench.users,
             messages bigint NOT NULL DEFAULT 0,
             last_message_at timestamptz
         );
         CREATE TABLE db_bench.messages (
             id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             conversation bigint NOT NULL REFERENCES db_bench.conversations,
             sender bigint NOT NULL REFERENCES db_bench.users,
             body text NOT NULL,
             sent_at timestamptz NOT NULL DEFAULT now()
         );
         CREATE INDEX ON db_bench.messages (conversation, id DESC);
         INSERT INTO db_bench.users SELECT id, 'user ' || id FROM generate_series(0, {users} - 1) AS id;
         INSERT INTO db_bench.conversations SELECT id, id, (id + 1) % {users} FROM generate_series(0, {users} - 1) AS id;
         INSERT INTO db_bench.messages (conversation, sender, body)
             SELECT conversation, conversation, repeat('before ', 10)
             FROM generate_series(0, {users} - 1) AS conversation, generate_series(1, {LAST});
         ANALYZE db_bench.users, db_bench.conversations, db_bench.messages;"
    )
}

pub(super) async fn stage(database: &Database, load: Load, bar: &Bar) -> Result<Stage> {
    let total = load.rate * load.seconds;
    bar.begin(load.name, Some(u64::from(total)));
    let meter = Meter::start(database)?;
    let mut users = JoinSet::new();
    // Everybody is there before the first message is due.
    let start = Instant::now() + Duration::from_millis(100);
    for user in 0..load.users {
        users.spawn(write(database.clone(), load, user, start, meter.recorder(), bar.clone()));
    }
    while let Some(ended) = users.join_next().await {
        ended?;
    }
    bar.end();
    Ok(meter.finish(load.name, load.to_string()))
}

/// What one user does: every so many of all messages are theirs.
async fn write(database: Database, load: Load, user: u32, start: Instant, recorder: Arc<Recorder>, bar: Bar) {
    let total = load.rate * load.seconds;
    for number in (user..total).step_by(load.users as usize) {
        let due = start + Duration::from_secs(1) * number / load.rate;
        // Over already when the one before took longer: the time that this one is late is its own.
        sleep_until(due).await;
        let result = deliver(&database, load.users, user, number).await;
        recorder.record(due.elapsed(), result);
        bar.step();
    }
}

/// A message is written with what belongs to it, and whoever it is for reads what is new.
async fn deliver(database: &Database, users: u32, user: u32, number: u32) -> Result<(), Failure> {
    let with_the_next = number.is_multiple_of(2);
    let conversation = i64::from(if with_the_next { user } else { (user + users - 1) % users });
    let (sender, body) = (i64::from(user), format!("message {number} of user {user}"));
    let written: i64 = database
        .tx(async |tx| {
            // First, so that within a conversation ids are in the order of commits.
            tx.execute(
                "UPDATE db_bench.conversations SET messages = messages + 1, last_message_at = now() WHERE id = $1",
                &[&conversation],
            )
            .await?;
            tx.one(
                "INSERT INTO db_bench.messages (conversation, sender, body) VALUES ($1, $2, $3) RETURNING id",
                &[&conversation, &sender, &body],
            )
            .await
        })
        .await?;
    let read: Vec<(i64, i64, String)> = database
        .reads()
        .preference(Preference::Primary)
        .query(
            "SELECT id, sender, body FROM db_bench.messages WHERE conversation = $1 ORDER BY id DESC LIMIT $2",
            &[&conversation, &LAST],
        )
        .await?;
    // Others may have written meanwhile.
    match read.first() {
        Some((newest, ..)) if *newest >= written => Ok(()),
        _ => Err(Failure::wrong(format!("message {written} was committed and is not read"))),
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { users, rate, seconds, .. } = self;
        write!(f, "{users} users, {rate} messages/s for {seconds} s, each timed from when it was due")
    }
}
