//! The scripts: files of Lua, each put together from the parts that it uses, and all of them in one library
//! of functions, which a server keeps.
//!
//! Parts are made once, where a script of its own would make them in every run. What a run keeps, it makes
//! anew (`begin` in `lua/shard.lua`).

use std::sync::LazyLock;

use redis::Script as Hashed;

/// A script, ready to be called by its name.
#[derive(Debug)]
pub(super) struct Script {
    name: String,
    flags: &'static str,
    /// What it is called in a server: functions of all libraries share their names.
    pub(super) function: String,
    /// Whether it takes jobs in, which stops before the memory is full.
    pub(super) submits: bool,
}

impl Script {
    fn of(name: &str, flags: &'static str) -> Self {
        let name = name.to_lowercase();
        let function = format!("{}_{name}", LIBRARY.name);
        Self { name, flags, function, submits: flags == FILLS }
    }

    /// A text that does the same without the library, for a server that has no room for it. It makes all parts
    /// in every run.
    pub(super) fn alone(&self) -> String {
        let Self { name, flags, .. } = self;
        format!("#!lua flags={flags}\n{}return make().{name}(KEYS, ARGV)\n", LIBRARY.make)
    }
}

/// All scripts in one.
pub(super) struct Library {
    /// Ends in a hash of what it does: processes of another version have another library beside it.
    name: String,
    /// What a server loads.
    pub(super) text: String,
    /// The function in it that makes all others.
    make: String,
}

pub(super) static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let make = make();
    let scripts: String = SOURCES.iter().map(Source::registered).collect();
    let hash = Hashed::new(&[&make, CALL, &scripts].concat()).get_hash()[..16].to_owned();
    let name = format!("postrider_{hash}");
    let scripts = scripts.replace(NAME, &name);
    Library { text: format!("#!lua name={name}\n{make}{CALL}{scripts}"), name, make }
});

/// Stands for the library's name, which is known once all else is.
const NAME: &str = "<library>";

/// Functions are made at the first call: while a library is loaded, it sees none of Lua's own.
const CALL: &str = "\
local made
local function call(name, keys, arguments)
made = made or make()
return made[name](keys, arguments)
end
";

/// Ends what a script makes once; what comes behind it is done in every run. Without it all of the script is.
const RUN: &str = "\n-- Each run:\n";

/// A script, as its files say it.
struct Source {
    name: &'static str,
    flags: &'static str,
    /// Parts that only this script uses.
    before: &'static [&'static str],
    text: &'static str,
}

impl Source {
    /// What makes its function.
    fn made(&self) -> String {
        let name = self.name.to_lowercase();
        let before: String = self.before.iter().map(|part| code(part)).collect();
        let (once, run) = self.text.split_once(RUN).unwrap_or(("", self.text));
        let (once, run) = (code(once), code(run));
        format!(
            "made.{name} = (function()\n{before}{once}return function(keys, arguments)\nbegin(keys, arguments)\n\
             {run}end\nend)()\n"
        )
    }

    /// What makes its function known to the server.
    fn registered(&self) -> String {
        let name = self.name.to_lowercase();
        let flags = if self.flags.is_empty() { String::new() } else { format!("'{}'", self.flags) };
        format!(
            "redis.register_function({{ function_name = '{NAME}_{name}', flags = {{ {flags} }},\n\
             callback = function(keys, arguments) return call('{name}', keys, arguments) end }})\n"
        )
    }
}

/// The Lua function that makes the parts, one behind the other, and with them the functions of all scripts.
fn make() -> String {
    let parts: String = PARTS.iter().map(|part| code(part)).collect();
    let made: String = SOURCES.iter().map(Source::made).collect();
    format!("local function make()\n{parts}local made = {{}}\n{made}return made\nend\n")
}

/// A text without its comments and the blanks at its margin: servers keep it, and pass it on.
fn code(text: &str) -> String {
    let lines = text.lines().map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    code.flat_map(|line| [line, "\n"]).collect()
}

