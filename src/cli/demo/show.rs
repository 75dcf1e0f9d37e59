//! The campaign and the bulk jobs, seen from outside.

use std::{net::SocketAddr, time::Duration};

use jobs::contract::JobId;
use serde_json::{Value, json};

use super::{
    Teller,
    bulk::{self, Ended, Request},
    client::{Answer, Client},
    dev,
    ending::Ending,
    paint::Paint,
    receiver::Receiver,
    samples::{self, Campaign, Person},
    story::Story,
};
use crate::{
    app::App,
    cli::Failure,
    queue::{JobFilter, JobRecord, LaneFilter, LaneRecord, Queue, Seen},
};

/// The demo ends by itself within a minute, whatever happens.
const LONGEST: Duration = Duration::from_secs(50);
/// How often it looks when nothing is heard.
const LOOK: Duration = Duration::from_millis(250);

/// The campaign, seen from outside.
pub(super) struct Show<'a> {
    pub(super) app: &'a App,
    pub(super) client: Client,
    pub(super) receiver: &'a Receiver,
    pub(super) paint: Paint,
    pub(super) address: SocketAddr,
}

impl Show<'_> {
    /// Submits, is refused once, and watches to the end.
    pub(super) async fn campaign(&self, teller: &mut Teller<'_, '_>) -> Result<Ending, Failure> {
        let (people, campaign) = (samples::people()?, samples::campaign()?);
        teller.say("")?;
        teller.start(people.len());
        let ids = self.submit(&people, &campaign, teller).await?;
        let refusal = self.refusal(&people[0], &campaign, teller).await?;
        let names = ids.iter().copied().zip(people.iter().map(Person::name)).collect();
        let mut story = Story::new(names, self.paint);
        let tried_once = ids.iter().zip(&people).filter(|(_, person)| person.is_tried_once());
        let tried_once: Vec<_> = tried_once.map(|(id, _)| *id).collect();
        let shown = async {
            let changed = self.bulk(&tried_once, &mut story, teller).await?;
            Ok::<_, Failure>((self.watch(&mut story, people.len(), teller).await?, changed))
        };
        let (jobs, changed) = tokio::time::timeout(LONGEST, shown)
            .await
            .map_err(|_| Failure::job(format!("the demo did not end within {LONGEST:?}")))??;
        teller.bar.finish_and_clear();
        let took = teller.since.elapsed();
        Ok(Ending::new(jobs, changed, story, refusal, took, self.address))
    }

    /// One request for everybody; their jobs, in their order.
    async fn submit(
        &self,
        people: &[Person],
        campaign: &Campaign,
        teller: &mut Teller<'_, '_>,
    ) -> Result<Vec<JobId>, Failure> {
        let jobs: Vec<_> = people.iter().map(|person| campaign.job(person)).collect();
        let Answer { status, body } = self.client.submit(&json!({ "jobs": jobs })).await?;
        let ids: Option<Vec<JobId>> = body["data"]
            .as_array()
            .and_then(|data| data.iter().map(|job| job["id"].as_str()?.parse().ok()).collect());
        let ids = ids.filter(|ids| ids.len() == people.len()).ok_or_else(|| {
            Failure::unavailable(format!("POST /jobs answered {status}: {}", words(&body)))
        })?;
        let count = people.len();
        teller.happened(&format!(
            "{status}     POST http://{}/jobs with {count} jobs, one for each person: all are taken in",
            self.address
        ))?;
        Ok(ids)
    }

    /// What is refused is refused before anything happens; what was wrong, and where.
    async fn refusal(
        &self,
        person: &Person,
        campaign: &Campaign,
        teller: &mut Teller<'_, '_>,
    ) -> Result<String, Failure> {
        let Answer { status, body } = self.client.submit(&campaign.bad_job(person)).await?;
        if status != 422 {
            return Err(Failure::job(format!("a forged name was answered with {status}, not 422")));
        }
        let said = words(&body);
        let painted = self.paint.bad(&status.to_string());
        teller.happened(&format!("{painted}     a job with a forged name is refused: {said}"))?;
        Ok(said)
    }

    /// Four bulk jobs, one after the other, while the campaign goes on; the last one is about mails that
    /// were tried once only, and so have failed.
    async fn bulk(
        &self,
        tried_once: &[JobId],
        story: &mut Story,
        teller: &mut Teller<'_, '_>,
    ) -> Result<Vec<Ended>, Failure> {
        let mut changed = Vec::new();
        for request in bulk::desk() {
            changed.push(self.change(request, story, teller).await?);
        }
        for id in tried_once {
            self.client.ended(&id.to_string()).await?;
        }
        self.news(story, teller).await?;
        changed.push(self.change(bulk::retry(), story, teller).await?);
        Ok(changed)
    }

    async fn change(
        &self,
        request: Request,
        story: &mut Story,
        teller: &mut Teller<'_, '_>,
    ) -> Result<Ended, Failure> {
        let ended = request.carry_out(&self.client).await?;
        let (word, what) = (self.paint.good("bulk"), ended.what);
        teller.happened(&format!("{word}    {what}: {}", ended.words()))?;
        self.news(story, teller).await?;
        Ok(ended)
    }

    /// Tells what is new; the campaign's jobs as they are now.
    async fn news(
        &self,
        story: &mut Story,
        teller: &mut Teller<'_, '_>,
    ) -> Result<Vec<JobRecord>, Failure> {
        let (jobs, lanes) = look(&*self.app.queue).await?;
        for line in story.look(&jobs, &lanes, self.app.queue.now()) {
            teller.happened(&line)?;
        }
        for line in story.heard(&self.receiver.heard()) {
            teller.happened(&line)?;
        }
        Ok(jobs)
    }

    /// Tells what happens until every job has ended.
    async fn watch(
        &self,
        story: &mut Story,
        count: usize,
        teller: &mut Teller<'_, '_>,
    ) -> Result<Vec<JobRecord>, Failure> {
        let mut seen = Seen::default();
        loop {
            // Asked before the jobs are read, so that no change falls in between.
            seen = self.app.queue.changed(seen, LOOK).await;
            // Before it is told of, so that nothing is heard after the last line.
            let has_all = self.receiver.has_all();
            let jobs = self.news(story, teller).await?;
            let ended = jobs.iter().filter(|job| job.status.is_final()).count();
            teller.bar.set_position(u64::try_from(ended).unwrap_or(u64::MAX));
            if ended == count && has_all {
                return Ok(jobs);
            }
        }
    }
}

/// The demo's jobs and lanes, as they are now.
async fn look(queue: &dyn Queue) -> Result<(Vec<JobRecord>, Vec<LaneRecord>), Failure> {
    let tenant = dev();
    let tag = Some(samples::TAG.to_owned());
    let filter =
        JobFilter { tenant: Some(tenant.clone()), tag, limit: 100, ..JobFilter::default() };
    let lanes = LaneFilter { tenant: Some(tenant), limit: 100, ..LaneFilter::default() };
    Ok((queue.jobs(&filter).await?, queue.lanes(&lanes).await?))
}

/// What an error answer says: where, and what.
pub(super) fn words(body: &Value) -> String {
    let first = &body["errors"][0];
    match (first["pointer"].as_str(), first["message"].as_str()) {
        (Some(pointer), Some(message)) => format!("{pointer}: {message}"),
        _ => body["detail"].as_str().unwrap_or("no reason given").to_owned(),
    }
}
