//! One address of one server, and how it is entered. A session and the requests to cancel its statements use the same door.

use super::dial::{self, Place, SocketOptions};
use super::failed::{Failed, Stage};
use super::tls;
use super::transport::Transport;
use crate::target::{Host, HostName, Target, Tls};

#[derive(Debug)]
pub(super) struct Door {
    host: Host,
    pub(super) place: Place,
    pub(super) tls: Tls,
    socket: SocketOptions,
}

/// What a server has to offer that was asked for TLS.
pub(super) enum Answer {
    Encrypted(Transport),
    /// It has no TLS; the session could go on in the clear.
    Plain(Transport),
}

impl Door {
    pub(super) fn new(target: &Target, host: &Host, place: Place) -> Self {
        Self { host: host.clone(), place, tls: target.tls.clone(), socket: SocketOptions::of(target) }
    }

    pub(super) fn is_socket(&self) -> bool {
        matches!(self.place, Place::Unix(_))
    }

    pub(super) async fn plain(&self) -> Result<Transport, Failed> {
        match &self.place {
            Place::Tcp(address) => Ok(Transport::plain(dial::tcp(*address, &self.socket).await?)),
            Place::Unix(path) => dial::unix(path).await,
        }
    }

    /// Asks for TLS. A socket of this machine has none.
    pub(super) async fn ask(&self) -> Result<Answer, Failed> {
        let (Place::Tcp(address), HostName::Tcp(name)) = (&self.place, &self.host.name) else {
            return self.plain().await.map(Answer::Plain);
        };
        let mut stream = dial::tcp(*address, &self.socket).await?;
        if !tls::request(&mut stream).await? {
            return Ok(Answer::Plain(Transport::plain(stream)));
        }
        Ok(Answer::Encrypted(tls::handshake(stream, name, address.ip(), &self.tls).await?))
    }

    /// A session that nobody in between can read, or none.
    pub(super) async fn encrypted(&self) -> Result<Transport, Failed> {
        match self.ask().await? {
            Answer::Encrypted(transport) => Ok(transport),
            Answer::Plain(_) => {
                let mode = self.tls.mode.name();
                let message = format!("the server does not support TLS, but sslmode={mode} requires it");
                Err(Failed::misuse(Stage::Handshake, message))
            }
        }
    }
}
