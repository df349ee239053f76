//! Java's text format for keys and values, in which Kafka writes its small files.
//!
//! ```text
//!  # a comment, as is a line that begins with `!`
//!  cluster.id=a value, up to the end of the line
//!  node.id : 1
//!  a\ key a\tvalue with tab, \u00fc and \
//!         a continued line
//! ```
//!
//! Files are written in ASCII, so they read the same as ISO 8859-1, which Java expects, and as
//! UTF-8.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Keys with their values.
pub(crate) type Properties = BTreeMap<String, String>;

/// Decodes bytes as UTF-8 if they are valid, and otherwise as ISO 8859-1, which any bytes are.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect::<String>().into(),
    }
}

/// Parses text. If a key occurs twice, the last value counts.
///
/// # Errors
///
/// The problem, in words.
pub(crate) fn parse(text: &str) -> Result<Properties, &'static str> {
    let mut properties = Properties::new();
    for line in logical_lines(text) {
        let (key, value) = split(&line);
        properties.insert(unescape(key)?, unescape(value)?);
    }
    Ok(properties)
}

/// Returns text that [`parse`] reads as these keys and values.
pub(crate) fn format<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in properties {
        escape(key, true, &mut text);
        text.push('=');
        escape(value, false, &mut text);
        text.push('\n');
    }
    text
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// Returns the lines without comments and blank lines, each joined with its continuation lines.
/// Escapes stay as they are.
fn logical_lines(text: &str) -> impl Iterator<Item = String> {
    let mut lines = natural_lines(text);
    std::iter::from_fn(move || {
        loop {
            let first = lines.next()?.trim_start_matches(BLANKS);
            if first.starts_with(['#', '!']) {
                continue;
            }
            let (first, mut goes_on) = without_continuation(first);
            let mut logical = first.to_owned();
            while goes_on && let Some(next) = lines.next() {
                let (next, again) = without_continuation(next.trim_start_matches(BLANKS));
                logical.push_str(next);
                goes_on = again;
            }
            if !logical.is_empty() {
                return Some(logical);
            }
        }
    })
}

/// Returns the lines, which end with `\n`, `\r` or `\r\n`. The two characters of `\r\n` must be
/// one end, because an empty line would end a continued line.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some((line, after)) = text.find(['\n', '\r']).and_then(|at| text.split_at_checked(at))
        else {
            rest = None;
            return Some(text);
        };
        rest = after.strip_prefix("\r\n").or_else(|| after.get(1..));
        Some(line)
    })
}

/// Returns the line without the backslash that continues it, and whether there was one.
fn without_continuation(line: &str) -> (&str, bool) {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    match line.strip_suffix('\\') {
        Some(before) if backslashes % 2 == 1 => (before, true),
        _ => (line, false),
    }
}

/// Splits a line into key and value, at blanks with at most one `=` or `:`.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (c == '=' || c == ':' || BLANKS.contains(&c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = end.and_then(|at| line.split_at_checked(at)).unwrap_or((line, ""));
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> Result<String, &'static str> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => unicode(&mut chars)?,
                Some(other) => other,
                None => break,
            },
            c => c,
        });
    }
    Ok(plain)
}

/// Reads a UTF-16 code unit, or two of them for a character beyond 16 bits.
fn unicode(chars: &mut Peekable<Chars<'_>>) -> Result<char, &'static str> {
    let first = code_unit(chars)?;
    let mut units = vec![first];
    if (0xD800..0xDC00).contains(&first) && chars.next() == Some('\\') && chars.next() == Some('u')
    {
        units.push(code_unit(chars)?);
    }
    match char::decode_utf16(units).collect::<Result<Vec<char>, _>>().as_deref() {
        Ok(&[c]) => Ok(c),
        _ => Err("a `\\u` escape lacks the other half of its surrogate pair"),
    }
}

fn code_unit(chars: &mut Peekable<Chars<'_>>) -> Result<u16, &'static str> {
    let mut unit: u16 = 0;
    for _ in 0..4 {
        let digit = chars.next().and_then(|c| c.to_digit(16));
        let digit = digit.ok_or("a `\\u` escape does not have four hexadecimal digits")?;
        unit = unit << 4 | digit as u16;
    }
    Ok(unit)
}

fn escape(text: &str, is_key: bool, out: &mut String) {
    for (at, c) in text.char_indices() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            ' ' if !is_key && at > 0 => out.push(' '),
            ' ' | '\\' | '=' | ':' | '#' | '!' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    fn pairs(properties: &Properties) -> impl Iterator<Item = (&str, &str)> {
        properties.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    proptest! {
        #[test]
        fn properties_round_trip(
            properties in btree_map("\\PC{0,6}|[ =:#!\\\\\t\n\r\u{c}a]{0,6}|(?s:.){0,6}", "\\PC{0,6}|[ =:#!\\\\\t\n\r\u{c}a]{0,6}|(?s:.){0,6}", 0..5),
        ) {
            let text = format(pairs(&properties));
            prop_assert!(text.is_ascii());
            prop_assert_eq!(parse(&text), Ok(properties), "{}", text);
        }

        #[test]
        fn parse_survives_any_bytes(bytes: Vec<u8>, text in "[\\\\u0dD8 =:#!\r\n\ta]{0,30}") {
            parse(&super::text(&bytes)).ok();
            if let Ok(read) = parse(&text) {
                prop_assert_eq!(parse(&format(pairs(&read))), Ok(read));
            }
        }
    }

    /// Texts and their meaning, by the description of Java's `Properties.load`.
    #[test]
    fn parse_matches_java() {
        for (text, expected) in [
            ("", vec![]),
            ("# c\n  ! c \\\nkey=value", vec![("key", "value")]),
            ("Truth = Beauty", vec![("Truth", "Beauty")]),
            (" Truth:Beauty", vec![("Truth", "Beauty")]),
            ("Truth   \t :Beauty  ", vec![("Truth", "Beauty  ")]),
            ("fruits   apple, \\\n   pear,\\\r\n\tplum", vec![("fruits", "apple, pear,plum")]),
            ("cheeses\n\n\nx", vec![("cheeses", ""), ("x", "")]),
            ("a==b", vec![("a", "=b")]),
            ("a = : b", vec![("a", ": b")]),
            ("a\\:b\\ c\\=d=e\\q\\\\", vec![("a:b c=d", "eq\\")]),
            ("=v", vec![("", "v")]),
            ("a=1\ra=2\r\nb=3", vec![("a", "2"), ("b", "3")]),
            ("a=x\\\n\nb=y", vec![("a", "x"), ("b", "y")]),
            ("a=x\\\n# no comment", vec![("a", "x# no comment")]),
            ("a=x\\", vec![("a", "x")]),
            ("a=\\u0041\\u00fc\\uD83D\\uDE00", vec![("a", "A\u{fc}\u{1f600}")]),
            ("\\\n \\\n a=b", vec![("a", "b")]),
        ] {
            let expected =
                expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            assert_eq!(parse(text), Ok(expected), "{text:?}");
        }
        for text in
            ["a=\\u00g0", "a=\\u1", "a=\\uD83D", "a=\\uDE00", "a=\\uD83D\\u0041", "a=\\u+041"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn non_utf8_bytes_read_as_latin1() {
        assert_eq!(text("a=\u{fc}".as_bytes()), "a=\u{fc}");
        assert_eq!(text(b"a=\xFC"), "a=\u{fc}");
    }
}
