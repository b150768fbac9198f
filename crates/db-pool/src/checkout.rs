//! From admission to a connection that may be handed out: take an idle one or have one opened, and check it.
//!
//! Idle connections are counted by a semaphore that serves in order, so nobody who waits for one is overtaken and no
//! wake-up is lost, whichever way a connection becomes free: given back, or opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use db_core::{CloseReason, Result};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::connector::{Connector, Failure, LastFailure};
use crate::gate::Refused;
use crate::physical::Physical;
use crate::release::Place;
use crate::seats::Seat;
use crate::settings::{Settings, moment_after};
use crate::shared::Shared;
use crate::store::Shelf;

/// At most this many connections are opened at once, so that a restarted server is not met by a stampede.
pub(crate) const AT_ONCE: usize = 2;

/// A connection out of the store.
pub(crate) type Pooled = bb8::PooledConnection<'static, Shelf>;

/// How many failures to connect a caller still sits through; `None` is all until its deadline.
pub(crate) struct Patience(Option<usize>);

impl Patience {
    /// That of a caller who leaves it to the settings.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self(Some(settings.connect_retry.max_retries))
    }

    /// That of a caller who said until when it waits.
    pub(crate) fn until_the_deadline() -> Self {
        Self(None)
    }

    /// That of a caller who has other servers to ask.
    pub(crate) fn none() -> Self {
        Self(Some(0))
    }

    /// Takes in a failure: an error when it cannot pass by itself, or was one too many.
    fn bear(&mut self, failure: &Failure) -> Result<()> {
        let left = match &mut self.0 {
            None => Some(0),
            Some(left) => left.checked_sub(1).inspect(|less| *left = *less),
        };
        match left {
            Some(_) if failure.is_transient => Ok(()),
            _ => Err(failure.error.duplicate()),
        }
    }
}

/// The demand for connections that nobody has.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// Callers who were admitted and found nothing idle.
    hungry: AtomicUsize,
    /// How many were so and are no longer, with a connection or without.
    left: AtomicU64,
    /// Tasks that open connections for them.
    openers: AtomicUsize,
}

/// The first connection of a pool, opened before there is a pool.
pub(crate) async fn connect_patiently(
    connector: &Connector,
    settings: &Settings,
    mut seat: impl FnMut() -> Option<Seat>,
) -> Result<Physical> {
    let deadline = moment_after(settings.acquire_timeout);
    let mut patience = Patience::new(settings);
    let mut last = None;
    while let Some(seat) = seat() {
        match timeout_at(deadline, connector.open(seat)).await {
            Ok(Ok(physical)) => return Ok(physical),
            Ok(Err(failure)) => {
                patience.bear(&failure)?;
                last = Some(failure);
            }
            Err(_) => break,
        }
    }
    Err(last.map_or_else(
        || connector.silent(&connector.aim(), settings.acquire_timeout),
        |failure| failure.error.duplicate(),
    ))
}

/// A place if one is free this instant, and a connection if one is at hand.
pub(crate) fn at_once(
    shared: &Arc<Shared>,
    now: Instant,
    deadline: Option<Instant>,
) -> (Option<Place>, Option<Pooled>) {
    if deadline.is_some_and(|deadline| deadline <= now) || !shared.gate.try_admit() {
        return (None, None);
    }
    (Some(Place::new(shared)), at_hand(shared, now))
}

/// A connection if one is idle that needs no check.
pub(crate) fn at_hand(shared: &Arc<Shared>, now: Instant) -> Option<Pooled> {
    let mut pooled = shared.take_idle()?;
    pooled.discard = pooled.worn_out(now);
    if pooled.discard.is_some() || needs_check(&pooled, shared, now) {
        shared.put_back(pooled);
        return None;
    }
    Some(pooled)
}

/// Gives the admitted caller a connection that is known to work.
pub(crate) async fn checkout(
    shared: &Arc<Shared>,
    started: Instant,
    deadline: Instant,
    mut patience: Patience,
) -> Result<Pooled> {
    let mut now = Instant::now();
    // A connection is not blamed for a deadline that is over.
    while now < deadline {
        let pooled = match shared.take_idle() {
            Some(idle) => Some(idle),
            None => wait(shared, &mut patience, deadline).await?,
        };
        match pooled {
            Some(pooled) => {
                if let Some(checked) = check(pooled, shared, now, deadline).await {
                    return Ok(checked);
                }
            }
            None => break,
        }
        now = Instant::now();
    }
    Err(shared.timed_out(started.elapsed()))
}

/// Waits until a connection comes back or has been opened. What is wrong with the server concerns all who wait.
async fn wait(shared: &Arc<Shared>, patience: &mut Patience, deadline: Instant) -> Result<Option<Pooled>> {
    let mut failures = shared.failures.clone();
    failures.mark_unchanged();
    let _hungry = Hungry::new(shared);
    shared.open_more();
    let mut turn = std::pin::pin!(shared.ready.acquire());
    let waiting = async {
        loop {
            tokio::select! {
                biased;
                () = shared.closing.cancelled() => return Err(shared.refused(&Refused::Closed)),
                // The semaphore is never closed.
                permit = &mut turn => {
                    if let Ok(permit) = permit {
                        permit.forget();
                    }
                    return Ok(shared.pop());
                }
                failure = next_failure(&mut failures) => patience.bear(&failure)?,
            }
        }
    };
    timeout_at(deadline, waiting).await.unwrap_or(Ok(None))
}

