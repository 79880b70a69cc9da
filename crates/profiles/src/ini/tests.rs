use proptest::prelude::*;

use super::*;
use crate::values::Value;

fn name(text: &str) -> ProfileName {
    ProfileName::parse(text).unwrap()
}

fn edit() -> SectionEdit {
    SectionEdit::default()
        .set("region", Value::parse("eu-west-1").unwrap())
        .set("sorry_session", Value::parse("7k3m").unwrap())
        .remove("old")
}

fn applied(kind: FileKind, text: &str) -> Result<Option<String>> {
    let edited = Document::parse(kind, text.as_bytes()).apply(&name("x"), &edit())?;
    Ok(edited.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
}

fn removed(kind: FileKind, text: &str) -> Option<String> {
    let edited =
        Document::parse(kind, text.as_bytes()).remove(&name("x"), &["region", "sorry_session"]).unwrap();
    edited.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn a_new_section_goes_to_the_end() {
    let credentials = |text| applied(FileKind::Credentials, text).unwrap().unwrap();
    assert_eq!(credentials(""), "[x]\nregion = eu-west-1\nsorry_session = 7k3m\n");
    assert_eq!(credentials("[a]\nk=v"), "[a]\nk=v\n\n[x]\nregion = eu-west-1\nsorry_session = 7k3m\n");
    assert_eq!(
        credentials("[a]\r\nk=v\r\n"),
        "[a]\r\nk=v\r\n\r\n[x]\r\nregion = eu-west-1\r\nsorry_session = 7k3m\r\n"
    );
    let config = applied(FileKind::Config, "# mine\n").unwrap().unwrap();
    assert_eq!(config, "# mine\n\n[profile x]\nregion = eu-west-1\nsorry_session = 7k3m\n");
}

#[test]
fn only_the_lines_of_the_named_keys_change() {
    let before = "[a]\nregion=q\n[x] # mine\n# c\nREGION  =  us\n\nother=1\ns3 =\n  max = 2\n\n  min = 1\nold=1\n\n; d\n[b]\n";
    let after = "[a]\nregion=q\n[x] # mine\n# c\nregion = eu-west-1\n\nother=1\ns3 =\n  max = 2\n\n  min = 1\n\
                 sorry_session = 7k3m\n\n; d\n[b]\n";
    assert_eq!(applied(FileKind::Credentials, before).unwrap().unwrap(), after);
    assert_eq!(applied(FileKind::Credentials, after).unwrap(), None);
}

#[test]
fn a_last_line_without_an_end_gets_one_when_something_follows() {
    let after = applied(FileKind::Credentials, "[x]\r\nregion = a").unwrap().unwrap();
    assert_eq!(after, "[x]\r\nregion = eu-west-1\r\nsorry_session = 7k3m\r\n");
    let after = applied(FileKind::Credentials, "[x]").unwrap().unwrap();
    assert_eq!(after, "[x]\nregion = eu-west-1\nsorry_session = 7k3m\n");
}

#[test]
fn removing_leaves_what_others_wrote() {
    let file = "[a]\nk=v\n\n[x]\nregion = a\nsorry_session = b\n\n[b]\nk=v\n";
    assert_eq!(removed(FileKind::Credentials, file).unwrap(), "[a]\nk=v\n\n[b]\nk=v\n");
    let file = "[a]\n\n[x]\nregion = a\n# theirs\n[b]\n";
    assert_eq!(removed(FileKind::Credentials, file).unwrap(), "[a]\n\n# theirs\n[b]\n");
    let file = "[x]\nregion = a\noutput = json\n";
    assert_eq!(removed(FileKind::Credentials, file).unwrap(), "[x]\noutput = json\n");
    assert_eq!(removed(FileKind::Credentials, "[x]\r\nregion = a\r\n").unwrap(), "\r\n");
    assert_eq!(removed(FileKind::Credentials, "[y]\nregion = a\n"), None);
}

#[test]
fn what_cannot_be_edited_safely_is_refused() {
    use FileKind::{Config, Credentials};
    type Expected = fn(&Error) -> bool;
    let cases: [(FileKind, &str, Expected); 20] = [
        (Credentials, "[x]\n[x]\n", |error| {
            matches!(error, Error::DuplicateSection { first: 1, second: 2, .. })
        }),
        (Credentials, "[x]\n[ \"x\" ]\n", |error| matches!(error, Error::DuplicateSection { .. })),
        (Credentials, "[profile x]\n", |error| matches!(error, Error::OddSpelling { line: 1, .. })),
        (Config, "a\n[x]\n", |error| matches!(error, Error::OddSpelling { line: 2, .. })),
        (Config, "[profile 'x']\n", |error| matches!(error, Error::OddSpelling { .. })),
        (Config, "\u{feff}[profile x]\n", |error| matches!(error, Error::OddSpelling { .. })),
        (Config, "# c\r[profile x]\n", |error| matches!(error, Error::AmbiguousLine { line: 1, .. })),
        (Config, "[profile x]\rk = v\n", |error| matches!(error, Error::AmbiguousLine { line: 1, .. })),
        (Config, "[profile x]\nk = v\ra = b\n", |error| {
            matches!(error, Error::AmbiguousLine { line: 2, .. })
        }),
        (Credentials, "[x]\nk = 1\nK = 2\n", |error| matches!(error, Error::DuplicateKey { line: 3, .. })),
        (Credentials, "[x]\nk: 1\n", |error| matches!(error, Error::AmbiguousLine { line: 2, .. })),
        (Credentials, "[x]\ntext\n", |error| matches!(error, Error::AmbiguousLine { line: 2, .. })),
        (Credentials, "[x]\n # c\n", |error| matches!(error, Error::AmbiguousLine { line: 2, .. })),
        (Credentials, "[x]\nk = 1\n [y]\n", |error| matches!(error, Error::AmbiguousLine { line: 3, .. })),
        (Credentials, "[x]\nk = 1\n[y\n", |error| matches!(error, Error::AmbiguousLine { line: 3, .. })),
        (Credentials, "[x]\nregion = 1\n # c\n", |error| {
            matches!(error, Error::AmbiguousLine { line: 3, .. })
        }),
        (Credentials, "[x]\nold =\n a = c\n", |error| matches!(error, Error::AmbiguousLine { line: 3, .. })),
        (Credentials, "[x]\n\u{a0}k = 1\n", |error| matches!(error, Error::AmbiguousLine { line: 2, .. })),
        (Credentials, "[x]\n \u{a0}[y]\n", |error| matches!(error, Error::AmbiguousLine { line: 2, .. })),
        (Credentials, "[\0y]\n", |error| matches!(error, Error::NotText { .. })),
    ];
    for (kind, text, expected) in cases {
        let error = applied(kind, text).unwrap_err();
        assert!(expected(&error), "{text:?}: {error:?}");
        assert!(error.hint().is_some(), "{error}");
    }
}

#[test]
fn the_same_elsewhere_is_nobodys_business() {
    let junk = "text\n k: v\n[a]\nk = 1\nk = 2\n[a]\n # c\n[y\n\u{a0}\n[ b ]\n[profile y]\nz = \r\n";
    let after = applied(FileKind::Credentials, junk).unwrap().unwrap();
    assert!(after.starts_with(junk));
}

#[test]
fn profiles_are_listed_in_order() {
    let text = "[default]\n[profile b] # c\n[ odd ]\n[sso-session s]\n[services s]\n[profile a]\n[plugins]\n";
    let found = Document::parse(FileKind::Config, text.as_bytes()).profiles();
    assert_eq!(found, [name("default"), name("b"), name("a")]);
    let found = Document::parse(FileKind::Credentials, b"[a]\n[default]\n[profile b]\n").profiles();
    assert_eq!(found, [name("a"), name("default")]);
}

/// Files made of what breaks parsers, with the edited section in most of them.
fn files() -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::sample::select(vec![
        "[x]",
        "[profile x]",
        "[ x ]",
        "[a]",
        "[profile a]",
        "[default]",
        "[a] # c",
        "[b",
        " [x]",
        "# c",
        "; c",
        " # c",
        "",
        " ",
        "\t",
        "region = a",
        "region=b # c",
        "REGION = c",
        "sorry_session = d",
        "old = 1",
        "s3 =",
        "  max = 2",
        "k: v",
        "text",
        "\u{feff}",
        "\u{feff}[x]",
        "ä = ö",
        "=",
        "k =",
        "[",
        "]",
        "\u{a0}",
        "[x",
        "k = [x]",
    ]);
    let raw = prop::collection::vec(any::<u8>(), 0..12);
    let line = prop_oneof![8 => lines.prop_map(|line| line.as_bytes().to_vec()), 1 => raw];
    let end = prop::sample::select(vec!["\n", "\n", "\n", "\r\n", "\r\n", "\r", ""]);
    prop::collection::vec((line, end), 0..14).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(line, end)| line.into_iter().chain(end.bytes()).collect::<Vec<_>>())
            .collect()
    })
}

