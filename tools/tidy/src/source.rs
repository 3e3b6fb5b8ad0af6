//! Rust text, line by line, with code and comments told apart.
//!
//! Strings and characters are blanked in the code, so a word inside quotes is not taken
//! for one of the program's, and this crate may spell what it looks for.
//!
//! Modelled: nested block comments, raw, byte and C strings, lifetimes against characters, and
//! which lines belong to an item under `#[cfg(test)]`.
//!
//! Not modelled: macros; what a macro receives is taken for code as it stands.
//!
//! **Spec:** The Rust Reference "Comments", "Tokens".

/// One line of a Rust file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its code, with the contents of strings and characters left out.
    pub(crate) code: String,
    /// The text of its comments, behind `//` or `/*`.
    pub(crate) comment: String,
    /// Whether it belongs to an item under `#[cfg(test)]`.
    pub(crate) is_test: bool,
}

impl Line {
    /// Whether there is nothing but a comment on it.
    pub(crate) fn is_comment(&self) -> bool {
        self.code.trim().is_empty() && !self.comment.is_empty()
    }

    /// The words of its code: identifiers and keywords.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        words(&self.code)
    }
}

/// The identifiers and numbers in `text`.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_word(c)).filter(|w| !w.is_empty())
}

/// Whether `c` may stand inside an identifier.
pub(crate) const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What the scanner is inside of.
#[derive(Clone, Copy)]
enum Inside {
    Code,
    LineComment,
    /// This many block comments.
    Block(u32),
    /// A string with escapes.
    Quoted,
    /// A raw string that ends with a quote and this many `#`.
    Raw(usize),
}

/// The lines of `text`.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut scanner = Scanner {
        rest: text,
        inside: Inside::Code,
        lines: vec![Line::default()],
    };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    let mut lines = scanner.lines;
    if text.is_empty() || text.ends_with('\n') {
        lines.pop();
    }
    mark_tests(&mut lines);
    lines
}

struct Scanner<'t> {
    rest: &'t str,
    inside: Inside,
    lines: Vec<Line>,
}

impl Scanner<'_> {
    fn step(&mut self) {
        if self.rest.starts_with('\n') {
            self.skip(1);
            self.lines.push(Line::default());
            if matches!(self.inside, Inside::LineComment) {
                self.inside = Inside::Code;
            }
            return;
        }
        match self.inside {
            Inside::Code => self.code(),
            Inside::LineComment => self.keep_comment(),
            Inside::Block(depth) => self.block_comment(depth),
            Inside::Quoted => self.quoted(),
            Inside::Raw(hashes) => self.raw(hashes),
        }
    }

    fn code(&mut self) {
        if self.rest.starts_with("//") {
            self.skip(2);
            self.inside = Inside::LineComment;
        } else if self.rest.starts_with("/*") {
            self.skip(2);
            self.inside = Inside::Block(1);
        } else if let Some(hashes) = self.raw_string_begins() {
            self.skip(1 + hashes);
            self.keep_code();
            self.inside = Inside::Raw(hashes);
        } else if self.rest.starts_with('"') {
            self.keep_code();
            self.inside = Inside::Quoted;
        } else if let Some(len) = char_literal(self.rest) {
            self.skip(len);
            self.line().code.push_str("''");
        } else {
            self.keep_code();
        }
    }

    /// How many `#` stand before the quote, if a raw string begins here.
    fn raw_string_begins(&mut self) -> Option<usize> {
        let after = self.rest.strip_prefix('r')?;
        let hashes = after.len() - after.trim_start_matches('#').len();
        let before = self.line().code.chars().last();
        // `br"` and `cr"` begin one, too; `for"` would not be Rust.
        let fits = before.is_none_or(|c| !is_word(c) || c == 'b' || c == 'c');
        (fits && after[hashes..].starts_with('"')).then_some(hashes)
    }

    fn block_comment(&mut self, depth: u32) {
        if self.rest.starts_with("*/") {
            self.skip(2);
            self.inside = if depth == 1 {
                Inside::Code
            } else {
                Inside::Block(depth - 1)
            };
        } else if self.rest.starts_with("/*") {
            self.skip(2);
            self.inside = Inside::Block(depth + 1);
        } else {
            self.keep_comment();
        }
    }

    fn quoted(&mut self) {
        if self.rest.starts_with('"') {
            self.keep_code();
            self.inside = Inside::Code;
        } else if self.rest.starts_with('\\') && !self.rest.starts_with("\\\n") {
            self.skip(1);
            self.skip_char();
        } else {
            self.skip_char();
        }
    }

    fn raw(&mut self, hashes: usize) {
        let ends = self
            .rest
            .strip_prefix('"')
            .is_some_and(|after| after.starts_with(&"#".repeat(hashes)));
        if ends {
            self.keep_code();
            self.skip(hashes);
            self.inside = Inside::Code;
        } else {
            self.skip_char();
        }
    }

    fn line(&mut self) -> &mut Line {
        self.lines.last_mut().expect("there is always a line")
    }

    fn keep_code(&mut self) {
        if let Some(c) = self.skip_char() {
            self.line().code.push(c);
        }
    }

    fn keep_comment(&mut self) {
        if let Some(c) = self.skip_char() {
            self.line().comment.push(c);
        }
    }

    fn skip(&mut self, len: usize) {
        self.rest = &self.rest[len..];
    }

    fn skip_char(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.skip(c.len_utf8());
        Some(c)
    }
}

