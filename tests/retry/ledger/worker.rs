//! One worker: asks for a transfer, logs what it meant before and what it was told after.

use std::sync::Arc;
use std::time::Duration;

use db_core::{Batch, Error, Executor, Outcome, Query, Result};
use tokio::time::Instant;

use super::case::{Belief, Case, Order, Way};
use super::judge::{Ending, Entry, Transfer};
use super::load::Shared;

/// What a worker knows of one transfer.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) entry: Entry,
    /// The name to ask for later.
    pub(crate) in_doubt: Option<String>,
    /// What the last call failed with.
    pub(crate) error: String,
    /// The longest of the calls.
    pub(crate) took: Duration,
    pub(crate) calls: u64,
}

/// Works until the load is over. Its log is outside of the database, and a call that is under way is in it as unknown.
pub(crate) async fn work(shared: Arc<Shared>, number: u32) -> Vec<Line> {
    let mut log = Vec::new();
    let mut dice = Dice(u64::from(number) + 1);
    for count in 0_i64.. {
        if shared.is_over() {
            break;
        }
        let transfer = dice.transfer(&shared.case, i64::from(number) << 32 | count);
        let entry = Entry { transfer, ending: Ending::Unknown };
        log.push(Line { entry, in_doubt: None, error: String::new(), took: Duration::ZERO, calls: 0 });
        if let Some(line) = log.last_mut() {
            ask(&shared, line).await;
        }
    }
    log
}

/// Asks until the caller believes to know how it ended.
async fn ask(shared: &Shared, line: &mut Line) {
    loop {
        let began = Instant::now();
        let result = call(shared, line.entry.transfer).await;
        line.took = line.took.max(began.elapsed());
        line.calls += 1;
        shared.call_ended(result.is_ok());
        let Err(error) = result else {
            line.entry.ending = Ending::Acknowledged;
            return;
        };
        match (error.outcome(), shared.case.belief) {
            (Outcome::RolledBack | Outcome::NotExecuted, _) => line.entry.ending = Ending::Failed,
            // It is committed, and only what its statements gave is lost.
            (Outcome::Executed, _) => line.entry.ending = Ending::Acknowledged,
            (_, Belief::TheResolver) => line.in_doubt = error.in_doubt().map(str::to_owned),
            (_, Belief::ThatItIsDone) => line.entry.ending = Ending::Acknowledged,
            (_, Belief::ThatItFailed) => continue,
        }
        line.error = with_sources(&error);
        return;
    }
}

fn with_sources(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(next) = source {
        text += &format!(": {next}");
        source = next.source();
    }
    text
}

/// A whole transfer.
const IN_ONE: &str = "WITH given AS (UPDATE account SET cents = cents - $4 WHERE id = $2),
         taken AS (UPDATE account SET cents = cents + $4 WHERE id = $3)
    INSERT INTO ledger VALUES ($1, $2, $3, $4) RETURNING id";

async fn call(shared: &Shared, transfer: Transfer) -> Result<()> {
    let Transfer { id, from, to, amount } = transfer;
    if shared.case.way == Way::Statement {
        let db = shared.db.primary().within(shared.case.deadline);
        let written: i64 = db.one(IN_ONE, &[&id, &from, &to, &amount]).await?;
        assert_eq!(written, id, "the answer is another one's");
        return Ok(());
    }
    let mut changes = [(from, -amount), (to, amount)];
    if shared.case.order == Order::ByAccount {
        changes.sort_unstable();
    }
    let update = "UPDATE account SET cents = cents + $2 WHERE id = $1";
    let insert = "INSERT INTO ledger VALUES ($1, $2, $3, $4)";
    if shared.case.way == Way::Batch {
        let [one, other] = changes;
        let statements: Batch<'_> = &[
            (update, &[&one.0, &one.1]),
            (update, &[&other.0, &other.1]),
            (insert, &[&id, &from, &to, &amount]),
        ];
        return shared.db.batch_with(&shared.case.options(), statements).await.map(drop);
    }
    let transaction = async |tx: &mut db_app::Tx<'_>| {
        for (account, change) in changes {
            tx.execute(update, &[&account as _, &change]).await?;
        }
        tx.execute(insert, &[&id as _, &from, &to, &amount]).await?;
        Ok(())
    };
    shared.db.tx_with(&shared.case.options(), transaction).await
}

/// Random enough for amounts, and the same in each run.
struct Dice(u64);

impl Dice {
    fn transfer(&mut self, case: &Case, id: i64) -> Transfer {
        let accounts = case.accounts;
        let from = self.below(accounts);
        let to = (from + 1 + self.below(accounts - 1)) % accounts;
        Transfer { id, from, to, amount: i64::from(self.below(100) + 1) }
    }

    /// SplitMix64.
    fn below(&mut self, limit: i32) -> i32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let limit = u64::from(limit.unsigned_abs()).max(1);
        i32::try_from((bits ^ (bits >> 31)) % limit).unwrap_or_default()
    }
}
