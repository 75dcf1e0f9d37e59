//! Listening, connections and stopping, for the façade and the admin listener.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin,
    sync::Arc,
    time::Duration,
};

use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Body,
    linger::{Lingering, Refuse},
    places::{Place, Places},
};

/// The largest head of a request, and the most headers in it.
const LARGEST_HEAD: usize = 16 * 1_024;
const MOST_HEADERS: usize = 64;
/// The most that is read ahead of a connection, in bytes: thousands of callers may wait at once.
const READ_AHEAD: usize = 64 * 1_024;
/// How long accepting pauses when the host has no more sockets to give.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error("cannot listen on {0}: the address is in use")]
    InUse(SocketAddr),
    /// The address is not one of this host.
    #[error("cannot listen on {0}: this host has no such address")]
    NotOurs(SocketAddr),
    /// The user may not listen there.
    #[error("cannot listen on {0}: not permitted (ports below 1024 need a privilege)")]
    NotPermitted(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// Listens on an address; port 0 picks a free one.
///
/// # Errors
///
/// Says in one sentence where it cannot listen, and why.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs(address),
        io::ErrorKind::PermissionDenied => ListenError::NotPermitted(address),
        _ => ListenError::Other(address, error),
    })
}

/// The address that a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// How connections are treated.
#[derive(Debug, Clone)]
pub(super) struct Manners {
    /// How long a head may take, and how long an idle connection is kept.
    pub(super) header_timeout: Duration,
    /// How long requests may go on after the stop.
    pub(super) grace: Duration,
    /// Open connections.
    pub(super) connections: usize,
    /// What is answered to what is no HTTP; a bare status, when there is nothing.
    pub(super) refuse: Option<Refuse>,
}

/// Answers requests until `stop`, and then until those that run are answered, or have had their
/// grace.
pub(super) async fn run<A, F>(
    listener: TcpListener,
    manners: &Manners,
    stop: CancellationToken,
    answer: A,
) -> io::Result<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let places = Places::new(manners.connections);
    let open = TaskTracker::new();
    let grace_over = CancellationToken::new();
    let accepting = async {
        loop {
            let (stream, peer) = accept(&listener).await;
            let place = Arc::new(places.take().await);
            open.spawn(connection(
                Lingering::new(stream, manners.refuse),
                peer,
                place,
                manners.header_timeout,
                stop.clone(),
                grace_over.clone(),
                answer.clone(),
            ));
        }
    };
    stop.run_until_cancelled(accepting).await;
    // Closed at once: a caller that comes now is told so by the host, and may go elsewhere.
    drop(listener);
    open.close();
    if tokio::time::timeout(manners.grace, open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "connections were cut: their grace was over");
        grace_over.cancel();
        open.wait().await;
    }
    Ok(())
}

async fn accept(listener: &TcpListener) -> (TcpStream, Peer) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are small and written whole: waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                return (stream, Peer(address.ip()));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(error = %error, "no connection can be accepted; trying on");
                tokio::time::sleep(OUT_OF_SOCKETS).await;
            }
        }
    }
}

/// The caller was gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

async fn connection<A, F>(
    stream: Lingering,
    peer: Peer,
    place: Arc<Place>,
    header_timeout: Duration,
    stop: CancellationToken,
    grace_over: CancellationToken,
    answer: A,
) where
    A: Fn(Request<Incoming>) -> F + Send + Sync,
    F: Future<Output = Response<Body>> + Send,
{
    let line = stream.line();
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(line.clone());
        let (kept, answer) = (place.keep(), answer(request));
        async {
            // Who has to leave must not begin what nobody would hear the end of.
            let Some(kept) = kept else { return std::future::pending().await };
            Ok::<_, Infallible>(answer.await.map(|body| body.along_with(kept)))
        }
    });
    let connection = protocol(header_timeout).serve_connection(TokioIo::new(stream), service);
    let cut = grace_over.cancelled();
    let whole = async {
        let mut connection = connection;
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = stop.cancelled() => {
                pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = %error, "a connection ended early");
        }
        // After an error the stream was not shut, and the caller may not have read why.
        let _ = connection.into_parts().io.into_inner().shutdown().await;
    };
    tokio::select! {
        () = whole => {}
        () = cut => {}
        () = place.has_to_leave() => {}
    }
}

fn protocol(header_timeout: Duration) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .max_buf_size(READ_AHEAD)
        // A caller that has said all it has to say may shut its side and still wants the answer: a
        // submission must not be taken in and its receipt dropped.
        .half_close(true);
    protocol
}
