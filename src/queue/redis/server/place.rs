//! Where the server is: what `redis.url` says.

use std::time::Duration;

use redis::{
    ConnectionAddr, ConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::certificates::Certificates;
use crate::queue::redis::RedisConfig;

/// What every error about the URL ends with. The URL itself is never repeated: it may hold a password.
const EXPECTED: &str = "expected redis://[user:password@]host[:port][/db], \
     redis+unix:///path/to/socket[?db=N&user=U&pass=P], redis+sentinel://[user:password@]host[:port],…/master-name[/db] or \
     redis+cluster://[user:password@]host[:port],… (with TLS: rediss://, rediss+sentinel://, \
     rediss+cluster://)";

/// Where a sentinel listens unless its address says otherwise.
const SENTINEL_PORT: u16 = 26_379;
/// How often a silent peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where the server is, or whatever stands for one.
#[derive(Debug, Clone)]
pub(in crate::queue::redis) enum Place {
    /// One server.
    One(ConnectionInfo),
    /// Whichever server the sentinels name.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<ConnectionInfo>,
        /// What they call the server.
        master: String,
        /// How to speak with it; only its address is not known.
        like: ConnectionInfo,
    },
    /// The nodes of a cluster, of which these are known.
    Cluster(Vec<ConnectionInfo>),
}

impl Place {
    /// What the configuration says, with the certificates that it names.
    ///
    /// # Errors
    ///
    /// Which option is wrong, and what was expected.
    pub(in crate::queue::redis) fn of(config: &RedisConfig) -> Result<Self, String> {
        let mut place = Self::parse(&config.url).map_err(|words| format!("redis.url: {words}"))?;
        if let Self::Sentinel { sentinels, .. } = &mut place {
            for sentinel in sentinels {
                *sentinel = with_login(sentinel, config);
            }
        }
        place.with_certificates(config)
    }

    /// What a URL says.
    ///
    /// # Errors
    ///
    /// What is wrong and what was expected, without a word of the URL.
    pub(in crate::queue::redis) fn parse(url: &str) -> Result<Self, String> {
        let wrong = |words: &str| {
            if words.is_empty() { EXPECTED.to_owned() } else { format!("{words}: {EXPECTED}") }
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong(""))?;
        if rest.contains('#') {
            return Err(wrong("certificates are always verified, and nothing else comes after #"));
        }
        match scheme {
            "redis+unix" => {
                known_options(rest).map_err(|words| wrong(&words))?;
                one(url).map(Self::One).map_err(wrong)
            }
            _ if rest.contains('?') => Err(wrong("nothing is said after ?")),
            "redis" | "rediss" => one(url).map(Self::One).map_err(wrong),
            "redis+sentinel" | "rediss+sentinel" => sentinel(scheme, rest).map_err(wrong),
            "redis+cluster" | "rediss+cluster" => cluster(scheme, rest).map_err(wrong),
            _ => Err(wrong("")),
        }
    }

    fn with_certificates(self, config: &RedisConfig) -> Result<Self, String> {
        let Some(certificates) = Certificates::of(config)? else { return Ok(self) };
        let all = |infos: Vec<ConnectionInfo>| {
            infos.into_iter().map(|info| certificates.on(info)).collect::<Result<Vec<_>, String>>()
        };
        Ok(match self {
            Self::One(info) => Self::One(certificates.on(info)?),
            Self::Cluster(seeds) => Self::Cluster(all(seeds)?),
            Self::Sentinel { sentinels, master, like } => {
                Self::Sentinel { sentinels: all(sentinels)?, master, like: certificates.on(like)? }
            }
        })
    }
}

