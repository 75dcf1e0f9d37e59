//! What is asked of a server before jobs are trusted to it.

use std::fmt;

use crate::queue::QueueError;

/// The oldest version that knows all that the scripts use.
const OLDEST: u32 = 7;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The queue works; somebody should know.
    Warns,
    /// Jobs would be lost, or cannot be stored at all: such a server is refused.
    Loses,
}

/// Something about a server that its operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// The server: its address, or what sentinels call it.
    pub server: String,
    /// What was found.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Finding {
    /// A server does not answer, while another of the same cluster does.
    pub(super) fn out_of_reach(server: &str, error: &QueueError) -> Self {
        let words = error.to_string();
        // It is named already.
        let words =
            words.split_once(&format!("Redis at {server}: ")).map_or(&*words, |(_, why)| why);
        Self {
            weight: Weight::Warns,
            server: server.to_owned(),
            what: format!("the server does not answer ({words})"),
            remedy: "start it, or give it a replica that takes over: what lies on it is refused until then",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis at {}: {}; {}", self.server, self.what, self.remedy)
    }
}

/// What is expected of a server, by what is configured.
#[derive(Debug)]
pub(super) struct Circumstances {
    /// It is on this machine.
    pub(super) local: bool,
    /// It is a node of a cluster.
    pub(super) cluster: bool,
    /// Submissions wait for a replica.
    pub(super) replicated: bool,
    pub(super) shards: usize,
    /// The part of its memory from which on it takes no more jobs.
    pub(super) high_water: f64,
    /// How many servers take jobs.
    pub(super) servers: usize,
}

/// A field of `INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Says so when a server uses more than its part; one without `maxmemory` never does.
pub(super) fn over(info: &str, high_water: f64) -> Option<String> {
    let number = |name: &str| field(info, name)?.parse::<u64>().ok();
    let (used, most) = (number("used_memory")?, number("maxmemory")?);
    // Bytes as floating-point numbers: exact up to 8 PiB.
    #[allow(clippy::cast_precision_loss, reason = "nobody minds a byte in a petabyte")]
    let part = if most == 0 { 0.0 } else { used as f64 / most as f64 };
    (part >= high_water).then(|| {
        format!(
            "Redis uses {:.0} % of its maxmemory, from {:.0} % on it takes no more jobs \
             (redis.high_water)",
            part * 100.0,
            high_water * 100.0
        )
    })
}

/// All that is to be said about a server, by what it says in `INFO`.
pub(super) fn findings(server: &str, info: &str, here: &Circumstances) -> Vec<Finding> {
    let finding =
        |weight, (what, remedy)| Finding { weight, server: server.to_owned(), what, remedy };
    let mut found: Vec<Finding> =
        losses(info, here).into_iter().map(|words| finding(Weight::Loses, words)).collect();
    found.extend(warnings(info, here).into_iter().map(|words| finding(Weight::Warns, words)));
    found
}

