//! The SMTP driver when all goes well: what is on the wire, and which connection it is on.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt;
use jobs::contract::ports::{Mail, Meaning, NotSent, Phase};
use postrider::mail::{Accounts, Act, Mailer, Rehearsal, Script, Transport};

use crate::support::mail::{FROM, FixedAccounts, Gate, config, letter, mailer, rehearsed, tenant};

async fn stage(script: Script) -> (Rehearsal, Mailer) {
    let server = Rehearsal::start(script).await.unwrap();
    let mailer = mailer(&config(), [(FROM, Transport::Smtp(rehearsed(&server)))]);
    (server, mailer)
}

async fn send(mailer: &Mailer, to: &str) -> Result<(), NotSent> {
    let mail = mailer.compose(&letter(FROM, to, "hi")).unwrap();
    mailer.send(&tenant(), FROM, &mail, &Gate::open()).await.map(drop)
}

fn meaning(sent: Result<(), NotSent>) -> Meaning {
    match sent {
        Err(NotSent::Refused(refusal)) => refusal.meaning,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_composed() {
    // given
    let (server, mailer) = stage(Script::new()).await;
    let mail = mailer.compose(&letter(FROM, "ada@example.org", "hi")).unwrap();
    let gate = Gate::open();
    // when
    let receipt = mailer.send(&tenant(), FROM, &mail, &gate).await.unwrap();
    // then
    let delivered = server.delivered();
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].message, mail.bytes);
    assert_eq!((delivered[0].from.as_str(), delivered[0].to.as_str()), (FROM, "ada@example.org"));
    let reply = receipt.reply.unwrap();
    assert_eq!((reply.code, reply.enhanced.as_deref()), (250, Some("2.0.0")));
    assert_eq!(receipt.provider_id.as_deref(), Some("rehearsed"));
    assert_eq!(gate.asked(), 1);
}

#[tokio::test]
async fn mails_of_an_account_share_a_connection_up_to_their_number() {
    let server = Rehearsal::start(Script::new()).await.unwrap();
    let mut config = config();
    config.keep.mails = 3;
    let mailer = mailer(&config, [(FROM, Transport::Smtp(rehearsed(&server)))]);
    for n in 0..4 {
        send(&mailer, &format!("a{n}@example.org")).await.unwrap();
    }
    let connections: Vec<usize> = server.delivered().iter().map(|d| d.connection).collect();
    assert_eq!(connections, [1, 1, 1, 2]);
}