/// Refuses what a URL of a socket says after `?`, unless it is a login or a database: whatever the client
/// does not know it would pass over, and be another user than was meant.
fn known_options(rest: &str) -> Result<(), String> {
    let Some((_, query)) = rest.split_once('?') else { return Ok(()) };
    for (number, option) in query.split('&').enumerate() {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "user" | "pass" => {}
            "db" if value.parse::<u32>().is_ok() => {}
            "db" => return Err("db is not the number of a database".into()),
            // A name may be a mistyped secret: only what looks like a word is repeated.
            _ if is_word(name) && option.contains('=') => {
                return Err(format!("expected db, user or pass after ?, got {name:?}"));
            }
            _ => {
                let number = number + 1;
                return Err(format!(
                    "expected db=…, user=… or pass=… after ?, not so option {number}"
                ));
            }
        }
    }
    Ok(())
}

fn is_word(name: &str) -> bool {
    (1..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn one(url: &str) -> Result<ConnectionInfo, &'static str> {
    let info: ConnectionInfo = url.parse().map_err(|_| "")?;
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }
            if host.contains(',') =>
        {
            return Err("several hosts are sentinels or nodes of a cluster");
        }
        _ => {}
    }
    // Small commands are not held back for larger packets; a peer that vanished is noticed.
    let probes = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(probes);
    Ok(info.set_tcp_settings(tcp))
}

/// `[user:password@]host,…[/path]`, as a URL for each host, and the path.
fn hosts<'a>(scheme: &str, rest: &'a str, port: Option<u16>) -> (Vec<String>, &'a str, String) {
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (format!("{login}@"), rest),
        None => (String::new(), rest),
    };
    let (names, path) = rest.split_once('/').unwrap_or((rest, ""));
    let tls = if scheme.starts_with("rediss") { "rediss" } else { "redis" };
    let urls = names.split(',').map(|name| {
        // A colon inside brackets belongs to an IPv6 address.
        let has_port = name.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        match port.filter(|_| !has_port && !name.is_empty()) {
            Some(port) => format!("{tls}://{name}:{port}"),
            None => format!("{tls}://{login}{name}"),
        }
    });
    (urls.collect(), path, format!("{tls}://{login}localhost"))
}

fn sentinel(scheme: &str, rest: &str) -> Result<Place, &'static str> {
    // The login is the server's: sentinels have one of their own, or none.
    let (_, nodes) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (urls, path, _) = hosts(scheme, nodes, Some(SENTINEL_PORT));
    let (_, _, like) = hosts(scheme, rest, None);
    let sentinels = urls.iter().map(|url| one(url)).collect::<Result<_, _>>()?;
    let (master, db) = path.split_once('/').unwrap_or((path, "0"));
    if master.is_empty() {
        return Err("the master's name is missing");
    }
    let like = one(&format!("{like}/{db}"))?;
    Ok(Place::Sentinel { sentinels, master: master.to_owned(), like })
}

fn cluster(scheme: &str, rest: &str) -> Result<Place, &'static str> {
    let (urls, path, _) = hosts(scheme, rest, None);
    if !matches!(path, "" | "0") {
        return Err("a cluster has no database but 0");
    }
    Ok(Place::Cluster(urls.iter().map(|url| one(url)).collect::<Result<_, _>>()?))
}

fn with_login(sentinel: &ConnectionInfo, config: &RedisConfig) -> ConnectionInfo {
    use secrecy::ExposeSecret;

    let mut settings = sentinel.redis_settings().clone();
    if !config.sentinel_user.is_empty() {
        settings = settings.set_username(&config.sentinel_user);
    }
    let password = config.sentinel_password.expose_secret();
    if !password.is_empty() {
        settings = settings.set_password(password);
    }
    sentinel.clone().set_redis_settings(settings)
}

/// The same way to speak, to another address.
pub(super) fn at(like: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = host.to_owned();
    let address = match like.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    like.clone().set_addr(address)
}

