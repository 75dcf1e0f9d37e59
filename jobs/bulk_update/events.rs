//! Telling of what was changed, after it was.

use serde_json::{Map, Value, json};

use super::{Selection, walk::Walk};
use crate::{
    WebhookDelivery,
    contract::{
        Fault, Job,
        ports::{Account, Changed, FollowUp},
        resource::{ChangeEvent, Fields, Per},
    },
};

/// The largest changes that an event repeats, in bytes: it must stay below what is delivered.
const LARGEST_CHANGES: usize = 64 << 10;

/// Takes the events of the last chunk in, once: whoever repeats it repeats its key.
pub(super) async fn tell(walk: &Walk<'_>, account: &Account) -> Result<(), Fault> {
    let Some(event) = &walk.resource.event else { return Ok(()) };
    if account.changed.is_empty() {
        return Ok(());
    }
    let (ctx, ports) = (walk.ctx, walk.ctx.ports());
    // Nobody is told of what nobody has asked to hear.
    if ports.endpoints.subscribers(ctx.tenant(), &event.name).await?.is_empty() {
        return Ok(());
    }
    let jobs = match event.per {
        Per::Record => account.changed.iter().map(|one| of_record(walk, event, one)).collect(),
        Per::Chunk => vec![of_chunk(walk, event, account)],
    };
    let key = format!("bulk:{}:{}", ctx.info().job, account.chunk);
    ports.follow_ups.submit_all(ctx.info(), &key, jobs).await
}

fn of_record(walk: &Walk<'_>, event: &ChangeEvent, changed: &Changed) -> FollowUp {
    let mut data = about(walk);
    data.insert("id".to_owned(), json!(changed.id));
    repeat(&mut data, &walk.fields_at(changed.ordinal));
    follow_up(walk, event, &data, changed.ordinal)
}

fn of_chunk(walk: &Walk<'_>, event: &ChangeEvent, account: &Account) -> FollowUp {
    let mut data = about(walk);
    let ids: Vec<&String> = account.changed.iter().map(|one| &one.id).collect();
    data.insert("ids".to_owned(), json!(ids));
    if !matches!(walk.job.selection, Selection::Items { .. }) {
        repeat(&mut data, &walk.shared);
    }
    let first = account.changed.first().map_or(0, |one| one.ordinal);
    follow_up(walk, event, &data, first)
}

fn about(walk: &Walk<'_>) -> Map<String, Value> {
    let about = json!({
        "resource": walk.job.resource,
        "action": walk.job.action,
        "job_id": walk.ctx.info().job,
    });
    match about {
        Value::Object(data) => data,
        _ => Map::new(),
    }
}

fn repeat(data: &mut Map<String, Value>, changes: &Fields) {
    let changes = json!(changes);
    if changes.to_string().len() <= LARGEST_CHANGES {
        data.insert("changes".to_owned(), changes);
    } else {
        data.insert("changes_omitted".to_owned(), json!(true));
    }
}

fn follow_up(
    walk: &Walk<'_>,
    event: &ChangeEvent,
    data: &Map<String, Value>,
    ordinal: u64,
) -> FollowUp {
    let event_id = format!("{}_{ordinal}", walk.ctx.info().job.with_prefix("msg"));
    let payload = json!({"event": event.name, "event_id": event_id, "data": data});
    FollowUp { kind: WebhookDelivery::KIND, payload }
}