#[tokio::test]
async fn two_accounts_never_share_a_connection() {
    let server = Rehearsal::start(Script::new()).await.unwrap();
    let account = Transport::Smtp(rehearsed(&server));
    let other = "other@example.com";
    let mailer = mailer(&config(), [(FROM, account.clone()), (other, account)]);
    send(&mailer, "a@example.org").await.unwrap();
    let mail = mailer.compose(&letter(other, "b@example.org", "hi")).unwrap();
    mailer.send(&tenant(), other, &mail, &Gate::open()).await.unwrap();
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test]
async fn a_refused_recipient_costs_no_connection_and_421_does() {
    let script = Script::new()
        .recipient("gone@example.org", [Act::Say(Phase::Rcpt, "550 5.1.1 no".into())])
        .recipient("spam@example.org", [Act::Say(Phase::Dot, "550 5.7.1 spam".into())])
        .recipient("busy@example.org", [Act::Say(Phase::Rcpt, "421 4.7.28 slow down".into())]);
    let (server, mailer) = stage(script).await;
    assert_eq!(meaning(send(&mailer, "gone@example.org").await), Meaning::HardBounce);
    assert_eq!(meaning(send(&mailer, "spam@example.org").await), Meaning::PolicyBlocked);
    send(&mailer, "ada@example.org").await.unwrap();
    assert_eq!(server.seen().connections, 1);
    assert_eq!(meaning(send(&mailer, "busy@example.org").await), Meaning::RateLimited);
    send(&mailer, "bob@example.org").await.unwrap();
    assert_eq!(server.seen().connections, 2);
    assert_eq!(server.delivered().len(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced() {
    let (server, mailer) = stage(Script::new()).await;
    send(&mailer, "ada@example.org").await.unwrap();
    server.hang_up();
    send(&mailer, "bob@example.org").await.unwrap();
    assert_eq!((server.seen().connections, server.seen().mails), (2, 2));
}

/// An answer too many would be taken for the next mail's.
#[tokio::test]
async fn a_connection_that_has_more_to_say_is_not_kept() {
    let chatty = Act::Say(Phase::Dot, "250 taken\r\n250 taken again".into());
    let gone = Act::Say(Phase::Rcpt, "550 5.1.1 no".into());
    let script =
        Script::new().recipient("ada@example.org", [chatty]).recipient("gone@example.org", [gone]);
    let (server, mailer) = stage(script).await;
    send(&mailer, "ada@example.org").await.unwrap();
    assert_eq!(meaning(send(&mailer, "gone@example.org").await), Meaning::HardBounce);
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test]
async fn logins_work_by_both_mechanisms_and_are_counted() {
    for mechanisms in ["PLAIN", "LOGIN", "LOGIN PLAIN"] {
        // given
        let script = Script::new().login("dev", "s3cret").mechanisms(mechanisms);
        let server = Rehearsal::start(script).await.unwrap();
        let account = |password: &str| {
            let mut account = rehearsed(&server);
            account.username = Some("dev".into());
            account.password = Some(password.into());
            Transport::Smtp(account)
        };
        let wrong = "wrong@example.com";
        let mailer = mailer(&config(), [(FROM, account("s3cret")), (wrong, account("guess"))]);
        let mail = mailer.compose(&letter(FROM, "ada@example.org", "hi")).unwrap();
        // when
        let first = mailer.send(&tenant(), FROM, &mail, &Gate::open()).await.unwrap();
        let second = mailer.send(&tenant(), FROM, &mail, &Gate::open()).await.unwrap();
        let refused = mailer.send(&tenant(), wrong, &mail, &Gate::open()).await;
        // then
        assert!(first.logged_in, "{mechanisms}");
        assert!(!second.logged_in, "the connection was kept");
        let Err(NotSent::Refused(refusal)) = refused else { panic!("{refused:?}") };
        assert_eq!((refusal.meaning, refusal.phase), (Meaning::AuthInvalid, Phase::Auth));
        assert!(!refusal.message.contains("guess"));
    }
}

#[tokio::test]
async fn a_connection_does_not_outlive_the_password_it_was_opened_with() {
    // given a connection that is kept
    let server = Rehearsal::start(Script::new().login("dev", "old")).await.unwrap();
    let account = |password: &str| {
        let mut account = rehearsed(&server);
        account.username = Some("dev".into());
        account.password = Some(password.into());
        Transport::Smtp(account)
    };
    let accounts = Arc::new(FixedAccounts::one(FROM, account("old")));
    let stored = Arc::clone(&accounts) as Arc<dyn Accounts>;
    let mailer = Mailer::new(&config(), stored, "/nonexistent".as_ref()).unwrap();
    send(&mailer, "ada@example.org").await.unwrap();
    // when
    accounts.put(FROM, account("new"));
    // then
    assert_eq!(meaning(send(&mailer, "ada@example.org").await), Meaning::AuthInvalid);
}

#[tokio::test]
async fn a_username_without_a_password_is_a_mistake_and_no_login() {
    let server = Rehearsal::start(Script::new().login("dev", "old")).await.unwrap();
    let mut account = rehearsed(&server);
    account.username = Some("dev".into());
    let mailer = mailer(&config(), [(FROM, Transport::Smtp(account))]);
    assert_eq!(meaning(send(&mailer, "ada@example.org").await), Meaning::ConfigError);
}

/// Answers that lettre alone takes for none.
#[tokio::test]
async fn bare_codes_and_bare_line_feeds_are_answers() {
    for answer in ["250", "250-two\n250", "250-a\n250 2.0.0 b"] {
        let terse = Act::Say(Phase::Dot, answer.into());
        let (_server, mailer) = stage(Script::new().recipient("ada@example.org", [terse])).await;
        send(&mailer, "ada@example.org").await.unwrap();
    }
}

#[tokio::test]
async fn mails_that_meet_one_trouble_together_count_it_once() {
    let busy = || [Act::Say(Phase::Rcpt, "421 4.7.28 slow down".into())];
    let script =
        Script::new().recipient("a@example.org", busy()).recipient("b@example.org", busy());
    let (_server, mailer) = stage(script).await;
    let refused = |to: &'static str| {
        let mailer = &mailer;
        async move {
            let mail = mailer.compose(&letter(FROM, to, "hi")).unwrap();
            match mailer.send(&tenant(), FROM, &mail, &Gate::open()).await {
                Err(NotSent::Refused(refusal)) => refusal.in_a_row,
                other => panic!("{other:?}"),
            }
        }
    };
    let counts = futures::future::join(refused("a@example.org"), refused("b@example.org")).await;
    assert_eq!(counts, (1, 1));
}

#[tokio::test]
async fn refusals_in_a_row_are_counted_until_a_mail_is_accepted() {
    let busy = || Act::Say(Phase::Mail, "421 4.7.28 slow down".into());
    let (_server, mailer) =
        stage(Script::new().connections([busy(), busy(), Act::Accept, busy()])).await;
    let mut counts = Vec::new();
    for _ in 0..4 {
        let mail = mailer.compose(&letter(FROM, "ada@example.org", "hi")).unwrap();
        match mailer.send(&tenant(), FROM, &mail, &Gate::open()).await {
            Err(NotSent::Refused(refusal)) => counts.push(refusal.in_a_row),
            Ok(_) => {
                counts.push(0);
                _server.hang_up(); // so that the last mail meets the script's last connection
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts, [1, 2, 0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_mails_at_once_arrive_once_each() {
    // given
    const MAILS: usize = 600;
    let server = Rehearsal::start(Script::new()).await.unwrap();
    let account = || Transport::Smtp(rehearsed(&server));
    let froms = ["a@example.com", "b@example.com", "c@example.com"];
    let mailer = Arc::new(mailer(&config(), froms.map(|from| (from, account()))));
    // when
    let sends = (0..MAILS).map(|n| {
        let mailer = Arc::clone(&mailer);
        async move {
            let from = froms[n % froms.len()];
            let mail = mailer.compose(&letter(from, &format!("to{n}@example.org"), "hi")).unwrap();
            mailer.send(&tenant(), from, &mail, &Gate::open()).await.map(drop)
        }
    });
    let sent: Vec<_> = futures::stream::iter(sends.map(tokio::spawn)).buffered(8).collect().await;
    // then
    assert!(sent.into_iter().all(|sent| sent.unwrap().is_ok()));
    let delivered = server.delivered();
    let mut to: Vec<&str> = delivered.iter().map(|mail| mail.to.as_str()).collect();
    to.sort_unstable();
    to.dedup();
    assert_eq!((delivered.len(), to.len()), (MAILS, MAILS));
    // and no mail went over a connection of another account
    let mut senders: HashMap<usize, &str> = HashMap::new();
    for mail in &delivered {
        assert_eq!(*senders.entry(mail.connection).or_insert(&mail.from), mail.from);
    }
}
