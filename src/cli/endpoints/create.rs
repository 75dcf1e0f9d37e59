//! `postrider endpoints create`.

use std::collections::BTreeMap;

use clap::Args;
use jobs::contract::{Job, LaneName, TenantId, ports::Clock};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::{
    app::App,
    cli::{Failure, Out},
    clock::SystemClock,
    config::Rate,
    queue::LaneRef,
    store::EndpointSettings,
    webhooks::{Over, SecondSignature, Target},
};

/// What to make.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The URL, or @FILE: a URL may be a credential, and command lines are seen by others.
    pub url: String,
    /// The tenant whose events.
    #[arg(long, default_value = "dev")]
    pub tenant: TenantId,
    /// A name of your own; one is made if not given.
    #[arg(long)]
    pub id: Option<String>,
    /// Your own words for it.
    #[arg(long)]
    pub description: Option<String>,
    /// What it wants to hear of (ticket.created, ticket.*); repeat for several. Everything if not
    /// given.
    #[arg(long = "event", value_name = "EVENT")]
    pub events: Vec<String>,
    /// Its pace, such as 10/s; as fast as it answers if not given.
    #[arg(long, value_parser = str::parse::<Rate>)]
    pub rate: Option<Rate>,
    /// A further header, NAME=VALUE or NAME=@FILE; repeat for several.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub headers: Vec<String>,
    /// A second signature header, NAME=FORM, such as X-Signature=t={timestamp},v1={hex}.
    #[arg(long, value_name = "NAME=FORM")]
    pub signature: Option<String>,
    /// What the second signature signs: timestamp_and_body or body.
    #[arg(long, default_value = "timestamp_and_body", value_parser = str::parse::<Over>)]
    pub signature_over: Over,
}

/// Makes an endpoint, and shows its secret.
///
/// # Errors
///
/// What is wrong with it, or that it could not be kept.
pub(super) async fn create(args: CreateArgs, app: &App, out: &mut Out<'_>) -> Result<(), Failure> {
    let tenant = args.tenant.clone();
    app.store.require_tenant(&tenant).await?;
    let settings = settings(args)?;
    let flaws: Vec<_> =
        settings.flaws().iter().map(|(option, words)| format!("{option}: {words}")).collect();
    if !flaws.is_empty() {
        return Err(Failure::data(flaws.join("\n")));
    }
    if app.store.endpoint_row(&tenant, &settings.id).await?.is_some() {
        let id = &settings.id;
        let words = format!("tenant {tenant} has an endpoint {id:?} already; `apply` changes it");
        return Err(Failure::data(words));
    }
    let target = app.guard.register(settings.url.expose_secret()).await;
    target.map_err(|words| Failure::data(format!("url: {words}")))?;
    let now = SystemClock.now();
    let endpoints = std::slice::from_ref(&settings);
    let applied = app.store.apply(&tenant, &[], &[], endpoints, now).await?;
    set_pace(&tenant, &settings.id, app).await?;
    let made = applied.endpoints.first().and_then(|registered| registered.made.as_ref());
    let secret = made.map(|secret| secret.reveal().to_owned()).unwrap_or_default();
    if out.is_json() {
        return Ok(out.json(&json!({"id": settings.id, "secret": secret, "tenant": tenant}))?);
    }
    out.line(&secret)?;
    let id = &settings.id;
    Ok(out.line(format!("Keep it now: it is not shown again. The endpoint is called {id}."))?)
}

/// Tells the endpoint's lane its pace; a lane that is not there yet gets it from its first job.
async fn set_pace(tenant: &TenantId, id: &str, app: &App) -> Result<(), Failure> {
    let name = LaneName::endpoint(id);
    let policy = app.limits.resolve(tenant, &name).await;
    let policy = policy.map_err(|fault| Failure::unavailable(fault.to_string()))?;
    let Ok(policy) = policy else { return Ok(()) };
    let queue = <jobs::WebhookDelivery as Job>::QUEUE.to_owned();
    let lane = LaneRef { queue, tenant: tenant.clone(), name };
    Ok(app.queue.set_policy(&lane, &policy).await?)
}

fn settings(args: CreateArgs) -> Result<EndpointSettings, Failure> {
    let url: SecretString = given(&args.url)?.into();
    let mut headers = BTreeMap::new();
    for header in &args.headers {
        // What was got is not repeated: it may be a credential.
        let (name, value) =
            header.split_once('=').ok_or_else(|| Failure::data("--header: expected NAME=VALUE"))?;
        headers.insert(name.to_owned(), given(value)?.into());
    }
    let second = args.signature.as_deref().map(|text| match text.split_once('=') {
        Some((header, form)) => {
            let (header, form) = (header.to_owned(), form.to_owned());
            Ok(SecondSignature { header, form, over: args.signature_over })
        }
        None => Err(Failure::data(format!("--signature: expected NAME=FORM, got {text:?}"))),
    });
    let fresh = || format!("ep_{}", ulid::Ulid::generate().to_string().to_lowercase());
    Ok(EndpointSettings {
        id: args.id.unwrap_or_else(fresh),
        description: args.description,
        format: Target::format_of(&url),
        url,
        events: if args.events.is_empty() { vec!["*".to_owned()] } else { args.events },
        headers,
        second: second.transpose()?,
        rate: args.rate,
        secret: None,
        enabled: None,
    })
}

/// A text, or what is in the file that it names.
fn given(text: &str) -> Result<String, Failure> {
    let Some(file) = text.strip_prefix('@') else { return Ok(text.to_owned()) };
    let read = std::fs::read_to_string(file);
    let read = read.map_err(|e| Failure::data(format!("cannot read {file}: {e}")))?;
    Ok(read.trim().to_owned())
}
