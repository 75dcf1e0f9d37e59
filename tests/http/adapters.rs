//! What façades share through their queue, over each adapter: two façades, each with a handle of its
//! own as two processes have.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use postrider::queue::{
    JobFilter, Queue,
    redis::{RedisConfig, RedisQueue},
    sqlite::SqliteQueue,
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    house::{House, answer, good, header, sent},
    kinds,
};
use crate::support::{self, eventually, eventually_ok};

/// Where several queue handles meet.
trait Place {
    type Handle: Queue + 'static;

    fn found() -> Self;

    async fn handle(&self) -> Arc<Self::Handle>;
}

struct Embedded(TempDir);

impl Place for Embedded {
    type Handle = SqliteQueue;

    fn found() -> Self {
        Self(TempDir::new().unwrap())
    }

    async fn handle(&self) -> Arc<SqliteQueue> {
        let file = self.0.path().join("queue.sqlite");
        Arc::new(SqliteQueue::open(&file, &support::defaults().queue).await.unwrap())
    }
}

struct InRedis(RedisConfig);

impl Place for InRedis {
    type Handle = RedisQueue;

    fn found() -> Self {
        Self(support::redis::place())
    }

    async fn handle(&self) -> Arc<RedisQueue> {
        Arc::new(RedisQueue::open(&self.0).await.unwrap())
    }
}

/// Runs each of these over both adapters.
macro_rules! over_both_queues {
    ($($test:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test::<super::Embedded>().await;
            })+
        }

        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test::<super::InRedis>().await;
            })+
        }
    };
}
over_both_queues!(
    a_thousand_equal_posts_at_two_façades_make_one_job,
    a_key_means_the_same_at_every_façade,
    a_submission_is_remembered_for_its_time_and_no_longer,
    an_allowance_is_shared_by_all_façades,
    who_waits_until_the_reset_is_let_in,
);

/// Two façades over one queue, with this rate limit and this memory of submissions.
async fn two<P: Place>(place: &P, rate: &str, keep: Duration) -> [House<P::Handle>; 2] {
    let open = async || {
        let change = |http: &mut postrider::http::HttpConfig| {
            http.rate_limit = rate.parse().unwrap();
            http.idempotency_keep = keep;
        };
        House::over(place.handle().await, kinds::catalogue(), change).await
    };
    [open().await, open().await]
}

const DAY: Duration = Duration::from_secs(86_400);

fn keyed<Q: Queue + 'static>(house: &House<Q>, key: &str, body: &Value) -> RequestBuilder {
    house.post("/jobs", body).header("idempotency-key", key)
}

async fn jobs<Q: Queue>(house: &House<Q>) -> usize {
    let filter = JobFilter { limit: 1_000, ..JobFilter::default() };
    house.queue.jobs(&filter).await.unwrap().len()
}

async fn a_thousand_equal_posts_at_two_façades_make_one_job<P: Place>() {
    let place = P::found();
    let houses = two(&place, "100000/min", DAY).await;

    let posts = (0..1_000).map(|n| keyed(&houses[n % 2], "one", &good())).map(|post| async {
        let response = sent(post).await;
        assert_eq!(response.status(), 202);
        let replayed = response.headers().contains_key("idempotent-replayed");
        (replayed, response.text().await.unwrap())
    });
    let answers = join_all(posts).await;

    assert_eq!(jobs(&houses[0]).await, 1);
    assert_eq!(answers.iter().filter(|(replayed, _)| !replayed).count(), 1);
    assert!(answers.iter().all(|(_, body)| *body == answers[0].1));
}

async fn a_key_means_the_same_at_every_façade<P: Place>() {
    let place = P::found();
    let [here, there] = two(&place, "100000/min", DAY).await;
    let batch = json!({"jobs": [good(), good(), good()]});
    let first = sent(keyed(&here, "k", &batch)).await.text().await.unwrap();

    // The same request is answered as before, byte for byte, however it is written.
    let again = sent(keyed(&there, "\"k\"", &batch)).await;
    assert_eq!(header(&again, "idempotent-replayed"), "true");
    assert_eq!(again.text().await.unwrap(), first);

    // Another one is refused, and changes nothing.
    let problem = answer(keyed(&there, "k", &json!({"jobs": [good()]})), 422).await;
    assert_eq!(problem["code"], "idempotency_key_reused");
    let again = sent(keyed(&here, "k", &batch)).await;
    assert_eq!(again.text().await.unwrap(), first);
    assert_eq!(jobs(&here).await, 3);
}

async fn a_submission_is_remembered_for_its_time_and_no_longer<P: Place>() {
    let place = P::found();
    let [here, there] = two(&place, "100000/min", Duration::from_secs(2)).await;
    let began = here.queue.now();
    let first = sent(keyed(&here, "k", &good())).await.text().await.unwrap();

    // Repetitions do not make it longer.
    let anew = eventually_ok("the submission is forgotten", || async {
        let body = sent(keyed(&there, "k", &good())).await.text().await.unwrap();
        if body == first { Err("it is remembered") } else { Ok(body) }
    })
    .await;

    assert!(there.queue.now() >= began.plus(Duration::from_secs(2)));
    assert_eq!(jobs(&here).await, 2);
    let again = sent(keyed(&here, "k", &good())).await;
    assert_eq!(again.text().await.unwrap(), anew);
}

async fn an_allowance_is_shared_by_all_façades<P: Place>() {
    let place = P::found();
    let houses = two(&place, "6/h", DAY).await;
    let mut resets = Vec::new();
    for (n, left) in ["5", "4", "3", "2", "1", "0"].into_iter().enumerate() {
        let response = sent(houses[n % 2].post("/jobs", &good())).await;
        assert_eq!(response.status(), 202);
        assert_eq!(header(&response, "x-ratelimit-limit"), "6");
        assert_eq!(header(&response, "x-ratelimit-remaining"), left);
        assert_eq!(header(&response, "ratelimit-policy"), "\"default\";q=6;w=3600");
        resets.push(header(&response, "x-ratelimit-reset").parse::<i64>().unwrap());
    }
    assert!(resets.is_sorted(), "each permit comes back later than the one before: {resets:?}");

    for house in &houses {
        let now = house.queue.now().seconds();
        let response = sent(house.post("/jobs", &good())).await;
        assert_eq!(response.status(), 429);
        assert_eq!(header(&response, "x-ratelimit-remaining"), "0");
        // Now it is the first permit that is waited for.
        let reset: i64 = header(&response, "x-ratelimit-reset").parse().unwrap();
        assert_eq!(reset, resets[0]);
        let wait: i64 = header(&response, "retry-after").parse().unwrap();
        assert!(now + wait <= reset + 1 && wait > 3_000, "{now} + {wait}, {reset}");
        // The waiting is counted from the second in which the answer was made, not before the reset.
        assert!(house.queue.now().seconds() + wait >= reset, "{wait}, {reset}");
    }
    assert_eq!(jobs(&houses[0]).await, 6);
}

async fn who_waits_until_the_reset_is_let_in<P: Place>() {
    let place = P::found();
    let [here, there] = two(&place, "2/s", DAY).await;
    for _ in 0..3 {
        let refused = eventually_ok("the allowance is used up", || async {
            let response = sent(here.get("/jobs/job_x")).await;
            if response.status() == 429 { Ok(response) } else { Err(response.status()) }
        })
        .await;
        let reset: i64 = header(&refused, "x-ratelimit-reset").parse().unwrap();
        eventually("the reset has come", || there.queue.now().seconds() >= reset).await;
        assert_eq!(sent(there.get("/jobs/job_x")).await.status(), 404);
    }
}
