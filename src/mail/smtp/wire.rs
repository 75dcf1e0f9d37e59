//! The stream under lettre's connection.
//!
//! lettre owns its stream and hides it. This one is shared, because three things must be ours:
//! writing the body without the final dot, changing to TLS with nothing left in a buffer, and looking
//! whether the server has said something out of turn.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// More than this is not read ahead, whatever a server sends.
const AHEAD: usize = 8 << 10;
/// The most of a greeting that is noted.
const NOTED: usize = 16 << 10;

/// A stream with two handles: lettre's and ours. Both are used by one task, one after the other; the
/// lock is held for single polls and never contended.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Inner>>);

struct Inner {
    stream: Stream,
    peer: SocketAddr,
    /// Read from the stream and not yet handed on.
    ahead: Vec<u8>,
    /// Whether what is next begins a line.
    at_line_start: bool,
    /// Everything handed on since the last [`Wire::take_notes`].
    notes: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

impl Wire {
    pub(super) fn plain(stream: TcpStream, peer: SocketAddr) -> Self {
        Self::new(Stream::Plain(stream), peer)
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, peer: SocketAddr) -> Self {
        Self::new(Stream::Tls(Box::new(stream)), peer)
    }

    fn new(stream: Stream, peer: SocketAddr) -> Self {
        let inner =
            Inner { stream, peer, ahead: Vec::new(), at_line_start: true, notes: Vec::new() };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no poll panics while it holds the lock")
    }

    /// What the server has said since this was last asked.
    pub(super) fn take_notes(&self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.lock().notes)).into_owned()
    }

    /// Takes the plain stream out, to change to TLS; `None` when it is not plain, or when the server
    /// sent more than its answer to STARTTLS: what came in plain text must not count as protected.
    pub(super) fn take_plain(&self) -> Option<TcpStream> {
        let mut inner = self.lock();
        if !inner.ahead.is_empty() {
            return None;
        }
        match std::mem::replace(&mut inner.stream, Stream::Gone) {
            Stream::Plain(stream) => Some(stream),
            Stream::Tls(_) | Stream::Gone => None,
        }
    }

    /// Puts the protected stream where the plain one was.
    pub(super) fn put_tls(&self, stream: TlsStream<TcpStream>) {
        self.lock().stream = Stream::Tls(Box::new(stream));
    }

    /// Whether the server has said nothing, not even goodbye, that nobody has read.
    pub(super) fn is_quiet(&self) -> bool {
        let mut inner = self.lock();
        let mut nobody = Context::from_waker(Waker::noop());
        inner.ahead.is_empty() && inner.poll_ahead(&mut nobody).is_pending()
    }
}

impl Inner {
    fn stream(&mut self) -> io::Result<Pin<&mut (dyn Duplex + Send)>> {
        match &mut self.stream {
            Stream::Plain(stream) => Ok(Pin::new(stream)),
            Stream::Tls(stream) => Ok(Pin::new(&mut **stream)),
            Stream::Gone => Err(io::Error::new(io::ErrorKind::NotConnected, "the stream is gone")),
        }
    }

    /// Reads into `ahead`; ready without a byte there means the end of the stream.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = vec![0; AHEAD];
        let mut read = ReadBuf::new(&mut buffer);
        let polled = self.stream()?.poll_read(cx, &mut read);
        if let Poll::Ready(Ok(())) = polled {
            self.ahead.extend_from_slice(read.filled());
        }
        polled
    }
}

impl Inner {
    /// The length of the next line, if all of it is there, put into the form that lettre reads.
    ///
    /// A code may stand alone (RFC 5321 section 4.2), and some servers end lines with LF only; lettre
    /// takes the first for no answer and waits for ever after the second. After the final dot either
    /// would be a mail that nobody knows about.
    fn next_line(&mut self) -> Option<usize> {
        let mut end = self.ahead.iter().position(|byte| *byte == b'\n')?;
        if end == 0 || self.ahead[end - 1] != b'\r' {
            self.ahead.insert(end, b'\r');
            end += 1;
        }
        if self.at_line_start && end == 4 && self.ahead[..3].iter().all(u8::is_ascii_digit) {
            self.ahead.insert(3, b' ');
            end += 1;
        }
        Some(end + 1)
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl AsyncRead for Wire {
    /// Hands on one line at most, so that lettre's own buffer is empty after each answer.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if inner.ahead.is_empty() {
            std::task::ready!(inner.poll_ahead(cx))?;
        }
        let line = inner.next_line();
        let count = line.unwrap_or(inner.ahead.len()).min(out.remaining());
        out.put_slice(&inner.ahead[..count]);
        inner.at_line_start = inner.ahead[..count].ends_with(b"\n");
        let room = NOTED.saturating_sub(inner.notes.len()).min(count);
        let noted = inner.ahead[..room].to_vec();
        inner.notes.extend(noted);
        inner.ahead.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lock().stream()?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().stream()?.poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.lock().peer)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire") // what is on the wire is nobody's business
    }
}
