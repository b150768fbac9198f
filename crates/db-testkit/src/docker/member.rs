//! A server of a cluster in a container of its own, under an address that it keeps. Decides nothing about roles.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::{Network, POLL, READY};
use crate::Error;
use crate::database::version;
use crate::server::PARAMETERS;

/// A container in a [`Network`], and what it takes to make it anew.
#[derive(Debug)]
pub(crate) struct Member {
    network: Arc<Network>,
    image: String,
    name: String,
    container: String,
    address: Ipv4Addr,
    parameters: Vec<String>,
    is_cut_off: bool,
}

/// What the container runs. Every start of it comes here, so what is there already is left as it is.
///
/// Who may copy a server is nobody's by default. What the leader was told to do (`postgresql.auto.conf`) is not for its standby.
const SCRIPT: &str = r#"set -e
printf 'local all all trust\nhost all,replication all all scram-sha-256\n' >/tmp/pg_hba.conf
if [ -n "$LEADER" ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    pg_basebackup --pgdata="$PGDATA" --dbname="$LEADER" --write-recovery-conf --checkpoint=fast --no-sync
    printf "primary_conninfo = '%s'\n" "$LEADER" >"$PGDATA/postgresql.auto.conf"
fi
exec docker-entrypoint.sh postgres "$@"
"#;

impl Member {
    /// Starts the member of this number, empty or as a streaming standby of `leader`, and waits until it serves.
    ///
    /// # Cancel safety
    /// What was started goes with the network.
    pub(crate) async fn start(
        network: &Arc<Network>,
        image: &str,
        (number, name): (u32, &str),
        parameters: &[(&str, &str)],
        leader: Option<&Self>,
    ) -> Result<Self, Error> {
        let parameters = PARAMETERS.iter().chain(parameters);
        let parameters = parameters.chain([&("hba_file", "/tmp/pg_hba.conf")]);
        let this = Self {
            network: Arc::clone(network),
            image: image.to_owned(),
            name: name.to_owned(),
            container: format!("{}-{name}", network.name()),
            address: network.address(number),
            parameters: parameters.map(|(name, value)| format!("{name}={value}")).collect(),
            is_cut_off: false,
        };
        this.create(leader).await?;
        Ok(this)
    }

    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// Says that there is no TLS: who connects to another machine expects it, and by its address that is what this is.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres:postgres@{}:5432/postgres?sslmode=disable", self.address)
    }

    /// Sends the signal of an orderly end, and kills what is not gone after 10 s.
    pub(crate) async fn halt(&self) -> Result<(), Error> {
        self.docker(["stop", "-t", "10", &self.container]).await
    }

    /// As a local server is: killed from outside, its sessions would still say a word after the first of them is gone.
    pub(crate) async fn halt_at_once(&self) -> Result<(), Error> {
        let told = self.docker(["kill", "--signal", "QUIT", &self.container]).await;
        // It is an error to signal what does not run.
        if told.is_err() && !self.runs().await? {
            return Ok(());
        }
        told?;
        self.docker(["wait", &self.container]).await
    }

    pub(crate) async fn freeze(&self) -> Result<(), Error> {
        self.docker(["pause", &self.container]).await
    }

    pub(crate) async fn thaw(&self) -> Result<(), Error> {
        self.docker(["unpause", &self.container]).await
    }

    pub(crate) async fn resume(&self) -> Result<(), Error> {
        self.docker(["start", &self.container]).await?;
        self.serves().await
    }

    pub(crate) async fn remove(self) -> Result<(), Error> {
        self.docker(["rm", "--force", "--volumes", &self.container]).await?;
        // The last one of a cluster removes the network, by commands of their own.
        let network = self.network;
        let removed = spawn_blocking(move || drop(network));
        removed.await.map_err(|error| Error::Docker(error.to_string()))
    }

    /// Takes it off its network. Its sockets stay open, and so do those of the others to it.
    pub(crate) async fn partition(&mut self) -> Result<(), Error> {
        if self.is_cut_off {
            return Ok(());
        }
        // Known first: the command goes on when this is dropped.
        self.is_cut_off = true;
        let done = self.docker(["network", "disconnect", self.network.name(), &self.container]).await;
        self.is_cut_off = done.is_ok();
        done
    }

    pub(crate) async fn heal(&mut self) -> Result<(), Error> {
        if !self.is_cut_off {
            return Ok(());
        }
        self.is_cut_off = false;
        let address = self.address.to_string();
        let connect = ["network", "connect", "--ip", &address, self.network.name(), &self.container];
        let done = self.docker(connect).await;
        self.is_cut_off = done.is_err();
        done
    }

    /// Throws its container and its data away, and takes its place with a copy of `leader`.
    pub(crate) async fn follow(&self, leader: &Self) -> Result<(), Error> {
        self.docker(["rm", "--force", "--volumes", &self.container]).await?;
        self.create(Some(leader)).await
    }

    async fn create(&self, leader: Option<&Self>) -> Result<(), Error> {
        let leader = leader.map_or_else(String::new, |leader| {
            format!("{}&application_name={}&gssencmode=disable", leader.url(), self.name)
        });
        let (label, address, leader) =
            (self.network.label(), self.address.to_string(), format!("LEADER={leader}"));
        let run = [
            "run",
            "--detach",
            "--name",
            &self.container,
            "--label",
            &label,
            "--network",
            self.network.name(),
            "--ip",
            &address,
            // Whom the data belongs to: a copy is made before the image's entry point changes to that user.
            "--user",
            "postgres",
            "--env",
            "POSTGRES_PASSWORD=postgres",
            "--env",
            "POSTGRES_INITDB_ARGS=--no-sync",
            "--env",
            &leader,
            &self.image,
            "sh",
            "-c",
            SCRIPT,
            "sh",
        ];
        let parameters = self.parameters.iter().flat_map(|parameter| ["-c", parameter]);
        self.network.docker(run.into_iter().chain(parameters)).await?;
        self.serves().await
    }

    /// Waits until it takes connections. One that is cut off is asked from inside.
    async fn serves(&self) -> Result<(), Error> {
        let give_up = Instant::now() + READY;
        loop {
            let inside = ["exec", &*self.container, "pg_isready", "--host", "127.0.0.1"];
            let asked = async {
                if self.is_cut_off { self.docker(inside).await } else { version(&self.url()).await.map(drop) }
            };
            let error = match timeout(READY, asked).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not answer".to_owned(),
            };
            if Instant::now() > give_up || !self.runs().await? {
                let log = self.network.docker(["logs", "--tail", "5", &self.container]).await?;
                let what = format!("{} does not serve: {error}; it printed last: {log}", self.name);
                return Err(Error::Docker(what));
            }
            sleep(POLL).await;
        }
    }

    async fn runs(&self) -> Result<bool, Error> {
        let asked = ["inspect", "--format", "{{.State.Running}}", &*self.container];
        Ok(self.network.docker(asked).await? == "true")
    }

    async fn docker<const N: usize>(&self, arguments: [&str; N]) -> Result<(), Error> {
        self.network.docker(arguments).await.map(drop)
    }
}
