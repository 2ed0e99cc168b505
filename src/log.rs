//! The log of the process: JSON for machines, lines for people, on standard output; for commands
//! warnings alone, on standard error, because standard output is for the answer.

use std::{
    fmt::{self, Write},
    io::IsTerminal,
};

use latchkey::config::Config;
use tracing::{
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    EnvFilter,
    field::RecordFields,
    fmt::{FormatFields, FormattedFields, format::Writer},
};

/// What others log, whatever the setting says of everything: the migration tool tells what `ready`
/// sums up, and the driver of PostgreSQL tells the parameters of statements, password hashes among
/// them.
const QUIET: &str = "refinery_core=warn,tokio_postgres=warn";

/// What goes into the log, and where that is.
#[derive(Clone, Copy)]
pub enum Log {
    /// What the setting says, on standard output.
    Full,
    /// Warnings, on standard error.
    Brief,
}

/// Starts it, once for each process.
pub fn start(config: &Config, kind: Log) {
    let filter = |level: &str| EnvFilter::new(format!("{level},{QUIET}"));
    let log = tracing_subscriber::fmt().with_target(false);
    match kind {
        Log::Brief => log
            .with_env_filter(filter("warn"))
            .with_writer(std::io::stderr)
            .init(),
        Log::Full if std::io::stdout().is_terminal() => {
            log.with_env_filter(filter(config.log.as_str())).init()
        }
        Log::Full => {
            let log = log
                .with_env_filter(filter(config.log.as_str()))
                .json()
                .flatten_event(true)
                .with_span_list(false);
            log.fmt_fields(SpanFields).init();
        }
    }
    // A panic is one more event of the log, not loose text beside it.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(
            location,
            panic = panic.payload_as_str().unwrap_or("no message"),
            "panicked"
        );
    }));
}

/// Writes the fields of a span as a JSON object. Every request has a span, few log anything: the
/// formatter of the library sorts them into a tree of values first, which took a twentieth of the
/// time of a request.
struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        Object {
            writer,
            separator: '{',
            written: Ok(()),
        }
        .write(fields)
    }

    fn add_fields(
        &self,
        known: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let is_empty = known.fields == "{}";
        known
            .fields
            .truncate(if is_empty { 0 } else { known.fields.len() - 1 });
        let separator = if is_empty { '{' } else { ',' };
        Object {
            writer: known.as_writer(),
            separator,
            written: Ok(()),
        }
        .write(fields)
    }
}

struct Object<'writer> {
    writer: Writer<'writer>,
    /// What comes before the next member.
    separator: char,
    written: fmt::Result,
}

impl Object<'_> {
    fn write(mut self, fields: impl RecordFields) -> fmt::Result {
        fields.record(&mut self);
        self.written?;
        // Without any field it was never opened.
        self.writer
            .write_str(if self.separator == '{' { "{}" } else { "}" })
    }

    fn member(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let separator = std::mem::replace(&mut self.separator, ',');
        let write = |writer: &mut Writer<'_>| {
            write!(writer, "{separator}\"{}\":\"", field.name())?;
            Escaped(writer).write_fmt(value)?;
            writer.write_char('"')
        };
        self.written = self.written.and_then(|()| write(&mut self.writer));
    }
}

impl Visit for Object<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, format_args!("{value:?}"));
    }
}

/// The inside of a JSON string (RFC 8259 section 7).
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        // Also those that JSON allows and terminals obey, or take for the end of the line.
        let is_special =
            |c: char| c.is_control() || matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}');
        while let Some((at, special)) = text.char_indices().find(|(_, c)| is_special(*c)) {
            write!(self.0, "{}\\u{:04x}", &text[..at], u32::from(special))?;
            text = &text[at + special.len_utf8()..];
        }
        self.0.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    /// What a logger writes into.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_span_is_an_object_also_when_more_is_known_of_it_later() {
        let page = Page::default();
        let writer = page.clone();
        let log = tracing_subscriber::fmt()
            .json()
            .with_span_list(false)
            .fmt_fields(SpanFields);
        let log = log.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(log, || {
            let empty = tracing::info_span!("empty", late = tracing::field::Empty);
            empty.in_scope(|| tracing::info!("first"));
            empty.record("late", "\"later\"");
            empty.in_scope(|| tracing::info!("second"));
            let full = tracing::info_span!(
                "full",
                path = "/a\"b",
                client = %"::1",
                late = tracing::field::Empty
            );
            full.record("late", 7);
            full.in_scope(|| tracing::info!("third"));
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let spans: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["span"].clone())
            .collect();
        assert_eq!(
            spans,
            [
                json!({"name": "empty"}),
                json!({"name": "empty", "late": "\"later\""}),
                json!({"name": "full", "path": "/a\"b", "client": "::1", "late": "7"}),
            ]
        );
    }

    #[test]
    fn whatever_a_field_holds_the_line_stays_json() {
        for text in [
            "",
            "/user",
            "a\"b\\c",
            "\n\u{0}\u{1f}\u{7f}",
            "ü 🗝 \" ü",
            "\u{9b}\u{2028}",
            "\"",
            "\\\\\"\"",
        ] {
            let mut line = String::from('"');
            Escaped(&mut line).write_str(text).unwrap();
            line.push('"');
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
