//! Help of every command, and odd arguments.

use clap::CommandFactory;
use postrider::cli::Cli;

use super::program::run;

/// Every command with its subcommands, as the words that one types.
fn commands(command: &clap::Command, under: &[String]) -> Vec<(Vec<String>, String)> {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut all = vec![(under.to_vec(), about)];
    for sub in command.get_subcommands() {
        let words: Vec<_> = under.iter().cloned().chain([sub.get_name().to_owned()]).collect();
        all.extend(commands(sub, &words));
    }
    all
}

#[test]
fn the_command_line_is_consistent_and_every_argument_is_explained() {
    let cli = Cli::command();
    cli.clone().debug_assert();
    fn explained(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} is not explained", command.get_name());
        for argument in command.get_arguments() {
            let (of, id) = (command.get_name(), argument.get_id());
            assert!(argument.get_help().is_some(), "{of}: {id} is not explained");
        }
        command.get_subcommands().for_each(explained);
    }
    explained(&cli);
}

#[tokio::test]
async fn every_command_has_help_on_standard_output() {
    let all = commands(&Cli::command(), &[]);
    assert!(all.len() > 20, "only {} commands", all.len());
    for (words, about) in all {
        let mut args: Vec<_> = words.iter().map(String::as_str).collect();
        args.push("--help");
        let finished = run(&args).await.with(0);
        let text = finished.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(about.trim_end_matches('.')), "{words:?}: {text}");
        assert!(finished.out.contains("--json"), "{words:?}");
        assert_eq!(finished.err, "", "{words:?}");
    }
}

#[tokio::test]
async fn the_version_is_told() {
    let finished = run(&["--version"]).await.with(0);
    assert_eq!(finished.out, format!("postrider {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn odd_arguments_end_with_2_and_name_what_is_odd() {
    let cases: [(&[&str], &str); 16] = [
        (&[], "Usage"),
        (&["dance"], "dance"),
        (&["up", "--listen", "nonsense"], "--listen"),
        (&["up", "--listen", "127.0.0.1:99999"], "--listen"),
        (&["up", "--colour"], "--colour"),
        (&["worker", "--concurrency", "many"], "--concurrency"),
        (&["jobs"], "Usage"),
        (&["jobs", "list", "--limit", "0"], "--limit"),
        (&["jobs", "list", "--limit", "1001"], "--limit"),
        (&["jobs", "list", "--status", "sleeping"], "queued, scheduled"),
        (&["jobs", "show"], "JOB"),
        (&["jobs", "show", "job_1"], "job_01J8"),
        (&["jobs", "cancel", "job_01ARZ3NDEKTSV4RRFFQ69G5FAV", "--tenant", "D E"], "--tenant"),
        (&["jobs", "submit", "jobs.ndjson", "--run-at", "2026-06-10T09:00:00Z"], "--payload"),
        (&["jobs", "submit", "send", "--payload", "{}", "--run-at", "soon"], "RFC 3339"),
        (
            &["jobs", "submit", "send", "--payload", "{}", "--priority", "urgent"],
            "high, normal or low",
        ),
    ];
    for (args, expected) in cases {
        let finished = run(args).await.with(2);
        assert!(finished.err.contains(expected), "{args:?}: {}", finished.err);
        assert_eq!(finished.out, "", "{args:?}");
    }
}
