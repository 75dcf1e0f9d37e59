//! The library of all scripts: who calls one on a server that lacks the library loads it there.
//!
//! A server has met it, as a rule: it keeps it beside the jobs, and passes it on to its replicas. Not so one
//! that is new, that lost what it had, or whose replica took over before it had all.

use redis::Value;
use tokio::time::Instant;

use super::{Call, Server};
use crate::queue::QueueError;

/// How often one call loads the library: a shard may move to another node meanwhile.
const LOADS: usize = 3;

impl Server {
    /// Calls the script, whether or not its server knows it already.
    pub(super) async fn carry_out<A: AsRef<[u8]>>(
        &self,
        call: &Call<'_, A>,
        until: Instant,
    ) -> Result<Value, QueueError> {
        for _ in 0..LOADS {
            let called = Instant::now();
            let answer = self.send(call, "FCALL", &call.script.function, until).await?;
            if !is_unknown(&answer) {
                return Ok(answer);
            }
            let Some(node) = self.topology.node_of(call.shard) else { continue };
            let loaded = node.load(called).await?;
            if is_full(&loaded) && !call.script.submits {
                // What makes room must not wait for room.
                return self.send(call, "EVAL", &call.script.alone(), until).await;
            }
            loaded.extract_error()?;
        }
        Err(QueueError::Unavailable("the server does not keep the scripts that it is given".into()))
    }
}

/// Whether the server does not have the function that was called. It has no code of its own for that.
pub(super) fn is_unknown(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.details() == Some("Function not found"))
}

fn is_full(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "OOM")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(error: &str) -> Value {
        redis::parse_redis_value(format!("-{error}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_library_that_is_missing_is_told_from_other_trouble() {
        assert!(is_unknown(&answer("ERR Function not found")));
        for other in
            ["OOM command not allowed", "ERR unknown command 'FCALL'", "NOSCRIPT No such script"]
        {
            assert!(!is_unknown(&answer(other)), "{other}");
        }
        assert!(!is_unknown(&Value::Nil));
        assert!(is_full(&answer("OOM command not allowed when used memory > 'maxmemory'.")));
        assert!(!is_full(&answer("ERR Function not found")));
    }
}
