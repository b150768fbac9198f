//! What can be done to connections on purpose, as values. When a fault strikes is decided in `rules.rs`.

/// A way that bytes take. There are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What becomes of a connection that a fault strikes. Nothing passes through it any more, whatever is healed later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Both sides are reset (RST).
    #[default]
    Reset,
    /// Both sides are closed in an orderly way (FIN).
    Close,
    /// Neither side is told. The server's side is closed when the client closes its own, so that sessions do not pile up.
    Silence,
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// They are reset at once. (The listener stays, to keep the port: clients see a reset instead of `connection refused`.)
    Reset,
    /// They are accepted, and nobody ever answers, also not when the proxy is healed.
    Silence,
}

/// Something that goes wrong with a connection when something passes. Given to [`Proxy::inject`](super::Proxy::inject).
///
/// It strikes each time, and resets the connection, unless told otherwise:
///
/// ```
/// use db_testkit::{Direction, End, Fault};
///
/// Fault::lost_commit();
/// Fault::lost_commit().nth(3).end(End::Silence);
/// Fault::lost_acknowledgement().sometimes(0.2, 42).end(End::Close);
/// Fault::lost_request().nth(7).end(End::Silence);
/// Fault::cut_after(Direction::ToServer, 117).from_begin().nth(1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    pub(super) trigger: Trigger,
    pub(super) which: Which,
    pub(super) end: End,
}

/// What makes a fault strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    Commit,
    Acknowledgement,
    Request,
    Answer,
    Bytes { direction: Direction, after: u64, from_begin: bool },
}

/// Which of the times that it could.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Which {
    Every,
    Nth(u64),
    Sometimes { probability: f64, seed: u64 },
}

impl Fault {
    /// A COMMIT never reaches the server: what came before it passes, and the connection ends.
    ///
    /// A COMMIT is a query whose last statement is COMMIT or which is END alone, in any spelling, and the execution of
    /// such a statement that was prepared. One at the end of a message above 1 MiB is not seen, nor one inside of a
    /// procedure, nor `COMMIT PREPARED`.
    pub fn lost_commit() -> Self {
        Self::new(Trigger::Commit)
    }

    /// The server commits, and the client does not learn of it: the command tag `COMMIT` and what follows it up to the
    /// next ReadyForQuery are swallowed, and the connection ends.
    ///
    /// The transaction is committed when this has fired. A COMMIT that the server answers by `ROLLBACK`, or by an error,
    /// is none.
    pub fn lost_acknowledgement() -> Self {
        Self::new(Trigger::Acknowledgement)
    }

    /// A request never reaches the server: what came before it passes, and the connection ends.
    ///
    /// A request is what one ReadyForQuery answers: a Query, a FunctionCall, or what a Sync ends. Of the latter everything
    /// but the Sync may pass, and the server does not commit it. With [`nth`](Self::nth) a session can be stopped before each
    /// of its steps; with [`End::Silence`] its client waits there until it is killed.
    pub fn lost_request() -> Self {
        Self::new(Trigger::Request)
    }

    /// The server does what was requested, and the client does not learn of it: the answer is swallowed from its first byte
    /// to its ReadyForQuery, and the connection ends.
    ///
    /// The request is done, or was refused, when this has fired. Further requests that the client had sent behind it may
    /// have reached the server as well.
    pub fn lost_answer() -> Self {
        Self::new(Trigger::Answer)
    }

    /// A connection ends when this many bytes have passed in one direction, wherever in a message that is; with 0, when
    /// the first would pass.
    ///
    /// Counts on each connection from the moment of the injection, or from its start if that is later, and strikes each
    /// connection once. See [`from_begin`](Self::from_begin).
    pub fn cut_after(direction: Direction, bytes: u64) -> Self {
        Self::new(Trigger::Bytes { direction, after: bytes, from_begin: false })
    }

    /// Of [`cut_after`](Self::cut_after): counts from each BEGIN or START TRANSACTION, whose message counts as well, until
    /// the server is ready outside of a transaction, and strikes each transaction that comes so far. Towards the client it
    /// counts what passes after the BEGIN did. Changes no other fault.
    ///
    /// With every number of bytes from 0 up to the length of a transaction it is cut at every place. The length is the
    /// difference of [`Counts::bytes_to_server`](super::Counts::bytes_to_server) before and after one that nothing strikes.
    pub fn from_begin(mut self) -> Self {
        if let Trigger::Bytes { from_begin, .. } = &mut self.trigger {
            *from_begin = true;
        }
        self
    }

    /// Strikes once, the nth time that it could, over all connections and counted from the injection; the first is 1.
    pub fn nth(mut self, n: u64) -> Self {
        self.which = Which::Nth(n);
        self
    }

    /// Strikes each time with this probability (0 to 1). The same seed gives the same sequence of decisions.
    pub fn sometimes(mut self, probability: f64, seed: u64) -> Self {
        self.which = Which::Sometimes { probability, seed };
        self
    }

    /// What becomes of the connection.
    pub fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    fn new(trigger: Trigger) -> Self {
        Self { trigger, which: Which::Every, end: End::default() }
    }
}
