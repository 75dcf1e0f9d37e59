//! The page for people, in a real browser.

use jobs::contract::{Cause, Cursor, Moment};
use postrider::queue::{AttemptRecord, Status, Waiting, WaitingFor};
use serde_json::json;

use super::{
    house::{ACME, House},
    page::{HOSTILE, HOSTILE_JOBS},
};
use crate::support::browser::Browser;

fn at(text: &str) -> Moment {
    text.parse().unwrap()
}

fn address(house: &House, id: &str) -> String {
    format!("http://:{ACME}@{}/jobs/{id}", house.address)
}

fn attempt(number: u32, outcome: Option<&str>, error: Option<Cause>) -> AttemptRecord {
    let ended_at = outcome.map(|_| at("2026-06-10T09:00:04.2Z"));
    AttemptRecord {
        number,
        started_at: at("2026-06-10T09:00:01Z"),
        ended_at,
        outcome: outcome.map(str::to_owned),
        error,
        worker: "w".into(),
    }
}

#[tokio::test]
async fn the_page_moves_with_the_job() {
    let house = House::open().await;
    let browser = Browser::start(900, 1_000, false).await;
    let id = house.submitted().await;
    house.queue.change(&id, |job| {
        job.tags = vec!["q3".into(), "onboarding".into()];
        job.cursor = Cursor { total: 1_000, ..Cursor::default() };
        job.waiting = Some(Waiting {
            what: WaitingFor::Limit,
            reason: Some("mailbox 40/h".into()),
            until: Some(Moment::from_millis(4_102_444_800_000)),
        });
    });

    // Given a page that was opened while the job waits, then it says for what and until when.
    browser.open(&address(&house, &id)).await;
    browser.until("document.querySelector('h1').innerText === 'Queued'").await;
    browser.until("document.getElementById('live').textContent === 'live'").await;
    browser.until("document.querySelector('.why').innerText.includes('mailbox 40/h')").await;
    browser
        .until("/2100|2099.* \\(in \\d+ d/.test(document.querySelector('.why time').innerText)")
        .await;
    browser.picture("page-waiting").await;

    // When the job runs, then the same bar moves on.
    browser.run("window.bar = document.querySelector('progress')").await;
    house.queue.change(&id, |job| {
        job.status = Status::Processing;
        job.waiting = None;
        job.started_at = Some(at("2026-06-10T09:00:01Z"));
        job.attempt = 2;
        job.cursor = Cursor { processed: 420, failed: 3, total: 1_000, position: None };
        job.attempts = vec![
            attempt(
                1,
                Some("retried"),
                Some(Cause::new("database_busy", "The database was busy.")),
            ),
            attempt(2, None, None),
        ];
    });
    browser.until("document.querySelector('h1').innerText === 'Processing'").await;
    browser.until("window.bar.isConnected && window.bar.value === 420").await;
    browser.until("document.querySelectorAll('#attempts li').length === 2").await;
    browser.until("document.title.startsWith('42 % processing')").await;
    browser.picture("page-processing").await;

    // When it ends, then the page says how, and listens no more.
    house.errors.add("ticket_7", "not_found", "There is no such ticket.");
    house.errors.add("ticket_9", "stale", "It was changed meanwhile.");
    house.queue.change(&id, |job| {
        job.status = Status::Completed;
        job.completed_at = Some(at("2026-06-10T09:01:03Z"));
        job.cursor = Cursor { processed: 1_000, failed: 2, total: 1_000, position: None };
        job.attempts[1] = attempt(2, Some("completed"), None);
        job.result = Some(json!({"changed": 998}));
    });
    browser.until("document.querySelector('h1').innerText === 'Completed'").await;
    browser.until("document.querySelectorAll('#errors tbody tr').length === 2").await;
    browser.until("document.getElementById('live').textContent === ''").await;
    browser.picture("page-completed").await;
    assert_eq!(browser.complaints().await, json!([]), "the page breaks no rule of its own");
    browser.close().await;
}

/// Shows hostile text in every field of every sort of page, in such a window.
async fn hostile_text_does_nothing(name: &str, width: u32, dark: bool) {
    let house = House::open().await;
    let browser = Browser::start(width, 844, dark).await;
    for _ in 0..3 {
        house.errors.add(HOSTILE, HOSTILE, HOSTILE);
    }
    for (n, change) in HOSTILE_JOBS.into_iter().enumerate() {
        let id = house.submitted().await;
        house.queue.change(&id, |job| job.status = Status::Processing);
        browser.open(&address(&house, &id)).await;
        browser.until("document.getElementById('live').textContent === 'live'").await;

        // By the stream, and then by the page itself.
        house.queue.change(&id, change);
        for _ in 0..2 {
            browser.until("document.querySelector('.tag')?.innerText.includes('<script>')").await;
            browser.until("document.title.includes('</title></style></pre><script>')").await;
            browser.until("document.querySelector('.kind').innerText.includes('onerror=')").await;
            browser.until("document.querySelector('.why').innerText.includes('&lt;')").await;
            browser.until("document.querySelector('#attempts')?.innerText.includes('<img')").await;
            browser.until("document.querySelectorAll('img').length === 0").await;
            browser.until("document.querySelectorAll('script').length === 1").await;
            // A phone widens its window for what does not fit.
            browser.until(&format!("innerWidth === {width}")).await;
            browser.until("document.documentElement.scrollWidth <= innerWidth").await;
            let paper = if dark { "rgb(21, 21, 22)" } else { "rgb(246, 245, 241)" };
            let is_paper = "getComputedStyle(document.body).backgroundColor";
            browser.until(&format!("{is_paper} === '{paper}'")).await;
            browser.picture(&format!("page-hostile-{name}-{n}")).await;
            browser.open(&address(&house, &id)).await;
        }
        // Nothing was fetched but the page and its stream.
        let fetched = "performance.getEntriesByType('resource').every((entry) => \
             entry.name.startsWith(location.origin + location.pathname))";
        browser.until(fetched).await;
    }
    browser.until("document.querySelectorAll('#errors tr').length === 4").await;
    browser.until("document.querySelectorAll('#result pre').length === 1").await;
    assert_eq!(browser.complaints().await, json!([]), "nothing even tried");
    browser.close().await;
}

#[tokio::test]
async fn hostile_text_does_nothing_and_fits_a_phone_in_the_dark() {
    hostile_text_does_nothing("phone-dark", 390, true).await;
}

#[tokio::test]
async fn hostile_text_does_nothing_and_fits_a_phone_in_the_light() {
    hostile_text_does_nothing("phone-light", 390, false).await;
}

#[tokio::test]
async fn hostile_text_does_nothing_on_a_desk() {
    hostile_text_does_nothing("desk-dark", 1_200, true).await;
    hostile_text_does_nothing("desk-light", 1_200, false).await;
}
