//! One attempt at one door: in the clear or encrypted, in the order that the mode of TLS asks for.

use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;

use db_core::{Error, Phase};
use tokio_postgres::Config;
use tokio_postgres::tls::TlsConnect;

use super::Connected;
use super::cancel::Canceller;
use super::door::{Answer, Door};
use super::failed::{Failed, Stage};
use super::tls::own_certificate_refused;
use super::transport::Transport;
use crate::target::{ChannelBinding, TlsMode};
use crate::wire::{Tap, Wire};

pub(super) struct Attempt<'a> {
    pub(super) door: Arc<Door>,
    /// What is asked of the server; its own settings of TLS have no part in it.
    pub(super) config: &'a Config,
}

impl Attempt<'_> {
    pub(super) async fn run(&self) -> Result<Connected, Failed> {
        match self.door.tls.mode {
            _ if self.door.is_socket() => self.in_the_clear().await,
            TlsMode::Disable => self.in_the_clear().await,
            // In the clear there is nothing to bind to.
            TlsMode::Allow if self.door.tls.channel_binding == ChannelBinding::Require => {
                self.encrypted().await
            }
            TlsMode::Allow => self.if_it_insists().await,
            TlsMode::Prefer => self.if_it_can().await,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => self.encrypted().await,
        }
    }

    async fn in_the_clear(&self) -> Result<Connected, Failed> {
        self.start(self.door.plain().await?).await
    }

    async fn encrypted(&self) -> Result<Connected, Failed> {
        self.start(self.door.encrypted().await?).await
    }

    async fn if_it_insists(&self) -> Result<Connected, Failed> {
        let refused = match self.in_the_clear().await {
            Err(failed) if failed.may_try_other_encryption() => failed,
            done => return done,
        };
        match self.door.ask().await? {
            Answer::Encrypted(transport) => self.start(transport).await,
            // The refusal had another reason.
            Answer::Plain(_) => Err(refused),
        }
    }

    async fn if_it_can(&self) -> Result<Connected, Failed> {
        let first = match self.door.ask().await {
            Ok(Answer::Plain(transport)) => return self.start(transport).await,
            Ok(Answer::Encrypted(transport)) => self.start(transport).await,
            Err(failed) => Err(failed),
        };
        let refused = match first {
            Err(failed) if failed.may_try_other_encryption() => failed,
            done => return done,
        };
        match self.in_the_clear().await {
            // It wants encrypted sessions; what is wrong with ours is in the first answer.
            Err(second) if second.is_refusal() => Err(refused),
            done => done,
        }
    }

    /// Asks for a session over `transport`.
    async fn start(&self, transport: Transport) -> Result<Connected, Failed> {
        self.check_binding(&transport)?;
        let canceller = Canceller::new(Arc::clone(&self.door), transport.is_encrypted());
        let wire = Arc::new(Wire::default());
        let stream = Tap::new(transport, Arc::clone(&wire));
        match self.config.connect_raw(stream, Prepared).await {
            Ok((client, connection)) => Ok(Connected { client, connection, wire, canceller }),
            Err(error) => Err(own_certificate_refused(&error).unwrap_or_else(|| Failed {
                error: Error::from_driver(&error, Phase::Connect),
                stage: Stage::Startup,
            })),
        }
    }

    /// The driver would refuse as well, but late and without saying why.
    fn check_binding(&self, transport: &Transport) -> Result<(), Failed> {
        if self.door.tls.channel_binding != ChannelBinding::Require || transport.binding().is_some() {
            return Ok(());
        }
        let why = if transport.is_encrypted() {
            "the server's certificate is signed in a way for which none is defined"
        } else {
            "the session is not encrypted"
        };
        Err(Failed::misuse(Stage::Setup, format!("channel_binding=require, but {why}")))
    }
}

/// Tells the driver that the stream is what it wants: TLS, if any, is in it already. So there is one type of stream, and
/// the driver still learns what to bind to.
struct Prepared;

impl TlsConnect<Tap<Transport>> for Prepared {
    type Stream = Tap<Transport>;
    type Error = io::Error;
    type Future = Ready<io::Result<Tap<Transport>>>;

    fn connect(self, stream: Tap<Transport>) -> Self::Future {
        ready(Ok(stream))
    }
}
