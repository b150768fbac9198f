//! Comments that say who sends a statement (SQLCommenter): behind statements that are sent as text, and nowhere else. What the
//! server has seen is asked of the server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use db_core::{Executed, Executor, Observer, Query};
use db_pool::{Commenter, Pool, Pooler};
use futures_util::StreamExt;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::bouncer::{Bouncer, Mode};
use crate::support::{client, database, pool, settings};

const SEEN: &str = "SELECT current_query()";
const KEEP: &str = "INSERT INTO seen SELECT current_query()";

fn shop() -> Commenter {
    Commenter::new(|| vec![("trace", "a/b".to_owned()), ("application", "shop".to_owned())])
}

const COMMENT: &str = " /*application='shop',trace='a%2Fb'*/";

/// Texts as observers get them.
#[derive(Default)]
struct Texts(Mutex<Vec<String>>);

impl Observer for Texts {
    fn executed(&self, event: &Executed<'_>) {
        self.0.lock().expect("no panic").push(event.sql.to_owned());
    }
}

/// In transaction mode every statement has the comment, whichever verb sends it, in a transaction or alone, and nobody but the
/// server is told of it.
#[tokio::test]
async fn statements_sent_as_text_say_who_sends_them() {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let (mut settings, texts) = (settings(), Arc::new(Texts::default()));
    (settings.pooler, settings.commenter) = (Pooler::Transaction, Some(shop()));
    let pool = Pool::open_observed(bouncer.config(), settings, Arc::clone(&texts) as Arc<dyn Observer>)
        .await
        .expect("a pool");
    let aside = client(database.url()).await;
    aside.batch_execute("CREATE TABLE seen (text text)").await.expect("a table");

    let expect = format!("{SEEN}{COMMENT}");
    for _ in 0..2 {
        assert_eq!(pool.one::<String>(SEEN, &[]).await.expect("one"), expect);
        let streamed = pool.stream::<String>(SEEN, &[]).await.expect("a stream").next().await;
        assert_eq!(streamed.expect("a row").expect("a text"), expect);
        let in_tx = pool.tx(async |tx| tx.one::<String>(SEEN, &[]).await).await;
        assert_eq!(in_tx.expect("in a transaction"), expect);
    }
    pool.execute(KEEP, &[]).await.expect("execute");
    pool.batch_execute(&format!("{KEEP};")).await.expect("batch");
    let kept = aside.query("SELECT text FROM seen", &[]).await.expect("texts");
    let kept: Vec<String> = kept.iter().map(|row| row.get(0)).collect();
    assert_eq!(kept, [format!("{KEEP}{COMMENT}"), format!("{KEEP}{COMMENT};")]);

    let texts = texts.0.lock().expect("no panic");
    assert_eq!(texts.len(), 8);
    assert!(texts.iter().all(|text| !text.contains("/*")), "{texts:?}");
}

/// A comment that is another each time makes no statement another one: its types are learned once, in one transaction more.
#[tokio::test]
async fn types_are_learned_once_whatever_the_comment() {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let count = AtomicU64::new(0);
    let each = Commenter::new(move || vec![("request", count.fetch_add(1, Ordering::Relaxed).to_string())]);
    let pool = bouncer
        .pool(|settings| (settings.pooler, settings.commenter) = (Pooler::Transaction, Some(each)))
        .await;
    let mut console = bouncer.config();
    let console = console.user("admin").dbname("pgbouncer");
    let (console, connection) = console.connect(NoTls).await.expect("its console");
    tokio::spawn(connection);
    let transactions = async || {
        let rows = console.simple_query("SHOW STATS_TOTALS").await.expect("totals");
        let of = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) if row.get("database") == Some(database.name()) => {
                row.get("xact_count")?.parse::<u64>().ok()
            }
            _ => None,
        };
        rows.iter().find_map(of).expect("a count")
    };
    let conn = pool.acquire().await.expect("a connection");
    let before = transactions().await;
    for number in 0..10 {
        let seen: String = conn.one(SEEN, &[]).await.expect("a text");
        assert_eq!(seen, format!("{SEEN} /*request='{number}'*/"));
    }
    assert_eq!(transactions().await - before, 11);
}

/// What the layer itself says has no comment: it is the same for everybody.
#[tokio::test]
async fn transactions_begin_and_end_without_a_comment() {
    const LAST: &str = "SELECT query FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        ORDER BY state_change DESC LIMIT 1";
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let commented = bouncer
        .pool(|settings| (settings.pooler, settings.commenter) = (Pooler::Transaction, Some(shop())))
        .await;
    let aside = client(database.url()).await;
    let last = async || aside.query_one(LAST, &[]).await.expect("look").get::<_, String>(0);
    let mut conn = commented.acquire().await.expect("a connection");
    let tx = conn.begin(&db_pool::TxOptions::default()).await.expect("begin");
    let begun = last().await;
    assert!(begun.starts_with("BEGIN") && !begun.contains("/*"), "{begun}");
    tx.one::<String>(SEEN, &[]).await.expect("a statement");
    assert!(last().await.contains(COMMENT));
    tx.commit().await.expect("commit");
    assert_eq!(last().await, "COMMIT");
}

/// Design: off for prepared statements. They would be prepared anew for each request; what `batch` sends is text there, too.
#[tokio::test]
async fn prepared_statements_have_no_comment() {
    let database = database().await;
    let pool = pool(&database, |settings| settings.commenter = Some(shop())).await;
    for _ in 0..2 {
        assert_eq!(pool.one::<String>(SEEN, &[]).await.expect("one"), SEEN);
    }
    pool.batch_execute(&format!("CREATE TABLE seen (text text); {KEEP}")).await.expect("batch");
    let seen: String = pool.one("SELECT text FROM seen", &[]).await.expect("the text");
    assert!(seen.ends_with(&format!("{KEEP}{COMMENT}")), "{seen}");
}

/// Nobody gets out of the comment, whatever he is called.
#[tokio::test]
async fn a_malicious_name_stays_in_the_comment() {
    let database = database().await;
    let bouncer = Bouncer::before(&database, Mode::Transaction).await;
    let aside = client(database.url()).await;
    aside.batch_execute("CREATE TABLE t (id int4)").await.expect("a table");
    let names =
        ["*/; DROP TABLE t; --", "'*/ DROP TABLE t", "/* */ */; DROP TABLE t; /*", "%2A/ \\'*/", "é\n*/"];
    for name in names {
        let commenter = Commenter::new(move || vec![("application", name.to_owned())]);
        let pool = bouncer
            .pool(|settings| (settings.pooler, settings.commenter) = (Pooler::Transaction, Some(commenter)))
            .await;
        let seen: String = pool.one(SEEN, &[]).await.expect("a text");
        let comment = seen.strip_prefix(SEEN).expect("the statement");
        let value = comment.strip_prefix(" /*application='").and_then(|it| it.strip_suffix("'*/"));
        let value = value.expect("a comment");
        assert!(!value.contains(['\'', '*', '/', ';', ' ', '\n', '\\']), "{value}");
        pool.batch_execute("SELECT 1").await.expect("one statement");
        assert_eq!(pool.one::<i64>("SELECT count(*) FROM t", &[]).await.expect("it is there"), 0);
    }
}
