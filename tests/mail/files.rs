//! The file transport.

use std::{fs, path::Path, sync::Arc};

use jobs::contract::{
    Fault,
    ports::{Mail, NotSent},
};
use postrider::mail::{FILES, Mailer, Transport};

use crate::support::mail::{FROM, FixedAccounts, Gate, config, letter, tenant};

fn mailer(dir: &Path) -> Mailer {
    Mailer::new(&config(), Arc::new(FixedAccounts::one(FROM, Transport::File)), dir).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_mail_is_one_file_with_its_bytes() {
    // given
    let dir = tempfile::tempdir().unwrap();
    let mailer = mailer(dir.path());
    let mail = mailer.compose(&letter(FROM, "ada@example.org", "hi")).unwrap();
    let gate = Gate::open();
    // when
    let receipt = mailer.send(&tenant(), FROM, &mail, &gate).await.unwrap();
    // then
    assert_eq!(gate.asked(), 1);
    assert_eq!(receipt.reply, None);
    assert_eq!(fs::read(dir.path().join(receipt.provider_id.unwrap())).unwrap(), mail.bytes);
    let files = dir.path().join(FILES);
    assert_eq!(names(&files), ["drafts", "hi@example.com.eml"]);
    assert_eq!(names(&files.join("drafts")), [""; 0]);
}

#[tokio::test]
async fn a_closed_gate_leaves_no_file() {
    let away = Fault::transient("store_away", "the store is away");
    for answer in [Ok(false), Err(away)] {
        let dir = tempfile::tempdir().unwrap();
        let mailer = mailer(dir.path());
        let mail = mailer.compose(&letter(FROM, "ada@example.org", "hi")).unwrap();
        let sent = mailer.send(&tenant(), FROM, &mail, &Gate::answering(answer.clone())).await;
        assert_eq!(sent, Err(NotSent::Stopped(answer.err())));
        let files = dir.path().join(FILES);
        assert_eq!(names(&files), ["drafts"]);
        assert_eq!(names(&files.join("drafts")), [""; 0]);
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_a_fault_that_keeps_its_place_to_itself() {
    // given a file where the directory should be
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILES), "in the way").unwrap();
    let mailer = mailer(dir.path());
    let mail = mailer.compose(&letter(FROM, "ada@example.org", "hi")).unwrap();
    let gate = Gate::open();
    // when
    let sent = mailer.send(&tenant(), FROM, &mail, &gate).await;
    // then
    let Err(NotSent::Fault(Fault::Transient(cause))) = sent else { panic!("{sent:?}") };
    assert_eq!(cause.code, "mail_not_written");
    assert!(!cause.message.contains(dir.path().to_str().unwrap()), "{cause}");
    assert_eq!(gate.asked(), 0);
}

#[tokio::test]
async fn a_mailbox_without_an_account_is_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mailer = mailer(dir.path());
    let mail = mailer.compose(&letter(FROM, "ada@example.org", "hi")).unwrap();
    let sent = mailer.send(&tenant(), "other@example.com", &mail, &Gate::open()).await;
    assert!(
        matches!(&sent, Err(NotSent::Fault(Fault::Permanent(c))) if c.code == "unknown_account")
    );
}