type Words = (String, &'static str);

fn losses(info: &str, here: &Circumstances) -> Vec<Words> {
    // Valkey's name for it comes second.
    let mode = field(info, "redis_mode").or_else(|| field(info, "server_mode"));
    if mode == Some("sentinel") {
        // Whatever else it says is not about a server that keeps anything.
        let what = "it is a sentinel, which takes no jobs".to_owned();
        return vec![(what, "write redis+sentinel://…/master-name in redis.url")];
    }
    let mut found = Vec::new();
    let version = field(info, "redis_version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        let what = format!("expected Redis {OLDEST}.0 or newer, the server is {version:?}");
        found.push((what, "update it: what the scripts use came with 7.0"));
    }
    if field(info, "role") == Some("slave") {
        let what = "the server is a replica, which takes no jobs".to_owned();
        found.push((what, "redis.url must name the primary, or the sentinels"));
    }
    let policy = field(info, "maxmemory_policy").unwrap_or("none");
    if policy != "noeviction" {
        let what = format!(
            "the server may evict jobs when its memory is full: expected maxmemory-policy \
             noeviction, got {policy}"
        );
        found.push((what, "set maxmemory-policy noeviction"));
    }
    match (field(info, "cluster_enabled") == Some("1"), here.cluster) {
        (true, false) => found.push((
            "the server is a node of a cluster, and most shards lie elsewhere".to_owned(),
            "write redis+cluster:// in redis.url",
        )),
        (false, true) => found.push((
            "the server is no node of a cluster".to_owned(),
            "write redis:// in redis.url, or set cluster-enabled yes",
        )),
        _ => {}
    }
    found
}

fn warnings(info: &str, here: &Circumstances) -> Vec<Words> {
    let mut found = Vec::new();
    let mut warn = |when: bool, what: &str, remedy| {
        if when {
            found.push((what.to_owned(), remedy));
        }
    };
    let is = |name: &str, value: &str| field(info, name) == Some(value);
    if let Some(words) = over(info, here.high_water) {
        warn(
            true,
            &words,
            "make room: raise maxmemory, run more workers, or keep finished jobs for less long \
             (scheduler.keep)",
        );
    }
    warn(
        is("aof_enabled", "0"),
        "the server keeps no append-only file: a crash of it loses acknowledged jobs",
        "set appendonly yes and appendfsync everysec",
    );
    warn(
        is("aof_enabled", "1") && is("aof_last_write_status", "err"),
        "the server could not write its append-only file",
        "look at its disk: it takes no jobs until it can write again",
    );
    warn(
        is("rdb_last_bgsave_status", "err") || is("aof_last_bgrewrite_status", "err"),
        "the server could not write its last snapshot or rewrite its append-only file",
        "look at its disk, and at vm.overcommit_memory",
    );
    warn(
        !here.local && is("maxmemory", "0"),
        "the server has no maxmemory: submissions are not refused before its machine is full",
        "set maxmemory to about two thirds of the machine's memory",
    );
    warn(
        here.replicated && is("connected_slaves", "0"),
        "no replica is connected: under redis.durability = \"replicated\" submissions are refused",
        "connect a replica, or set redis.durability = \"local\"",
    );
    warn(
        here.cluster && here.shards < here.servers,
        "the cluster has more nodes than the queue has shards: some nodes have nothing to do",
        "set redis.shards to several times the number of nodes, before there are jobs",
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Circumstances = Circumstances {
        local: false,
        cluster: false,
        replicated: false,
        shards: 1,
        high_water: 0.8,
        servers: 1,
    };

    /// A server about which there is nothing to say, but for these fields.
    fn info(changed: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("redis_version", "7.2.4"),
            ("used_memory", "10"),
            ("maxmemory", "1000"),
            ("maxmemory_policy", "noeviction"),
            ("aof_enabled", "1"),
            ("aof_last_write_status", "ok"),
            ("rdb_last_bgsave_status", "ok"),
            ("aof_last_bgrewrite_status", "ok"),
            ("role", "master"),
            ("connected_slaves", "1"),
            ("cluster_enabled", "0"),
        ];
        for (name, value) in changed {
            for field in fields.iter_mut().filter(|field| field.0 == *name) {
                field.1 = value;
            }
        }
        fields.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect()
    }

    fn said(changed: &[(&str, &str)], here: &Circumstances) -> Vec<(Weight, String)> {
        let found = findings("h:1", &info(changed), here);
        found.iter().map(|finding| (finding.weight, finding.to_string())).collect()
    }

    #[test]
    fn there_is_nothing_to_say_about_a_server_that_keeps_jobs() {
        for version in ["7.0.0", "7.2.4", "8.0.1", "10.1.0"] {
            assert_eq!(said(&[("redis_version", version)], &HERE), []);
        }
        let local = Circumstances { local: true, ..HERE };
        assert_eq!(said(&[("maxmemory", "0")], &local), []);
    }

    fn memory(used: u64, most: u64) -> String {
        format!("# Memory\r\nused_memory:{used}\r\nmaxmemory:{most}\r\n")
    }

    #[test]
    fn the_mark_is_a_part_of_maxmemory() {
        assert_eq!(over(&memory(79, 100), 0.8), None);
        let words = over(&memory(80, 100), 0.8).unwrap();
        assert!(words.contains("uses 80 % of its maxmemory"), "{words}");
        assert_eq!(over(&memory(1 << 40, 0), 0.8), None);
        assert_eq!(over("", 0.8), None);
    }

    #[test]
    fn a_server_that_would_lose_jobs_is_named_with_what_to_do() {
        let rows = [
            (("redis_version", "6.2.14"), "the server is \"6.2.14\"; update it"),
            (("redis_version", ""), "the server is \"\""),
            (("role", "slave"), "is a replica, which takes no jobs; redis.url must name"),
            (("maxmemory_policy", "allkeys-lru"), "got allkeys-lru; set maxmemory-policy"),
            (("maxmemory_policy", "volatile-ttl"), "got volatile-ttl"),
            (("cluster_enabled", "1"), "a node of a cluster, and most shards lie elsewhere"),
        ];
        for (field, words) in rows {
            let found = said(&[field], &HERE);
            assert_eq!((found.len(), found[0].0), (1, Weight::Loses), "{found:?}");
            assert!(found[0].1.starts_with("Redis at h:1: ") && found[0].1.contains(words));
        }
        for mode in ["redis_version:7.0.15\r\nredis_mode", "redis_version:7.2.4\r\nserver_mode"] {
            let sentinel = findings("h:26379", &format!("{mode}:sentinel\r\n"), &HERE);
            assert_eq!((sentinel.len(), sentinel[0].weight), (1, Weight::Loses));
            assert!(sentinel[0].to_string().contains("write redis+sentinel://"), "{sentinel:?}");
        }
        let cluster = Circumstances { cluster: true, shards: 8, servers: 3, ..HERE };
        assert!(said(&[], &cluster)[0].1.contains("no node of a cluster"));
        assert_eq!(findings("h:1", "", &HERE)[0].weight, Weight::Loses);
    }

    #[test]
    fn what_an_operator_should_know_is_a_warning() {
        let replicated = Circumstances { replicated: true, ..HERE };
        let cluster = Circumstances { cluster: true, shards: 2, servers: 3, ..HERE };
        let rows = [
            (("aof_enabled", "0"), &HERE, "a crash of it loses acknowledged jobs"),
            (("aof_last_write_status", "err"), &HERE, "could not write its append-only file"),
            (("rdb_last_bgsave_status", "err"), &HERE, "its last snapshot"),
            (("maxmemory", "0"), &HERE, "has no maxmemory"),
            (("used_memory", "800"), &HERE, "uses 80 % of its maxmemory, from 80 % on it takes no"),
            (("used_memory", "1770"), &HERE, "uses 177 % of its maxmemory"),
            (("connected_slaves", "0"), &replicated, "no replica is connected"),
            (("cluster_enabled", "1"), &cluster, "more nodes than the queue has shards"),
        ];
        for (field, here, words) in rows {
            let found = said(&[field], here);
            assert_eq!((found.len(), found[0].0), (1, Weight::Warns), "{found:?}");
            assert!(found[0].1.contains(words), "{found:?}");
        }
    }
}
