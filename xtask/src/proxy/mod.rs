//! `cargo xtask proxy`: the proxy of `db-testkit` for trying things by hand. Faults are given as options, or typed while it
//! runs; `orders.rs` reads them.

mod orders;

use std::future::pending;
use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context, Result};
use db_testkit::{Counts, Direction, End, Injected, Proxy, Refusal};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use orders::{After, Delays, Fault, Order, Times, order};

/// Stands between clients and a PostgreSQL and breaks the way on purpose, until Ctrl-C
///
/// Faults can also be typed while it runs: `help` lists them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where clients connect to
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6432")]
    listen: String,
    /// The PostgreSQL
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5432")]
    to: String,
    /// Latency, as `to-server=20,to-client=5`, or one number for both
    #[arg(long, value_name = "MS")]
    delay_ms: Option<Delays>,
    /// COMMITs that never arrive: the nth (`3`), all (`every`), or some (`0.1`)
    #[arg(long, value_name = "WHICH")]
    drop_commit: Vec<Times>,
    /// COMMITs that the server executes and the client does not learn of: `3`, `every`, `0.1`
    #[arg(long, value_name = "WHICH")]
    drop_ack: Vec<Times>,
    /// Cuts each connection after so many bytes, as `117:to-server`
    #[arg(long, value_name = "BYTES:DIRECTION")]
    reset_after: Vec<After>,
    /// What becomes of a connection that one of these strikes: `reset`, `close`, `silence`
    #[arg(long, value_name = "HOW", default_value = "reset", value_parser = orders::end)]
    end: End,
    /// For what is left to chance
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Nothing passes: at all, or `to-server`, or `to-client`
    #[arg(long, value_name = "DIRECTION", num_args = 0..=1, value_parser = orders::direction)]
    stall: Option<Option<Direction>>,
    /// New connections are refused: by a `reset`, or by `silence`
    #[arg(long, value_name = "HOW", num_args = 0..=1, value_parser = orders::refusal, default_missing_value = "reset")]
    refuse: Option<Refusal>,
    /// Ends after so many seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = orders::seconds)]
    duration: Option<Duration>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    Runtime::new()?.block_on(serve(args))
}

async fn serve(args: &Args) -> Result<()> {
    let proxy = Proxy::listen(&args.listen, &args.to)
        .await
        .with_context(|| format!("--listen {} --to {}", args.listen, args.to))?;
    let mut bench = Bench { proxy, end: args.end, seed: args.seed, injected: Vec::new() };
    for order in args.orders() {
        bench.obey(order);
    }
    println!("{} -> {}; `help` lists what can be typed, Ctrl-C ends", bench.proxy.address(), args.to);

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut lines = lines();
    let end = async {
        match args.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => pending().await,
        }
    };
    tokio::pin!(end);
    let mut fired = 0;
    loop {
        tokio::select! {
            () = &mut end => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            counts = bench.proxy.until(|counts| counts.fired > fired) => {
                fired = counts.fired;
                bench.report_fired();
            }
            Some(line) = lines.recv() => match order(&line) {
                Ok(None) => {}
                Ok(Some(Order::Quit)) => break,
                Ok(Some(order)) => bench.obey(order),
                Err(error) => println!("error: {error:#}"),
            },
        }
    }
    bench.report_fired();
    bench.status();
    Ok(())
}

impl Args {
    fn orders(&self) -> impl Iterator<Item = Order> {
        let faults = self.drop_commit.iter().map(|times| Fault::DropCommit(*times));
        let faults = faults.chain(self.drop_ack.iter().map(|times| Fault::DropAck(*times)));
        let faults = faults.chain(self.reset_after.iter().map(|after| Fault::ResetAfter(*after)));
        let delay = self.delay_ms.map(Order::Delay);
        let refuse = self.refuse.map(Order::Refuse);
        faults.map(Order::Inject).chain(delay).chain(self.stall.map(Order::Stall)).chain(refuse)
    }
}

/// What is typed, line by line; a thread of its own, since reading cannot be given up.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Bench {
    proxy: Proxy,
    end: End,
    seed: u64,
    injected: Vec<Known>,
}

/// A fault that was injected, and how often it is known to have struck.
struct Known {
    name: String,
    injected: Injected,
    told: u64,
    is_withdrawn: bool,
}

impl Bench {
    fn obey(&mut self, order: Order) {
        let proxy = &self.proxy;
        match order {
            Order::Inject(fault) => {
                let injected = proxy.inject(fault.with(self.end, self.seed));
                self.injected.push(Known { name: fault.to_string(), injected, told: 0, is_withdrawn: false });
            }
            Order::Delay(Delays { to_server, to_client }) => {
                for (direction, by) in [(Direction::ToServer, to_server), (Direction::ToClient, to_client)] {
                    by.into_iter().for_each(|by| proxy.delay(direction, by));
                }
            }
            Order::Stall(None) => proxy.stall(),
            Order::Stall(Some(direction)) => proxy.stall_one(direction),
            Order::Refuse(how) => proxy.refuse(how),
            Order::End(end) => self.end = end,
            Order::Cut => proxy.cut(),
            Order::Forget => proxy.forget(),
            Order::Heal => {
                proxy.heal();
                proxy.withdraw_all();
                for known in &mut self.injected {
                    known.is_withdrawn = true;
                }
            }
            Order::Status => self.status(),
            Order::Help => println!("{}", orders::HELP),
            // The caller's.
            Order::Quit => {}
        }
    }

    fn report_fired(&mut self) {
        for known in &mut self.injected {
            let fired = known.injected.fired();
            if fired > known.told {
                known.told = fired;
                println!("fired: {} ({fired} in all)", known.name);
            }
        }
    }

    fn status(&self) {
        let Counts { connections, accepted, requests, commits, acknowledged, fired, .. } =
            self.proxy.counts();
        let Counts { bytes_to_server, bytes_to_client, .. } = self.proxy.counts();
        println!("{connections} connections open, {accepted} accepted; {requests} requests");
        println!("{commits} COMMITs sent, {acknowledged} acknowledged by the server; {fired} faults fired");
        println!("{bytes_to_server} bytes to the server, {bytes_to_client} to clients");
        for known in &self.injected {
            let state = if known.is_withdrawn { ", withdrawn" } else { "" };
            println!("  {}: fired {} times{state}", known.name, known.injected.fired());
        }
    }
}
