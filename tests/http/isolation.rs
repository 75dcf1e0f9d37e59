//! Tenants among themselves: whatever some do, the others notice nothing of it. A model of each tenant
//! alone says what each answer must be.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, prop, prop_oneof, proptest};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use super::house::{House, answer, good, header, key, sent, soon};

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const REQUESTS: usize = 10_000;
const PLACES: usize = 2;
const NOBODYS: &str = "job_01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[derive(Debug, Clone)]
enum Act {
    Submit { under: Option<u8> },
    Ask { job: usize, wait: bool },
    Follow { job: usize },
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        prop::option::of(0..3_u8).prop_map(|under| Act::Submit { under }),
        (0..8_usize, prop::bool::ANY).prop_map(|(job, wait)| Act::Ask { job, wait }),
        (0..8_usize).prop_map(|job| Act::Follow { job }),
    ];
    prop::collection::vec((0..TENANTS.len(), act), 1..40)
}

/// One tenant, as it would be alone.
#[derive(Default)]
struct Alone {
    requests: usize,
    remembered: BTreeMap<u8, String>,
    streams: Vec<(String, Response)>,
}

/// The house, and what is known of it.
struct World {
    house: House,
    tenants: [Alone; 3],
    /// Every job, and whose it is.
    jobs: Vec<(usize, String)>,
    /// What everybody is told of a job that nobody has.
    unknown: Value,
}

impl World {
    async fn begin() -> Self {
        let house = House::with(|http| {
            http.rate_limit = format!("{REQUESTS}/h").parse().unwrap();
            http.waiters = PLACES;
        })
        .await;
        let get = house.request(Method::GET, &format!("/jobs/{NOBODYS}"));
        let mut unknown = answer(get.bearer_auth(key("outsider", &["jobs:read"])), 404).await;
        unknown["request_id"].take();
        Self { house, tenants: Default::default(), jobs: Vec::new(), unknown }
    }

    fn request(&self, tenant: usize, method: Method, path: &str) -> RequestBuilder {
        let key = key(TENANTS[tenant], &["jobs:read", "send:write"]);
        self.house.request(method, path).bearer_auth(key)
    }

    /// Sends a request, and sees to it that it was drawn from the tenant's own allowance.
    async fn sent(&mut self, tenant: usize, request: RequestBuilder) -> Response {
        let response = sent(request).await;
        self.tenants[tenant].requests += 1;
        let left = REQUESTS - self.tenants[tenant].requests;
        assert_eq!(header(&response, "x-ratelimit-remaining"), left.to_string());
        response
    }

    async fn act(&mut self, tenant: usize, act: Act) {
        match act {
            Act::Submit { under } => self.submit(tenant, under).await,
            Act::Ask { job, wait } => self.ask(tenant, job, wait).await,
            Act::Follow { job } => self.follow(tenant, job).await,
        }
    }

    async fn submit(&mut self, tenant: usize, under: Option<u8>) {
        let mut request = self.request(tenant, Method::POST, "/jobs").json(&good());
        if let Some(under) = under {
            request = request.header("idempotency-key", format!("key-{under}"));
        }
        let response = self.sent(tenant, request).await;
        assert_eq!(response.status(), 202);
        let replayed = response.headers().contains_key("idempotent-replayed");
        let body: Value = response.json().await.unwrap();
        let id = body["data"]["id"].as_str().unwrap().to_owned();
        let known = under.and_then(|under| self.tenants[tenant].remembered.get(&under));
        assert_eq!(replayed, known.is_some());
        if let Some(known) = known {
            assert_eq!(id, *known);
            return;
        }
        assert!(self.jobs.iter().all(|(_, other)| *other != id));
        self.jobs.push((tenant, id.clone()));
        if let Some(under) = under {
            self.tenants[tenant].remembered.insert(under, id);
        }
    }

    /// A job and whether it is the tenant's; nobody's, where there is none with this number.
    fn job(&self, tenant: usize, job: usize) -> (String, bool) {
        match self.jobs.get(job) {
            Some((owner, id)) => (id.clone(), *owner == tenant),
            None => (NOBODYS.to_owned(), false),
        }
    }

    async fn ask(&mut self, tenant: usize, job: usize, wait: bool) {
        let (id, own) = self.job(tenant, job);
        let mut request = self.request(tenant, Method::GET, &format!("/jobs/{id}"));
        // Nobody waits here: what they know is old.
        if wait {
            request = request.header("prefer", "wait=60").header("if-none-match", "\"old\"");
        }
        let response = self.sent(tenant, request).await;
        if !own {
            return self.is_unknown(response).await;
        }
        assert_eq!(response.status(), 200);
        let has_place = self.tenants[tenant].streams.len() < PLACES;
        let held = response.headers().contains_key("preference-applied");
        assert_eq!(held, wait && has_place, "the places of a tenant are its own");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["data"]["id"], id);
    }

    async fn follow(&mut self, tenant: usize, job: usize) {
        let (id, own) = self.job(tenant, job);
        let request = self.request(tenant, Method::GET, &format!("/jobs/{id}"));
        let request = request.header("accept", "text/event-stream");
        let mut response = self.sent(tenant, request).await;
        if !own {
            return self.is_unknown(response).await;
        }
        assert_eq!(response.status(), 200);
        let first = next(&mut response).await.unwrap();
        let streams = &mut self.tenants[tenant].streams;
        assert_eq!(first.starts_with("retry:"), streams.len() == PLACES);
        if streams.len() < PLACES {
            streams.push((id, response));
        }
    }

    async fn is_unknown(&self, response: Response) {
        assert_eq!(response.status(), 404);
        let mut body: Value = response.json().await.unwrap();
        body["request_id"].take();
        assert_eq!(body, self.unknown);
    }

    /// Ends every job, and hears that each stream tells of its own and of no other.
    async fn end(mut self) {
        for (_, id) in &self.jobs {
            let end = |job: &mut postrider::queue::JobRecord| {
                job.status = postrider::queue::Status::Completed;
                job.tags = vec![id.clone()];
            };
            self.house.queue.change(id, end);
        }
        for (id, stream) in self.tenants.iter_mut().flat_map(|tenant| &mut tenant.streams) {
            let mut told = String::new();
            while let Some(text) = next(stream).await {
                told.push_str(&text);
            }
            assert!(told.contains("\"completed\""), "{told}");
            for (_, other) in &self.jobs {
                assert_eq!(told.contains(other.as_str()), other == id, "{told}");
            }
        }
    }
}

async fn next(response: &mut Response) -> Option<String> {
    let bytes = soon(response.chunk()).await.unwrap()?;
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    #[test]
    fn tenants_notice_nothing_of_one_another(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::begin().await;
            for (tenant, act) in acts {
                world.act(tenant, act).await;
            }
            world.end().await;
        });
    }
}
