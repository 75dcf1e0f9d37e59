//! One request: resolve, dial, send, read a little; every step with its time and its limit.
//!
//! hyper itself, and no client above it: nothing here knows redirects, proxies, cookies or content
//! codings, and what is dialled is what was checked.

use std::{
    future::Future,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use jobs::contract::{
    Moment,
    ports::{Class, RetryAfter, Timings, Unanswered},
};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{
    DeadlinesConfig, WebhooksConfig,
    keep::{Keep, Wire},
    target::{Guard, Target},
};

/// How much of an answer is read, in bytes; the connection of a longer one is given up.
const MOST_READ: usize = 16 << 10;
/// The largest head of an answer, and the most that is buffered of it, in bytes.
const BUFFER: usize = 64 << 10;

/// What came of a request.
#[derive(Debug)]
pub struct Course {
    /// The answer, or why there was none.
    pub answer: Result<Raw, Unanswered>,
    /// How long it took.
    pub timings: Timings,
    /// What was dialled.
    pub remote: Option<SocketAddr>,
}

/// An answer.
#[derive(Debug)]
pub struct Raw {
    /// The status.
    pub status: u16,
    /// What `Retry-After` said, if it could be read.
    pub retry_after: Option<RetryAfter>,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// Makes requests.
pub struct Client {
    guard: Guard,
    tls: TlsConnector,
    deadlines: DeadlinesConfig,
    keep: Keep,
}

/// What is known of a request that is under way.
#[derive(Default)]
struct Progress {
    timings: Timings,
    remote: Option<SocketAddr>,
}

impl Client {
    /// A client by this configuration, behind this guard.
    ///
    /// # Errors
    ///
    /// What is wrong with the certificates of the configuration.
    pub fn new(config: &WebhooksConfig, guard: Guard) -> Result<Self, String> {
        let tls = crate::tls::trust("webhooks.ca_file", &config.ca_file)?;
        Ok(Self { guard, tls, deadlines: config.deadlines, keep: Keep::new(config.keep) })
    }

    /// Posts to `url`. Connections are kept under `keep_as`, and used for nobody else's requests.
    pub async fn post(&self, keep_as: &str, url: &str, request: Request<Full<Bytes>>) -> Course {
        let began = Instant::now();
        let mut progress = Progress::default();
        let total = self.deadlines.total;
        let answer = match timeout(total, self.exchange(keep_as, url, request, &mut progress)).await
        {
            Ok(answer) => answer,
            Err(_) => Err(late(format!("the endpoint did not answer within {total:?}"))),
        };
        progress.timings.total_ms = millis(began.elapsed());
        Course { answer, timings: progress.timings, remote: progress.remote }
    }

    async fn exchange(
        &self,
        keep_as: &str,
        url: &str,
        mut request: Request<Full<Bytes>>,
        progress: &mut Progress,
    ) -> Result<Raw, Unanswered> {
        let target = self.guard.read(url)?;
        address(&mut request, &target)?;
        let keep_as = format!("{keep_as} {}", target.origin());
        if let Some(mut wire) = self.keep.take(&keep_as).filter(|w| self.guard.admits(w.remote)) {
            progress.remote = Some(wire.remote);
            // A kept connection may have been closed meanwhile; then this one does not count.
            if let Ok(response) = ask(&mut wire, request.clone(), progress).await {
                return self.read(keep_as, wire, response).await;
            }
        }
        let mut wire = self.connect(&target, progress).await?;
        let response = ask(&mut wire, request, progress).await.map_err(|e| broken(&e))?;
        self.read(keep_as, wire, response).await
    }

    /// Dials the addresses in their order until one answers.
    async fn connect(&self, target: &Target, progress: &mut Progress) -> Result<Wire, Unanswered> {
        let began = Instant::now();
        let addresses = self.guard.addresses(target).await;
        progress.timings.dns_ms = Some(millis(began.elapsed()));
        let began = Instant::now();
        let mut failure = unanswered(Class::Dns, "the endpoint's name has no address");
        for address in addresses? {
            progress.remote = Some(address);
            match self.dial(target, address).await {
                Ok(wire) => {
                    progress.timings.connect_ms = Some(millis(began.elapsed()));
                    return Ok(wire);
                }
                Err(unanswered) => failure = unanswered,
            }
        }
        Err(failure)
    }

    async fn dial(&self, target: &Target, address: SocketAddr) -> Result<Wire, Unanswered> {
        let within = self.deadlines.connect;
        let stream = match timeout(within, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            // The system's words name the address.
            Ok(Err(e)) => {
                return Err(unanswered(Class::Connect, format!("no connection: {}", e.kind())));
            }
            Err(_) => return Err(late(format!("no connection within {within:?}"))),
        };
        // What answers is what was dialled; this says so even if a kernel or a test thinks otherwise.
        let remote = stream.peer_addr().map_err(|e| unanswered(Class::Connect, e.to_string()))?;
        if !self.guard.admits(remote) {
            let words = "the endpoint has an address that is not public";
            return Err(unanswered(Class::BlockedAddress, words));
        }
        // A body that follows its head at once is not held back.
        let _ = stream.set_nodelay(true);
        if !target.is_https() {
            return speak(stream, remote).await;
        }
        let name = ServerName::try_from(target.host())
            .map_err(|_| unanswered(Class::InvalidUrl, "the host is no name that TLS can check"))?;
        match timeout(within, self.tls.connect(name, stream)).await {
            Ok(Ok(stream)) => speak(stream, remote).await,
            Ok(Err(e)) => Err(unanswered(Class::Tls, crate::tls::failure(&e))),
            Err(_) => Err(late(format!("TLS did not end within {within:?}"))),
        }
    }

    /// Reads the beginning of an answer; a connection whose answer was read whole is kept.
    async fn read(
        &self,
        keep_as: String,
        wire: Wire,
        response: Response<Incoming>,
    ) -> Result<Raw, Unanswered> {
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?));
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while body.len() < MOST_READ {
            let Some(frame) = incoming.frame().await else {
                self.keep.put(keep_as, wire);
                return Ok(Raw { status, retry_after, body });
            };
            let frame = frame.map_err(|e| broken(&e))?;
            if let Some(data) = frame.data_ref() {
                let room = MOST_READ - body.len();
                body.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        Ok(Raw { status, retry_after, body })
    }
}

/// Puts the request line and `Host` in.
fn address(request: &mut Request<Full<Bytes>>, target: &Target) -> Result<(), Unanswered> {
    let invalid = || unanswered(Class::InvalidUrl, "the URL cannot be written as a request");
    *request.uri_mut() = target.path().parse().map_err(|_| invalid())?;
    let host = target.authority().parse().map_err(|_| invalid())?;
    request.headers_mut().insert(header::HOST, host);
    Ok(())
}

async fn ask(
    wire: &mut Wire,
    request: Request<Full<Bytes>>,
    progress: &mut Progress,
) -> hyper::Result<Response<Incoming>> {
    let began = Instant::now();
    wire.sender.ready().await?;
    let response = wire.sender.send_request(request).await?;
    progress.timings.first_byte_ms = Some(millis(began.elapsed()));
    Ok(response)
}

async fn speak<S>(stream: S, remote: SocketAddr) -> Result<Wire, Unanswered>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| broken(&e))?;
    let task = AbortOnDropHandle::new(tokio::spawn(drive(connection)));
    Ok(Wire { sender, remote, _task: task })
}