async fn next_failure(failures: &mut watch::Receiver<LastFailure>) -> Arc<Failure> {
    loop {
        if failures.changed().await.is_err() {
            // The connector lives as long as the store; without one there is nothing to fail.
            std::future::pending::<()>().await;
        }
        if let Some(failure) = &*failures.borrow_and_update() {
            return Arc::clone(failure);
        }
    }
}

/// Gives the connection on if it may be used; otherwise it is closed on the way out.
async fn check(mut pooled: Pooled, shared: &Shared, now: Instant, deadline: Instant) -> Option<Pooled> {
    pooled.discard = pooled.worn_out(now);
    if pooled.discard.is_some() {
        return None;
    }
    if needs_check(&pooled, shared, now) {
        let limit = deadline.min(moment_after(shared.settings.check_timeout));
        if !is_alive(&mut pooled, limit).await {
            return None;
        }
        // It may have been severed meanwhile.
        pooled.discard = pooled.worn_out(now);
        if pooled.discard.is_some() {
            return None;
        }
    }
    Some(pooled)
}

fn needs_check(pooled: &Pooled, shared: &Shared, now: Instant) -> bool {
    now.saturating_duration_since(pooled.last_ok) >= shared.settings.check_after
}

/// Asks the server for a sign of life. Until it has answered the connection counts as broken, so that one whose check is
/// given up is closed.
pub(crate) async fn is_alive(pooled: &mut Pooled, limit: Instant) -> bool {
    pooled.discard = Some(CloseReason::Broken);
    let answered = timeout_at(limit, pooled.session.sync()).await;
    if !matches!(answered, Ok(Ok(()))) {
        return false;
    }
    pooled.discard = None;
    pooled.last_ok = Instant::now();
    true
}

impl Shared {
    /// An idle connection, unless others wait for one.
    pub(crate) fn take_idle(&self) -> Option<Pooled> {
        self.ready.try_acquire().ok()?.forget();
        self.pop()
    }

    /// Whether a caller who was admitted waits for a connection.
    pub(crate) fn is_anybody_hungry(&self) -> bool {
        self.demand.hungry.load(Ordering::Relaxed) > 0
    }

    /// How many do where the server refused the last connection, and how many have waited and do so no longer.
    pub(crate) fn starving_now(&self) -> (u64, u64) {
        // In this order: who leaves in between is taken for one who has left, and not for both.
        let left = self.demand.left.load(Ordering::SeqCst);
        let hungry = self.demand.hungry.load(Ordering::SeqCst) as u64;
        (if hungry > 0 && self.failures.borrow().is_some() { hungry } else { 0 }, left)
    }

    /// Whether callers wait who cannot be given a connection that is not there yet.
    pub(crate) fn is_short(&self) -> bool {
        self.gate.waiting() > 0 || self.starving_now().0 > 0
    }

    /// Has connections opened for callers who found none, as far as there are seats: by as many tasks as there are such
    /// callers, up to the limit. To be called whenever one more caller waits, or a seat becomes free.
    pub(crate) fn open_more(self: &Arc<Self>) {
        while let Some(opener) = Opener::new(self) {
            let Some(seat) = self.seats.take(u32::MAX) else { return };
            self.runtime.spawn(opener.run(seat));
        }
    }

    /// Takes in a connection that was opened.
    pub(crate) fn add(&self, physical: Physical) {
        self.register.add(&physical.watched);
        // Only one that is not to be used is refused.
        if self.store.add(physical).is_ok() {
            self.ready.add_permits(1);
        }
    }
}

/// Counts a caller who waits for a connection.
struct Hungry<'a>(&'a Demand);

impl<'a> Hungry<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.demand.hungry.fetch_add(1, Ordering::SeqCst);
        Self(&shared.demand)
    }
}

impl Drop for Hungry<'_> {
    fn drop(&mut self) {
        self.0.hungry.fetch_sub(1, Ordering::SeqCst);
        self.0.left.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task that opens connections while somebody waits.
struct Opener(Arc<Shared>);

impl Opener {
    fn new(shared: &Arc<Shared>) -> Option<Self> {
        let Demand { hungry, openers, .. } = &shared.demand;
        if shared.gate.is_closed() {
            return None;
        }
        let more = |now| (now < AT_ONCE.min(hungry.load(Ordering::SeqCst))).then_some(now + 1);
        openers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Self(Arc::clone(shared)))
    }

    async fn run(self, seat: Seat) {
        let shared = Arc::clone(&self.0);
        let mut seat = Some(seat);
        while let Some(taken) = seat.take() {
            // A failure has been published to those who wait.
            if let Ok(physical) = shared.connector.open(taken).await {
                shared.add(physical);
            }
            let Demand { hungry, openers, .. } = &shared.demand;
            if !shared.gate.is_closed() && hungry.load(Ordering::SeqCst) >= openers.load(Ordering::SeqCst) {
                seat = shared.seats.take(u32::MAX);
            }
        }
        drop(self);
        // Somebody may have begun to wait when this task had decided to end.
        shared.open_more();
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.demand.openers.fetch_sub(1, Ordering::SeqCst);
    }
}
