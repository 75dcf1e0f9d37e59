//! The scripts: files of Lua, each put together from the parts that it uses.

use std::sync::LazyLock;

use redis::Script as Hashed;

/// A script, ready to be called by its hash.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) text: String,
    pub(super) hash: String,
    /// Whether it takes jobs in, which stops before the memory is full.
    pub(super) submits: bool,
}

macro_rules! part {
    ($name:literal) => {
        include_str!(concat!("lua/", $name, ".lua"))
    };
}

const SHARD: &str = part!("shard");
const TICKETS: &str = part!("tickets");
const RECORDS: &str = concat!(part!("tickets"), part!("records"), part!("bundles"), part!("kept"));
const LIMITS: &str = part!("limits");
const LANES: &str = part!("lanes");
const MOVES: &str = part!("moves");
const VIEW: &str = part!("view");

/// What reads only, also when memory is full.
const READS: &str = "#!lua flags=no-writes\n";
/// What makes room or will, or lets callers ask, and therefore goes on when memory is full.
const DRAINS: &str = "#!lua flags=allow-oom\n";
/// What takes jobs in, and is refused when memory is full.
const FILLS: &str = "#!lua\n";

/// Parts one inside the other: each sees the names of those before it. What it takes from them it takes once,
/// where in one scope each of its functions would search all names for it, in every run.
fn nested(flags: &str, parts: &[&str]) -> String {
    let ends = "end)()\n".repeat(parts.len() - 1);
    [flags, &parts.join("return (function()\n"), &ends].concat()
}

macro_rules! scripts {
    ($($name:ident = $flags:ident $($part:expr),+;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let text = nested($flags, &[$($part),+]);
            let hash = Hashed::new(&text).get_hash().to_owned();
            Script { text, hash, submits: $flags == FILLS }
        });)*
    };
}

scripts! {
    ENQUEUE = FILLS SHARD, TICKETS, LIMITS, LANES, part!("enqueue");
    CLAIM = DRAINS SHARD, RECORDS, LIMITS, LANES, part!("turns"), part!("claim");
    EXTEND = DRAINS SHARD, RECORDS, part!("extend");
    SETTLE = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("settle");
    CHECKPOINT = DRAINS SHARD, RECORDS, part!("checkpoint");
    EXPIRED = READS SHARD, RECORDS, part!("expired");
    PROMOTE = DRAINS SHARD, part!("promote");
    PRUNE = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("forget"), part!("prune");
    CANCEL = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("cancel");
    RETRY = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("retry");
    DISCARD = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("discard");
    PARK = DRAINS SHARD, TICKETS, LIMITS, LANES, part!("park");
    PAUSE = DRAINS SHARD, TICKETS, LIMITS, LANES, part!("pause");
    POLICY = DRAINS SHARD, TICKETS, LIMITS, LANES, part!("policy");
    DRAW = DRAINS SHARD, LIMITS, part!("draw");
    DRAW_SHARED = DRAINS SHARD, LIMITS, part!("draw_shared");
    RETURN_SHARED = DRAINS SHARD, LIMITS, part!("return_shared");
    JOB = READS SHARD, RECORDS, LIMITS, LANES, VIEW, part!("job");
    JOBS = READS SHARD, RECORDS, LIMITS, LANES, VIEW, part!("jobs");
    LANES_PAGE = READS SHARD, RECORDS, LIMITS, LANES, VIEW, part!("lanes_page");
    QUEUES = READS SHARD, part!("queues");
    TOLD = DRAINS SHARD, RECORDS, part!("told");
    UNTOLD = READS SHARD, RECORDS, LIMITS, LANES, VIEW, part!("untold");
    READY = DRAINS SHARD, part!("ready");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    const USERS: &str = include_str!("../../../config/redis/users.acl");
    /// What is sent beside scripts: to connect, to be woken, to find a server and to look at it, to read
    /// what was claimed, and to know that a replica has what was written.
    const BESIDE: [&str; 16] = [
        "auth",
        "cluster|slots",
        "eval",
        "evalsha",
        "getrange",
        "hello",
        "hmget",
        "info",
        "mget",
        "ping",
        "publish",
        "role",
        "select",
        "set",
        "subscribe",
        "wait",
    ];

    /// The commands that the scripts call, at once or put together.
    fn called() -> BTreeSet<String> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/queue/redis/lua");
        let files = std::fs::read_dir(dir).unwrap();
        let texts: String =
            files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        let calls = ["redis.call('", "put('", "put_all('"];
        let words = calls.into_iter().flat_map(|call| texts.split(call).skip(1));
        words.filter_map(|words| words.split('\'').next()).map(str::to_lowercase).collect()
    }

    #[test]
    fn the_shipped_user_may_call_what_is_called_and_nothing_else() {
        let allowed: BTreeSet<String> = USERS
            .split_whitespace()
            .filter_map(|word| word.strip_prefix('+'))
            .map(str::to_owned)
            .collect();
        let mut needed = called();
        needed.extend(BESIDE.map(str::to_owned));
        assert_eq!(allowed, needed, "config/redis/users.acl");
    }
}