/// Moves the bytes of a connection; how it ends, whoever waits for an answer hears.
async fn drive(connection: impl Future<Output = hyper::Result<()>> + Send) {
    let _ = connection.await;
}

fn unanswered(class: Class, message: impl Into<String>) -> Unanswered {
    Unanswered { class, message: message.into() }
}

fn late(message: String) -> Unanswered {
    unanswered(Class::Timeout, message)
}

fn broken(error: &hyper::Error) -> Unanswered {
    unanswered(Class::Broken, format!("the answer broke off or is no HTTP: {error}"))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// `Retry-After`: seconds, or a date in one of the three forms of RFC 9110 section 5.6.7.
fn retry_after(text: &str) -> Option<RetryAfter> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::from(u32::MAX));
        return Some(RetryAfter::For(Duration::from_secs(seconds)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Some(RetryAfter::Until(Moment::default().plus(since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let wait = |seconds| Some(RetryAfter::For(Duration::from_secs(seconds)));
        assert_eq!(retry_after("120"), wait(120));
        assert_eq!(retry_after(" 0 "), wait(0));
        assert_eq!(retry_after("99999999999999999999"), wait(4_294_967_295));
        let at = Some(RetryAfter::Until("1994-11-06T08:49:37Z".parse().unwrap()));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), at);
        assert_eq!(retry_after("Sunday, 06-Nov-94 08:49:37 GMT"), at);
        assert_eq!(retry_after("Sun Nov  6 08:49:37 1994"), at);
        for garbage in ["", "soon", "-5", "1.5", "2026-01-01", "12 s"] {
            assert_eq!(retry_after(garbage), None, "{garbage:?}");
        }
    }
}