/// The length of the character literal at the start of `text`; a lifetime is none.
fn char_literal(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let mut chars = body.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (_, escaped) = chars.next()?;
        let from = 1 + escaped.len_utf8();
        return body[from..].find('\'').map(|end| 1 + from + end + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(1 + at + 1)
}

/// Marks the lines of all items under `#[cfg(test)]`.
fn mark_tests(lines: &mut [Line]) {
    let mut at = 0;
    while at < lines.len() {
        let code = lines[at].code.trim_start();
        let end = if code.starts_with("#![cfg(test)]") {
            lines.len()
        } else if code.starts_with("#[cfg(test)]") || code.starts_with("#[cfg(all(test") {
            item_end(lines, at)
        } else {
            at + 1
        };
        for line in &mut lines[at..end] {
            line.is_test = end > at + 1 || line.code.contains("cfg(test)");
        }
        at = end;
    }
}

/// The line after the item whose attributes begin on line `from`.
fn item_end(lines: &[Line], from: usize) -> usize {
    let (mut braces, mut brackets) = (0_i32, 0_i32);
    for (number, line) in lines.iter().enumerate().skip(from) {
        for c in line.code.chars() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                '{' => braces += 1,
                '}' => braces -= 1,
                _ => {}
            }
            let ends = (c == '}' || c == ';') && braces == 0 && brackets == 0;
            if ends {
                return number + 1;
            }
        }
    }
    lines.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Line {
        let mut lines = lines(text);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }

    #[test]
    fn strings_are_blanked_and_comments_set_apart() {
        let line = only(r#"let a = "unsafe // no"; // yes"#);
        assert_eq!(
            (line.code.trim(), line.comment.as_str()),
            (r#"let a = "";"#, " yes")
        );
    }

    #[test]
    fn raw_strings_end_at_their_own_quote() {
        assert_eq!(
            only(r###"f(r#"a " // b"#, br"\"); // c"###).code,
            r#"f("", b""); "#
        );
    }

    #[test]
    fn quotes_as_characters_open_no_string_and_lifetimes_close_none() {
        let line = only(r#"if c == '"' || c == '\'' || c == '\u{22}' { f::<'a>(x) } // end"#);
        assert_eq!(line.comment, " end");
        assert!(line.code.contains("f::<'a>(x)"));
    }

    #[test]
    fn block_comments_nest_and_span_lines() {
        let found = lines("a /* x /* y */\nz */ b");
        assert_eq!(found[0].code, "a ");
        assert_eq!(
            (found[1].code.as_str(), found[1].comment.as_str()),
            (" b", "z ")
        );
    }

    #[test]
    fn a_string_over_two_lines_keeps_the_line_numbers() {
        let found = lines("let a = \"x \\\n // y\";\n// z");
        assert_eq!(found.len(), 3);
        assert!(found[1].comment.is_empty());
        assert_eq!(found[2].comment, " z");
    }

    #[test]
    fn only_the_item_under_cfg_test_is_marked() {
        let found =
            lines("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { \"}\"; }\n}\nfn c() {}\n");
        let marked: Vec<_> = found.iter().map(|l| l.is_test).collect();
        assert_eq!(marked, [false, true, true, true, true, false]);
    }

    #[test]
    fn a_test_module_in_another_file_is_two_lines_here() {
        let found = lines("#[cfg(test)]\nmod tests;\nfn c() {}\n");
        assert_eq!(found.iter().filter(|l| l.is_test).count(), 2);
    }
}
