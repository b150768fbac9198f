//! The bytes to a server, whatever carries them: TCP, a socket of this machine, or TLS. It knows nothing of messages.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use crate::wire::Tap;

/// A stream to a server.
pub(crate) struct Transport {
    stream: Box<dyn Stream>,
    encryption: Encryption,
}

enum Encryption {
    None,
    Tls {
        /// What names the server's end of the session (`tls-server-end-point`), where that is defined.
        binding: Option<Vec<u8>>,
    },
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Transport {
    pub(super) fn plain(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), encryption: Encryption::None }
    }

    pub(super) fn encrypted(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        binding: Option<Vec<u8>>,
    ) -> Self {
        Self { stream: Box::new(stream), encryption: Encryption::Tls { binding } }
    }

    /// Whether nobody in between can read it.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.encryption, Encryption::Tls { .. })
    }

    /// What a password's exchange can be bound to.
    pub(crate) fn binding(&self) -> Option<&[u8]> {
        match &self.encryption {
            Encryption::Tls { binding } => binding.as_deref(),
            Encryption::None => None,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// The driver asks for the binding when it proves that it knows the password.
impl TlsStream for Tap<Transport> {
    fn channel_binding(&self) -> ChannelBinding {
        match self.stream().binding() {
            Some(binding) => ChannelBinding::tls_server_end_point(binding.to_vec()),
            None => ChannelBinding::none(),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("is_encrypted", &self.is_encrypted()).finish_non_exhaustive()
    }
}
