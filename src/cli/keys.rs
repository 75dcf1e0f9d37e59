//! `postrider keys create|list|rotate|revoke`: who may ask, for which tenant, for what.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    time::Duration,
};

use jobs::contract::{Catalogue, Moment, TenantId, ports::Clock};

use crate::{
    secrets::{ApiKey, Environment},
    store::{KeyRecord, NewKey, NewKeyError, RotateError, Rotated, Store, StoreError},
};

/// The scope that lets a key ask for jobs.
const READ: &str = "jobs:read";

/// The verbs of `postrider keys`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum KeysArgs {
    /// Make a key and show it, once
    Create(CreateArgs),
    /// List a tenant's keys
    List {
        /// The tenant whose keys
        #[arg(long)]
        tenant: TenantId,
    },
    /// Make a key that takes the place of another, and show it, once; the other is valid for 72 hours
    /// more
    Rotate {
        /// The tenant whose key
        #[arg(long)]
        tenant: TenantId,
        /// The old key's id: the eight characters after prk_live_ or prk_test_
        id: String,
    },
    /// Revoke a key; façades feel it within five seconds
    Revoke {
        /// The tenant whose key
        #[arg(long)]
        tenant: TenantId,
        /// The key's id: the eight characters after prk_live_ or prk_test_
        id: String,
    },
}

/// The arguments of `postrider keys create`.
#[derive(Debug, Clone, clap::Args)]
pub struct CreateArgs {
    /// The tenant that the key is for
    #[arg(long)]
    pub tenant: TenantId,
    /// Make the tenant if it is not there
    #[arg(long)]
    pub create_tenant: bool,
    /// What the key may (jobs:read, send:write …); repeat for several. All public kinds if not given
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// live or test
    #[arg(long, value_enum, default_value_t)]
    pub environment: Environment,
    /// Your own words for it
    #[arg(long)]
    pub label: Option<String>,
    /// How many days it is valid; always, if not given
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub expires_in: Option<u32>,
}

/// What `keys` works with.
pub struct KeysDeps<'a> {
    /// Where keys are kept.
    pub store: &'a Store,
    /// The kinds that there are scopes for.
    pub catalogue: &'a Catalogue,
    /// The time.
    pub clock: &'a dyn Clock,
}

/// Why a verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// What was asked for does not exist or is not allowed.
    #[error("{0}")]
    Data(String),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The result cannot be written.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl From<NewKeyError> for KeysError {
    fn from(error: NewKeyError) -> Self {
        match error {
            NewKeyError::TooMany(_) => Self::Data(error.to_string()),
            NewKeyError::Store(error) => Self::Store(error),
        }
    }
}

/// Carries out a verb and writes its result: in words, or as one JSON value.
///
/// # Errors
///
/// When what was asked for does not exist or is not allowed, or the store could not do it.
pub async fn run(
    args: &KeysArgs,
    deps: &KeysDeps<'_>,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Result<(), KeysError> {
    match args {
        KeysArgs::Create(args) => create(args, deps, json, out).await,
        KeysArgs::List { tenant } => {
            deps.store.require_tenant(tenant).await?;
            Ok(list(&deps.store.keys(tenant).await?, json, deps.clock.now(), out)?)
        }
        KeysArgs::Rotate { tenant, id } => rotate(tenant, id, deps, json, out).await,
        KeysArgs::Revoke { tenant, id } => revoke(tenant, id, deps, json, out).await,
    }
}

/// Every scope that there is for these kinds; what a new key gets unless it is given fewer.
pub fn all_scopes(catalogue: &Catalogue) -> BTreeSet<String> {
    let writes = catalogue.public_names().into_iter().map(|kind| format!("{kind}:write"));
    writes.chain([READ.to_owned()]).collect()
}

