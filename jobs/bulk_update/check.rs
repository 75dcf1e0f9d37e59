//! Everything wrong with a payload: by itself, and beside the resources that are declared.

use super::{BulkUpdate, MOST_ITEMS, Selection};
use crate::contract::{
    Problem,
    resource::{Action, Filter, IdForm, Resource, Resources},
};

/// The problems that are looked for: whoever gets so many wrong has one mistake.
const ENOUGH: usize = 100;

/// What can be seen without asking anybody.
pub(super) fn check(job: &BulkUpdate) -> Vec<Problem> {
    match &job.selection {
        Selection::Ids { ids } => {
            let ids = ids.iter().map(|id| &id.0);
            items("/selection/ids", ids.len(), ids, |index| format!("/selection/ids/{index}"))
        }
        Selection::Items { items: list } => {
            let ids = list.iter().map(|item| &item.id.0);
            let at = |index| format!("/selection/items/{index}/id");
            items("/selection/items", ids.len(), ids, at)
        }
        Selection::Filter { filter } => {
            Filter::read(filter, "/selection/filter").err().unwrap_or_default()
        }
    }
}

fn items<'a>(
    at: &str,
    count: usize,
    ids: impl Iterator<Item = &'a String>,
    place: impl Fn(usize) -> String,
) -> Vec<Problem> {
    if count == 0 {
        let words = "expected at least one item, got an empty selection";
        return vec![Problem::new(at, "empty_selection", words)];
    }
    if count > MOST_ITEMS {
        let words =
            format!("expected at most {MOST_ITEMS} items, got {count}; a filter selects more");
        return vec![Problem::new(at, "too_many", words)];
    }
    let flaw = |(index, id): (usize, &String)| {
        Some(Problem::new(place(index), "invalid_id", IdForm::flaw(id)?))
    };
    ids.enumerate().filter_map(flaw).take(ENOUGH).collect()
}

/// What is wrong with what the payload names of the resources.
pub(super) fn check_declared(job: &BulkUpdate, declared: &Resources) -> Vec<Problem> {
    let Some(resource) = declared.find(&job.resource) else {
        let known: Vec<_> = declared.names().collect();
        let words = format!(
            "there is no resource {:?}; the resources are {}",
            job.resource,
            known.join(", ")
        );
        return vec![Problem::new("/resource", "unknown_resource", words)];
    };
    match action(job, resource) {
        Ok(action) => {
            let mut problems = shared(job, resource, action);
            problems.extend(own(job, resource, action));
            problems
        }
        Err(problem) => vec![problem],
    }
}

/// The action that the payload names.
pub(super) fn action<'r>(job: &BulkUpdate, resource: &'r Resource) -> Result<&'r Action, Problem> {
    resource.actions.get(&job.action).ok_or_else(|| {
        let known: Vec<_> = resource.actions.keys().map(String::as_str).collect();
        let words = format!(
            "{} has no action {:?}; its actions are {}",
            resource.name,
            job.action,
            known.join(", ")
        );
        Problem::new("/action", "unknown_action", words)
    })
}

/// What is wrong with what goes for all records.
pub(super) fn shared(job: &BulkUpdate, resource: &Resource, action: &Action) -> Vec<Problem> {
    let mut problems = resource.check_fields(action, &job.update, "/update");
    let by_items = matches!(job.selection, Selection::Items { .. });
    if action.needs_fields && job.update.is_empty() && !by_items {
        let words = "expected at least one field and what it is to be";
        problems.push(Problem::new("/update", "missing", words));
    }
    if let Selection::Filter { filter } = &job.selection {
        let at = "/selection/filter";
        match Filter::read(filter, at) {
            Ok(filter) => problems.extend(filter.check(resource, at)),
            Err(found) => problems.extend(found),
        }
        if action.deed == "upsert" || action.deed == "ensure" {
            let words = "a filter finds what is there: expected ids or items for this action";
            problems.push(Problem::new("/selection/mode", "not_by_filter", words));
        }
    }
    problems
}

/// What is wrong with items' own changes.
fn own(job: &BulkUpdate, resource: &Resource, action: &Action) -> Vec<Problem> {
    let Selection::Items { items } = &job.selection else { return Vec::new() };
    let check = |(index, item): (usize, &super::Item)| {
        let at = format!("/selection/items/{index}/update");
        if item.update.is_empty() {
            let words = "expected at least one field and what it is to be";
            let missing = action.needs_fields && job.update.is_empty();
            return missing.then(|| Problem::new(at, "missing", words)).into_iter().collect();
        }
        match item.update.read() {
            Ok(fields) => resource.check_fields(action, &fields, &at),
            Err(error) => vec![Problem::undecodable(at, "invalid_payload", &error)],
        }
    };
    items.iter().enumerate().flat_map(check).take(ENOUGH).collect()
}
