//! Runs a PostgreSQL in the folder given as argument, prints its URL and keeps it until it is interrupted. Not a
//! service manager: it does not restart a server that died.
#![expect(clippy::print_stdout, reason = "an example has a terminal")]

use std::error::Error;
use std::io::Write;

use db_embedded::{Search, Server, Settings};
use secrecy::ExposeSecret;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: keep FOLDER")?;
    let search = Search::with_path(std::env::var_os("PATH"));
    let server = Server::start(Settings::new(folder).search(search)).await?;
    let role = if server.is_attached() { "attached" } else { "owner" };
    println!("{role} {}", server.url().expose_secret());
    std::io::stdout().flush()?;

    tokio::select! {
        exit = server.exited() => Err(exit.to_string().into()),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            server.stop().await?;
            Ok(())
        }
    }
}
