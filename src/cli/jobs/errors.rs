//! `postrider jobs errors`.

use clap::Args;
use jobs::contract::{JobId, TenantId, ports::ItemError};

use super::{JobsDeps, show::find};
use crate::cli::{Failure, Out, output::printable};

/// Errors read in one step.
const PAGE: u32 = 1_000;

/// Which errors, and how.
#[derive(Debug, Args)]
pub struct ErrorsArgs {
    /// The job.
    #[arg(value_name = "JOB")]
    pub id: JobId,
    /// Whose it is.
    #[arg(long, default_value = "dev")]
    pub tenant: TenantId,
    /// All of them as CSV: item_id, code, message.
    #[arg(long)]
    pub csv: bool,
}

/// Shows what was wrong with single items of a job, in the order of the items.
///
/// # Errors
///
/// When the tenant has no such job, or the store is out of reach.
pub async fn errors(
    args: &ErrorsArgs,
    deps: &JobsDeps<'_>,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    find(deps.queue, &args.tenant, args.id).await?;
    if args.csv && out.is_json() {
        return Err(Failure::config("expected --csv or --json, not both"));
    }
    if args.csv {
        return export(args, deps, out).await;
    }
    let mut all = Vec::new();
    let mut pages = Pages { args, deps, after: None };
    while let Some(page) = pages.next().await? {
        all.extend(page);
    }
    if out.is_json() {
        return Ok(out.json(&all)?);
    }
    if all.is_empty() {
        return Ok(out.line("No item has failed.")?);
    }
    let row = |error: &ItemError| {
        [printable(&error.item_id), error.code.clone(), printable(&error.message)]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    Ok(out.table(["ITEM", "CODE", "MESSAGE"], &rows)?)
}

/// Page by page, so that a million errors need no room.
async fn export(args: &ErrorsArgs, deps: &JobsDeps<'_>, out: &mut Out<'_>) -> Result<(), Failure> {
    let broken = |error: csv::Error| std::io::Error::other(error);
    let mut writer = csv::Writer::from_writer(out.writer());
    writer.write_record(["item_id", "code", "message"]).map_err(broken)?;
    let mut pages = Pages { args, deps, after: None };
    while let Some(page) = pages.next().await? {
        for error in page {
            writer.write_record([&error.item_id, &error.code, &error.message]).map_err(broken)?;
        }
    }
    Ok(writer.flush()?)
}

struct Pages<'a> {
    args: &'a ErrorsArgs,
    deps: &'a JobsDeps<'a>,
    after: Option<u64>,
}

impl Pages<'_> {
    async fn next(&mut self) -> Result<Option<Vec<ItemError>>, Failure> {
        let ErrorsArgs { id, tenant, .. } = self.args;
        let page = self.deps.errors.item_errors(tenant, *id, self.after, PAGE).await;
        let page = page.map_err(|fault| Failure::unavailable(fault.to_string()))?;
        self.after = page.last().map(|error| error.ordinal);
        Ok((!page.is_empty()).then_some(page))
    }
}
