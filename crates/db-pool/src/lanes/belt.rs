//! The statements in flight on one connection, in the order in which they were sent, which is that of their answers. Belongs to
//! the task that drives the connection, so that answers are taken in whether or not those who asked still look.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::Instant;
use tokio_postgres::{Error, Row, Statement};

use super::lane::{Lane, Load};
use super::slot::Question;
use crate::session::{Encoded, Session};

/// What a statement on a lane gave.
pub(crate) struct Done {
    /// What it gave, or the driver's error.
    pub(crate) result: Result<Given, Error>,
    /// How long it kept those behind it from being answered.
    pub(crate) took: Duration,
    /// How long it was waited for, from when it was sent.
    pub(crate) whole: Duration,
    /// Where it ran.
    pub(crate) lane: Arc<Lane>,
}

/// What a statement gave.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) rows: Vec<Row>,
    pub(crate) affected: u64,
    pub(crate) bytes: usize,
}

/// A statement for a lane.
pub(crate) struct Operation {
    run: Pin<Box<dyn Future<Output = Result<Given, Error>> + Send>>,
    question: Question<Done>,
    /// Counts it as long as it is there.
    load: Load,
    /// None until it was taken in.
    sent: Option<Instant>,
    /// Whether nothing else was in flight then.
    is_first: bool,
}

impl Operation {
    /// `keeps_rows` says whether the rows are wanted.
    pub(crate) fn new(
        load: Load,
        statement: Statement,
        params: Vec<Encoded>,
        keeps_rows: bool,
        question: Question<Done>,
    ) -> Self {
        let session = Arc::clone(&load.lane().session);
        let run = Box::pin(run(session, statement, params, keeps_rows));
        Self { run, question, load, sent: None, is_first: false }
    }

    fn answer(self, result: Result<Given, Error>, took: Duration, now: Instant) {
        let (whole, lane) = (now - self.sent.unwrap_or(now), Arc::clone(self.load.lane()));
        // Not counted any more when its caller looks.
        drop(self.load);
        self.question.answer(Done { result, took, whole, lane });
    }
}

async fn run(
    session: Arc<Session>,
    statement: Statement,
    params: Vec<Encoded>,
    keeps_rows: bool,
) -> Result<Given, Error> {
    let rows = session.client.query_raw(&statement, params.iter()).await?;
    let mut rows = std::pin::pin!(rows);
    let mut given = Given::default();
    while let Some(row) = rows.try_next().await? {
        given.bytes += row.raw_size_bytes();
        if keeps_rows {
            given.rows.push(row);
        }
    }
    given.affected = rows.rows_affected().unwrap_or(0);
    Ok(given)
}

/// What is in it is dropped with its end, also what is put in at that moment. That of tokio keeps such a one as long as anybody could
/// put in more; and an operation keeps its lane, which keeps its session, which could.
fn channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    unbounded()
}

/// The belt.
pub(crate) struct Belt {
    inbox: UnboundedReceiver<Operation>,
    in_flight: VecDeque<Operation>,
    /// When an answer was last taken in.
    last: Option<Instant>,
    has_waited: bool,
}

/// Answers that came together.
struct Batch {
    lane: Arc<Lane>,
    now: Instant,
    /// How long the first of them was waited for.
    took: Duration,
    count: u32,
}

impl Belt {
    /// With what puts statements on it.
    pub(crate) fn new() -> (UnboundedSender<Operation>, Self) {
        let (inlet, inbox) = channel();
        (inlet, Self { inbox, in_flight: VecDeque::new(), last: None, has_waited: false })
    }

    /// Takes in what is to be sent, and says whether to wait for more before it is written: those who are about to run may have
    /// something too, and one write carries all of it.
    pub(crate) fn load(&mut self, cx: &mut Context<'_>) -> bool {
        let mut now = None;
        // When it has nothing, it wakes this task as something comes.
        while let Poll::Ready(Some(operation)) = self.inbox.poll_next_unpin(cx) {
            let now = *now.get_or_insert_with(Instant::now);
            self.send(operation, now, cx);
        }
        self.has_waited = now.is_some() && !self.has_waited;
        self.has_waited
    }

    fn send(&mut self, mut operation: Operation, now: Instant, cx: &mut Context<'_>) {
        if !operation.question.send() {
            let lane = Arc::clone(operation.load.lane());
            drop(operation);
            return lane.has_less();
        }
        operation.sent = Some(now);
        operation.is_first = self.in_flight.is_empty();
        if operation.is_first {
            operation.load.lane().moved(now);
        }
        match operation.run.as_mut().poll(cx) {
            // It could not be sent.
            Poll::Ready(result) => operation.answer(result, Duration::ZERO, now),
            Poll::Pending => self.in_flight.push_back(operation),
        }
    }

    /// Hands out the answers that have come, and takes in what waited for that.
    pub(crate) fn unload(&mut self, cx: &mut Context<'_>) {
        let mut batch: Option<Batch> = None;
        while let Some(front) = self.in_flight.front_mut() {
            let Poll::Ready(result) = front.run.as_mut().poll(cx) else { break };
            let Some(front) = self.in_flight.pop_front() else { break };
            let batch = batch.get_or_insert_with(|| Batch::begin(&front, self.last));
            // All that came together are charged to the first one: it was waited for.
            let took = if batch.count == 0 { batch.took } else { Duration::ZERO };
            batch.count += 1;
            front.answer(result, took, batch.now);
        }
        if let Some(Batch { lane, now, took, count }) = batch {
            self.last = Some(now);
            lane.answered(now, took, count);
            if lane.wants_more() {
                while let Some(operation) = lane.next(now) {
                    self.send(operation, now, cx);
                }
            }
        }
    }
}

impl Batch {
    fn begin(front: &Operation, last: Option<Instant>) -> Self {
        let (now, lane) = (Instant::now(), Arc::clone(front.load.lane()));
        let sent = front.sent.unwrap_or(now);
        let took = match last {
            // The server had it before it was done with the one before.
            Some(last) if !front.is_first => now - last,
            _ => {
                let way = &lane.session.way;
                way.ran(now - sent);
                (now - sent).saturating_sub(way.least())
            }
        };
        Self { lane, now, took, count: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_that_was_put_in_at_the_end() {
        for _ in 0..20_000 {
            let ((inlet, inbox), token) = (channel(), Arc::new(()));
            std::thread::scope(|scope| {
                scope.spawn(|| while inlet.unbounded_send(Arc::clone(&token)).is_ok() {});
                while Arc::strong_count(&token) == 1 {
                    std::hint::spin_loop();
                }
                drop(inbox);
            });
            assert_eq!(Arc::strong_count(&token), 1);
        }
    }
}
