use std::io;

use super::*;

/// Reads bytes; the people, what was seen, or what is wrong with the whole.
fn read_all(csv: &[u8], skip: bool) -> Result<(Vec<Prospect>, Seen), String> {
    let mut people = Vec::new();
    let seen = read(csv, skip, |batch| {
        people.extend(batch);
        true
    });
    match seen {
        Ok(seen) => Ok((people, seen)),
        Err(Unusable::Problem(words)) => Err(words),
        Err(other) => panic!("{other:?}"),
    }
}

fn good(csv: &[u8]) -> Vec<Prospect> {
    let (people, seen) = read_all(csv, false).unwrap();
    assert_eq!(seen.bad, 0, "{:?}", seen.problems);
    people
}

#[test]
fn odd_files_that_are_right() {
    let ada = Prospect {
        email: "ada@example.org".into(),
        first_name: Some("Ada".into()),
        ..Prospect::default()
    };
    let files: [(&str, &[u8]); 9] = [
        ("plain", b"email,first_name\nada@example.org,Ada\n"),
        ("BOM", b"\xef\xbb\xbfemail,first_name\nada@example.org,Ada\n"),
        ("BOM and quotes", b"\xef\xbb\xbf\"email\",\"first_name\"\n\"ada@example.org\",\"Ada\"\n"),
        ("CRLF", b"email,first_name\r\nada@example.org,Ada\r\n"),
        ("CRLF and quotes", b"email,first_name\r\n\"ada@example.org\",\"Ada\"\r\n"),
        ("CR", b"email,first_name\rada@example.org,Ada"),
        ("no last line end", b"email,first_name\nada@example.org,Ada"),
        ("blank lines", b"\n\nemail,first_name\n\n , \n,\nada@example.org , Ada\n\n\n"),
        ("names of spreadsheets", b"First Name,E-Mail\nAda,ada@example.org\n"),
    ];
    for (what, file) in files {
        assert_eq!(good(file), std::slice::from_ref(&ada), "{what}");
    }
    assert_eq!(good(b"email\n"), [], "nobody");
}

#[test]
fn quotes_hold_commas_quotes_and_lines() {
    let people = good(
        b"email,company,note\nada@example.org,\"Byron, \"\"Ada\"\" & Co\",\"two\nlines\"\nb@x.org,,\n",
    );
    assert_eq!(people[0].company.as_deref(), Some("Byron, \"Ada\" & Co"));
    assert_eq!(people[0].fields["note"], "two\nlines");
    assert_eq!((people[1].company.as_ref(), people[1].fields.len()), (None, 0));
}

#[test]
fn files_that_are_no_use_say_why() {
    let files: [(&[u8], &str); 10] = [
        (b"", "the file is empty"),
        (b"first_name\nAda\n", "line 1: there is no column \"email\""),
        (b"email;first_name\na@x.org;Ada\n", "\"email;first_name\"; expected email"),
        (b"email,Email\na@x.org,b@x.org\n", "line 1: column 2, \"Email\", is there twice"),
        (b"email,plan,plan\na@x.org,1,2\n", "column 3, \"plan\", is there twice"),
        (b"email,first_name,firstName\n", "\"firstName\", is there twice"),
        (b"email,\na@x.org,1\n", "column 2 is named \"\""),
        (b"email,{{x}}\na@x.org,1\n", "column 2 is named \"{{x}}\""),
        (b"email,\xff\na@x.org,1\n", "the name of column 2 is not UTF-8"),
        (b"\xff\xfee\0m\0", "expected UTF-8, got UTF-16"),
    ];
    for (file, expected) in files {
        let words = read_all(file, true).unwrap_err();
        assert!(words.contains(expected), "{words:?} has no {expected:?}");
    }
}

