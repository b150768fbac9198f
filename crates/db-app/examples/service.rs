//! A service that embeds the layer: its health, a table of numbers that callers add to and count, and tokens by which they see
//! what they added. It prints where it listens.
//!
//! ```sh
//! cargo run -p db-app --example service             # a PostgreSQL of its own, unless DATABASE_URL names one
//! curl -i -X POST localhost:8080/numbers            # the answer has a token
//! curl -H 'x-db-token: ...' localhost:8080/numbers
//! ```

#![expect(clippy::print_stdout, reason = "a program prints")]

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use db_app::consistency::{Consistency, ConsistencyLayer};
use db_app::prelude::*;
use tokio::net::TcpListener;

type Answer = Result<String, (StatusCode, String)>;

async fn add(State(db): State<Database>, consistency: Consistency) -> Answer {
    let number: i64 =
        db.one("INSERT INTO numbers DEFAULT VALUES RETURNING number", &[]).await.map_err(failed)?;
    consistency.wrote_to(&db).await.map_err(failed)?;
    Ok(format!("{number}\n"))
}

async fn count(State(db): State<Database>, consistency: Consistency) -> Answer {
    let count: i64 = consistency.reads(&db).one("SELECT count(*) FROM numbers", &[]).await.map_err(failed)?;
    Ok(format!("{count}\n"))
}

/// Callers see what it was; who may not know that gets the status only.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn failed(error: db_app::core::Error) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_env()?;
    let (address, limit) = (config.http_addr, config.shutdown_timeout);
    let db = Database::open(config).await?;
    db.batch_execute("CREATE TABLE IF NOT EXISTS numbers (number bigint GENERATED ALWAYS AS IDENTITY)")
        .await?;
    let numbers = Router::new().route("/numbers", get(count).post(add));
    let numbers = numbers.layer(ConsistencyLayer::new()).with_state(db.clone());
    let routes = numbers.merge(db_app::http::health_routes(&db, None));
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/", listener.local_addr()?);
    let stop = async {
        tokio::signal::ctrl_c().await.ok();
    };
    axum::serve(listener, routes).with_graceful_shutdown(stop).await?;
    Ok(db.close(limit).await?)
}
