use secrecy::ExposeSecret;

use super::*;
use crate::store::{WarmupSettings, WarmupType};

fn env(name: &str) -> Option<String> {
    (name == "MAIL_PASSWORD").then(|| "from the environment".to_owned())
}

fn problems(text: &str) -> Vec<String> {
    read(text, &env).map(|_| ()).unwrap_err()
}

#[test]
fn a_whole_file() {
    // given, when
    let declared = read(
        "\u{feff}[[mailboxes]]\r\nemail_address = \"dev@example.com\"\r\ntransport = \"file\"\r\n
         [[mailboxes]]
         email_address = \"Ada@example.com\"
         display_name = \"Ada\"
         transport = \"smtp\"
         host = \"smtp.example.com\"
         security = \"starttls\"
         username = \"ada\"
         password_env = \"MAIL_PASSWORD\"
         limits = [\"2/min\", \"40/h\"]
         enabled = false
         [[suppressions]]
         email_address = \"no@example.org\"
         reason = \"unsubscribed\"
         [[suppressions]]
         domain = \"example.net\"",
        &env,
    )
    .unwrap();

    // then
    let [file, smtp] = &declared.mailboxes[..] else { panic!("{declared:?}") };
    assert_eq!((file.transport, file.enabled, file.port), (Transport::File, true, None));
    assert_eq!(smtp.port, Some(587), "the port that goes with STARTTLS");
    assert_eq!(smtp.password.as_ref().unwrap().expose_secret(), "from the environment");
    assert_eq!((smtp.limits.len(), smtp.enabled), (2, false));
    let expected = [("no@example.org", "unsubscribed"), ("@example.net", "manual")];
    assert_eq!(declared.suppressions, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert!(read("", &env).unwrap().mailboxes.is_empty());
}

#[test]
fn every_problem_is_found_at_once_with_its_line() {
    let found = problems(
        "[[mailboxes]]
email_address = \"nobody\"
transport = \"pigeon\"
limits = [\"2/fortnight\"]
colour = \"red\"

[[mailboxes]]
transport = \"smtp\"
port = 70000
security = \"ssl\"
username = \"ada\"

[[suppressions]]
email_address = \"a@example.org\"
domain = \"example.org\"

[limits]
",
    );
    for expected in [
        "line 2: mailboxes[0].email_address: expected an address",
        "line 3: mailboxes[0].transport: expected file or smtp, got \"pigeon\"",
        "line 4: mailboxes[0].limits: expected a rate",
        "line 5: mailboxes[0].colour: there is no such option",
        "line 7: mailboxes[1].email_address: expected an address; it is missing",
        "line 7: mailboxes[1].host: expected the name of an SMTP server; it is missing",
        "line 9: mailboxes[1].port: ",
        "line 10: mailboxes[1].security: expected tls, starttls or none, got \"ssl\"",
        "line 7: mailboxes[1].username: a login has both",
        "line 13: suppressions[0].email_address: expected either email_address or domain",
        "line 17: there is no \"limits\"",
    ] {
        assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}\nin {found:#?}");
    }
    assert_eq!(found.len(), 11, "{found:#?}");
}

#[test]
fn warm_up_is_a_table_of_its_mailbox() {
    // given, when
    let mailbox = "[[mailboxes]]\nemail_address = \"a@example.org\"\ntransport = \"file\"\n";
    let with = |table: &str| format!("{mailbox}[mailboxes.warmup]\n{table}");
    let said = |text: &str| read(text, &env).unwrap().mailboxes.remove(0).warmup;
    // then
    assert_eq!(said(mailbox), None);
    assert_eq!(said(&with("")), Some(WarmupSettings::default()));
    let all = "enabled = true\nwarmup_type = \"fast\"\nwarmup_target_daily_volume = 200\n\
               reply_rate_percent = 0\ntime_zone = \"Europe/Berlin\"";
    let expected = WarmupSettings {
        enabled: true,
        warmup_type: WarmupType::Fast,
        target_daily_volume: 200,
        reply_rate_percent: 0,
        time_zone: "Europe/Berlin".into(),
    };
    assert_eq!(said(&with(all)), Some(expected));
    let wrong = "enabled = 1\nwarmup_type = \"quick\"\nwarmup_target_daily_volume = 0\n\
                 reply_rate_percent = 101\ntime_zone = \"Mars\"\nspeed = 3";
    let found = problems(&with(wrong));
    for (line, expected) in [
        "line 5: mailboxes[0].warmup.enabled: ",
        "line 6: mailboxes[0].warmup.warmup_type: expected slow, normal or fast, got \"quick\"",
        "line 7: mailboxes[0].warmup.warmup_target_daily_volume: expected 1 to 200, got 0",
        "line 8: mailboxes[0].warmup.reply_rate_percent: expected 0 to 100, got 101",
        "line 9: mailboxes[0].warmup.time_zone: expected a zone such as Europe/Berlin, got \"Mars\"",
        "line 10: mailboxes[0].warmup.speed: there is no such option",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(found[line].starts_with(expected), "{expected}\nin {found:#?}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
    let found = problems(&format!("{mailbox}warmup = true"));
    assert_eq!(found, ["line 4: mailboxes[0].warmup: expected a table"]);
}

#[test]
fn odd_files_are_refused_with_one_sentence_each() {
    let mailbox = |more: &str| {
        format!("[[mailboxes]]\nemail_address = \"a@example.org\"\ntransport = \"smtp\"\n{more}")
    };
    let file = "[[mailboxes]]\nemail_address = \"a@example.org\"\ntransport = \"file\"\n";
    let other = "[[mailboxes]]\nemail_address = \"A@Example.org\"\ntransport = \"file\"\n";
    let suppressed = "[[suppressions]]\ndomain = \"example.org\"\n";
    let files = [
        (mailbox("host = \"h.example\"\nsecurity = \"none\""), "servers on this host only"),
        (mailbox("host = \"h.example\"\nport = 0"), "expected 1 to 65535, got 0"),
        (mailbox("host = \"a b\""), "expected the name or address of a server"),
        (mailbox("host = \"h.example\"\ndisplay_name = \"a\\r\\nBcc: x\""), "expected one line"),
        (
            mailbox("host = \"h.example\"\nusername = \"a\"\npassword_env = \"NO\""),
            "the environment has no variable of that name",
        ),
        (
            mailbox(
                "host = \"h.example\"\nusername = \"a\"\npassword = \"p\"\npassword_env = \"MAIL_PASSWORD\"",
            ),
            "not both",
        ),
        (format!("{file}host = \"h.example\""), "only transport = \"smtp\" has it"),
        (format!("{file}enabled = \"yes\""), "mailboxes[0].enabled: invalid type"),
        (format!("{file}{other}"), "declared more than once"),
        (format!("{suppressed}{suppressed}"), "declared more than once"),
        ("[[suppressions]]\nreason = \"x\"".to_owned(), "either email_address or domain"),
        ("[[suppressions]]\ndomain = \"com\"".to_owned(), "expected a domain"),
        (
            "[mailboxes]\nemail_address = \"a\"".to_owned(),
            "expected [[mailboxes]] with two brackets",
        ),
        ("mailboxes = [1]".to_owned(), "expected a table"),
        ("[[mailboxes]\n".to_owned(), "line 1: "),
        ("email = a@b\n".to_owned(), "line 1: "),
    ];
    for (text, expected) in files {
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{found:#?}\nin {text}");
        assert!(found[0].contains(expected), "{:?} has no {expected:?}", found[0]);
    }
}

#[test]
fn no_problem_repeats_a_password() {
    let start = "[[mailboxes]]\nemail_address = \"a@example.org\"\ntransport = \"smtp\"\n";
    for line in [
        "password = \"hunter2",
        "password = 77777",
        "password = [\"hunter2\"]",
        "password_env = \"hunter2\"",
    ] {
        let found = problems(&format!("{start}{line}\n")).join("\n");
        assert!(!found.contains("hunter2") && !found.contains("77777"), "{found}");
    }
}
