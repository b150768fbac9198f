//! What all clones of a cluster share: its endpoints, what is known of them, and who waits for a change of that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db_core::{Acquire, Cause, EndpointChanged, Error, Kind, Observer, Phase, Signal, SqlState};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Settings;
use crate::assess::{Assessor, Change};
use crate::endpoint::Endpoint;
use crate::seldom::Seldom;
use crate::sighting::Sighting;
use crate::standing::{Reason, Standing};

pub(crate) struct Shared<P> {
    pub(crate) endpoints: Vec<Endpoint<P>>,
    pub(crate) settings: Settings,
    pub(crate) observer: Arc<dyn Observer>,
    assessor: Mutex<Assessor>,
    /// That somebody is told of tokens of other clusters, which come from whoever sends them.
    pub(crate) warning: Seldom,
    /// What callers decide by; changes only when a standing does.
    pub(crate) board: watch::Sender<Board>,
}

/// What every endpoint is good for.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    pub(crate) standings: Vec<Standing>,
    /// When each came back into use after it had been out of it.
    pub(crate) back_at: Vec<Option<Instant>>,
    /// The primary, or the last one while it is only out of sight: a look that was missed must not keep writes away.
    pub(crate) writer: Option<usize>,
}

impl<P: Acquire> Shared<P> {
    pub(crate) fn new(
        endpoints: Vec<Endpoint<P>>,
        settings: Settings,
        observer: Arc<dyn Observer>,
        assessor: Assessor,
    ) -> Self {
        let standings = assessor.known().iter().map(|known| known.standing).collect();
        let board = Board { standings, back_at: vec![None; endpoints.len()], writer: None };
        Self {
            endpoints,
            settings,
            observer,
            assessor: Mutex::new(assessor),
            warning: Seldom::new(Duration::from_secs(10)),
            board: watch::Sender::new(board),
        }
    }

    pub(crate) fn assessor(&self) -> MutexGuard<'_, Assessor> {
        self.assessor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An endpoint has answered a question that was asked at a moment.
    pub(crate) fn saw(&self, index: usize, sighting: Sighting, asked_at: Instant) {
        let endpoint = &self.endpoints[index];
        endpoint.note(None);
        let mut assessor = self.assessor();
        if assessor.known()[index].last_role.is_some_and(|before| before != sighting.role) {
            // Sessions outlive a promotion, with what was decided for the old role. Before anybody hears of the new one.
            endpoint.pool.rotate();
        }
        if assessor.is_replaced(index, &sighting) {
            // A name that moved, a proxy or a pooler that was turned. Who is connected to the old one would write into a history that
            // was left behind.
            endpoint.pool.sever();
        }
        let changes = assessor.saw(index, sighting, asked_at);
        let left = self.post(&changes);
        drop(assessor);
        self.follow(&changes, left);
    }

    /// An endpoint has not answered, and perhaps said why.
    pub(crate) fn missed(&self, index: usize, error: Option<&Error>) {
        self.endpoints[index].note(Some(error.map_or("no answer".to_owned(), ToString::to_string)));
        let mut assessor = self.assessor();
        let changes = assessor.missed(index, Instant::now());
        let left = self.post(&changes);
        drop(assessor);
        self.follow(&changes, left);
    }

    /// Makes changes known, and gives the primary that another one has taken the place of. Called with the assessor locked, so
    /// that they are posted in their order.
    fn post(&self, changes: &[Change]) -> Option<usize> {
        if changes.is_empty() {
            return None;
        }
        let now = Instant::now();
        let mut board = self.board.borrow().clone();
        for Change { index, from, to } in changes {
            board.standings[*index] = *to;
            let came_back = matches!(from, Standing::Out(_)) && to.is_replica();
            board.back_at[*index] = came_back.then_some(now);
        }
        let before = board.writer;
        let primary = board.standings.iter().position(|standing| *standing == Standing::Primary);
        let last = before.filter(|last| board.standings[*last] == Standing::Out(Reason::Unreachable));
        board.writer = primary.or(last);
        let writer = board.writer;
        if writer != before {
            before.inspect(|before| self.endpoints[*before].pool.is_primary_now(false));
            writer.inspect(|writer| self.endpoints[*writer].pool.is_primary_now(true));
        }
        self.board.send_replace(board);
        before.filter(|before| primary.is_some_and(|primary| primary != *before))
    }

    /// Ends all connections to where nothing may be written any more, also those in use, and then tells of the changes.
    fn follow(&self, changes: &[Change], left: Option<usize>) {
        let is_fenced = |to: Standing| {
            use Reason::{OldTimeline, OtherCluster, SecondPrimary};
            matches!(to, Standing::Out(OldTimeline | OtherCluster | SecondPrimary))
        };
        let fenced = changes.iter().filter(|change| is_fenced(change.to)).map(|change| change.index);
        for index in fenced.filter(|index| Some(*index) != left).chain(left) {
            self.endpoints[index].pool.sever();
        }
        for Change { index, from, to } in changes {
            let endpoint = &self.endpoints[*index];
            let event = EndpointChanged::new(&endpoint.name, from.word(), to.word(), to.reason());
            self.observer.endpoint_changed(&event);
            if let (Standing::Out(Reason::Unreachable), Some(error)) = (to, endpoint.noted()) {
                tracing::warn!(target: "db::cluster", endpoint = &*endpoint.name, error, "endpoint does not answer");
            }
        }
        let lost_a_replica = changes.iter().any(|change| change.from.is_replica());
        if lost_a_replica && !self.board.borrow().standings.iter().any(|standing| standing.is_replica()) {
            tracing::warn!(target: "db::cluster", "no replica is fit any more: reads go to the primary");
        }
    }

    /// A use of an endpoint failed: if that says something about the server, it is looked at, at once.
    ///
    /// When a primary is killed its sessions end one after the other. Whoever has lost his must not be given another one that is
    /// about to end: with new ones a caller gets one error and not several.
    pub(crate) fn failed(&self, index: usize, error: &Error) {
        let endpoint = &self.endpoints[index];
        let is_read_only = error.sqlstate() == Some(SqlState::READ_ONLY_TRANSACTION);
        let is_lost = error.kind() == Kind::Connection;
        let is_writers = self.board.borrow().writer == Some(index);
        if is_lost && error.phase() == Phase::Execute && is_writers && endpoint.replacing.is_due() {
            endpoint.pool.rotate();
        }
        if is_read_only || is_lost {
            endpoint.look_now.notify_one();
        }
    }

    /// What every endpoint is, for an error.
    pub(crate) fn describe(&self) -> String {
        let board = self.board.borrow();
        let one = |(endpoint, standing): (&Endpoint<P>, &Standing)| {
            let drained = if endpoint.is_drained() { ", drained" } else { "" };
            let error = endpoint.noted().map(|error| format!(": {error}")).unwrap_or_default();
            format!("{} {standing}{drained}{error}", endpoint.name)
        };
        let all: Vec<_> = self.endpoints.iter().zip(&board.standings).map(one).collect();
        all.join(", ")
    }

    /// Nobody can take what a caller wants.
    pub(crate) fn nobody(&self, what: &str) -> Error {
        let signal = Signal::new(Cause::Unreachable, Phase::Acquire);
        Error::new(signal, format!("{what}: {}", self.describe()))
    }
}
