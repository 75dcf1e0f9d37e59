//! Endpoints, as they are shown: never a secret, never a URL that may be one.

use jobs::contract::ports::Format;
use serde_json::{Value, json};

use crate::{
    cli::{
        Failure, Out,
        output::{when, when_known},
    },
    store::EndpointRow,
    webhooks::Target,
};

pub(super) fn list(rows: &[EndpointRow], out: &mut Out<'_>) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(out.json(&rows.iter().map(document).collect::<Vec<_>>())?);
    }
    if rows.is_empty() {
        return Ok(out.line("No endpoints.")?);
    }
    let rows: Vec<_> = rows.iter().map(line).collect();
    Ok(out.table(["ID", "STATE", "EVENTS", "RATE", "URL"], &rows)?)
}

fn line(row: &EndpointRow) -> [String; 5] {
    let settings = &row.settings;
    [
        settings.id.clone(),
        state(row).to_owned(),
        settings.events.join(","),
        settings.rate.map_or_else(|| "-".to_owned(), |rate| rate.to_string()),
        Target::shown(&settings.url),
    ]
}

fn state(row: &EndpointRow) -> &'static str {
    match (&row.disabled, row.circuit_until, row.failing_since) {
        (Some(_), ..) => "disabled",
        (None, Some(_), _) => "circuit open",
        (None, None, Some(_)) => "failing",
        (None, None, None) => "enabled",
    }
}

pub(super) fn show(row: &EndpointRow, out: &mut Out<'_>) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(out.json(&document(row))?);
    }
    let settings = &row.settings;
    let old = row.old_secrets.iter().map(|(_, until)| when(*until)).collect::<Vec<_>>();
    let second = settings.second.as_ref().map(|s| format!("{}: {}", s.header, s.form));
    let format = match settings.format {
        Format::Standard => "standard",
        Format::Slack => "slack",
    };
    Ok(out.fields(&[
        ("id", settings.id.clone()),
        ("description", settings.description.clone().unwrap_or_default()),
        ("url", Target::shown(&settings.url)),
        ("format", format.to_owned()),
        ("events", settings.events.join(", ")),
        ("rate", settings.rate.map(|rate| rate.to_string()).unwrap_or_default()),
        ("headers", settings.headers.keys().cloned().collect::<Vec<_>>().join(", ")),
        ("signature", second.unwrap_or_default()),
        ("old secrets until", old.join(", ")),
        ("state", state(row).to_owned()),
        ("disabled", row.disabled.clone().unwrap_or_default()),
        ("failing since", when_known(row.failing_since)),
        ("circuit open until", when_known(row.circuit_until)),
        ("created", when(row.created_at)),
    ])?)
}

fn document(row: &EndpointRow) -> Value {
    let settings = &row.settings;
    json!({
        "id": settings.id,
        "description": settings.description,
        "url": Target::shown(&settings.url),
        "format": settings.format,
        "events": settings.events,
        "rate": settings.rate.map(|rate| rate.to_string()),
        "headers": settings.headers.keys().collect::<Vec<_>>(),
        "signature": settings.second,
        "old_secrets_until": row.old_secrets.iter().map(|(_, until)| until).collect::<Vec<_>>(),
        "state": state(row),
        "disabled": row.disabled,
        "failing_since": row.failing_since,
        "circuit_open_until": row.circuit_until,
        "created_at": row.created_at,
    })
}