macro_rules! part {
    ($name:literal) => {
        include_str!(concat!("lua/", $name, ".lua"))
    };
}

/// What scripts have in common; each part sees those before it. Lua takes 200 names of all of them.
const PARTS: [&str; 10] = [
    part!("shard"),
    part!("tickets"),
    part!("records"),
    part!("bundles"),
    part!("kept"),
    part!("limits"),
    part!("lanes"),
    part!("refresh"),
    part!("moves"),
    part!("view"),
];

/// What reads only, also when memory is full.
const READS: &str = "no-writes";
/// What makes room or will, or lets callers ask, and therefore goes on when memory is full.
const DRAINS: &str = "allow-oom";
/// What takes jobs in, and is refused when memory is full.
const FILLS: &str = "";

macro_rules! scripts {
    ($($name:ident = $flags:ident $($before:literal),* => $text:literal;)*) => {
        const SOURCES: &[Source] = &[$(Source {
            name: stringify!($name),
            flags: $flags,
            before: &[$(part!($before)),*],
            text: part!($text),
        }),*];
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::of(stringify!($name), $flags));)*
    };
}

scripts! {
    ENQUEUE = FILLS => "enqueue";
    CLAIM = DRAINS "turns" => "claim";
    EXTEND = DRAINS => "extend";
    SETTLE = DRAINS "completed" => "settle";
    CHECKPOINT = DRAINS => "checkpoint";
    EXPIRED = READS => "expired";
    PROMOTE = DRAINS => "promote";
    PRUNE = DRAINS "forget" => "prune";
    CANCEL = DRAINS => "cancel";
    RETRY = DRAINS => "retry";
    DISCARD = DRAINS => "discard";
    PARK = DRAINS => "park";
    PAUSE = DRAINS => "pause";
    POLICY = DRAINS => "policy";
    DRAW = DRAINS => "draw";
    DRAW_SHARED = DRAINS => "draw_shared";
    RETURN_SHARED = DRAINS => "return_shared";
    JOB = READS => "job";
    JOBS = READS => "jobs";
    LANES_PAGE = READS => "lanes_page";
    QUEUES = READS => "queues";
    TOLD = DRAINS => "told";
    UNTOLD = READS => "untold";
    READY = DRAINS => "ready";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const USERS: &str = include_str!("../../../config/redis/users.acl");
    /// What is sent beside scripts: to connect, to be woken, to find a server and to look at it, to read
    /// what was claimed, and to know that a replica has what was written.
    const BESIDE: [&str; 17] = [
        "auth",
        "cluster|slots",
        "eval",
        "fcall",
        "function|load",
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

    #[test]
    fn a_part_keeps_nothing_of_a_run() {
        let once = SOURCES.iter().filter_map(|source| source.text.split_once(RUN));
        let once = once.map(|(once, _)| once).chain(PARTS);
        for part in once.chain(SOURCES.iter().flat_map(|source| source.before).copied()) {
            let at_margin = part.lines().filter(|line| line.starts_with("local "));
            for line in at_margin.filter(|line| !line.starts_with("local function")) {
                let lasts = ["local begins = {}", "local endings = {}"].contains(&line);
                let value = line.split_once('=').map_or("", |(_, value)| value);
                let is_made_once = !["{}", "key(", "KEYS", "ARGV", "redis.call"]
                    .iter()
                    .any(|of_a_run| value.contains(of_a_run));
                assert!(
                    lasts || is_made_once,
                    "{line}: expected it in what the part adds to begins"
                );
            }
        }
    }

    #[test]
    fn names_say_what_a_library_does() {
        let name = &LIBRARY.name;
        assert!(name.len() == 26 && name.starts_with("postrider_"), "{name}");
        assert_eq!(CLAIM.function, format!("{name}_claim"));
        assert!(
            LIBRARY
                .text
                .contains(&format!("function_name = '{name}_claim', flags = {{ 'allow-oom' }}"))
        );
        assert!(!LIBRARY.text.contains(NAME));
        assert!(CLAIM.alone().starts_with("#!lua flags=allow-oom\n"));
    }
}
