//! A connection that is closed so that the other side gets the last answer.
//!
//! An answer such as 413 is given while the caller still sends. Closing the socket then makes the
//! host answer the rest with a reset, and a reset makes the caller's host throw the unread answer
//! away. So our side is shut first, and what still arrives is thrown away for a while
//! (RFC 9112, section 9.6).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How long what still arrives is thrown away.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of it, in bytes.
const MOST: usize = 16 * 1_024 * 1_024;
/// How much of it between two turns of other connections, in bytes.
const SIP: usize = 8 * 1_024;

/// A TCP stream that lingers when it is shut down.
pub(super) struct Lingering {
    stream: TcpStream,
    end: End,
}

enum End {
    Open,
    Draining { until: Pin<Box<Sleep>>, left: usize },
    Closed,
}

impl Lingering {
    /// A stream that is open.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, end: End::Open }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.end {
                End::Open => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                    this.end = End::Draining { until: Box::pin(sleep(PATIENCE)), left: MOST };
                }
                End::Draining { until, left } => {
                    let mut sip = [0; SIP];
                    let mut into = ReadBuf::new(&mut sip);
                    let read = Pin::new(&mut this.stream).poll_read(cx, &mut into);
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
