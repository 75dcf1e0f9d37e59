//! The command line: one file a command.
//!
//! Results go to standard output, as tables for people or (`--json`) as one document for programs;
//! everything else goes to standard error. Exit codes are those of `sysexits.h`, and 2 for a command
//! line that is none.

pub mod apply;
pub mod bench;
pub mod check_config;
pub mod demo;
pub mod doctor;
pub mod endpoints;
mod failure;
pub mod jobs;
pub mod keys;
pub mod lanes;
mod output;
pub mod queues;
mod roles;
pub mod secrets;
mod signals;
pub mod up;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use serde_json::json;

pub use self::{
    failure::Failure,
    output::Out,
    roles::{SchedulerArgs, ServeArgs, WorkerArgs},
};
use crate::{
    app::{App, Roles},
    clock::SystemClock,
    config::{Config, ConfigError, Layers, variables},
};

/// How long threads get to end by themselves once everything is done.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// A background job engine for products that talk to people.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, about, max_term_width = 100)]
#[command(
    after_help = "Start with `postrider demo`. Exit codes: 0 done, 1 the job that was waited \
for did not complete, 2 no such command or option, 65 unusable input, 69 out of reach, 73 cannot \
write, 78 wrong configuration."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Globals {
    /// Configuration file, laid over the defaults; POSTRIDER_SECTION__KEY is laid over both.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the embedded queue and store, and of mail written as files.
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Results as one JSON document, for programs.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Façade, workers and scheduler in one process, on the embedded queue and store.
    Up(up::UpArgs),
    /// Send a small campaign inside this machine and say what happened.
    Demo(demo::DemoArgs),
    /// Carry jobs out.
    Worker(WorkerArgs),
    /// Take jobs in: the HTTP façade.
    Serve(ServeArgs),
    /// Tend the queue and fire the crontab; any number of schedulers may run.
    Scheduler(SchedulerArgs),
    /// Load mailboxes, endpoints and suppressions (TOML) and people (CSV).
    Apply(apply::ApplyArgs),
    /// Make, list, test and watch webhook endpoints, and deliver again what failed.
    #[command(subcommand)]
    Endpoints(endpoints::EndpointsCommand),
    /// Make, list, rotate and revoke API keys.
    #[command(subcommand)]
    Keys(keys::KeysArgs),
    /// Wrap all that is sealed at rest by a new secret key.
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Bring the store to the schema of this program.
    Migrate,
    /// Read the configuration, the resources and the crontab, and say what is wrong with them.
    CheckConfig,
    /// Look at configuration, store and queue, and say what would lose jobs or soon be trouble.
    Doctor,
    /// Submit, wait for, list, show, retry, discard and cancel jobs.
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// List, pause and resume queues.
    #[command(subcommand)]
    Queues(queues::QueuesCommand),
    /// List, pause and resume lanes.
    #[command(subcommand)]
    Lanes(lanes::LanesCommand),
    /// Measure how fast the queue and its workers are on this machine.
    Bench(bench::BenchArgs),
}

/// Reads the command line, does what it says, and answers with the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&Failure::unavailable(format!("cannot start: {error}"))),
    };
    let mut stdout = io::stdout();
    let mut out = Out::new(&mut stdout, cli.globals.json);
    let done = runtime.block_on(Box::pin(run(cli, &mut out)));
    // Dropping the runtime would wait for a job that blocks its thread, for ever if need be.
    runtime.shutdown_timeout(LAST_THREADS);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&failure),
    }
}

fn end(failure: &Failure) -> ExitCode {
    if !failure.sentence.is_empty() {
        for line in failure.sentence.lines() {
            // Where standard error is closed as well, nobody is left to tell.
            let _ = writeln!(io::stderr(), "postrider: {line}");
        }
    }
    failure.exit_code()
}

