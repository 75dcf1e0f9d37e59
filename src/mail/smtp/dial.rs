//! From an account to a connected, and maybe protected, stream.

use std::{io, net::SocketAddr, time::Duration};

use jobs::contract::ports::Phase;
use rustls_pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{answer::Trouble, wire::Wire};
use crate::mail::{
    account::{Security, SmtpAccount},
    config::Deadlines,
};

/// Connects, and speaks TLS from the first byte where the account asks for it.
pub(super) async fn dial(
    account: &SmtpAccount,
    tls: &TlsConnector,
    deadlines: &Deadlines,
) -> Result<Wire, Trouble> {
    let lost = |words: String| Trouble::Lost { phase: Phase::Connect, words };
    let connecting = timeout(deadlines.connect, connect(account));
    let (stream, peer) = match connecting.await {
        Ok(Ok(connected)) => connected,
        Ok(Err(e)) if e.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Trouble::Misconfigured { phase: Phase::Tls, words: e.to_string() });
        }
        Ok(Err(e)) => return Err(lost(format!("cannot connect: {e}"))),
        Err(_) => return Err(lost(format!("no connection within {:?}", deadlines.connect))),
    };
    if account.security == Security::Tls {
        let stream = handshake(&account.host, stream, tls, deadlines.tls).await?;
        return Ok(Wire::tls(stream, peer));
    }
    Ok(Wire::plain(stream, peer))
}

async fn connect(account: &SmtpAccount) -> io::Result<(TcpStream, SocketAddr)> {
    let addresses: Vec<SocketAddr> =
        lookup_host((account.host.as_str(), account.port)).await?.collect();
    if account.security == Security::None && !addresses.iter().all(|a| a.ip().is_loopback()) {
        let words = "security \"none\" is for loopback addresses only";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
    }
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Else the final dot waits for the acknowledgement of the body: 40 ms each mail.
                stream.set_nodelay(true)?;
                return Ok((stream, address));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The TLS handshake. A certificate that does not fit is for a person to look at; a connection that
/// breaks is not.
pub(super) async fn handshake(
    host: &str,
    stream: TcpStream,
    tls: &TlsConnector,
    limit: Duration,
) -> Result<TlsStream<TcpStream>, Trouble> {
    let phase = Phase::Tls;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        let words = format!("{host:?} is no name that a certificate could be for");
        Trouble::Misconfigured { phase, words }
    })?;
    match timeout(limit, tls.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) if e.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            Err(Trouble::Misconfigured { phase, words: e.to_string() })
        }
        Ok(Err(e)) => Err(Trouble::Lost { phase, words: e.to_string() }),
        Err(_) => Err(Trouble::Lost { phase, words: format!("no TLS within {limit:?}") }),
    }
}