async fn create(
    args: &CreateArgs,
    deps: &KeysDeps<'_>,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Result<(), KeysError> {
    let all = all_scopes(deps.catalogue);
    if let Some(unknown) = args.scopes.iter().find(|scope| !all.contains(*scope)) {
        let known = Vec::from_iter(all).join(", ");
        return Err(KeysError::Data(format!("there is no scope {unknown:?}; there are {known}")));
    }
    if args.label.as_ref().is_some_and(|label| label.chars().any(char::is_control)) {
        return Err(KeysError::Data("--label: expected one line of text".into()));
    }
    let scopes = if args.scopes.is_empty() { all } else { args.scopes.iter().cloned().collect() };
    let now = deps.clock.now();
    if args.create_tenant {
        deps.store.create_tenant(&args.tenant, now).await?;
    }
    let days = |days: u32| now.plus(Duration::from_secs(u64::from(days) * 86_400));
    let new = NewKey {
        environment: args.environment,
        label: args.label.clone(),
        scopes,
        expires_at: args.expires_in.map(days),
    };
    let key = deps.store.create_key(&args.tenant, &new, now).await?;
    if json {
        let value = serde_json::json!({
            "id": key.id(),
            "key": key.reveal(),
            "tenant": args.tenant,
            "environment": key.environment().as_str(),
            "scopes": new.scopes,
            "expires_at": new.expires_at,
        });
        writeln!(out, "{value}")?;
    } else {
        show_once(&key, out)?;
    }
    Ok(())
}

/// Shows a new key to the person who asked for it; nothing shows it again.
fn show_once(key: &ApiKey, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", key.reveal())?;
    writeln!(out, "Keep it now: it is not shown again. Its id is {}.", key.id())
}

async fn rotate(
    tenant: &TenantId,
    id: &str,
    deps: &KeysDeps<'_>,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Result<(), KeysError> {
    deps.store.require_tenant(tenant).await?;
    let Rotated { key, old_until } =
        deps.store.rotate_key(tenant, id, deps.clock.now()).await.map_err(|error| match error {
            RotateError::New(error) => error.into(),
            other => KeysError::Data(other.to_string()),
        })?;
    if json {
        let value = serde_json::json!({
            "id": key.id(), "key": key.reveal(), "replaces": id, "old_valid_until": old_until,
        });
        writeln!(out, "{value}")?;
    } else {
        show_once(&key, out)?;
        writeln!(out, "The key {id} is valid until {old_until}.")?;
    }
    Ok(())
}

async fn revoke(
    tenant: &TenantId,
    id: &str,
    deps: &KeysDeps<'_>,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Result<(), KeysError> {
    deps.store.require_tenant(tenant).await?;
    if !deps.store.revoke_key(tenant, id, deps.clock.now()).await? {
        // A whole key typed here must not come back in an error that ends up in a log.
        let words = format!("the tenant {tenant} has no such key, or it is revoked already");
        return Err(KeysError::Data(words));
    }
    if json {
        writeln!(out, "{}", serde_json::json!({ "id": id, "revoked": true }))?;
    } else {
        writeln!(out, "The key {id} is revoked; façades feel it within five seconds.")?;
    }
    Ok(())
}

fn list(keys: &[KeyRecord], json: bool, now: Moment, out: &mut dyn Write) -> io::Result<()> {
    if json {
        return writeln!(out, "{}", serde_json::to_string(keys).map_err(io::Error::other)?);
    }
    if keys.is_empty() {
        return writeln!(out, "no keys");
    }
    writeln!(
        out,
        "{:<8}  {:<4}  {:<7}  {:<24}  {:<24}  SCOPES  LABEL",
        "ID", "ENV", "STATE", "CREATED", "LAST USED"
    )?;
    for key in keys {
        let state = match (key.revoked_at, key.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(at)) if at <= now => "expired",
            _ if key.replaced_by.is_some() => "rotated",
            _ => "active",
        };
        let used = key.last_used_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let scopes: Vec<&str> = key.scopes.iter().map(String::as_str).collect();
        writeln!(
            out,
            "{:<8}  {:<4}  {state:<7}  {:<24}  {used:<24}  {}  {}",
            key.id,
            key.environment,
            key.created_at.to_string(),
            scopes.join(","),
            key.label.as_deref().unwrap_or("")
        )?;
    }
    Ok(())
}
