//! TLS towards servers: whom we trust, and how. Verification is never off.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
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
