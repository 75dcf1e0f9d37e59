//! `postrider demo`: a small campaign inside this machine, and what happened to it, in plain words.
//!
//! Nothing here is played: the demo is `up` with the sample files, submits over HTTP as any caller
//! would, and tells what the queue and the store know. Only the waits that servers ask for are
//! shorter (`config/samples/demo.toml`).

mod client;
mod ending;
mod paint;
mod receiver;
mod samples;
mod server;
mod story;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jobs::contract::{JobId, TenantId};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{
    client::{Answer, Client},
    ending::Ending,
    paint::Paint,
    receiver::{Heard, Receiver},
    samples::{Campaign, Person},
    server::Server,
    story::Story,
};
use super::{Failure, Globals, Out, signals, up};
use crate::{
    app::{App, Embedded, Roles},
    config::Layers,
    queue::{JobFilter, JobRecord, LaneFilter, LaneRecord, Queue, Seen},
};

/// The demo ends by itself within a minute, whatever happens.
const LONGEST: Duration = Duration::from_secs(50);
/// How often it looks when nothing is heard.
const LOOK: Duration = Duration::from_millis(250);

/// How to show it.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Go on serving when the campaign is over, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
}

/// Sends the sample campaign and says what happened.
///
/// The configuration file and the environment are not asked: the demo is the same everywhere, and
/// never touches a real store.
///
/// # Errors
///
/// Why it could not be shown.
pub async fn run(args: &DemoArgs, globals: &Globals, out: &mut Out<'_>) -> Result<(), Failure> {
    let shutdown = signals::shutdown()?;
    let paint = Paint::for_stdout();
    let mut teller = Teller::new(out, paint);
    let dir = directory(globals);
    up::writable(&dir)?;
    teller.say(paint.bold("Postrider demo: a small campaign. Nothing leaves this machine."))?;
    teller.say(format!("Everything it makes is kept in {}", dir.display()))?;

    let server = Server::start().await?;
    let receiver = Receiver::start().await?;
    samples::write(&dir, server.address())?;
    let mut layers = Layers::defaults();
    layers.text("config/samples/demo.toml", samples::CONFIG)?;
    layers.option("the demo", "data_dir", &dir.to_string_lossy())?;
    let app = Arc::new(App::open(layers.read()?, Embedded::Yes).await?);
    let key = up::dev_key(&app).await?;
    app.apply(&dir.join("mailboxes.toml")).await?;
    app.apply(&dir.join("people.csv")).await?;
    receiver.subscribe(&app, &dev()).await?;
    let (address, running) = serve(&app, &shutdown).await?;

    let client = Client::new(address, key.clone());
    let show = Show { app: &app, client, receiver: &receiver, paint, address };
    let shown = tokio::select! {
        shown = show.campaign(&mut teller) => shown,
        () = shutdown.cancelled() => Err(Failure::job("the demo was stopped")),
    };
    if let Ok(mut ending) = shown {
        ending.over_smtp = server.keep(&dir.join("rehearsal"))?;
        ending.heard = receiver.heard();
        ending.tell(&mut teller, &dir)?;
        if args.keep {
            teller.say(format!(
                "It goes on serving, until Ctrl-C: ready url=http://{address} key={key}"
            ))?;
            shutdown.cancelled().await;
        }
        shutdown.cancel();
        return stopped(running).await;
    }
    shutdown.cancel();
    stopped(running).await?;
    shown.map(drop)
}

fn dev() -> TenantId {
    "dev".parse().expect("a tenant name by the rules of TenantId")
}

/// Where the demo works: a new directory, unless one was given.
fn directory(globals: &Globals) -> PathBuf {
    let fresh = || std::env::temp_dir().join(format!("postrider-demo-{}", ulid::Ulid::generate()));
    globals.data.clone().unwrap_or_else(fresh)
}

/// Plays all roles in the background, and waits until the façade serves.
async fn serve(
    app: &Arc<App>,
    shutdown: &CancellationToken,
) -> Result<(SocketAddr, JoinHandle<Result<(), Failure>>), Failure> {
    let (tell, told) = oneshot::channel();
    let (app, shutdown) = (Arc::clone(app), shutdown.clone());
    let running = tokio::spawn(async move {
        let ready = |address| {
            // Nobody listens any more when the demo was stopped meanwhile.
            let _ = tell.send(address);
            Ok(())
        };
        app.run_roles(Roles::ALL, shutdown, ready).await
    });
    match told.await {
        Ok(Some(address)) => Ok((address, running)),
        _ => {
            stopped(running).await?;
            Err(Failure::unavailable("the façade did not start"))
        }
    }
}

