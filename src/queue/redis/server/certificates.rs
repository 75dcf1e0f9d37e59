//! The certificates that the configuration names.

use std::path::Path;

use redis::{Client, ClientTlsConfig, ConnectionInfo, TlsCertificates};

use crate::queue::redis::RedisConfig;

impl RedisConfig {
    /// Reads the certificates that are named.
    ///
    /// # Errors
    ///
    /// Which option is wrong.
    pub fn check_certificates(&self) -> Result<(), String> {
        Certificates::of(self).map(drop)
    }
}

/// Whom to trust, and by what to be known.
pub(super) struct Certificates(TlsCertificates);

impl Certificates {
    /// What the configuration names; none, when it names nothing.
    ///
    /// # Errors
    ///
    /// Which option is wrong.
    pub(super) fn of(config: &RedisConfig) -> Result<Option<Self>, String> {
        let root_cert = read("ca_file", &config.ca_file)?;
        let certificate = read("client_certificate", &config.client_certificate)?;
        let key = read("client_key", &config.client_key)?;
        let client_tls = match (certificate, key) {
            (Some(client_cert), Some(client_key)) => {
                Some(ClientTlsConfig { client_cert, client_key })
            }
            (None, None) => None,
            _ => {
                let words = "redis.client_certificate and redis.client_key: expected both or none";
                return Err(words.to_owned());
            }
        };
        let any = root_cert.is_some() || client_tls.is_some();
        Ok(any.then_some(Self(TlsCertificates { client_tls, root_cert })))
    }

    /// A way to a server, with these certificates.
    ///
    /// # Errors
    ///
    /// That they cannot be read, or that there is no TLS on that way.
    pub(super) fn on(&self, info: ConnectionInfo) -> Result<ConnectionInfo, String> {
        match Client::build_with_tls(info, self.0.clone()) {
            Ok(client) => Ok(client.get_connection_info().clone()),
            Err(error) => Err(format!(
                "redis.ca_file, redis.client_certificate or redis.client_key cannot be used, which \
                 are PEM files for rediss:// addresses: {error}"
            )),
        }
    }
}

fn read(option: &str, path: &Path) -> Result<Option<Vec<u8>>, String> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let words = |e| format!("redis.{option}: cannot read {}: {e}", path.display());
    std::fs::read(path).map(Some).map_err(words)
}
