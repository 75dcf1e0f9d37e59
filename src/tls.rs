//! TLS towards servers: whom we trust, and how. Verification is never off.

use std::{io, path::Path, sync::Arc};

use rustls::{CertificateError, ClientConfig, Error, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio_rustls::TlsConnector;

/// Trusts the system's certificates and those of `ca_file`, which `option` names; empty: none.
///
/// # Errors
///
/// What is wrong with the certificates of the configuration.
pub(crate) fn trust(option: &str, ca_file: &Path) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    // A system without certificates still can talk to what `ca_file` names.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if !ca_file.as_os_str().is_empty() {
        let wrong = |why: String| format!("{option}: {}: {why}", ca_file.display());
        let mut count = 0;
        for certificate in
            CertificateDer::pem_file_iter(ca_file).map_err(|e| wrong(e.to_string()))?
        {
            roots
                .add(certificate.map_err(|e| wrong(e.to_string()))?)
                .map_err(|e| wrong(e.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(wrong("expected one or more certificates, found none".into()));
        }
    }
    // The provider is named: the short form panics as soon as a second one is in the tree.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be set up: {e}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Why there is no TLS with a server, in an operator's words.
pub(crate) fn failure(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let words = match inner {
        Some(Error::InvalidCertificate(flaw)) => certificate(flaw),
        Some(Error::InvalidMessage(_)) => "the server does not speak TLS on this port".to_owned(),
        Some(Error::AlertReceived(alert)) => format!("the server refused it ({alert:?})"),
        _ => error.to_string(),
    };
    format!("TLS failed: {words}")
}

fn certificate(flaw: &CertificateError) -> String {
    let words = match flaw {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        CertificateError::UnknownIssuer => "was not issued by an authority that is trusted here",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::Revoked => "was revoked",
        // Most often a certificate that signed itself.
        CertificateError::Other(_) => "cannot be verified: is it self-signed?",
        _ => return format!("the server's certificate cannot be verified: {flaw}"),
    };
    format!("the server's certificate {words}")
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, InvalidMessage};

    use super::*;

    #[test]
    fn what_goes_wrong_is_said_in_words() {
        for (error, words) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "an authority that is trusted",
            ),
            (Error::InvalidCertificate(CertificateError::Expired), "certificate has expired"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "does not speak TLS"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "refused it"),
        ] {
            let said = failure(&io::Error::new(io::ErrorKind::InvalidData, error));
            assert!(said.starts_with("TLS failed: ") && said.contains(words), "{said}");
        }
        let said = failure(&io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(said, "TLS failed: connection reset");
    }
}
