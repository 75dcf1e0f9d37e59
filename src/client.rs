//! A caller of a façade somewhere else: what the command line uses, over one kept connection.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Uri,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer may take: a held one takes a minute.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);
/// The waits between tries that failed without a word about when to come again.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error(
        "expected an address such as http://127.0.0.1:8080 or https://jobs.example.com, got {0:?}"
    )]
    Address(String),
    /// The key is none.
    #[error("the key has characters that no key has")]
    Key,
    /// Somebody answers there who cannot prove to be that host.
    #[error(
        "{url} is not to be trusted: {words}; an authority of your own is trusted when the host trusts \
         it, or when SSL_CERT_FILE names its certificate"
    )]
    Untrusted {
        /// Where.
        url: String,
        /// What is wrong with its certificate.
        words: String,
    },
    /// Nobody answers there.
    #[error("{url} does not answer: {words}")]
    Away {
        /// Where.
        url: String,
        /// What happened.
        words: String,
    },
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `GET` or `POST`.
    pub method: Method,
    /// The path.
    pub path: String,
    /// Headers beside those that every request has.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for none.
    pub body: Bytes,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; `null` when it is no JSON.
    pub body: Value,
}

impl Answer {
    /// A header, if it is a text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// When to come again, where the answer says so and coming again makes sense.
    fn come_again(&self) -> Option<Duration> {
        let asked = || self.header("retry-after")?.parse().ok().map(Duration::from_secs);
        matches!(self.status, 429 | 503).then(|| asked().unwrap_or(LONGEST_WAIT))
    }
}

/// A façade, and the key that opens it.
pub struct Client {
    url: String,
    host: String,
    port: u16,
    secure: Option<TlsConnector>,
    key: SecretString,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client of the façade at `url`; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When the address or the key is none.
    pub fn new(url: &str, key: SecretString) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !bare || authority.as_str().contains('@') {
            return Err(wrong());
        }
        if !key.expose_secret().bytes().all(|c| c.is_ascii_graphic()) {
            return Err(ClientError::Key);
        }
        let secure = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some(connector()),
            _ => return Err(wrong()),
        };
        let port = authority.port_u16().unwrap_or(if secure.is_some() { 443 } else { 80 });
        let host = authority.host().to_owned();
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { url, host, port, secure, key, open: None })
    }

    /// Asks once.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Answer, ClientError> {
        let whole = async {
            let request = self.request(ask)?;
            let sender = self.sender().await?;
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            Ok::<_, Trouble>(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        let words = match timeout(ANSWER_WITHIN, whole).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(trouble)) if is_distrust(&*trouble) => {
                let (url, words) = (self.url.clone(), trouble.to_string());
                return Err(ClientError::Untrusted { url, words });
            }
            Ok(Err(trouble)) => trouble.to_string(),
            Err(_) => format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
        };
        // What the connection would bring next is unknown.
        self.open = None;
        Err(ClientError::Away { url: self.url.clone(), words })
    }

    /// Asks until there is an answer other than "come again", for at most `patience` without one.
    /// Only for requests that may be sent twice.
    ///
    /// # Errors
    ///
    /// When there is no answer in all that time.
    pub async fn insist(&mut self, ask: &Ask, patience: Duration) -> Result<Answer, ClientError> {
        let until = Instant::now() + patience;
        let mut wait = FIRST_WAIT;
        loop {
            let said = self.ask(ask).await;
            let pause = match &said {
                Ok(answer) => match answer.come_again() {
                    None => return said,
                    Some(pause) => pause,
                },
                Err(ClientError::Away { .. }) => {
                    let pause = wait;
                    wait = (wait * 2).min(LONGEST_WAIT);
                    pause
                }
                // Asking again makes none of the others better.
                Err(_) => return said,
            };
            if Instant::now() + pause > until {
                return said;
            }
            sleep(pause).await;
        }
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, Trouble> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(&ask.path)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key.expose_secret()))
            .header(header::ACCEPT, "application/json");
        if !ask.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        Ok(request.body(Full::new(ask.body.clone()))?)
    }

    /// The open connection, or a new one.
    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Trouble> {
        let kept = match self.open.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let sender = match kept {
            Some(sender) => sender,
            None => timeout(CONNECT_WITHIN, self.connect()).await??,
        };
        Ok(self.open.insert(sender))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Trouble> {
        let name = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((name, self.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Wire> = match &self.secure {
            None => Box::new(stream),
            Some(connector) => {
                let name = ServerName::try_from(name.to_owned())?;
                Box::new(connector.connect(name, stream).await?)
            }
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends by itself when the sender is gone; its trouble is the sender's as well.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// What goes wrong between two programs; only its words matter here.
type Trouble = Box<dyn std::error::Error + Send + Sync>;

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Whether the other side's certificate was refused.
fn is_distrust(trouble: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let error = trouble.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let error = error.and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

/// Trusts what the host trusts.
fn connector() -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_nothing_else() {
        for good in ["http://127.0.0.1:8080", "https://jobs.example.com/", "http://[::1]:1"] {
            assert!(Client::new(good, "k".into()).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8080", "ftp://x", "http://", "http://a/b", "http://u:p@a", "/x"]
        {
            let error = Client::new(bad, "k".into()).err().unwrap();
            assert!(error.to_string().starts_with("expected an address such as"), "{bad}");
        }
        assert!(Client::new("http://a", "a b".into()).is_err());
    }
}