#[test]
fn rows_that_are_wrong_are_named_by_their_line() {
    let rows: [(&[u8], &str); 9] = [
        (b"a@x.org,Ada", "expected 3 columns as in the first line, got 2"),
        (b"a@x.org,Ada,,x", "expected 3 columns as in the first line, got 4"),
        (b"ada@,Ada,", "expected an address such as ada@example.org, got \"ada@\""),
        (b",Ada,", "expected an address such as ada@example.org, got \"\""),
        (b"a@x.org,\xff,", "column 2 is not UTF-8"),
        (b"a@x.org,\"A\nda\",", "column 2 has the control character '\\n'"),
        (b"a@x.org,A\0da,", "column 2 has the control character '\\0'"),
        (b"a@x.org,Ada,Europe/Atlantis", "expected a time zone such as Europe/Berlin, got"),
        (b"\"a@x.org\r\nBcc: b@x.org\",Ada,", "column 1 has the control character '\\r'"),
    ];
    for (row, expected) in rows {
        let head = b"email,first_name,time_zone\n\nb@x.org,\"Bob\",Europe/Berlin\n".as_slice();
        let file = [head, row, b"\n"].concat();

        let (people, seen) = read_all(&file, false).unwrap();
        assert_eq!((people.len(), seen.good, seen.bad), (0, 1, 1));
        let problem = &seen.problems[0];
        assert!(problem.starts_with("line 4: "), "{problem}");
        assert!(problem.contains(expected), "{problem:?} has no {expected:?}");

        let (people, _) = read_all(&file, true).unwrap();
        assert_eq!(people.len(), 1, "the right row is kept when the wrong ones are skipped");
    }
}

#[test]
fn lines_are_counted_as_an_editor_counts_them() {
    let files: [(&[u8], u64); 9] = [
        (b"email\nnobody\n", 2),
        (b"email\nnobody", 2),
        (b"email\r\nnobody\r\n", 2),
        (b"email\rnobody\r", 2),
        (b"\n\nemail\n\n\nnobody\n\n", 6),
        (b"\r\n\r\nemail\r\n\r\n \r\nnobody", 6),
        (b"email,x\na@x.org,\"1\n2\n3\"\nnobody,\"4\n5\"\n", 5),
        (b"email,x\r\na@x.org,\"1\r\n2\"\r\nnobody,\"3\r\n4\"", 4),
        (b"\xef\xbb\xbfemail\n\nnobody", 3),
    ];
    for (file, line) in files {
        let (_, seen) = read_all(file, false).unwrap();
        let expected = format!("line {line}: ");
        assert_eq!(seen.bad, 1);
        assert!(seen.problems[0].starts_with(&expected), "{file:?}: {:?}", seen.problems);
    }
}

#[test]
fn a_file_that_was_cut_inside_a_quote_is_no_use() {
    let whole = b"email,company\na@x.org,Acme\nb@x.org,\"Acme\n\"\n".as_slice();
    assert_eq!(good(whole).len(), 2);
    for cut in [whole.len() - 2, whole.len() - 3, whole.len() - 4] {
        let words = read_all(&whole[..cut], true).unwrap_err();
        assert!(words.contains("is not closed"), "{words}");
    }
}

#[test]
fn of_many_wrong_rows_the_first_are_listed_and_all_are_counted() {
    let file = format!("email\n{}a@x.org\n", "nobody\n".repeat(1_234));
    let (_, seen) = read_all(file.as_bytes(), false).unwrap();
    assert_eq!((seen.good, seen.bad, seen.problems.len()), (1, 1_234, SHOWN));
}

#[test]
fn a_quote_that_is_not_closed_does_not_fill_the_memory() {
    // given: a file without end, as far as any memory goes
    let endless = b"email,company\na@x.org,\"Acme\n".chain(io::repeat(b'x'));
    // when
    let answer = read(endless, true, |_| true);
    // then
    let Err(Unusable::Problem(words)) = answer else { panic!("{answer:?}") };
    assert!(words.contains("line 2: the row that begins here is longer than 1 MiB"), "{words}");
}

#[test]
fn people_come_in_bounded_batches() {
    let rows: String = (0..2_500).map(|n| format!("p{n}@x.org\n")).collect();
    let mut sizes = Vec::new();
    let seen = read(format!("email\n{rows}").as_bytes(), false, |batch| {
        sizes.push(batch.len());
        true
    });
    assert_eq!(seen.unwrap().good, 2_500);
    assert_eq!(sizes, [1_000, 1_000, 500]);
}
