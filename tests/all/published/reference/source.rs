//! Finds macro calls in the source of the server, without those of its unit tests.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::published::path;

/// A call of a macro that is named with its crate, such as `tracing::warn!(…)`.
pub struct MacroCall {
    /// The module that contains the call, such as `latchkey::app::keys`.
    pub module: String,
    /// The name without the crate. In a macro, it can be `$` and the name of a parameter.
    pub name: String,
    /// The arguments, without the commas between them.
    pub arguments: Vec<Vec<TokenTree>>,
}

/// Returns the calls of the macros of a crate, by module, and in the order of the source.
pub fn macro_calls(crate_name: &str) -> Vec<MacroCall> {
    let mut files = Vec::new();
    collect_files(&path("src"), &mut files);
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("text");
            let tokens = TokenStream::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let mut calls = Vec::new();
            collect_calls(tokens, crate_name, &module_of(file), &mut calls);
            calls
        })
        .collect()
}

/// Collects the source files in a folder, without files of unit tests.
fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let file = entry.expect("an entry").path();
        let name = file.to_string_lossy();
        if file.is_dir() {
            collect_files(&file, files);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            files.push(file);
        }
    }
}

/// Returns the path of a module, which is the target of its log events.
fn module_of(file: &Path) -> String {
    let relative = file.strip_prefix(path("src")).expect("a file of the crate");
    let name = relative.with_extension("");
    let parts = name.iter().map(|part| part.to_string_lossy().into_owned());
    let parts = parts.filter(|part| part != "main" && part != "lib");
    let parts: Vec<String> = ["latchkey".to_owned()].into_iter().chain(parts).collect();
    parts.join("::")
}

fn collect_calls(tokens: TokenStream, crate_name: &str, module: &str, calls: &mut Vec<MacroCall>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if is_test_attribute(&tokens[at..]) {
            at += item_length(&tokens[at..]);
            continue;
        }
        if let Some((name, arguments)) = read_call(&tokens[at..], crate_name) {
            calls.push(MacroCall {
                module: module.to_owned(),
                name,
                arguments: split_arguments(arguments),
            });
        }
        if let TokenTree::Group(group) = &tokens[at] {
            collect_calls(group.stream(), crate_name, module, calls);
        }
        at += 1;
    }
}

fn is_punct(token: Option<&TokenTree>, expected: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == expected)
}

/// Returns whether the tokens start with `#[cfg(test)]`.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    is_punct(tokens.first(), '#')
        && matches!(tokens.get(1), Some(TokenTree::Group(group))
            if group.stream().to_string().replace(' ', "") == "cfg(test)")
}

/// Returns the number of tokens until the end of an item: a block, or a semicolon.
fn item_length(tokens: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is_punct(Some(token), ';'),
    };
    tokens
        .iter()
        .position(is_end)
        .map_or(tokens.len(), |end| end + 1)
}

/// Reads `crate_name::name!(…)` or `crate_name::$name!(…)` at the start of the tokens.
fn read_call(tokens: &[TokenTree], crate_name: &str) -> Option<(String, TokenStream)> {
    let [TokenTree::Ident(first), colons @ ..] = tokens else {
        return None;
    };
    if first != crate_name || !is_punct(colons.first(), ':') || !is_punct(colons.get(1), ':') {
        return None;
    }
    let is_parameter = is_punct(colons.get(2), '$');
    let rest = &colons[2 + usize::from(is_parameter)..];
    match rest {
        [TokenTree::Ident(name), bang, TokenTree::Group(group), ..]
            if is_punct(Some(bang), '!') =>
        {
            let prefix = if is_parameter { "$" } else { "" };
            Some((format!("{prefix}{name}"), group.stream()))
        }
        _other => None,
    }
}

fn split_arguments(arguments: TokenStream) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<TokenTree> = arguments.into_iter().collect();
    tokens
        .split(|token| is_punct(Some(token), ','))
        .filter(|argument| !argument.is_empty())
        .map(<[TokenTree]>::to_vec)
        .collect()
}

/// Returns the text of an argument that is a string literal.
pub fn string_literal(argument: &[TokenTree]) -> Option<String> {
    let [TokenTree::Literal(literal)] = argument else {
        return None;
    };
    let source = literal.to_string();
    let source = source.strip_prefix('"')?.strip_suffix('"')?;
    // A backslash at the end of a line continues the string after the indentation.
    let mut lines = source.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let text = lines.fold(first, |text, line| text + line.trim_start());
    Some(text.replace("\\\"", "\""))
}

#[test]
fn calls_outside_of_tests_are_found() {
    let text = r#"
        fn f() { tracing::warn!(error = %e, count, "a \
            b \"c\""); }
        macro_rules! m { ($level:ident) => { tracing::$level!("d") } }
        #[cfg(test)]
        mod tests { fn g() { tracing::info!("e") } }
        fn h() { tracing::info!("f"); tracing::field::display(1); }
    "#;
    let mut calls = Vec::new();
    collect_calls(
        TokenStream::from_str(text).expect("Rust"),
        "tracing",
        "m",
        &mut calls,
    );
    let found = calls.iter().map(|call| {
        let message = string_literal(call.arguments.last().expect("an argument"));
        (call.name.as_str(), call.arguments.len(), message)
    });
    let expected = [
        ("warn", 3, "a b \"c\""),
        ("$level", 1, "d"),
        ("info", 1, "f"),
    ];
    let expected = expected.map(|(name, count, text)| (name, count, Some(text.to_owned())));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}
