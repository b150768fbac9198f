//! Faults that need the processes of a server on this machine.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;
use tokio_postgres::NoTls;

use super::ledger::{Case, Effort, Load, alone};
use crate::support::{client, eventually, own_server};

/// D9, E5, E9: one session is killed, at which the server throws away all of them and recovers as after a crash.
#[tokio::test]
async fn a_killed_session() {
    let _alone = alone().await;
    let server = own_server().await;
    let database = server.database().await.expect("a fresh database");
    let mut load = Load::start(Case::new("killed session"), database.url(), database.url()).await;
    let (mut done, effort) = (0, Effort::of(50));
    while effort.wants_more(done) {
        let aside = client(server.url()).await;
        let busy = "SELECT pid FROM pg_stat_activity WHERE datname = $1 ORDER BY (state = 'active') DESC, random() LIMIT 1";
        let victim: i32 = aside.query_one(busy, &[&database.name()]).await.expect("a session").get(0);
        kill(Pid::from_raw(victim), Signal::SIGKILL).expect("the signal");
        // The server has noticed when it ends this one as well.
        eventually("all sessions are ended", async || aside.is_closed()).await;
        eventually("the server is ready again", async || is_ready(server.url()).await).await;
        load.flows_again().await;
        load.more(20).await;
        done += 1;
    }
    load.finish(done).await.must_hold();
}

async fn is_ready(url: &str) -> bool {
    let asked = async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
        tokio::spawn(connection);
        client.simple_query("SELECT 1").await.ok()
    };
    timeout(std::time::Duration::from_secs(1), asked).await.is_ok_and(|answer| answer.is_some())
}