/// Whether a server is on this machine.
pub(super) fn is_local(info: &ConnectionInfo) -> bool {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => {
            let address = host.parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(info: &ConnectionInfo) -> String {
        let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let settings = info.redis_settings();
        let login = settings.username().zip(settings.password());
        format!("{} tls={tls} db={} login={login:?}", info.addr(), settings.db())
    }

    #[test]
    fn one_server() {
        let rows = [
            ("redis://h", "h:6379 tls=false db=0 login=None"),
            ("rediss://u:p%40@h:1/2", "h:1 tls=true db=2 login=Some((\"u\", \"p@\"))"),
            ("redis+unix:///s?db=3", "/s tls=false db=3 login=None"),
            ("redis+unix:///s?user=u&pass=p%26", "/s tls=false db=0 login=Some((\"u\", \"p&\"))"),
        ];
        for (url, expected) in rows {
            let Ok(Place::One(info)) = Place::parse(url) else { panic!("{url}") };
            assert_eq!(address(&info), expected);
        }
    }

    #[test]
    fn sentinels_and_the_master_that_they_know() {
        let url = "rediss+sentinel://u:p@a,b:1,[::1]/main/4";
        let Ok(Place::Sentinel { sentinels, master, like }) = Place::parse(url) else { panic!() };
        let none = "tls=true db=0 login=None";
        assert_eq!(
            sentinels.iter().map(address).collect::<Vec<_>>(),
            [format!("a:26379 {none}"), format!("b:1 {none}"), format!("::1:26379 {none}")]
        );
        assert_eq!(master, "main");
        let server = at(&like, "c", 9);
        assert_eq!(address(&server), "c:9 tls=true db=4 login=Some((\"u\", \"p\"))");
    }

    #[test]
    fn a_cluster_and_those_of_its_nodes_that_are_known() {
        let url = "redis+cluster://u:p@a:1,b";
        let Ok(Place::Cluster(seeds)) = Place::parse(url) else { panic!() };
        let login = "tls=false db=0 login=Some((\"u\", \"p\"))";
        let expected = [format!("a:1 {login}"), format!("b:6379 {login}")];
        assert_eq!(seeds.iter().map(address).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_no_url_is_told_what_was_expected_and_never_repeated() {
        let rows = [
            ("redis:/u:hunter2@h", "expected redis://"),
            ("http://u:hunter2@h", "expected redis://"),
            ("redis://u:hunter2@h/x", "expected redis://"),
            ("redis://u:hunter2@h1,h2", "several hosts are sentinels or nodes of a cluster"),
            ("rediss://u:hunter2@h#insecure", "certificates are always verified"),
            ("redis://u:hunter2@h?protocol=3", "nothing is said after ?"),
            (
                "redis+unix:///s?user=u&password=hunter2",
                "db, user or pass after ?, got \"password\"",
            ),
            ("redis+unix:///s?nonsense=1", "db, user or pass after ?, got \"nonsense\""),
            ("redis+unix:///s?user=u&Hunter2=hunter2", "after ?, not so option 2"),
            ("redis+unix:///s?hunter2", "after ?, not so option 1"),
            ("redis+unix:///s?db=x", "db is not the number of a database"),
            ("redis+unix:///s?nonsense=1", "redis+unix:///path/to/socket[?db=N&user=U&pass=P]"),
            ("redis+sentinel://u:hunter2@h", "the master's name is missing"),
            ("redis+cluster://u:hunter2@h/1", "a cluster has no database but 0"),
            ("redis+cluster://u:hunter2@", "expected redis://"),
            ("redis+cluster://u:hunter2@a,,b", "expected redis://"),
        ];
        for (url, words) in rows {
            let refused = Place::parse(url).unwrap_err();
            assert!(refused.contains(words) && !refused.contains("hunter2"), "{url}: {refused}");
        }
    }

    #[test]
    fn loopback_and_sockets_are_local() {
        let rows = [
            ("redis://127.0.0.1", true),
            ("redis://localhost", true),
            ("redis+unix:///s", true),
            ("redis://10.0.0.1", false),
            ("rediss://queue.example.com", false),
        ];
        for (url, local) in rows {
            assert_eq!(is_local(&one(url).unwrap()), local, "{url}");
        }
    }
}
