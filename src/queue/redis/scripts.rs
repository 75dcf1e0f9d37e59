//! The scripts: files of Lua, each put together from the parts that it uses.

use std::sync::LazyLock;

use redis::Script as Hashed;

/// A script, ready to be called by its hash.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) text: String,
    pub(super) hash: String,
}

macro_rules! part {
    ($name:literal) => {
        include_str!(concat!("lua/", $name, ".lua"))
    };
}

const SHARD: &str = part!("shard");
const RECORDS: &str = part!("records");
const LIMITS: &str = part!("limits");
const LANES: &str = part!("lanes");
const MOVES: &str = part!("moves");
const VIEW: &str = part!("view");

/// What reads only, also when memory is full.
const READS: &str = "#!lua flags=no-writes\n";
/// What makes room or will, and therefore goes on when memory is full.
const DRAINS: &str = "#!lua flags=allow-oom\n";
/// What is refused when memory is full.
const FILLS: &str = "#!lua\n";

macro_rules! scripts {
    ($($name:ident = $flags:ident $($part:expr),+;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let text = [$flags, $($part),+].concat();
            let hash = Hashed::new(&text).get_hash().to_owned();
            Script { text, hash }
        });)*
    };
}

scripts! {
    ENQUEUE = FILLS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("enqueue");
    CLAIM = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("turns"), part!("claim");
    EXTEND = DRAINS SHARD, RECORDS, part!("extend");
    SETTLE = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("settle");
    CHECKPOINT = DRAINS SHARD, RECORDS, part!("checkpoint");
    EXPIRED = READS SHARD, RECORDS, part!("expired");
    PROMOTE = DRAINS SHARD, part!("promote");
    PRUNE = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("forget"), part!("prune");
    CANCEL = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("cancel");
    RETRY = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("retry");
    DISCARD = DRAINS SHARD, RECORDS, LIMITS, LANES, MOVES, part!("discard");
    PARK = DRAINS SHARD, LIMITS, LANES, part!("park");
    PAUSE = DRAINS SHARD, LIMITS, LANES, part!("pause");
    POLICY = DRAINS SHARD, LIMITS, LANES, part!("policy");
    DRAW = FILLS SHARD, LIMITS, part!("draw");
    DRAW_SHARED = DRAINS SHARD, LIMITS, part!("draw_shared");
    JOB = READS SHARD, RECORDS, LIMITS, LANES, VIEW, part!("job");
    JOBS = READS SHARD, RECORDS, LIMITS, LANES, VIEW, part!("jobs");
    LANES_PAGE = READS SHARD, RECORDS, LIMITS, LANES, VIEW, part!("lanes_page");
    QUEUES = READS SHARD, part!("queues");
    READY = DRAINS SHARD, part!("ready");
}
