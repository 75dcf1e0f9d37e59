//! Four bulk jobs, as a product submits them: over the records of its desk, and over failed mails.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    client::{Answer, Client},
    show::words,
};
use crate::cli::{Failure, output::printable};

/// The tickets that are closed; the last one is another tenant's.
const TICKETS: [&str; 4] = ["t-101", "t-102", "t-103", "t-901"];
/// Tickets whose change is told by a webhook.
pub(super) const TICKETS_TOLD: usize = TICKETS.len() - 1;
/// What is told of them.
pub(super) const TICKET_EVENT: &str = "ticket.updated";

/// A bulk job that is to be submitted.
pub(super) struct Request {
    /// What a person would have clicked.
    pub(super) what: &'static str,
    payload: Value,
}

/// A bulk job that has ended.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Ended {
    pub(super) what: &'static str,
    /// What `GET /jobs/<id>` answers.
    pub(super) job: Value,
}

/// Over the records of the desk: by ids, by a filter, and by an action that the desk has declared.
pub(super) fn desk() -> [Request; 3] {
    [
        Request {
            what: "close tickets",
            payload: json!({
                "resource": "tickets",
                "selection": {"mode": "ids", "ids": TICKETS},
                "action": "update",
                "update": {"status": "closed", "due": null},
            }),
        },
        Request {
            what: "set a segment",
            payload: json!({
                "resource": "contacts",
                "selection": {"mode": "filter", "filter": {"and": [
                    {"field": "score", "from": 70},
                    {"field": "country", "in": ["GB", "NL", "US"]},
                ]}},
                "action": "update",
                "update": {"segment": "champions"},
            }),
        },
        Request {
            what: "suspend organisations",
            payload: json!({
                "resource": "organisations",
                "selection": {"mode": "ids", "ids": ["o-lisp", "o-paths"]},
                "action": "suspend",
                "update": {"note": "The invoice of May is open"},
            }),
        },
    ]
}

/// Over mails that failed because they were to be tried once only.
pub(super) fn retry() -> Request {
    Request {
        what: "retry failed mails",
        payload: json!({
            "resource": "dead-jobs",
            "selection": {"mode": "filter", "filter": {"and": [
                {"field": "type", "equals": "send"},
                {"field": "code", "equals": "greylisted"},
            ]}},
            "action": "retry",
        }),
    }
}

impl Request {
    /// Submits it and waits for its end.
    pub(super) async fn carry_out(self, client: &Client) -> Result<Ended, Failure> {
        let body = json!({"type": "bulk-update", "payload": self.payload});
        let Answer { status, body } = client.submit(&body).await?;
        let Some(id) = body["data"]["job_id"].as_str().filter(|_| status == 202) else {
            return Err(Failure::job(format!(
                "the bulk job {:?} was answered with {status}: {}",
                self.what,
                words(&body)
            )));
        };
        let job = client.ended(id).await?;
        if job["status"] != "completed" {
            let why = job["errors"][0]["message"].as_str().unwrap_or("no reason given");
            return Err(Failure::job(format!("the bulk job {:?} failed: {why}", self.what)));
        }
        Ok(Ended { what: self.what, job })
    }
}

impl Ended {
    /// What became of it: `3 of 4 records changed; t-901: not_found, …`.
    pub(super) fn words(&self) -> String {
        let number = |name: &str| self.job[name].as_u64().unwrap_or_default();
        let (total, failed) = (number("total_items"), number("failed_items"));
        let mut words = match (failed, total) {
            (0, 1) => "1 record changed".to_owned(),
            (0, _) => format!("{total} records changed"),
            _ => format!("{} of {total} records changed", total - failed),
        };
        for error in self.job["errors"].as_array().into_iter().flatten() {
            let text = |name: &str| printable(error[name].as_str().unwrap_or_default());
            let (id, code, message) = (text("item_id"), text("code"), text("message"));
            words.push_str(&format!("; {id}: {code} ({message})"));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_job_is_said_with_every_error() {
        let words = |total: u32, errors: &[(&str, &str)]| {
            let errors: Vec<_> = errors
                .iter()
                .map(|(id, code)| json!({"item_id": id, "code": code, "message": "why"}))
                .collect();
            let job = json!({"total_items": total, "failed_items": errors.len(), "errors": errors});
            Ended { what: "x", job }.words()
        };
        assert_eq!(words(1, &[]), "1 record changed");
        assert_eq!(words(0, &[]), "0 records changed");
        assert_eq!(words(4, &[("t", "not_found")]), "3 of 4 records changed; t: not_found (why)");
        assert!(!words(2, &[("\u{1b}[2J", "c")]).contains('\u{1b}'));
    }
}
