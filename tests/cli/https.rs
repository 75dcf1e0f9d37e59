//! The client over TLS, to a façade behind a proxy that has a certificate of an authority of our own.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring},
};

use super::{
    program::{Finished, Up, command, finish, path},
    remote::line,
};

/// An authority, and a certificate of it for 127.0.0.1 and for `localhost`, in files.
struct Authority(PathBuf);

impl Authority {
    fn found(dir: &Path) -> Self {
        let authority = Self(dir.to_owned());
        let ca = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
                  -keyout ca.key -out ca.pem -subj /CN=authority \
                  -addext basicConstraints=critical,CA:TRUE";
        let own = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
                   -keyout own.key -out own.pem -subj /CN=facade -CA ca.pem -CAkey ca.key \
                   -addext basicConstraints=critical,CA:FALSE \
                   -addext subjectAltName=IP:127.0.0.1,DNS:localhost";
        authority.openssl(ca);
        authority.openssl(own);
        authority
    }

    fn openssl(&self, args: &str) {
        let done = std::process::Command::new("openssl")
            .args(args.split_whitespace())
            .current_dir(&self.0)
            .output()
            .expect("openssl is installed: see tests/support/packages.sh");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn certificate(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    fn acceptor(&self) -> TlsAcceptor {
        let own = CertificateDer::from_pem_file(self.0.join("own.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.0.join("own.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Ends TLS in front of a façade, as a proxy does; the port.
async fn in_front_of(up: &Up, authority: &Authority) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = authority.acceptor();
    let facade = up.told("url").strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, facade) = (acceptor.clone(), facade.clone());
            tokio::spawn(async move {
                // Who does not trust us hangs up here.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut inside = TcpStream::connect(facade).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut inside).await;
            });
        }
    });
    port
}

async fn trusting(authority: Option<&Path>, up: &Up, url: &str, args: &[&str]) -> Finished {
    let mut command = command(args);
    command.env("POSTRIDER_CLIENT_URL", url).env("POSTRIDER_CLIENT_KEY", up.told("key"));
    command.env_remove("SSL_CERT_DIR").env_remove("SSL_CERT_FILE");
    if let Some(authority) = authority {
        command.env("SSL_CERT_FILE", authority);
    }
    finish(command).await
}

#[tokio::test]
async fn a_façade_behind_tls_is_submitted_to_and_waited_at() {
    // given
    let up = Up::new().await;
    let authority = Authority::found(up.dir.path());
    let port = in_front_of(&up, &authority).await;
    let file = up.dir.path().join("jobs");
    std::fs::write(&file, [line(1), line(2)].join("\n")).unwrap();

    // when, then
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{port}");
        let ca = authority.certificate();
        let submit = ["jobs", "submit", path(&file), "--ids", "--run", host];
        let submitted = trusting(Some(&ca), &up, &url, &submit).await.with(0);
        let ids: Vec<&str> = submitted.out.lines().collect();
        assert_eq!(ids.len(), 2, "{submitted:?}");
        let wait = ["jobs", "wait", ids[0], ids[1]];
        let waited = trusting(Some(&ca), &up, &url, &wait).await.with(0);
        assert_eq!(waited.out.matches(" completed").count(), 2, "{waited:?}");
    }
}

#[tokio::test]
async fn who_cannot_prove_to_be_the_façade_gets_no_key_and_no_job() {
    // given a façade whose authority nobody has heard of, and one that calls itself otherwise
    let up = Up::new().await;
    let authority = Authority::found(up.dir.path());
    let port = in_front_of(&up, &authority).await;
    let file = up.dir.path().join("jobs");
    std::fs::write(&file, line(1)).unwrap();
    let submit = ["jobs", "submit", path(&file)];
    let began = Instant::now();

    // when, then it is said at once what is wrong
    let url = format!("https://127.0.0.1:{port}");
    let unknown = trusting(None, &up, &url, &submit).await.with(78);
    assert!(unknown.err.contains("is not to be trusted: invalid peer certificate"), "{unknown:?}");
    let url = format!("https://127.0.0.2:{port}");
    let other = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let acceptor = authority.acceptor();
    let serve = tokio::spawn(async move {
        let (stream, _) = other.accept().await.unwrap();
        acceptor.accept(stream).await.map(drop)
    });
    let ca = authority.certificate();
    let otherwise = trusting(Some(&ca), &up, &url, &submit).await.with(78);
    assert!(otherwise.err.contains("not valid for name"), "{otherwise:?}");
    assert!(serve.await.unwrap().is_err(), "the client did not go on");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(up.json(&["jobs", "list"]).await, serde_json::json!([]));
}
