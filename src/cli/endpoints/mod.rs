//! `postrider endpoints`: where a tenant's events go, and what became of them.

mod change;
mod create;
mod log;
mod replay;
mod view;

use clap::{Args, Subcommand};
use jobs::contract::TenantId;

use self::{create::CreateArgs, log::LogArgs, replay::ReplayArgs};
use super::{Failure, Out};
use crate::{app::App, store::EndpointRow};

/// What to do with endpoints.
#[derive(Debug, Subcommand)]
pub enum EndpointsCommand {
    /// Make an endpoint and show its signing secret, once.
    Create(Box<CreateArgs>),
    /// List a tenant's endpoints.
    List {
        /// The tenant whose endpoints.
        #[arg(long, default_value = "dev")]
        tenant: TenantId,
    },
    /// Show all that is known of an endpoint, but for its secrets.
    Show(EndpointArgs),
    /// Give an endpoint a new signing secret and show it, once; the one before signs beside it for a
    /// while.
    Rotate(RotateArgs),
    /// Deliver nothing more to an endpoint; what waits for it fails when its turn comes, and can be replayed.
    Disable(EndpointArgs),
    /// Deliver to an endpoint again.
    Enable(EndpointArgs),
    /// Queue the event webhook.test for an endpoint.
    Test(EndpointArgs),
    /// List the deliveries to an endpoint, or the attempts of one of them.
    Log(LogArgs),
    /// Deliver again: one delivery, or all that failed since a moment.
    Replay(ReplayArgs),
}

/// Which endpoint.
#[derive(Debug, Args)]
pub struct EndpointArgs {
    /// Its name.
    pub id: String,
    /// The tenant that it belongs to.
    #[arg(long, default_value = "dev")]
    pub tenant: TenantId,
}

/// How to rotate a secret.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Which endpoint.
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    /// How long the old secret signs beside the new one, 0s to 7d; `webhooks.grace` if not given.
    #[arg(long, value_name = "DURATION")]
    pub grace: Option<String>,
}

/// Runs a command over endpoints.
///
/// # Errors
///
/// What was not done, and why.
pub async fn run(command: EndpointsCommand, app: &App, out: &mut Out<'_>) -> Result<(), Failure> {
    match command {
        EndpointsCommand::Create(args) => create::create(*args, app, out).await,
        EndpointsCommand::List { tenant } => {
            app.store.require_tenant(&tenant).await?;
            view::list(&app.store.endpoint_rows(&tenant).await?, out)
        }
        EndpointsCommand::Show(args) => view::show(&find(&args, app).await?, out),
        EndpointsCommand::Rotate(args) => change::rotate(&args, app, out).await,
        EndpointsCommand::Disable(args) => change::enable(&args, false, app, out).await,
        EndpointsCommand::Enable(args) => change::enable(&args, true, app, out).await,
        EndpointsCommand::Test(args) => change::test(&args, app, out).await,
        EndpointsCommand::Log(args) => log::log(&args, app, out).await,
        EndpointsCommand::Replay(args) => replay::replay(&args, app, out).await,
    }
}

/// The endpoint, or a sentence that says that there is none.
async fn find(args: &EndpointArgs, app: &App) -> Result<EndpointRow, Failure> {
    let EndpointArgs { id, tenant } = args;
    let found = app.store.endpoint_row(tenant, id).await?;
    found.ok_or_else(|| Failure::data(format!("tenant {tenant} has no endpoint {id:?}")))
}
