//! Servers in containers: single ones by testcontainers, those of a cluster in a network of their own. Needs an engine that has
//! the image.

mod member;
mod network;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use testcontainers_modules::postgres::Postgres;
use testcontainers_modules::testcontainers::core::IntoContainerPort;
use testcontainers_modules::testcontainers::runners::AsyncRunner;
use testcontainers_modules::testcontainers::{ContainerAsync, ImageExt, TestcontainersError};
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::database::version;
use crate::server::PARAMETERS;

pub(crate) use member::Member;
pub(crate) use network::{Network, remove_left_overs};

/// A container with a PostgreSQL. Removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Container {
    container: ContainerAsync<Postgres>,
    port: u16,
}

impl Container {
    pub(crate) async fn start(image: &str) -> Result<Self, Error> {
        let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
        let command =
            PARAMETERS.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
        // A port that the engine chooses changes with every start of the container.
        let port = free_port()?;
        let request = Postgres::default()
            .with_name(name)
            .with_tag(tag)
            .with_cmd(command)
            .with_mapped_port(port, 5432.tcp());
        let container = request.start().await?;
        Ok(Self { container, port })
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres:postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) async fn halt(&self) -> Result<(), Error> {
        Ok(self.container.stop().await?)
    }

    pub(crate) async fn halt_at_once(&self) -> Result<(), Error> {
        Ok(self.container.stop_with_timeout(Some(0)).await?)
    }

    pub(crate) async fn freeze(&self) -> Result<(), Error> {
        Ok(self.container.pause().await?)
    }

    pub(crate) async fn thaw(&self) -> Result<(), Error> {
        Ok(self.container.unpause().await?)
    }

    pub(crate) async fn remove(self) -> Result<(), Error> {
        Ok(self.container.rm().await?)
    }

    pub(crate) async fn resume(&self) -> Result<(), Error> {
        self.container.start().await?;
        // The engine is done when the process runs, which is before it serves.
        let give_up = Instant::now() + READY;
        loop {
            match version(&self.url()).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > give_up => return Err(error),
                Err(_) => sleep(POLL).await,
            }
        }
    }
}

/// How long a server may take to serve again, its recovery included, or to go.
const READY: Duration = Duration::from_secs(30);

/// How often it is asked.
const POLL: Duration = Duration::from_millis(50);

impl From<TestcontainersError> for Error {
    fn from(error: TestcontainersError) -> Self {
        Self::Docker(error.to_string())
    }
}

/// Whether the engine runs and has the image.
pub(crate) fn has_image(image: &str) -> bool {
    Command::new("docker")
        .args(["image", "inspect", image])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
