//! A connection on which every answer is ours, and which is closed so that the other side gets the
//! last one.
//!
//! What is no HTTP at all never becomes a request: hyper refuses it by itself, with a bare status.
//! The contract wants a request id and a problem document with every refusal, so that the bare one is
//! replaced where it leaves.
//!
//! An answer such as 413 is given while the caller still sends. Closing the socket then makes the
//! host answer the rest with a reset, and a reset makes the caller's host throw the unread answer
//! away. So our side is shut first, and what still arrives is thrown away for a while
//! (RFC 9112, section 9.6).

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How long what still arrives is thrown away.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much of it, in bytes.
const MOST: usize = 16 * 1_024 * 1_024;
/// How much of it between two turns of other connections, in bytes.
const SIP: usize = 8 * 1_024;

/// What is answered in place of a bare refusal with this status.
pub(super) type Refuse = fn(u16) -> Bytes;

/// A TCP stream that lingers when it is shut down.
pub(super) struct Lingering {
    stream: Arc<TcpStream>,
    refuse: Option<Refuse>,
    instead: Option<Bytes>,
    end: End,
}

enum End {
    Open,
    Draining { until: Pin<Box<Sleep>>, left: usize },
    Closed,
}

impl Lingering {
    /// A stream that is open.
    pub(super) fn new(stream: TcpStream, refuse: Option<Refuse>) -> Self {
        Self { stream: Arc::new(stream), refuse, instead: None, end: End::Open }
    }

    /// What notices that the other side has left.
    pub(super) fn line(&self) -> Line {
        Line(Arc::clone(&self.stream))
    }

    fn write(&self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(from) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }
}

fn read_from(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    into: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_read(into.initialize_unfilled()) {
            Ok(read) => {
                into.advance(read);
                return Poll::Ready(Ok(()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// The line to a caller that waits.
#[derive(Debug, Clone)]
pub(super) struct Line(Arc<TcpStream>);

impl Line {
    /// Waits until the caller has hung up, or at least has said that it will say nothing more: which
    /// of the two it is shows only when it is answered. Callers that wait are answered then.
    pub(super) async fn hung_up(&self) {
        match self.0.peek(&mut [0]).await {
            Ok(0) | Err(_) => {}
            // The next request is there already, so that the end is behind it and out of sight.
            Ok(_) => std::future::pending().await,
        }
    }
}

/// The status of an answer that hyper made by itself: a head for nothing, without a request id. Each
/// of ours has one.
fn bare_refusal(answer: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(answer).ok()?;
    let status = text.strip_prefix("HTTP/1.1 4")?.get(..2)?.parse::<u16>().ok()? + 400;
    let bare = text.ends_with("\r\n\r\n")
        && text.contains("\r\ncontent-length: 0\r\n")
        && !text.contains("\r\nx-request-id: ");
    bare.then_some(status)
}

impl AsyncRead for Lingering {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        read_from(&self.stream, cx, into)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.instead.is_none()
            && let Some(refuse) = this.refuse
            && let Some(status) = bare_refusal(from)
        {
            this.instead = Some(refuse(status));
        }
        if this.instead.is_none() {
            return this.write(cx, from);
        }
        while let Some(instead) = this.instead.take_if(|instead| !instead.is_empty()) {
            let written = this.write(cx, &instead);
            let instead = this.instead.insert(instead);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => instead.advance(written),
            }
        }
        this.instead = None;
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.end {
                End::Open => {
                    rustix::net::shutdown(&*this.stream, rustix::net::Shutdown::Write)?;
                    this.end = End::Draining { until: Box::pin(sleep(PATIENCE)), left: MOST };
                }
                End::Draining { until, left } => {
                    let mut sip = [0; SIP];
                    let mut into = ReadBuf::new(&mut sip);
                    let read = read_from(&this.stream, cx, &mut into);
                    let got = into.filled().len();
                    match read {
                        Poll::Pending => ready!(until.as_mut().poll(cx)),
                        Poll::Ready(Ok(())) if got > 0 && got < *left => {
                            *left -= got;
                            continue;
                        }
                        // The other side has closed, or has sent more than is worth waiting for.
                        Poll::Ready(_) => {}
                    }
                    this.end = End::Closed;
                }
                End::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bare_refusal;

    #[test]
    fn only_hypers_own_refusals_are_replaced() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(bare_refusal(bare.as_bytes()), Some(431));
        for ours in [
            "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nx-request-id: req_1\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 4",
            "",
        ] {
            assert_eq!(bare_refusal(ours.as_bytes()), None, "{ours}");
        }
    }
}
