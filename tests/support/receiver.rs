//! A receiver of webhooks on loopback, which behaves as badly as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// How a request is answered.
#[derive(Debug, Clone)]
pub enum Act {
    /// With this status, these header lines (each with its line break) and this body.
    Answer(u16, String, String),
    /// With what was sent: headers and body.
    Echo,
    /// Never.
    Hang,
    /// A byte of the head now and then, for ever.
    DripHead,
    /// A byte of the body now and then, for ever.
    DripBody,
    /// A body without an end, as fast as it goes.
    Endless,
    /// Some kilobytes of gzip that are gigabytes of zeros.
    GzipBomb,
    /// Half of the body that was promised, then nothing.
    CloseMidBody,
    /// The connection is closed without an answer.
    Close,
    /// Something that is no HTTP.
    Nonsense,
    /// More head than anybody should read.
    HugeHead,
}

impl Act {
    pub fn status(status: u16) -> Self {
        Self::Answer(status, String::new(), String::new())
    }

    pub fn retry_after(status: u16, value: &str) -> Self {
        Self::Answer(status, format!("Retry-After: {value}\r\n"), String::new())
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Got {
    pub line: String,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

#[derive(Default)]
struct Inner {
    got: Mutex<Vec<Got>>,
    connections: Mutex<u64>,
    script: Mutex<VecDeque<Act>>,
    otherwise: Mutex<Option<Act>>,
    news: Notify,
}

/// A receiver; dropping it closes everything.
pub struct Receiver {
    inner: Arc<Inner>,
    pub address: SocketAddr,
    scheme: &'static str,
    _task: AbortOnDropHandle<()>,
}

impl Receiver {
    /// On a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::on("127.0.0.1:0", None).await
    }

    /// With TLS, under a certificate for these names, which is also given as PEM.
    pub async fn with_tls(names: &[&str]) -> (Self, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::on("127.0.0.1:0", Some(acceptor)).await, made.cert.pem())
    }

    pub async fn on(address: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&inner)));
        Self { inner, address, scheme, _task: AbortOnDropHandle::new(task) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The next requests are answered so, in this order; after that with 200, or what [`Self::always`] said.
    pub fn next(&self, acts: impl IntoIterator<Item = Act>) {
        self.inner.script.lock().unwrap().extend(acts);
    }

    pub fn always(&self, act: Act) {
        *self.inner.otherwise.lock().unwrap() = Some(act);
    }

    pub fn got(&self) -> Vec<Got> {
        self.inner.got.lock().unwrap().clone()
    }

    /// Connections that were made, whatever came over them.
    pub fn connections(&self) -> u64 {
        *self.inner.connections.lock().unwrap()
    }

    /// The first `count` requests, as soon as they have come.
    pub async fn requests(&self, count: usize) -> Vec<Got> {
        let wait = async {
            loop {
                let heard = self.inner.news.notified();
                if self.inner.got.lock().unwrap().len() >= count {
                    return self.got();
                }
                heard.await;
            }
        };
        tokio::time::timeout(super::PATIENCE, wait).await.expect("the requests do not come")
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, inner: Arc<Inner>) {
    // Dropping the set closes the connections.
    let mut open = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        *inner.connections.lock().unwrap() += 1;
        let (tls, inner) = (tls.clone(), Arc::clone(&inner));
        open.spawn(async move {
            // Whoever hangs up in the middle has a reason.
            let _ = match tls {
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, &inner).await,
                    Err(_) => Ok(()),
                },
                None => serve(stream, &inner).await,
            };
        });
    }
}

async fn serve<S>(mut stream: S, inner: &Inner) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = Vec::new();
    while let Some(got) = read(&mut stream, &mut buffer).await? {
        let act = inner.script.lock().unwrap().pop_front();
        let act = act.or_else(|| inner.otherwise.lock().unwrap().clone());
        let echo = format!("{} {:?} {}", got.line, got.headers, String::from_utf8_lossy(&got.body));
        inner.got.lock().unwrap().push(got);
        inner.news.notify_waiters();
        if !answer(&mut stream, act.unwrap_or_else(|| Act::status(200)), echo).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads one request; nothing when there is no more.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<Got>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let headers: BTreeMap<_, _> = lines.map(header).collect();
    let length: usize = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    while buffer.len() < end + 4 + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer[end + 4..end + 4 + length].to_vec();
    buffer.drain(..end + 4 + length);
    Ok(Some(Got { line, headers, body }))
}

/// Answers; `false` when the connection is to be closed.
async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    act: Act,
    echo: String,
) -> std::io::Result<bool> {
    const CHUNK: [u8; 16 << 10] = [b'x'; 16 << 10];
    match act {
        Act::Answer(status, headers, body) => {
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(text.as_bytes()).await?;
            return Ok(true);
        }
        Act::Echo => {
            let length = echo.len();
            let text = format!("HTTP/1.1 500 No\r\nContent-Length: {length}\r\n\r\n{echo}");
            stream.write_all(text.as_bytes()).await?;
            return Ok(true);
        }
        Act::Hang => std::future::pending().await,
        Act::DripHead => drip(stream, b"HTTP/1.1 200 OK\r\nX-Slow: ").await?,
        Act::DripBody => {
            drip(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await?;
        }
        Act::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").await?;
            loop {
                stream.write_all(&CHUNK).await?;
            }
        }
        Act::GzipBomb => {
            let bomb = bomb();
            let length = bomb.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&bomb).await?;
            return Ok(true);
        }
        Act::CloseMidBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await?;
        }
        Act::Close => {}
        Act::Nonsense => stream.write_all(b"220 mail.example.com ESMTP\r\n").await?,
        Act::HugeHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-Big: ").await?;
            for _ in 0..64 {
                stream.write_all(&CHUNK).await?;
            }
        }
    }
    stream.shutdown().await?;
    Ok(false)
}

async fn drip<S: AsyncWrite + Unpin>(stream: &mut S, begin: &[u8]) -> std::io::Result<()> {
    stream.write_all(begin).await?;
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    loop {
        beat.tick().await;
        stream.write_all(b"x").await?;
        stream.flush().await?;
    }
}

/// Ten megabytes of zeros, as gzip makes them: a Huffman table in which a match of 258 zeros is one bit,
/// and those bits.
fn bomb() -> Vec<u8> {
    const SIZE: usize = 9_750;
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
    let table = [0xec, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 8, 0x0a];
    let end = [0x6e, 2, 0xcb, 0xa5, 0x3b, 0x3e, 0x80, 0x96, 0x98, 0];
    let matches = vec![0; SIZE - head.len() - table.len() - end.len()];
    [&head[..], &table, &matches, &end].concat()
}