/// Does what the command line says.
///
/// # Errors
///
/// Why it was not done.
pub async fn run(cli: Cli, out: &mut Out<'_>) -> Result<(), Failure> {
    let globals = &cli.globals;
    match cli.command {
        Command::Up(args) => up::run(&args, globals, out).await,
        Command::Demo(args) => demo::run(&args, globals, out).await,
        Command::Worker(args) => roles::worker(&args, globals, out).await,
        Command::Serve(args) => roles::serve(&args, globals, out).await,
        Command::Scheduler(args) => roles::scheduler(&args, globals, out).await,
        Command::Apply(args) => {
            let app = globals.open().await?;
            let json = out.is_json();
            Ok(apply::run(&args, &app.apply_deps(), json, out.writer()).await?)
        }
        Command::Keys(args) => {
            let app = globals.open().await?;
            let catalogue = app.intake.catalogue();
            let deps = keys::KeysDeps { store: &app.store, catalogue, clock: &SystemClock };
            let json = out.is_json();
            Ok(keys::run(&args, &deps, json, out.writer()).await?)
        }
        Command::Endpoints(command) => {
            let app = globals.open().await?;
            endpoints::run(command, &app, out).await
        }
        Command::Secrets(command) => {
            let app = globals.open().await?;
            secrets::run(&command, &app.store, out).await
        }
        Command::Migrate => {
            let words = App::migrate(&globals.read(&[])?).await?;
            let written =
                if out.is_json() { out.json(&json!({"done": words})) } else { out.line(words) };
            Ok(written?)
        }
        Command::CheckConfig => check_config::run(globals, out).await,
        Command::Doctor => doctor::run(globals, out).await,
        Command::Jobs(command) => {
            let Some(command) = command.at_a_façade(out).await? else { return Ok(()) };
            let app = globals.open().await?;
            let deps =
                jobs::JobsDeps { queue: &*app.queue, intake: &app.intake, errors: &app.store };
            jobs::run(command, &deps, out).await
        }
        Command::Queues(command) => {
            let app = globals.open().await?;
            queues::run(command, &*app.queue, out).await
        }
        Command::Lanes(command) => {
            let app = globals.open().await?;
            lanes::run(command, &*app.queue, out).await
        }
        Command::Bench(args) => bench::run(&args, globals, out).await,
    }
}

/// A flag, the option that it sets, and the value.
type Override<'a> = (&'a str, &'a str, String);

impl Globals {
    /// The configuration: defaults, file, variables, then flags.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(&self, flags: &[Override<'_>]) -> Result<Config, ConfigError> {
        let mut layers = Layers::defaults();
        if let Some(path) = &self.config {
            layers.file(path)?;
        }
        layers.env(variables(std::env::vars_os())?)?;
        if let Some(dir) = &self.data {
            layers.option("--data", "data_dir", &dir.to_string_lossy())?;
        }
        for (flag, option, value) in flags {
            layers.option(flag, option, value)?;
        }
        layers.read()
    }

    /// Opens the queue and the store for a command that works beside running processes.
    async fn open(&self) -> Result<App, Failure> {
        let config = self.read(&[])?;
        // A mistyped directory must not become an empty queue.
        if config.redis.url.is_empty() && !config.data_dir.is_dir() {
            let dir = config.data_dir.display();
            return Err(Failure::config(format!(
                "there is no data directory {dir}; `postrider up --data {dir}` makes one"
            )));
        }
        App::open_beside(config).await
    }

    /// Runs roles until a signal; says where it serves, if it does.
    async fn run(
        &self,
        flags: &[Override<'_>],
        roles: Roles,
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        let config = self.read(flags)?;
        // From here on: who waits for a server at the start can be told to stop, too.
        let shutdown = signals::shutdown()?;
        let Some(app) = App::open_patiently(config, &shutdown).await? else { return Ok(()) };
        let ready = |address| out.ready(address, None);
        app.run_roles(roles, shutdown, ready).await
    }
}