async fn stopped(running: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    running.await.map_err(|e| Failure::unavailable(format!("a role ended unexpectedly: {e}")))?
}

/// Says things in their order, around a progress bar if there is a terminal.
struct Teller<'a, 'b> {
    out: &'a mut Out<'b>,
    bar: ProgressBar,
    paint: Paint,
    since: Instant,
}

impl<'a, 'b> Teller<'a, 'b> {
    fn new(out: &'a mut Out<'b>, paint: Paint) -> Self {
        Self { out, bar: ProgressBar::hidden(), paint, since: Instant::now() }
    }

    fn say(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        if self.out.is_json() {
            return Ok(());
        }
        let out = &mut *self.out;
        Ok(self.bar.suspend(|| out.line(line))?)
    }

    /// The same, with the time since the start.
    fn happened(&mut self, line: &str) -> Result<(), Failure> {
        let at = format!("{:5.1} s", self.since.elapsed().as_secs_f64());
        self.say(format!("  {}  {line}", self.paint.dim(&at)))
    }

    fn start(&mut self, mails: usize) {
        let style = ProgressStyle::with_template("  [{bar:40}] {pos} of {len} mails");
        self.bar = ProgressBar::new(u64::try_from(mails).unwrap_or(u64::MAX));
        self.bar.set_style(style.expect("the template is a constant, and a test draws it"));
        self.since = Instant::now();
    }
}

/// The campaign, seen from outside.
struct Show<'a> {
    app: &'a App,
    client: Client,
    receiver: &'a Receiver,
    paint: Paint,
    address: SocketAddr,
}

impl Show<'_> {
    /// Submits, is refused once, and watches to the end.
    async fn campaign(&self, teller: &mut Teller<'_, '_>) -> Result<Ending, Failure> {
        let (people, campaign) = (samples::people()?, samples::campaign()?);
        teller.say("")?;
        teller.start(people.len());
        let names = self.submit(&people, &campaign, teller).await?;
        let refusal = self.refusal(&people[0], &campaign, teller).await?;
        let mut story = Story::new(names, self.paint);
        let jobs = tokio::time::timeout(LONGEST, self.watch(&mut story, people.len(), teller))
            .await
            .map_err(|_| Failure::job(format!("the demo did not end within {LONGEST:?}")))??;
        teller.bar.finish_and_clear();
        Ok(Ending::new(jobs, story, refusal, teller.since.elapsed(), self.address))
    }

    /// One request for everybody; who is behind which job.
    async fn submit(
        &self,
        people: &[Person],
        campaign: &Campaign,
        teller: &mut Teller<'_, '_>,
    ) -> Result<BTreeMap<JobId, String>, Failure> {
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
        Ok(ids.into_iter().zip(people.iter().map(Person::name)).collect())
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

    /// Tells what happens until every job has ended.
    async fn watch(
        &self,
        story: &mut Story,
        count: usize,
        teller: &mut Teller<'_, '_>,
    ) -> Result<Vec<JobRecord>, Failure> {
        let queue = &*self.app.queue;
        let mut seen = Seen::default();
        loop {
            // Asked before the jobs are read, so that no change falls in between.
            seen = queue.changed(seen, LOOK).await;
            let (jobs, lanes) = look(queue).await?;
            for line in story.look(&jobs, &lanes, queue.now()) {
                teller.happened(&line)?;
            }
            let heard = self.receiver.heard();
            for line in story.heard(&heard) {
                teller.happened(&line)?;
            }
            let ended = jobs.iter().filter(|job| job.status.is_final()).count();
            teller.bar.set_position(u64::try_from(ended).unwrap_or(u64::MAX));
            if ended == count && heard.iter().any(Heard::accepted) {
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
fn words(body: &Value) -> String {
    let first = &body["errors"][0];
    match (first["pointer"].as_str(), first["message"].as_str()) {
        (Some(pointer), Some(message)) => format!("{pointer}: {message}"),
        _ => body["detail"].as_str().unwrap_or("no reason given").to_owned(),
    }
}
