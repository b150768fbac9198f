//! One connection through the proxy: moves the bytes, and does to the sockets what was decided. Decides nothing about
//! messages.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::frames::LONGEST_READ;
use super::shared::{Conditions, Epoch, Shared, Talk};
use super::{Direction, End, Refusal};

/// How much is read at once.
const CHUNK: usize = 16 << 10;

/// How much one direction holds at most, be it stalled or delayed: what the longest message that is read needs. Above it
/// the sender is left waiting.
const ROOM: usize = LONGEST_READ + CHUNK;

/// What is longer is a stall. Counting it must not overflow.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// An end was closed.
    Closed,
    Struck(End),
}

/// Serves a client until either end is closed, a fault strikes, or the proxy is told to cut.
pub(super) async fn serve(mut client: TcpStream, upstream: &[SocketAddr], shared: &Shared) {
    let _open = shared.tally.open();
    let mut gate = shared.conditions.subscribe();
    let Conditions { refusal, epoch, .. } = *gate.borrow_and_update();
    match refusal {
        None => {}
        Some(Refusal::Reset) => return reset(&client),
        Some(Refusal::Silence) => return stay_silent(client, gate, epoch).await,
    }
    let Ok(mut server) = TcpStream::connect(upstream).await else { return reset(&client) };
    // A socket that refuses this works all the same.
    client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).ok();

    let talk = Talk::new(shared);
    let ((client_in, client_out), (server_in, server_out)) = (client.split(), server.split());
    let pump = |direction| Pump { direction, gate: gate.clone(), epoch, talk: &talk, shared };
    let ending = tokio::select! {
        ending = ended(gate.clone(), epoch) => ending,
        ending = pump(Direction::ToServer).run(client_in, server_out) => ending,
        ending = pump(Direction::ToClient).run(server_in, client_out) => ending,
    };
    match ending {
        Ending::Struck(End::Reset) => {
            reset(&client);
            reset(&server);
        }
        Ending::Struck(End::Silence) => stay_silent(client, gate, epoch).await,
        // A FIN comes before whatever else follows from dropping the sockets.
        Ending::Closed | Ending::Struck(End::Close) => {
            client.shutdown().await.ok();
            server.shutdown().await.ok();
        }
    }
}

/// Makes a socket send a reset when it is dropped, instead of what it still holds.
fn reset(socket: &TcpStream) {
    socket.set_zero_linger().ok();
}

/// Takes what the client sends, says nothing, and waits for it to close, or for a cut. The server's side, which is not read
/// any more, is closed by the caller then.
async fn stay_silent(mut client: TcpStream, mut gate: watch::Receiver<Conditions>, epoch: Epoch) {
    let mut lost = vec![0; CHUNK];
    let is_cut = gate.wait_for(|conditions| conditions.epoch.cuts != epoch.cuts);
    let closed = async { while matches!(client.read(&mut lost).await, Ok(1..)) {} };
    let is_cut = tokio::select! {
        cut = is_cut => cut.is_ok(),
        () = closed => false,
    };
    if is_cut {
        reset(&client);
    }
}

/// Waits until the proxy has cut or forgotten the connections of this epoch.
async fn ended(mut gate: watch::Receiver<Conditions>, epoch: Epoch) -> Ending {
    match gate.wait_for(|conditions| conditions.epoch != epoch).await {
        Ok(conditions) => conditions.ending(epoch).unwrap_or(Ending::Closed),
        Err(_) => Ending::Closed,
    }
}

impl Conditions {
    fn ending(&self, born: Epoch) -> Option<Ending> {
        if self.epoch.cuts != born.cuts {
            Some(Ending::Struck(End::Reset))
        } else if self.epoch.losses != born.losses {
            Some(Ending::Struck(End::Silence))
        } else {
            None
        }
    }
}

/// Moves bytes in one direction.
struct Pump<'a> {
    direction: Direction,
    gate: watch::Receiver<Conditions>,
    epoch: Epoch,
    talk: &'a Talk,
    shared: &'a Shared,
}

impl Pump<'_> {
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Ending {
        let mut held = Held::default();
        // How the sender has ended.
        let mut ending = None;
        // The receiver takes nothing any more. What it said before must still reach the other end, which closes then.
        let mut is_deaf = false;
        loop {
            let conditions = *self.gate.borrow_and_update();
            if let Some(ending) = conditions.ending(self.epoch) {
                return ending;
            }
            let way = conditions.way(self.direction);
            if !way.is_stalled && held.fall_due() && !is_deaf {
                let walk = self.shared.walk(self.talk, self.direction, held.due());
                is_deaf = to.write_all(&held.due()[..walk.pass]).await.is_err();
                held.remove(walk.pass + walk.lose);
                if let Some(strike) = walk.strike {
                    self.shared.struck(&strike);
                    return Ending::Struck(strike.end);
                }
            }
            if is_deaf {
                held = Held::default();
            }
            // A client that is gone wants no answer. That a server is gone is told when something passes.
            if let Some(ending) = ending
                && (if way.is_stalled {
                    self.direction == Direction::ToServer
                } else {
                    held.later.is_empty()
                })
            {
                return ending;
            }
            let next = held.later.front().map(|(at, _)| *at);
            held.bytes.reserve(CHUNK);
            tokio::select! {
                read = from.read_buf(&mut held.bytes), if ending.is_none() && held.bytes.len() < ROOM => match read {
                    Ok(0) => ending = Some(Ending::Closed),
                    Ok(length) => held.add(length, way.delay),
                    Err(_) => ending = Some(Ending::Struck(End::Reset)),
                },
                changed = self.gate.changed() => if changed.is_err() { return Ending::Closed },
                () = at(next), if !way.is_stalled => {}
            }
        }
    }
}

/// Waits for a moment, or for ever if there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// What has come and not passed.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// So many of them may pass, as far as time is concerned.
    due: usize,
    /// When the others may, piece by piece.
    later: VecDeque<(Instant, usize)>,
}

impl Held {
    /// The last `length` bytes have come now.
    fn add(&mut self, length: usize, delay: Duration) {
        match self.later.back() {
            None if delay.is_zero() => self.due += length,
            // Nothing overtakes what came before, also when the delay became shorter.
            last => {
                let earliest = last.map(|(at, _)| *at);
                let at = Instant::now() + delay.min(LONGEST_DELAY);
                self.later.push_back((earliest.map_or(at, |earliest| earliest.max(at)), length));
            }
        }
    }

    /// Whether anything may pass by now.
    fn fall_due(&mut self) -> bool {
        while let Some((at, length)) = self.later.front()
            && *at <= Instant::now()
        {
            self.due += length;
            self.later.pop_front();
        }
        self.due > 0
    }

    fn due(&self) -> &[u8] {
        &self.bytes[..self.due]
    }

    fn remove(&mut self, length: usize) {
        self.bytes.drain(..length);
        self.due -= length;
    }
}