fn kinds() -> impl Strategy<Value = FileKind> {
    prop::sample::select(vec![FileKind::Credentials, FileKind::Config])
}

/// The lines outside `[header, end)` of the section, as bytes; `None` where there is no section.
fn around(kind: FileKind, bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let document = Document::parse(kind, bytes);
    let section = document.section(&name("x")).unwrap()?;
    let end = section.keys.iter().map(|key| key.last).max().unwrap_or(section.header) + 1;
    let join = |lines: &[Line<'_>]| lines.iter().flat_map(|line| [line.text, line.end].concat()).collect();
    Some((join(&document.lines[..section.header]), join(&document.lines[end..])))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_come_out_as_they_went_in(bytes in any::<Vec<u8>>(), file in files(), kind in kinds()) {
        prop_assert_eq!(Document::parse(kind, &bytes).emit(), bytes);
        prop_assert_eq!(Document::parse(kind, &file).emit(), file);
    }

    #[test]
    fn an_edit_touches_its_section_alone(file in files(), kind in kinds()) {
        let Ok(edited) = Document::parse(kind, &file).apply(&name("x"), &edit()) else { return Ok(()) };
        let Some(edited) = edited else { return Ok(()) };
        let (above, below) = around(kind, &edited).unwrap();
        match around(kind, &file) {
            Some((before, after)) => {
                prop_assert_eq!(&before, &above);
                // A last line gets an end when something is put behind it.
                prop_assert!(below == after);
            }
            None => {
                prop_assert!(above.starts_with(&file));
                prop_assert!(above[file.len()..].iter().all(|byte| matches!(byte, b'\n' | b'\r')));
                prop_assert!(below.is_empty());
            }
        }
        let again = Document::parse(kind, &edited);
        let section = again.section(&name("x")).unwrap().unwrap();
        prop_assert_eq!(section.value("region"), Some(&b"eu-west-1"[..]));
        prop_assert_eq!(section.value("sorry_session"), Some(&b"7k3m"[..]));
        prop_assert_eq!(section.value("old"), None);
        prop_assert!(again.apply(&name("x"), &edit()).unwrap().is_none());
    }

    #[test]
    fn what_was_added_can_be_taken_away_without_a_trace(file in files(), kind in kinds()) {
        let document = Document::parse(kind, &file);
        let Ok(None) = document.section(&name("x")) else { return Ok(()) };
        let added = document.apply(&name("x"), &edit()).unwrap().unwrap();
        let back = Document::parse(kind, &added).remove(&name("x"), &["region", "sorry_session"]).unwrap().unwrap();
        let trace = back.strip_prefix(file.as_slice()).unwrap();
        // A missing end of the last line is not taken away again, and a file never becomes empty.
        prop_assert!(trace.is_empty() || (matches!(trace, b"\n" | b"\r\n") && !file.ends_with(b"\n")), "{:?}", trace);
    }

    #[test]
    fn removing_takes_only_lines_of_the_section(file in files(), kind in kinds()) {
        let document = Document::parse(kind, &file);
        let Ok(Some(removed)) = document.remove(&name("x"), &["region", "sorry_session"]) else { return Ok(()) };
        let (above, below) = around(kind, &file).unwrap();
        let above = above.trim_ascii_end();
        prop_assert!(removed.starts_with(above));
        prop_assert!(removed.ends_with(&below) || below.trim_ascii().is_empty());
    }

    #[test]
    fn merging_never_panics_and_keeps_what_did_not_change(base in files(), theirs in files(), current in files()) {
        let merged = merge(&base, &base, &current);
        prop_assert!(merged.as_slice() == current.as_slice());
        let _ = merge(&base, &theirs, &current);
    }
}
