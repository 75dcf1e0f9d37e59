//! What is asked of a server before jobs are trusted to it.

/// The oldest version that knows all that the scripts use.
const OLDEST: u32 = 7;

/// Refuses a server that would lose jobs, by what it says in `INFO`.
pub(super) fn check(info: &str) -> Result<(), String> {
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let version = field("redis_version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        return Err(format!("expected Redis {OLDEST}.0 or newer, the server is {version:?}"));
    }
    if field("role") == Some("slave") {
        return Err(
            "the server is a replica, which takes no jobs: redis.url must name the primary"
                .to_owned(),
        );
    }
    match field("maxmemory_policy") {
        Some("noeviction") => Ok(()),
        policy => Err(format!(
            "the server may evict jobs when its memory is full: expected maxmemory-policy \
             noeviction, got {}",
            policy.unwrap_or("none")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    fn info(version: &str, role: &str, policy: &str) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\n\r\n# Memory\r\nmaxmemory_policy:{policy}\r\n\
             \r\n# Replication\r\nrole:{role}\r\n"
        )
    }

    #[test]
    fn a_server_that_keeps_jobs_is_taken() {
        for version in ["7.0.0", "7.2.4", "8.0.1", "10.1.0"] {
            assert_eq!(check(&info(version, "master", "noeviction")), Ok(()));
        }
    }

    #[test]
    fn a_server_that_would_lose_jobs_is_refused_in_one_sentence() {
        let rows = [
            (info("6.2.14", "master", "noeviction"), "the server is \"6.2.14\""),
            (String::new(), "the server is \"\""),
            (info("7.0.15", "slave", "noeviction"), "is a replica"),
            (info("7.0.15", "master", "allkeys-lru"), "got allkeys-lru"),
            (info("7.0.15", "master", "volatile-ttl"), "got volatile-ttl"),
        ];
        for (info, words) in rows {
            let refused = check(&info).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
