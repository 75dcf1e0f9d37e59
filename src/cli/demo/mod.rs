//! `postrider demo`: a small campaign inside this machine, four bulk jobs over a product's records, and
//! what happened, in plain words.
//!
//! Nothing here is played: the demo is `up` with the sample files, submits over HTTP as any caller
//! would, and tells what the queue and the store know. Only the waits that servers ask for are
//! shorter (`config/samples/demo.toml`).

mod bulk;
mod client;
mod desk;
mod ending;
mod paint;
mod receiver;
mod samples;
mod server;
mod show;
mod story;
mod teller;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::Args;
use jobs::contract::TenantId;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{
    client::Client, paint::Paint, receiver::Receiver, server::Server, show::Show, teller::Teller,
};
use super::{Failure, Globals, Out, signals, up};
use crate::{
    app::{App, Embedded, Roles},
    config::Layers,
};

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
    teller.say(
        paint.bold("Postrider demo: a small campaign, and bulk jobs. Nothing leaves this machine."),
    )?;
    teller.say(format!("Everything it makes is kept in {}", dir.display()))?;

    let server = Server::start().await?;
    let receiver = Receiver::start().await?;
    samples::write(&dir, server.address())?;
    desk::make(&dir).await?;
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
