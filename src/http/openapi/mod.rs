//! The interface as an OpenAPI 3.1 document.
//!
//! What does not change is in `base.json`. What follows from the program is put in here: the kinds
//! and their payloads from the catalogue, the codes and statuses of refusals from [`ErrorCode`].

use jobs::contract::{Catalogue, Kind};
use serde_json::{Map, Value, json};

use super::{ErrorCode, body};

const BASE: &str = include_str!("base.json");

/// What a request may be refused with before anything of it is looked at, or at any time.
const EVERYWHERE: [ErrorCode; 3] =
    [ErrorCode::InvalidRequest, ErrorCode::HeadersTooLarge, ErrorCode::InternalError];
/// What a caller may be refused with.
const OF_CALLERS: [ErrorCode; 4] = [
    ErrorCode::Unauthorized,
    ErrorCode::InsufficientScope,
    ErrorCode::RateLimited,
    ErrorCode::Unavailable,
];
/// What a submission may be refused with.
const OF_SUBMISSIONS: [ErrorCode; 10] = [
    ErrorCode::InvalidJson,
    ErrorCode::JsonTooDeep,
    ErrorCode::InvalidHeader,
    ErrorCode::InvalidBody,
    ErrorCode::NotAcceptable,
    ErrorCode::RequestTimeout,
    ErrorCode::PayloadTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::ValidationFailed,
    ErrorCode::IdempotencyKeyReused,
];
/// What a question may be refused with.
const OF_QUESTIONS: [ErrorCode; 2] = [ErrorCode::JobNotFound, ErrorCode::NotAcceptable];

/// The document for a façade that knows these kinds.
pub fn document(catalogue: &Catalogue) -> Value {
    let mut document: Value =
        serde_json::from_str(BASE).expect("the base is JSON: a test compares the whole document");
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    let names = catalogue.public_names();
    let kinds: Vec<&Kind> = catalogue.kinds().filter(|kind| names.contains(&kind.name)).collect();
    let envelope = document["components"]["schemas"]["Envelope"].take();
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.remove("Envelope");
        for kind in &kinds {
            schemas.insert(payload_name(kind), (kind.schema)());
            schemas.insert(request_name(kind), request(kind, &envelope));
        }
        schemas.insert("Request".to_owned(), any_request(&kinds));
        let codes: Vec<_> = ErrorCode::ALL.into_iter().map(ErrorCode::as_str).collect();
        schemas["Problem"]["properties"]["code"]["enum"] = json!(codes);
        schemas["Submission"]["anyOf"] = json!([reference("Request"), reference("Batch")]);
    }
    submissions(&mut document["paths"], &kinds);
    let refusals = [&EVERYWHERE[..], &OF_CALLERS, &OF_QUESTIONS].concat();
    refuse(&mut document["paths"]["/jobs/{id}"]["get"], &refusals);
    let refusals = [&EVERYWHERE[..], &[ErrorCode::RateLimited]].concat();
    refuse(&mut document["paths"]["/openapi.json"]["get"], &refusals);
    document
}

/// The operations that take jobs in: one for all kinds, and a short form for each.
fn submissions(paths: &mut Value, kinds: &[&Kind]) {
    let refusals = [&EVERYWHERE[..], &OF_CALLERS, &OF_SUBMISSIONS].concat();
    let whole = &mut paths["/jobs"]["post"];
    let examples: Map<String, Value> = kinds
        .iter()
        .filter_map(|kind| Some((kind.name, example(kind)?)))
        .map(|(name, payload)| {
            (name.to_owned(), json!({"value": {"type": name, "payload": payload}}))
        })
        .collect();
    if let Some((first, one)) = examples.iter().next() {
        let mut examples = examples.clone();
        let many = json!({"value": {"jobs": [one["value"], one["value"]]}});
        examples.insert(format!("many {first}"), many);
        whole["requestBody"]["content"]["application/json"]["examples"] = examples.into();
    }
    refuse(whole, &refusals);
    let parameters = whole["parameters"].clone();
    for kind in kinds {
        let name = kind.name;
        let mut content = json!({"schema": reference(&payload_name(kind))});
        if let Some(payload) = example(kind) {
            content["examples"] = json!({name: {"value": payload}});
        }
        let mut operation = json!({
            "operationId": format!("submit-{name}"),
            "tags": ["jobs"],
            "summary": format!("Submits one job of the type {name}, by its bare payload."),
            "description": format!("Needs the scope `{name}:write`. {}", limit(kind)),
            "parameters": parameters,
            "requestBody": {"required": true, "content": {"application/json": content}},
            "responses": {"202": {"$ref": "#/components/responses/Accepted"}},
        });
        refuse(&mut operation, &refusals);
        paths[format!("/jobs/{name}")] = json!({"post": operation});
    }
}

/// How large a body may be.
fn limit(kind: &Kind) -> String {
    let most = if kind.bulk { body::BULK } else { body::SINGLE };
    let more = if kind.bulk { " here, of `POST /jobs` as for all types" } else { "" };
    format!("A body may have {} KiB{more}.", most / 1_024)
}

fn example(kind: &Kind) -> Option<Value> {
    Some((kind.example)()).filter(|payload| !payload.is_null())
}

fn payload_name(kind: &Kind) -> String {
    format!("{}.payload", kind.name)
}

fn request_name(kind: &Kind) -> String {
    format!("{}.request", kind.name)
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn request(kind: &Kind, envelope: &Value) -> Value {
    let mut properties = envelope.clone();
    let names: Vec<_> = std::iter::once(&kind.name).chain(kind.aliases).collect();
    properties["type"] = json!({"type": "string", "enum": names});
    properties["payload"] = reference(&payload_name(kind));
    json!({
        "type": "object",
        "required": ["type", "payload"],
        "properties": properties,
        "additionalProperties": false,
    })
}

fn any_request(kinds: &[&Kind]) -> Value {
    let references: Vec<_> = kinds.iter().map(|kind| reference(&request_name(kind))).collect();
    json!({"oneOf": references})
}

/// Adds what an operation may be refused with, by status.
fn refuse(operation: &mut Value, codes: &[ErrorCode]) {
    for code in ErrorCode::ALL.iter().filter(|code| codes.contains(code)) {
        let status = code.status().as_u16();
        let response = &mut operation["responses"][status.to_string()];
        let said = response["description"].as_str().map(|said| format!("{said}; "));
        let words = format!("{}`{}`: {}", said.unwrap_or_default(), code.as_str(), code.title());
        *response = json!({
            "description": words,
            "headers": headers(*code),
            "content": {"application/problem+json": {"schema": reference("Problem")}},
        });
    }
}

fn headers(code: ErrorCode) -> Value {
    let mut headers = json!({"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}});
    if matches!(code, ErrorCode::RateLimited | ErrorCode::Unavailable) {
        headers["Retry-After"] = json!({
            "required": true,
            "description": "Seconds after which trying again makes sense.",
            "schema": {"type": "integer", "minimum": 1},
        });
    }
    if matches!(code, ErrorCode::Unauthorized | ErrorCode::InsufficientScope) {
        headers["WWW-Authenticate"] = json!({"required": true, "schema": {"type": "string"}});
    }
    headers
}
