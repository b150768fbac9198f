//! A line between a client and the server that takes its time: what comes in goes out half a millisecond later, in each
//! direction, so that a round trip takes 1 ms more. It is a distance, not a narrow place: any number of pieces are on
//! their way at once, each for as long as the others.
//!
//! Why not the fault proxy of db-testkit? It keeps distances as well, but by the timers of tokio, which know whole
//! milliseconds only, and it reads every message. This is one thread outside of the runtime on which contestants run. While
//! anything is on its way it looks every 0.1 ms what has come and what is due, rather than wake up for each piece: it then
//! takes little of the processors, and about the same from everybody, for up to 0.1 ms more in each direction.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What one direction holds at most. Far more than anything here sends in a millisecond.
const ROOM: usize = 1 << 20;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// How long the thread sleeps between two looks.
const TICK: Duration = Duration::from_micros(100);

/// A thread with a port. Ends with all its connections when it is dropped.
#[derive(Debug)]
pub(crate) struct DelayLine {
    url: String,
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DelayLine {
    /// Starts one in front of the server of a URL.
    pub(crate) fn start(url: &str, round_trip: Duration) -> Result<Self> {
        let (before, authority, after) = parts(url).context("a delay line needs a URL with host and port")?;
        let upstream = authority.to_socket_addrs()?.next().context("the server's name is not found")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let line = Line { listener, upstream, delay: round_trip / 2, is_over: Arc::clone(&is_over) };
        let thread = std::thread::Builder::new().name("delay line".to_owned()).spawn(move || line.run())?;
        Ok(Self { url: format!("{before}{address}{after}"), address, is_over, thread: Some(thread) })
    }

    /// The same database, farther away.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for DelayLine {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Wakes it up.
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A URL around its host and port.
fn parts(url: &str) -> Option<(&str, &str, &str)> {
    let scheme = url.find("://")? + 3;
    let end = url[scheme..].find(['/', '?']).map_or(url.len(), |length| scheme + length);
    let begin = url[scheme..end].rfind('@').map_or(scheme, |length| scheme + length + 1);
    Some((&url[..begin], &url[begin..end], &url[end..]))
}

/// What the thread holds.
struct Line {
    listener: TcpListener,
    upstream: SocketAddr,
    delay: Duration,
    is_over: Arc<AtomicBool>,
}

/// A client, the server's side of it, and what is on its way from either to the other.
struct Pair {
    ends: [TcpStream; 2],
    flows: [Flow; 2],
}

/// What is on its way from the end of the same number to the other one.
#[derive(Default)]
struct Flow {
    /// When each piece arrives; each with how much of it has left already.
    held: VecDeque<(Instant, Vec<u8>, usize)>,
    length: usize,
    /// Nothing more comes.
    is_ended: bool,
    /// The other end was told so.
    is_shut: bool,
    /// The other end takes no more for now.
    is_blocked: bool,
}

impl Line {
    fn run(&self) {
        // By default the kernel may be 50 µs late.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).ok();
        let mut pairs: Vec<Pair> = Vec::new();
        let mut buffer = vec![0; CHUNK];
        while !self.is_over.load(Ordering::Acquire) {
            pairs.retain_mut(|pair| pair.deliver(Instant::now()));
            let is_busy = pairs.iter().flat_map(|pair| &pair.flows).any(|flow| !flow.held.is_empty());
            if is_busy {
                std::thread::sleep(TICK);
            }
            let (accepts, ready) = look(&self.listener, &pairs, is_busy.then_some(NO_TIME));
            for (pair, end, flags) in ready {
                pairs[pair].take(end, flags, self.delay, &mut buffer);
            }
            if accepts {
                while let Ok((client, _)) = self.listener.accept() {
                    // A server that refuses closes the client's connection as well.
                    pairs.extend(Pair::new(client, self.upstream).ok());
                }
            }
        }
    }
}

const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Whether somebody knocks, and which ends are ready for what. Waits for that if no time is given.
fn look(
    listener: &TcpListener,
    pairs: &[Pair],
    time: Option<Timespec>,
) -> (bool, Vec<(usize, usize, PollFlags)>) {
    let mut places = Vec::with_capacity(pairs.len() * 2);
    let mut files = vec![PollFd::new(listener, PollFlags::IN)];
    for (index, pair) in pairs.iter().enumerate() {
        for end in 0..2 {
            let wanted = pair.wanted(end);
            if !wanted.is_empty() {
                files.push(PollFd::new(&pair.ends[end], wanted));
                places.push((index, end));
            }
        }
    }
    // Interrupted is as good as nothing: the caller looks again.
    if poll(&mut files, time.as_ref()).is_err() {
        return (false, Vec::new());
    }
    let ready = places.into_iter().zip(&files[1..]).map(|((pair, end), file)| (pair, end, file.revents()));
    (!files[0].revents().is_empty(), ready.filter(|(_, _, flags)| !flags.is_empty()).collect())
}

impl Pair {
    fn new(client: TcpStream, upstream: SocketAddr) -> std::io::Result<Self> {
        let ends = [client, TcpStream::connect(upstream)?];
        for end in &ends {
            end.set_nodelay(true)?;
            end.set_nonblocking(true)?;
        }
        Ok(Self { ends, flows: Default::default() })
    }

    /// What is waited for at an end.
    fn wanted(&self, end: usize) -> PollFlags {
        let (from, to) = (&self.flows[end], &self.flows[1 - end]);
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, !from.is_ended && from.length < ROOM);
        wanted.set(PollFlags::OUT, to.is_blocked);
        wanted
    }

    /// Reads what an end has, and notes that it takes something again.
    fn take(&mut self, end: usize, flags: PollFlags, delay: Duration, buffer: &mut [u8]) {
        if flags.contains(PollFlags::OUT) {
            self.flows[1 - end].is_blocked = false;
        }
        let flow = &mut self.flows[end];
        if flow.is_ended || !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        match self.ends[end].read(buffer) {
            Ok(length @ 1..) => {
                flow.held.push_back((Instant::now() + delay, buffer[..length].to_vec(), 0));
                flow.length += length;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(0) | Err(_) => flow.is_ended = true,
        }
    }

    /// Writes what is due. Whether there is anything left to live for.
    fn deliver(&mut self, now: Instant) -> bool {
        for (end, flow) in self.flows.iter_mut().enumerate() {
            let to = &mut self.ends[1 - end];
            if flow.deliver(now, to).is_err() {
                return false;
            }
            if flow.is_ended && flow.held.is_empty() && !flow.is_shut {
                to.shutdown(Shutdown::Write).ok();
                flow.is_shut = true;
            }
        }
        !self.flows.iter().all(|flow| flow.is_shut)
    }
}

impl Flow {
    fn deliver(&mut self, now: Instant, to: &mut TcpStream) -> std::io::Result<()> {
        while let Some((at, bytes, gone)) = self.held.front_mut()
            && !self.is_blocked
            && *at <= now
        {
            match to.write(&bytes[*gone..]) {
                Ok(length) => {
                    *gone += length;
                    self.length -= length;
                    if *gone == bytes.len() {
                        self.held.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends everything back, behind a line of 20 ms.
    fn echo_behind_a_line() -> (DelayLine, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let url = format!("postgres://u@{}/d", listener.local_addr().expect("bound"));
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut copy = stream.try_clone().expect("a handle");
            std::io::copy(&mut stream, &mut copy).ok();
        });
        let line = DelayLine::start(&url, Duration::from_millis(20)).expect("a line");
        let client = TcpStream::connect(line.address).expect("a connection");
        client.set_nodelay(true).expect("a socket");
        (line, client)
    }

    /// Pieces are on their way at once: each takes the whole delay, and all of them hardly longer than one.
    #[test]
    fn pieces_do_not_wait_for_each_other() {
        let (_line, mut client) = echo_behind_a_line();
        let begun = Instant::now();
        let mut sender = client.try_clone().expect("a handle");
        let sending = std::thread::spawn(move || {
            for piece in 0..20_u8 {
                sender.write_all(&[piece]).expect("sent");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut piece = [0];
        client.read_exact(&mut piece).expect("the first");
        assert!(begun.elapsed() >= Duration::from_millis(20), "{:?}", begun.elapsed());
        for expect in 1..20 {
            client.read_exact(&mut piece).expect("a piece");
            assert_eq!(piece, [expect]);
        }
        // One after another they would take 400 ms.
        assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
        sending.join().expect("sent");
    }

    /// More than the sockets take at once arrives whole and in order, and the end after it.
    #[test]
    fn what_does_not_fit_waits_and_arrives() {
        let (_line, mut client) = echo_behind_a_line();
        let bytes: Vec<_> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut sender = client.try_clone().expect("a handle");
        let sent = bytes.clone();
        let sending = std::thread::spawn(move || {
            sender.write_all(&sent).expect("sent");
            sender.shutdown(Shutdown::Write).expect("ended");
        });
        let mut back = Vec::new();
        client.read_to_end(&mut back).expect("all of it");
        assert!(back == bytes, "{} bytes came back", back.len());
        sending.join().expect("sent");
    }

    #[test]
    fn the_place_of_the_server_in_a_url() {
        let check = |url, expect| assert_eq!(parts(url), Some(expect));
        check("postgres://a:b@h:1/d?x=y@z", ("postgres://a:b@", "h:1", "/d?x=y@z"));
        check("postgres://h:1", ("postgres://", "h:1", ""));
        assert_eq!(parts("host=h"), None);
    }
}
